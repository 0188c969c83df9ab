"""Parts of a torch network as laws: what `fansr.distill.Distiller` and fansr-distill are made of.

Begin with block.py (a part of a network seen from outside: rows in, rows out, replaced and put back) and law_layer.py
(the laws of a block as one module); law_graph.py holds laws with equal parts once, input_columns.py makes what laws speak of
from what a block is given.  Nothing here searches; only the files that need torch load it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
