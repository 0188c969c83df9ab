# What other packages may import from this one.
from . import (
    files as files,
    packing as packing,
    parallel as parallel,
    reader_writer as reader_writer,
    records as records,
)
from .packing import NDARRAY as NDARRAY, digests as digests
from .reader_writer import open_reader as open_reader, open_writer as open_writer
from .records import MAX_TOKENS as MAX_TOKENS, check as check
from .seeds import key_for as key_for, rng_for as rng_for
