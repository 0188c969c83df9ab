# What other packages may import from this one.
from .configuration import ModelConfig as ModelConfig
from .decoders import DECODERS as DECODERS
from .sample import check_model as check_model, reads_numbers as reads_numbers
from .weight_shapes import count as count
