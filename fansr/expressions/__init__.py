"""Expressions in prefix form: their tokens, their text, their values and derivatives, and other tools' spellings.

Knows nothing of data, fitting or searching.  Begin with tokens.py (the one table of operators), then prefix.py (check,
walk), infix.py (print, parse), programs.py (compiled evaluation and Jacobians) and export.py (numpy, LaTeX, sympy, torch).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
