# What other packages may import from this one.
from . import (
    basis as basis,
    block as block,
    block_rows as block_rows,
    input_columns as input_columns,
    judging as judging,
    law_layer as law_layer,
    local as local,
    pruning as pruning,
    recording as recording,
    saving as saving,
    script as script,
    source as source,
    stand_in as stand_in,
    tuning as tuning,
    unit_searches as unit_searches,
)
