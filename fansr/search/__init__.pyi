# What other packages may import from this one.
from . import (
    outliers as outliers,
    relative_noise as relative_noise,
    rounding as rounding,
    rules as rules,
    saved_law as saved_law,
    selection as selection,
    turns as turns,
    verdict as verdict,
)
from .selection import score as score
