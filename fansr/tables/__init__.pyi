# What other packages may import from this one.
from . import loading as loading
from .loading import array_problem as array_problem
