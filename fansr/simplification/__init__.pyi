# What other packages may import from this one.
from .simplify import simplify_many as simplify_many
