"""Laws of one column: y = a + b * w(x) * g(k, c; t(x)), the curves of textbooks; a proposer, and the one-column half of separable.py.

w is a simple factor in front, t a simple function of the column and g a function with one or two constants inside; a and b
are projected out, and the grid of the others is drawn in around the best.  Saturation and Hill curves are 1 / (t + k) and
1 / (1 + (c/x)^k), growth is the logistic or the exponential, decays, peaks, waves and roots are there under their own
names.  A second term may be added to the first.  To add a curve, add its row to CURVES.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

import numpy as np

from fansr.expressions import bind, children, literal_value
from fansr.fitting import Budget, Problem
from fansr.proposers.parts.candidates import Polisher, measured, proposals
from fansr.proposers.parts.expression_assembly import Base, powered, scale_of
from fansr.proposers.parts.inner_scan import Family, Projector, coefficients, fill, summed, usable, zoomed
from fansr.proposers.parts.terms import thinned

ROWS = 160  # points the grids look at
MIN_ROWS = 5
ZOOMS = 4  # rounds of drawing a grid in
ZOOMED = 30  # curves whose grids are drawn in once
DRAWN, DRAWN_BESIDE = 20, 10  # and to the end: alone, and beside a known term
COARSE = 10.0  # how much better a grid in two unknowns is sure to become, in the order of who is drawn in
POLISHED, HOPEFUL = 8, 30.0  # laws whose constants are polished, and how far behind the best they may be
SECOND = 3  # curves that get a second term
COUNT = 12  # laws given
CANCELLING = 1e3  # times the target's size a term may be: where larger ones cancel, a series is meant and no law
TOKEN = 0.05  # equation 3's price of a token, in decades of FVU
EXACT = 1e-20
EXPONENTS = range(-12, 7)  # of the pairs of whole powers
ROUNDING = 1e-11  # of the target: a last summand that is nothing

INNERS = {
    "x": "a", "x2": "pow2 a", "x3": "pow3 a", "x4": "pow4 a", "1/x": "inv a", "1/x2": "inv pow2 a", "root": "pow1_2 a",
    "log": "log a", "exp": "exp a", "sin": "sin a", "cos": "cos a",
}  # fmt: skip
X = ("x1",)
POWERS = ("x", "x2", "x3", "1/x", "1/x2")  # times x they are powers again
FRONTS = {
    "1": "1.0", "x": "a", "1/x": "inv a", "x2": "pow2 a", "x3": "pow3 a", "root": "pow1_2 a", "sin": "sin a", "cos": "cos a", "1/x5": "inv pow5 a",
}  # fmt: skip


# ---- grids ------------------------------------------------------------------------------------


@lru_cache(32)
def _geometric(first: float, last: float, count: int) -> np.ndarray:
    steps = np.geomspace(first, last, count)
    steps.flags.writeable = False
    return steps


def rates(t: np.ndarray, count: int = 20) -> np.ndarray:
    """Values of k that make k t range over 0.05 to 30."""
    return _geometric(0.05, 30.0, count) / float(np.ptp(t))


def both(t: np.ndarray) -> np.ndarray:
    return np.concatenate([-rates(t, 14)[::-1], rates(t, 14)])


def above(t: np.ndarray) -> np.ndarray:
    """k that keep t + k above 0, from very near to far."""
    return -float(t.min()) + float(np.ptp(t)) * _geometric(1e-3, 1e2, 18)


def beyond(t: np.ndarray) -> np.ndarray:
    """k that keep k - t above 0, from very near to far."""
    return above(-t)


def aside(t: np.ndarray) -> np.ndarray:
    """k that keep t + k on one side of 0, from very near to far."""
    return np.concatenate([-above(-t)[::-1], above(t)])


def centred(t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(k, c) of steps and peaks: widths from a tenth of the table to several times it, centres across it and beside."""
    span = float(np.ptp(t))
    return _geometric(0.6, 40.0, 9) / span, float(t.min()) + span * np.linspace(-0.3, 1.3, 13)


def falling(t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return -centred(t)[0][::-1], centred(t)[1]


def stretched(t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(k, c) of exp(-(t/c)^k)."""
    return _geometric(0.3, 4.0, 9), _geometric(0.05, 10.0, 11) * float(t.max())


def vogel(t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(k, c) of exp(k / (t + c)), poles to the left of the table."""
    span = float(np.ptp(t))
    k = _geometric(0.3, 66.0, 20) * span
    return np.concatenate([-k[::-1], k]), -float(t.min()) + span * _geometric(0.1, 30.0, 14)


def logarithms(x: np.ndarray) -> np.ndarray:
    """log x; nothing usable where x is not positive."""
    return np.log(np.where(x > 0, x, np.nan))


def waves(t: np.ndarray) -> np.ndarray:
    """k of waves: from a sixth of a turn over the table to as many turns as its points can show."""
    most = min(40.0, len(t) / 5)
    turns = np.unique(np.concatenate([_geometric(0.15, 2.0, 14), np.arange(2.0, most, 0.2)]))
    return 2 * np.pi * turns / float(np.ptp(t))


# name: (family, inners, fronts).  A wave's c is its phase, which comes of its sine and cosine.
CURVES = {
    "power": (Family("a", lambda t: ()), " ".join(INNERS), "1 x sin cos"),
    "exp": (Family("exp * k a", both), "x x2 1/x root x3 1/x2 cos sin", "1 x 1/x x2 x3 root"),
    "pow": (Family("pow a k", lambda x: both(logarithms(x))), "x", "1"),
    "inv": (Family("inv + a k", aside), "x x2 x3 x4 root exp sin cos log", "1 x x2"),
    "inv2": (Family("inv pow2 + a k", aside), "x x2", "1 x"),
    "log": (Family("log + a k", above), "x x2 x3 exp cos", "1 x"),
    "root": (Family("pow1_2 + a k", above), "x x2 x3 x4 1/x 1/x2 exp", "1 x"),
    "log of 1": (Family("log + 1.0 * k a", rates), "x x2", "1"),
    "delay": (Family("log - 1.0 / a k", beyond), "x x2", "1 x"),
    "rest": (Family("pow1_2 - k a", beyond), "x x2 x3 x4 sin", "1 x"),
    "inv root": (Family("inv pow1_2 + a k", above), "x x2", "1 x x2"),
    "inv rest": (Family("inv pow1_2 - k a", beyond), "x x2", "1 x x2"),
    "wave": (Family("sin + * k a c", waves), "x x2 x3 1/x root", "1 x 1/x sin cos"),
    "tanh": (Family("tanh * k - a c", centred), "x log", "1"),
    "logistic": (Family("inv + 1.0 exp * k - a c", falling), "x", "1"),
    "hill": (
        Family("inv + 1.0 pow / c a k", lambda x: (centred(logarithms(x))[0], np.exp(centred(logarithms(x))[1]))),
        "x",
        "1",
    ),
    "stretched": (Family("exp neg pow / a c k", stretched), "x", "1"),
    "vogel": (Family("exp / k + a c", vogel), "x", "1"),
    "atan": (Family("atan * k - a c", centred), "x", "1"),
    "bell": (Family("exp neg pow2 * k - a c", centred), "x log", "1"),
    "peak": (Family("inv + 1.0 pow2 * k - a c", centred), "x", "1"),
    "sech2": (Family("inv pow2 cosh * k - a c", centred), "x", "1"),
    "bose": (Family("inv - exp * k a 1.0", rates), "x 1/x", "1 x x2 x3 1/x5"),
    "gompertz": (Family("exp neg exp * k - a c", falling), "x", "1"),
    "early": (Family("exp neg exp * k - a c", centred), "x", "1"),
    "tan": (Family("tan * k a", rates), "x", "1"),
    "odd": (Family("tanh * k a", rates), "x x2 root x3", "1 x 1/x"),
    "cot": (Family("inv tan * k a", rates), "x", "1"),
    "cosh": (Family("cosh * k a", rates), "x", "1"),
}


class Curve(NamedTuple):
    """One curve fitted: `share` of the spread left, its expression without a and b, and its values."""

    share: float
    expr: Base
    values: np.ndarray


# ---- the fit ----------------------------------------------------------------------------------


class Shapes:
    """All curves of one column x (n,) on their grids, tabulated once for all targets that are asked about."""

    def __init__(self, x: np.ndarray):
        self.x = x
        self._grids: dict[tuple[str, str], np.ndarray] = {}
        with np.errstate(all="ignore"):
            inners = {name: Family(formula, tuple).values(x) for name, formula in INNERS.items()}
            self.inners = {name: t for name, t in inners.items() if usable(t, 0.0)}
            fronts = {name: Family(formula, tuple).values(x) * np.ones_like(x) for name, formula in FRONTS.items()}
            self.fronts = {name: w for name, w in fronts.items() if np.isfinite(w).all()}
            kinds = list(self._kinds())
        self._axes: dict[tuple[str, str], list[np.ndarray]] = {}
        # (curve, inner, front), the grid of its constants, and its rows in `plain` (K, n) or `waves` (2, K, n)
        self.kinds = [(name, inner, front, grid) for name, inner, front, grid, _ in kinds]
        plain = [values for *_, values in kinds if values.ndim == 2]
        self.plain = np.concatenate(plain) if plain else np.empty((0, len(x)))
        waves = [values for *_, values in kinds if values.ndim == 3]
        self.waves = np.concatenate(waves, axis=1) if waves else np.empty((2, 0, len(x)))

    def _kinds(self) -> Iterator[tuple]:
        for name, (family, own, before) in CURVES.items():
            for inner in own.split():
                if inner not in self.inners:
                    continue
                grid = self._grids[name, inner] = family.grid(self.inners[inner])
                values = _values(name, self.inners[inner], grid)
                for front in before.split():
                    if front in self.fronts and not (name == "power" and front != "1" and inner in POWERS):
                        yield name, inner, front, grid, self.fronts[front] * values

    def axes(self, name: str, inner: str) -> list[np.ndarray]:
        """The distinct values of each of a curve's constants on its grid."""
        if (name, inner) not in self._axes:
            self._axes[name, inner] = [np.unique(axis) for axis in self._grids[name, inner].T]
        return self._axes[name, inner]

    def rough(self, fit: Projector) -> list[tuple]:
        """(share left, curve, inner, front, place in its grid) of every kind; the most promising first."""
        plain = fit.shares(self.plain) if len(self.plain) else np.empty(0)
        waves = fit.pair_shares(*self.waves)[0]
        found, places = [], {False: 0, True: 0}
        for name, inner, front, grid in self.kinds:
            first = places[name == "wave"]
            places[name == "wave"] += len(grid)
            shares = (waves if name == "wave" else plain)[first : first + len(grid)]
            at = int(np.argmin(shares))
            found.append((float(shares[at]), name, inner, front, grid[at]))
        return sorted(found, key=lambda item: item[0] / (COARSE if len(item[-1]) > 1 else 1.0))


@np.errstate(all="ignore")
def single(shapes: Shapes, fit: Projector, drawn: int = DRAWN) -> list[Curve]:
    """Every curve at the best place of its grid, the leaders' grids drawn in: once, and of the `drawn` best to the end.

    Best first by FVU and length.
    """
    once = []
    for k, (share, name, inner, front, at) in enumerate(shapes.rough(fit)):
        plain = inner == "x" and front == "1"  # whose grids are drawn in however coarse they are
        if share < math.inf and (k < ZOOMED or plain):
            axes = shapes.axes(name, inner)
            looked = looked_at(shapes, fit, name, inner, front)
            once.append((zoomed(looked, axes, at, 1), looked, name, inner, front))
    once.sort(key=lambda item: item[0][0])
    found = []
    for (_, at, axes), looked, name, inner, front in once[:drawn]:
        share, at, _ = zoomed(looked, axes, at, ZOOMS - 1)
        found.append(curve_at(shapes, fit, name, inner, front, share, at))
    return sorted(found, key=lambda curve: _rank(curve.share, curve.expr))


def looked_at(shapes: Shapes, fit: Projector, name: str, inner: str, front: str):
    return lambda places: _shares(fit, shapes.fronts[front] * _values(name, shapes.inners[inner], places))


def _values(name: str, t: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Values (K, n) of a curve at places of its grid; of a wave its sine and its cosine (2, K, n)."""
    constants = [column[:, None] for column in places.T]
    if name == "wave":
        return np.stack([np.sin(constants[0] * t), np.cos(constants[0] * t)])
    values = CURVES[name][0].values(t, *constants)
    return values if values.shape == (len(places), len(t)) else np.broadcast_to(values, (len(places), len(t)))


def _shares(fit: Projector, values: np.ndarray) -> np.ndarray:
    return fit.pair_shares(*values)[0] if values.ndim == 3 else fit.shares(values)


def curve_at(shapes: Shapes, fit: Projector, name: str, inner: str, front: str, share: float, at: np.ndarray) -> Curve:
    """The curve with the constants of one place."""
    family, t, w = CURVES[name][0], shapes.inners[inner], shapes.fronts[front]
    constants = at.tolist()
    if name == "wave":
        constants.append(float(fit.pair_shares(*(w * _values(name, t, at[None])))[1][0]))
    body = family.spelled(fill(tuple(INNERS[inner].split()), X), *constants)
    return Curve(share, _fronted(fill(tuple(FRONTS[front].split()), X), body), w * family.values(t, *constants))


def _fronted(front: Base, body: Base) -> Base:
    if front[0] == "1.0":
        return body
    if front[0] == "inv":
        return ("/", *body, *front[1:])
    return ("/", *front, *body[1:]) if body[0] == "inv" else ("*", *front, *body)


# ---- laws -------------------------------------------------------------------------------------


def curves(
    x: np.ndarray,
    y: np.ndarray,
    weights: np.ndarray | None = None,
    floor: float = 0.0,
    count: int = COUNT,
    second: bool = True,
) -> list[tuple[float, Base]]:
    """(share of the spread left, law in x1 with literals) of the best curves, of one term and (if asked) of two.

    `floor` is the share below which nothing can be told apart: of laws at the floor the shortest come first.
    """
    found = list(islice(stages(x, y, weights, floor, count), 2 if second else 1))
    return found[-1] if found else []


def stages(
    x: np.ndarray, y: np.ndarray, weights: np.ndarray | None = None, floor: float = 0.0, count: int = COUNT
) -> Iterator[list[tuple[float, Base]]]:
    """What curves() gives: with one term, then, unless those are exact or the rows are few, with one and two."""
    if len(x) > ROWS:
        rows = np.argsort(x, kind="stable")[np.unique(np.linspace(0, len(x) - 1, ROWS).astype(int))]
        x, y, weights = x[rows], y[rows], None if weights is None else weights[rows]
    if len(x) < MIN_ROWS or not np.ptp(x) > 0 or not np.ptp(y) > 0:
        return
    problem = Problem(X=np.ascontiguousarray(x[:, None]), y=y, names=["x1"], weights=weights)
    shapes = Shapes(x)
    ones = single(shapes, projector(problem))
    laws = _polished(problem, [[curve] for curve in ones[:count]], floor)
    yield _best(laws, floor, count)
    if len(x) >= 2 * MIN_ROWS and laws and laws[0][0] > max(floor, EXACT):
        twos = []
        for known in [*([curve] for curve in ones[:SECOND]), *_beginnings(x)]:
            others = single(shapes, projector(problem, known), DRAWN_BESIDE)
            twos += [[*known, other] for other in others[: max(2, count // 4)]]
        laws += _polished(problem, twos, floor)
        for terms in (_two_decays(problem), _two_powers(problem), _both_ways(problem)):
            laws += _polished(problem, [terms], floor) if terms else []
        yield _best(laws, floor, count)


def _best(laws: list[tuple[float, Base]], floor: float, count: int) -> list[tuple[float, Base]]:
    kept: dict[Base, float] = {}
    for share, law in sorted(laws, key=lambda item: _rank(*item, floor)):
        kept.setdefault(law, share)
    return [(share, law) for law, share in kept.items()][:count]


def projector(problem: Problem, known: Sequence[Curve] = ()) -> Projector:
    """What fits a problem's y by a constant, known curves and one more."""
    ones = np.ones(len(problem.y))
    return Projector([ones, *(curve.values for curve in known)], problem.y / scale_of(problem.y), problem.weights)


def _polished(problem: Problem, sums: list[list[Curve]], floor: float) -> list[tuple[float, Base]]:
    """(share left, law) of sums of curves, the leaders' constants polished; best first."""
    laws = dict.fromkeys(law for law in (law_of(problem, terms) for terms in sums) if law)
    found = Polisher(problem)(measured(problem, laws, "curves"), POLISHED, HOPEFUL)
    scored = [(c.fvu, _trimmed(tuple(bind(c.expr, c.consts)), scale_of(problem.y))) for c in found]
    return sorted(scored, key=lambda item: _rank(*item, floor))


def law_of(problem: Problem, terms: list[Curve]) -> Base:
    """a + b curve + ... by least squares, () where terms cancel; an offset of nothing is left out."""
    x, y = problem.X[:, 0], problem.y / scale_of(problem.y)
    w = None if problem.weights is None else np.sqrt(problem.weights)
    columns = [np.ones(len(x)), *(curve.values for curve in terms)]
    if not np.isfinite(columns).all():
        return ()
    c, left = coefficients(columns, y, w)
    if max(abs(value) * np.abs(v).max() for value, v in zip(c, columns)) > CANCELLING:
        return ()
    # What the offset is for must show against what is left, and against rounding.
    share = c[0] ** 2 * len(y) / float(y @ y)
    offset = float(c[0]) if share > max(1e-14, 0.01 * left) else 0.0
    return summed(c[1:] * scale_of(problem.y), [curve.expr for curve in terms], offset * scale_of(problem.y))


def _trimmed(law: Base, size: float) -> Base:
    """Without a last summand that is rounding."""
    if law[0] in "+-":
        at = children(list(law))[1]
        if len(law) == at + 1 and abs(literal_value(law[at]) or size) < ROUNDING * size:
            return law[1:at]
    return law


def _beginnings(x: np.ndarray) -> Iterator[list[Curve]]:
    """First terms that leave the rest of a sum to be seen: a line, a parabola."""
    line, square = Curve(1.0, X, x), Curve(1.0, ("pow2", *X), x * x)
    yield [line]
    yield [line, square]


def _two_decays(problem: Problem) -> list[Curve]:
    """The best pair of exponentials of a grid: neither is seen while the other's rate is a little off."""
    x, family = problem.X[:, 0], CURVES["exp"][0]
    grid = family.grid(x)
    E = np.exp(np.minimum(grid * x, 300.0))
    i, j = np.triu_indices(len(E), 1)
    at = int(np.argmin(projector(problem).pair_shares(E[i], E[j])[0]))
    return [Curve(1.0, family.spelled(X, *grid[k]), E[k]) for k in (i[at], j[at])]


def _two_powers(problem: Problem) -> list[Curve]:
    """The best pair of whole powers, as of attraction and repulsion: next to a constant neither says much alone."""
    x = problem.X[:, 0]
    if not (x > 0).all():
        return []
    powers = [n for n in EXPONENTS if n]
    E = np.stack([(x / x.max() if n > 0 else x / x.min()) ** n for n in powers])
    i, j = np.triu_indices(len(E), 1)
    at = int(np.argmin(projector(problem).pair_shares(E[i], E[j])[0]))
    return [Curve(1.0, powered(X, Fraction(powers[k])), E[k]) for k in (i[at], j[at])]


def _both_ways(problem: Problem) -> list[Curve]:
    """cosh or sinh of k (x - c), of one rate both ways: heat along a rod, diffusion with loss."""
    x = problem.X[:, 0] - float(problem.X[:, 0].mean())
    k = np.geomspace(0.3, 20.0, 40)[:, None] / float(np.ptp(x))
    up, down = np.exp(k * x), np.exp(-k * x)
    at = int(np.argmin(projector(problem).pair_shares(up, down)[0]))
    (_, a, b), _ = coefficients([np.ones(len(x)), up[at], down[at]], problem.y / scale_of(problem.y), None)
    if not a * b or not math.isfinite(a * b):
        return []
    rate = float(k[at, 0])
    c = 0.5 * math.log(abs(b / a)) / rate  # a e^(kx) + b e^(-kx) = A (e^(k (x - c)) +- e^(-k (x - c)))
    name, values = ("cosh", np.cosh) if a * b > 0 else ("sinh", np.sinh)
    centre = c + float(problem.X[:, 0].mean())
    expr = (name, "*", repr(rate), "-", *X, repr(centre))
    return [Curve(1.0, expr, values(rate * (x - c)))]


def _rank(share: float, law: Base, floor: float = 0.0) -> float:
    return math.log10(max(share, floor, 1e-26)) + TOKEN * len(law)


def propose(problem: Problem, budget: Budget, rng: np.random.Generator, pool=None) -> Iterator[list]:
    """Candidates of one column, polished; FVUs on the problem's rows (thinned to some thousands).  Bounded by counts."""
    problem = thinned(problem, rng)
    columns = [j for j in range(problem.X.shape[1]) if np.ptp(problem.X[:, j]) > 0]
    if len(columns) != 1 or len(problem.y) < MIN_ROWS or not np.ptp(problem.y) > 0:
        return
    j = columns[0]

    def batches() -> Iterator[list[Base]]:
        for found in stages(problem.X[:, j], problem.y, problem.weights):
            yield [tuple(f"x{j + 1}" if token == "x1" else token for token in law) for _, law in found]

    yield from proposals(problem, "curves", batches(), budget, COUNT, 8.0, EXACT)
