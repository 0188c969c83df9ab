# What other packages may import from this one.
from . import outliers as outliers, rounding as rounding, selection as selection, turns as turns, verdict as verdict
from .selection import score as score
