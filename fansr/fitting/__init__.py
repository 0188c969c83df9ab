"""A problem, its candidates, and their constants by least squares, for many candidates at once.

Knows nothing of where candidates come from or which is chosen.  Begin with problem.py and refiner.py; linear_constants.py
says which constants a solve gives, variable_projection.py gives them, levenberg_marquardt.py moves the others.
Other losses than squares begin with losses.py; loss_refiner.py makes them small.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
