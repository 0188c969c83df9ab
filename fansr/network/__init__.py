"""The transformer (section 3.4): its data, training, decoding and its proposals: fansr-train and fansr-sample.

The one package that imports torch, and only to train or where another device than a CPU is asked for.  Begin with
architecture.py, then skeleton_pool.py and batches.py (what it learns from), training_run.py and training_loop.py;
numpy_inference.py is the same network for use, decoders.py and tree_search.py are how it is asked, sample.py makes its
laws candidates.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
