# What other packages may import from this one.
from . import (
    blas as blas,
    command as command,
    interrupts as interrupts,
    kernels as kernels,
    live_lines as live_lines,
    record_filter as record_filter,
    resources as resources,
    single_thread as single_thread,
)
from .config_files import read_toml as read_toml
