"""Imported before numpy: one BLAS thread a process, and when it began.

The matrices here are small, and workers already fill the cores; threads that wait for each other
made small products up to 80 times slower on a busy machine.  A value the user has set stays.
"""

import os
import sys
import time

BEGUN = time.monotonic()
EARLY = "numpy" not in sys.modules  # else numpy has its threads already (blas.py)

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
