"""Imported before numba: no scipy, which numba loads only to learn whether matrix products could be compiled.

No kernel here multiplies matrices, and scipy.linalg is a fifth of what a command that compiles nothing spends on loading
numba (0.16 s of 0.8 on one core).  Where scipy is loaded already, or is loaded later, nothing changes.
"""

import sys

if "scipy" not in sys.modules and "numba" not in sys.modules:
    sys.modules["scipy"] = None  # "import scipy" now raises the ImportError that numba is prepared for
    try:
        import numba.np.arraymath  # noqa: F401
    finally:
        del sys.modules["scipy"]
