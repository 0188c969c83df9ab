"""How good laws are: every metric of appendix L, fansr-score, fansr-plot, and other tools as peers (fansr-peer).

Begin with metrics.py; result.py is what a search found as numbers, printed_report.py as text.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
