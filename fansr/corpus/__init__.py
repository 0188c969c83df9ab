"""Laws and numbers to learn from (sections 3.2 and 3.3): fansr-gen, fansr-decontam and fansr-render.

Begin with prior.py (what is drawn, and how often), then gen.py (skeletons), decontam.py with holdout_guard.py (laws kept
out) and render.py (numbers for laws; render_torch.py does it for whole batches).  Files ending in _kernels, and
skeleton_rows.py, formula_text.py and problem_bytes.py, are the compiled loops behind them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
