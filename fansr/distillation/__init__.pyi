# What other packages may import from this one.
from . import (
    basis as basis,
    block as block,
    input_columns as input_columns,
    judging as judging,
    law_layer as law_layer,
    stand_in as stand_in,
    unit_searches as unit_searches,
)
