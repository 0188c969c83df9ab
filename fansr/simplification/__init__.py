"""Shorter forms of expressions by mined rules (section 3.1): fansr-simplify, and fansr-mine, which finds the rules.

Begin with simplify.py, the one door to the rewriting engine; translation.py and its two helpers spell the engine's
answers in the operators of Table 5; ordering.py sorts without it; equivalence.py is algorithm 1, mine.py algorithm 2.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
