# What other packages may import from this one.
from .decoders import DECODERS as DECODERS
from .sample import check_model as check_model
