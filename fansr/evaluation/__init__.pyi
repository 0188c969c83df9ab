# What other packages may import from this one.
from . import plot as plot
from .metrics import fvu as fvu
