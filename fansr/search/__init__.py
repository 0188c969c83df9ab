"""One table's law: proposers take turns on one budget, a law is chosen, shortened and its constants are rounded.

Begin with turns.py; selection.py ranks (equation 3, description_length.py, the front), shortening.py and rounding.py make
the leaders plain, second_core.py, large_tables.py and outliers.py serve what their names say.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
