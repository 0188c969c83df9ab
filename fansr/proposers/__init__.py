"""Who proposes laws, one file a proposer, each a function propose(problem, budget, rng, pool) that yields candidates.

Knows nothing of turns, of choosing or of printing.  Begin with power.py, the shortest; parts/ holds what several use,
local_search/ the evolution of whole expressions.  The search's table of proposers names them all.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
