# What other packages may import from this one.
from . import plot as plot, printed_report as printed_report, result as result
from .metrics import fvu as fvu
