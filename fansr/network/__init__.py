"""The transformer (section 3.4): its data, training, decoding and its proposals: fansr-train and fansr-sample.

The one package that imports torch.  Begin with architecture.py, then batches.py (what it learns from), training_run.py and
training_loop.py, decoders.py and tree_search.py (how it is asked), sample.py (its laws as candidates).
"""
