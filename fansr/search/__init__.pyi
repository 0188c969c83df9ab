# What other packages may import from this one.
from . import (
    group_told as group_told,
    guesses as guesses,
    loss_search as loss_search,
    loss_verdict as loss_verdict,
    outliers as outliers,
    relative_noise as relative_noise,
    remarks as remarks,
    rounding as rounding,
    rules as rules,
    saved_law as saved_law,
    selection as selection,
    turns as turns,
    unit_rules as unit_rules,
    verdict as verdict,
)
from .selection import score as score
