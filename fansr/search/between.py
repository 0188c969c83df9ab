"""What a law does between the rows it was fitted to and just beyond them: poles, holes and excursions in the box of the columns."""

from __future__ import annotations

import numpy as np

from fansr.fitting import Candidate, Problem
from fansr.streams import rng_for

POINTS = 1024  # between rows that are looked at, and as many beyond and beside
SPANS = 1.0  # ranges of the target by which a law may leave that range between the rows
NEAREST = 1e-4  # of the way to another row
BEYOND = 0.2  # of the way between two rows that points lie beyond them
SAME = 1e-9
SPANS_BEYOND = 4.0  # ranges of the target by which a law may leave it there, and where columns meet as in no row
# FVU; a better fit shows a pole to be real.  A pole beyond the rows, such as a lens's focus, shows itself earlier, in how the target rises.
NOISY, RISING = 1e-6, 1e-3


class Between:
    """Points on the lines between rows of a table, and whether a law stays near the target's values on them."""

    def __init__(self, problem: Problem):
        self.problem = problem
        size = problem.y**2 * problem.weights if problem.weights is not None and (problem.y > 0).all() else np.zeros(1)
        # Rows that weigh 1 / y^2 tell how many times too large a value is, and so do values between them.
        self.times = bool(size.min() > (1 - SAME) * size.max())
        self._points: np.ndarray | None = None
        self._beyond: np.ndarray | None = None

    @property
    def points(self) -> np.ndarray:
        """(POINTS, D): each on the line between two rows drawn at random; columns of few values keep to those."""
        if self._points is None:
            a, b, share = self._pairs(0)
            share[::2] = (
                NEAREST ** share[::2]
            )  # every other one near a row, where a narrow pole stands that explains that row alone
            self._points = self._on_lines(a, b, share)
        return self._points

    @property
    def beyond(self) -> np.ndarray:
        """(POINTS, D): half with each column's value from one of two rows, then half on such lines BEYOND their ends."""
        if self._beyond is None:
            a, b, share = self._pairs(1)
            half = POINTS // 2
            lines = self._on_lines(a[:half], b[:half], -BEYOND * share[:half])
            X = self.problem.X
            lines = np.where(
                X.min(axis=0) >= 0, np.maximum(lines, (1 - BEYOND) * X.min(axis=0)), lines
            )  # sizes stay sizes
            mixed = np.where(rng_for(0, "search.between", 2).random((POINTS - half, X.shape[1])) < 0.5,
                             X[a[half:]], X[b[half:]])  # fmt: skip
            self._beyond = np.ascontiguousarray(np.concatenate([mixed, lines]))
        return self._beyond

    def _pairs(self, which: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rng = rng_for(0, "search.between", which)
        a, b = rng.integers(len(self.problem.X), size=(2, POINTS))
        return a, b, rng.random((POINTS, 1))

    def _on_lines(self, a: np.ndarray, b: np.ndarray, share: np.ndarray) -> np.ndarray:
        X = self.problem.X
        points = np.ascontiguousarray(X[a] + share * (X[b] - X[a]))
        for j in range(X.shape[1]):
            if len(set(X[:, j].tolist())) <= max(2, len(X) // 8):
                points[:, j] = X[np.where(share[:, 0] < 0.5, a, b), j]
        return points

    def wild(self, candidate: Candidate) -> bool:
        """Whether a law that does not fit to rounding has a pole, a hole or an excursion between the rows, or runs away beside them."""
        if not candidate.fvu > NOISY:
            return False
        beside = self.beyond if candidate.fvu > RISING else self.beyond[: POINTS // 2]
        return not (self._near(candidate, self.points, SPANS) and self._near(candidate, beside, SPANS_BEYOND))

    def _near(self, candidate: Candidate, points: np.ndarray, spans: float) -> bool:
        from fansr.expressions import evaluate  # numba: not before the command has read its table

        with np.errstate(all="ignore"):
            values = evaluate(candidate.expr, points, candidate.consts)
            low, high = float(self.problem.y.min()), float(self.problem.y.max())
            if self.times:
                low, high, values, spans = np.log(low), np.log(high), np.log(values), min(spans, SPANS)
        room = spans * (high - low)
        return bool(np.all((values >= low - room) & (values <= high + room)))  # NaN is neither
