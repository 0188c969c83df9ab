"""What a law does between the rows it was fitted to: poles and holes inside the box of the columns."""

from __future__ import annotations

import numpy as np

from fansr.fitting import Candidate, Problem
from fansr.streams import rng_for

POINTS = 1024  # between rows that are looked at
SPANS = 1.0  # ranges of the target by which a law may leave that range between the rows
NOISY = 1e-6  # FVU; a better fit shows a pole to be real


class Between:
    """Points on the lines between rows of a table, and whether a law stays near the target's values on them."""

    def __init__(self, problem: Problem):
        self.problem = problem
        self._points: np.ndarray | None = None

    @property
    def points(self) -> np.ndarray:
        """(POINTS, D): each on the line between two rows drawn at random; columns of few values keep to those."""
        if self._points is None:
            X = self.problem.X
            rng = rng_for(0, "search.between", 0)
            a, b = rng.integers(len(X), size=(2, POINTS))
            share = rng.random((POINTS, 1))
            self._points = np.ascontiguousarray(X[a] + share * (X[b] - X[a]))
            for j in range(X.shape[1]):
                if len(set(X[:, j].tolist())) <= max(2, len(X) // 8):
                    self._points[:, j] = X[np.where(share[:, 0] < 0.5, a, b), j]
        return self._points

    def wild(self, candidate: Candidate) -> bool:
        """Whether a law that does not fit to rounding has a pole, a hole or an excursion between the rows."""
        if not candidate.fvu > NOISY:
            return False
        from fansr.expressions import evaluate  # numba: not before the command has read its table

        low, high = float(self.problem.y.min()), float(self.problem.y.max())
        room = SPANS * (high - low)
        with np.errstate(all="ignore"):
            values = evaluate(candidate.expr, self.points, candidate.consts)
        return not bool(np.all((values >= low - room) & (values <= high + room)))  # NaN is neither
