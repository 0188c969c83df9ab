# What other packages may import from this one.
from .parts.candidates import fvu_of as fvu_of
