# What other packages may import from this one.
from .parts.assembly import fvu_of as fvu_of
