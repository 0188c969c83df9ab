"""A file or arrays as one problem: loading.py reads, checks, names columns and reports what it left out."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
