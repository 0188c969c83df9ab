# What other packages may import from this one.
from . import column_options as column_options, loading as loading, unit_texts as unit_texts
from .columns import Choice as Choice
from .loading import array_problem as array_problem
