"""fansr finds the formula behind a table of numbers.

The notebook interface is ``from fansr import SymbolicRegressor``; everything else is reached
through the fansr-* commands or the modules they live in.  Importing this package loads nothing
heavy: the estimators are loaded on first use.
"""

from fansr.version import __version__

__all__ = ["SymbolicClassifier", "SymbolicRegressor", "__version__"]


def __getattr__(name: str):
    if name == "SymbolicRegressor":
        from fansr.regressor import SymbolicRegressor

        return SymbolicRegressor
    if name == "SymbolicClassifier":
        from fansr.classifier import SymbolicClassifier

        return SymbolicClassifier
    raise AttributeError(f"module 'fansr' has no attribute {name!r}")
