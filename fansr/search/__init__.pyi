# What other packages may import from this one.
from . import outliers as outliers, rounding as rounding, selection as selection, turns as turns
from .selection import score as score
