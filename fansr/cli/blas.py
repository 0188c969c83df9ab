"""How many threads numpy's products have, in processes that numpy was loaded in with one for every core: notebooks, and torch's.

The matrices here are small.  Where another process has the other core, threads that wait for each other made a search of
seconds up to fourteen times slower.  Commands load numpy with one thread (single_thread.py) and have nothing to change.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def threads(count: int = 1) -> Iterator[None]:
    """So many threads in what is done inside."""
    of_command = sys.modules.get("fansr.cli.single_thread")
    if count == 1 and of_command is not None and of_command.EARLY:
        yield
        return
    with _libraries().limit(limits=count, user_api="blas"):
        yield


@functools.cache
def _libraries():
    import threadpoolctl

    return threadpoolctl.ThreadpoolController()
