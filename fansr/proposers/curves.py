"""Laws of one column: y = a + b * w(x) * g(k t(x) + m), the curves of textbooks; a proposer, and the one-column half of separable.py.

w is a simple power in front, t a simple function of the column and g a function; a and b follow by linear regression for
every (k, m) of a grid, all grid points at once, and the grid is drawn in around the best.  Saturation and Hill curves are
1 / (t + m) and the logistic function of log x, growth is the logistic or the exponential, decays, peaks, waves and roots are
there under their own names.  A second term may be added to the first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from fansr.expressions import CONSTANT, bind, children, free, literal_value
from fansr.fitting import Budget, Problem
from fansr.proposers.parts.assembly import Base, Polisher, measured, times
from fansr.proposers.parts.terms import thinned
from fansr.proposers.power import scale_of

ROWS = 160  # points the grids look at
MIN_ROWS = 5
ZOOMS, ZOOM_POINTS = 4, 9  # rounds of drawing a grid in, and its points on each axis
ZOOMED = 30  # curves whose grids are drawn in
COARSE = 10.0  # how much better a grid in two unknowns is sure to become, in the order of who is drawn in
POLISHED = 8  # laws whose constants are polished
SECOND = 3  # curves that get a second term
COUNT = 12  # laws given
CANCELLING = 1e3  # times the target's size a term may be: where larger ones cancel, a series is meant and no law
TOKEN = 0.05  # equation 3's price of a token, in decades of FVU


class Inner(NamedTuple):
    """t(x) with its expression; `defined` says for which x."""

    expr: Base
    value: Callable
    defined: Callable


X = ("x1",)
INNERS = {
    "x": Inner(X, lambda x: x, lambda x: True),
    "x2": Inner(("pow2", *X), lambda x: x * x, lambda x: True),
    "x3": Inner(("pow3", *X), lambda x: x**3, lambda x: True),
    "x4": Inner(("pow4", *X), lambda x: x**4, lambda x: True),
    "1/x": Inner(("inv", *X), lambda x: 1 / x, lambda x: (x != 0).all()),
    "1/x2": Inner(("inv", "pow2", *X), lambda x: x**-2.0, lambda x: (x != 0).all()),
    "root": Inner(("pow1_2", *X), np.sqrt, lambda x: x.min() >= 0),
    "log": Inner(("log", *X), np.log, lambda x: x.min() > 0),
    "exp": Inner(("exp", *X), np.exp, lambda x: np.abs(x).max() < 50),
    "sin": Inner(("sin", *X), np.sin, lambda x: True),
    "cos": Inner(("cos", *X), np.cos, lambda x: True),
}
POWERS = ("x", "x2", "x3", "1/x", "1/x2")  # times x they are powers again
FRONTS = {
    "1": None,
    "x": X,
    "1/x": ("inv", *X),
    "x2": ("pow2", *X),
    "x3": ("pow3", *X),
    "root": ("pow1_2", *X),
    "sin": ("sin", *X),
    "cos": ("cos", *X),
}


class Outer(NamedTuple):
    """g(k t + m) on a grid: `values(t, k, m)` with axes (grid, M), `grid(t)` its points (G, 2), `spell(inner, k, m)`."""

    values: Callable
    grid: Callable
    spell: Callable
    inners: tuple[str, ...]
    fronts: tuple[str, ...] = ("1",)


def _rates(t: np.ndarray, count: int = 14, signs=(1.0, -1.0)) -> np.ndarray:
    """Values of k that make k t range over 0.05 to 30."""
    steps = np.geomspace(0.05, 30.0, count) / float(np.ptp(t))
    return np.concatenate([s * steps for s in signs])


def _rates_only(t):
    k = _rates(t)
    return np.column_stack([k, np.zeros_like(k)])


def _positive_rates(t):
    k = _rates(t, 20, (1.0,))
    return np.column_stack([k, np.zeros_like(k)])


def _shifts(t):
    """(1, m) that keep t + m on one side of 0, from very near to far."""
    span = float(np.ptp(t))
    steps = span * np.geomspace(1e-3, 1e2, 18)
    above, below = -float(t.min()) + steps, -float(t.max()) - steps
    # m > 0 by itself, whatever lies below the table: 1 / (x + m) with x from 5 to 9.
    m = np.concatenate([above, below])
    return np.column_stack([np.ones_like(m), m])


def _shifts_above(t):
    grid = _shifts(t)
    return grid[: len(grid) // 2]


def _centred(t):
    """(k, m) of steps and peaks: centres across the table, widths from a tenth of it to several times."""
    span = float(np.ptp(t))
    centres = float(t.min()) + span * np.linspace(-0.3, 1.3, 13)
    k = np.geomspace(0.6, 40.0, 9) / span
    return np.array([(rate, -rate * centre) for rate in k for centre in centres])


def _falling(t):
    return -_centred(t)


def _turns(t):
    """k of waves: from a sixth of a turn over the table to as many turns as its points can show."""
    most = min(40.0, len(t) / 5)
    k = (
        2
        * np.pi
        * np.unique(np.concatenate([np.geomspace(0.15, 2.0, 14), np.arange(2.0, most, 0.2)]))
        / float(np.ptp(t))
    )
    return np.column_stack([k, np.zeros_like(k)])


def _number(value: float) -> Base:
    return (repr(float(value)),)


def _linear(inner: Base, k: float, m: float) -> Base:
    """k * inner + m."""
    scaled = times(k, inner)
    return ("+", *scaled, *_number(m)) if m > 0 else ("-", *scaled, *_number(-m)) if m else scaled


def _argument(t, k, m):
    return k[:, None] * t + m[:, None]  # (G, M)


def _named(function, token: str):
    """values and spelling of a function of Table 5."""
    return (lambda t, k, m: function(_argument(t, k, m))), (lambda inner, k, m: (token, *_linear(inner, k, m)))


def _power_spelled(inner: Base, k: float, m: float) -> Base:
    """exp(k log x) is x^k."""
    return ("pow", *X, *_number(k)) if inner[0] == "log" else ("exp", *times(k, inner))


def _logistic_spelled(inner: Base, k: float, m: float) -> Base:
    """1 / (1 + exp(-(k t + m))); over log x the Hill form 1 / (1 + (K/x)^k)."""
    if inner[0] == "log":
        return ("inv", "+", "1.0", "pow", "/", *_number(math.exp(min(300.0, -m / k))), *X, *_number(k))
    return ("inv", "+", "1.0", "exp", *_linear(inner, -k, -m))


def _outers() -> dict[str, Outer]:
    exp = lambda t, k, m: np.exp(np.minimum(_argument(t, k, m), 300.0))  # noqa: E731
    tanh, tanh_spelled = _named(np.tanh, "tanh")
    atan, atan_spelled = _named(np.arctan, "atan")
    log, log_spelled = _named(np.log, "log")
    root, root_spelled = _named(np.sqrt, "pow1_2")
    tan, tan_spelled = _named(np.tan, "tan")
    sin, sin_spelled = _named(np.sin, "sin")
    cosh, cosh_spelled = _named(np.cosh, "cosh")
    inv = lambda t, k, m: 1 / _argument(t, k, m)  # noqa: E731
    gompertz = lambda t, k, m: np.exp(-exp(t, k, m))  # noqa: E731
    gompertz_spelled = lambda inner, k, m: ("exp", "neg", "exp", *_linear(inner, k, m))  # noqa: E731
    plain = ("x", "x2", "1/x", "root")
    return {
        "power": Outer(
            lambda t, k, m: np.broadcast_to(t, (len(k), len(t))),
            lambda t: np.array([[1.0, 0.0]]),
            lambda inner, k, m: inner,
            tuple(INNERS),
            ("1", "x", "sin", "cos"),
        ),
        "exp": Outer(
            exp,
            _rates_only,
            _power_spelled,
            (*plain, "log", "x3", "1/x2", "cos", "sin"),
            ("1", "x", "1/x", "x2", "x3", "root"),
        ),
        "inv": Outer(
            inv,
            _shifts,
            lambda inner, k, m: ("inv", *_linear(inner, 1.0, m)),
            ("x", "x2", "x3", "x4", "root", "exp", "sin", "cos", "log"),
            ("1", "x", "x2"),
        ),
        "inv2": Outer(
            lambda t, k, m: inv(t, k, m) ** 2,
            _shifts,
            lambda inner, k, m: ("inv", "pow2", *_linear(inner, 1.0, m)),
            ("x", "x2"),
            ("1", "x"),
        ),
        "log": Outer(log, _shifts_above, log_spelled, ("x", "x2", "x3", "exp", "cos"), ("1", "x")),
        "root": Outer(root, _shifts_above, root_spelled, ("x", "x2", "x3", "x4", "1/x", "1/x2", "exp"), ("1", "x")),
        "wave": Outer(sin, _turns, sin_spelled, ("x", "x2", "x3", "1/x", "root"), ("1", "x", "1/x", "sin", "cos")),
        "tanh": Outer(tanh, _centred, tanh_spelled, ("x", "log")),
        "logistic": Outer(lambda t, k, m: 1 / (1 + exp(t, -k, -m)), _centred, _logistic_spelled, ("x", "log")),
        "atan": Outer(atan, _centred, atan_spelled, ("x",)),
        "bell": Outer(
            lambda t, k, m: np.exp(-(_argument(t, k, m) ** 2)),
            _centred,
            lambda inner, k, m: ("exp", "neg", "pow2", *_linear(inner, k, m)),
            ("x", "log"),
        ),
        "peak": Outer(
            lambda t, k, m: 1 / (1 + _argument(t, k, m) ** 2),
            _centred,
            lambda inner, k, m: ("inv", "+", "1.0", "pow2", *_linear(inner, k, m)),
            ("x",),
        ),
        "gompertz": Outer(gompertz, _falling, gompertz_spelled, ("x",)),
        "early": Outer(gompertz, _centred, gompertz_spelled, ("x",)),
        "tan": Outer(tan, _positive_rates, tan_spelled, ("x",)),
        "odd": Outer(tanh, _positive_rates, tanh_spelled, ("x", "x2", "root", "x3"), ("1", "x", "1/x")),
        "cot": Outer(
            lambda t, k, m: 1 / tan(t, k, m),
            _positive_rates,
            lambda inner, k, m: ("inv", *tan_spelled(inner, k, m)),
            ("x",),
        ),
        "cosh": Outer(cosh, _positive_rates, cosh_spelled, ("x",)),
    }


OUTERS = _outers()


class Curve(NamedTuple):
    """One curve fitted: `share` of the spread left, its names, (k, m), its values and its expression without a and b."""

    share: float
    names: tuple[str, str, str]
    k: float
    m: float
    values: np.ndarray
    expr: Base


# ---- the fit ----------------------------------------------------------------------------------


class Fitter:
    """Regressions of one target on a constant, known terms and one more column, for many columns at once."""

    def __init__(
        self, x: np.ndarray, y: np.ndarray, weights: np.ndarray | None = None, known: list[np.ndarray] | None = None
    ):
        self.x, self.w = x, np.sqrt(weights / weights.mean()) if weights is not None else np.ones(len(x))
        A = np.column_stack([self.w, *(v * self.w for v in known or [])])
        self.Q, _ = np.linalg.qr(A)
        t = y * self.w
        self.whole = float(np.sum((t - self.w * (self.w @ t) / (self.w @ self.w)) ** 2)) or 1.0
        self.t = t - self.Q @ (self.Q.T @ t)

    @np.errstate(all="ignore")
    def shares(self, F: np.ndarray) -> np.ndarray:
        """Share of the spread that stays unexplained with each row of F (G, M) as one more column; inf where not finite."""
        F = F * self.w
        size = np.abs(F).max(axis=1, keepdims=True)
        F = F / np.where(size > 0, size, 1.0)
        before = np.einsum("gm,gm->g", F, F)
        F = F - (F @ self.Q) @ self.Q.T
        norm = np.einsum("gm,gm->g", F, F)
        gain = (F @ self.t) ** 2 / norm
        left = (self.t @ self.t - gain) / self.whole
        return np.where(np.isfinite(left) & (norm > 1e-14 * before), np.maximum(left, 0.0), math.inf)

    @np.errstate(all="ignore")
    def pair_shares(self, S: np.ndarray, C: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The same with two columns a row, sine and cosine; also the phase of the wave that is fitted."""
        S, C = S * self.w, C * self.w
        S, C = S - (S @ self.Q) @ self.Q.T, C - (C @ self.Q) @ self.Q.T
        ss, cc, sc = (np.einsum("gm,gm->g", a, b) for a, b in ((S, S), (C, C), (S, C)))
        ts, tc = S @ self.t, C @ self.t
        det = ss * cc - sc * sc
        a, b = (ts * cc - tc * sc) / det, (tc * ss - ts * sc) / det
        left = (self.t @ self.t - a * ts - b * tc) / self.whole
        fine = np.isfinite(left) & (det > 1e-10 * ss * cc)
        return np.where(fine, np.maximum(left, 0.0), math.inf), np.arctan2(b, a)


def single(fit: Fitter) -> list[Curve]:
    """Every curve at the best point of its grid, the leaders' grids drawn in; best first by FVU and length."""
    x = fit.x
    inners = {name: inner.value(x) for name, inner in INNERS.items() if inner.defined(x)}
    fronts = {"1": np.ones_like(x), "x": x, "x2": x * x, "x3": x**3, "sin": np.sin(x), "cos": np.cos(x)}
    if (x != 0).all():
        fronts["1/x"] = 1 / x
    if x.min() >= 0:
        fronts["root"] = np.sqrt(x)
    rough = []
    for name, outer in OUTERS.items():
        for inner in outer.inners:
            if inner in inners and np.ptp(inners[inner]) > 0:
                grid = outer.grid(inners[inner])
                rough += [
                    (*_best(fit, name, inners[inner], fronts[front], grid), name, inner, front)
                    for front in outer.fronts
                    if front in fronts and not (name == "power" and front != "1" and inner in POWERS)
                ]
    rough.sort(key=lambda r: r[0] / (COARSE if OUTERS[r[3]].grid in (_centred, _falling) else 1.0))
    found = []
    for share, k, m, name, inner, front in rough[:ZOOMED]:
        if share < math.inf:
            found.append(_drawn_in(fit, name, inner, front, inners[inner], fronts[front], share, k, m))
    return sorted(found, key=_score)


def _score(curve: Curve) -> float:
    return math.log10(max(curve.share, 1e-26)) + TOKEN * len(curve.expr)


@np.errstate(all="ignore")
def _best(fit: Fitter, name: str, t: np.ndarray, w: np.ndarray, grid: np.ndarray) -> tuple[float, float, float]:
    """(share, k, m) of the best grid point; a wave's phase is m."""
    k, m = grid[:, 0], grid[:, 1]
    if name == "wave":
        shares, m = fit.pair_shares(w * np.sin(_argument(t, k, 0 * k)), w * np.cos(_argument(t, k, 0 * k)))
    else:
        shares = fit.shares(w * OUTERS[name].values(t, k, m))
    at = int(np.argmin(shares))
    return float(shares[at]), float(k[at]), float(m[at])


def _drawn_in(fit: Fitter, name, inner, front, t, w, share: float, k: float, m: float) -> Curve:
    """The curve after its grid was drawn in around the best point some times."""
    grid = OUTERS[name].grid(t)
    moves = [len(np.unique(grid[:, axis])) > 1 for axis in (0, 1)]
    if name == "wave":
        moves = [True, False]
    spans = [
        _step(grid[:, 0], k),
        _step(grid[:, 1], m) if not (moves[0] and moves[1]) else abs(k) * float(np.ptp(t)) / 8,
    ]
    for _ in range(ZOOMS if any(moves) else 0):
        steps = np.linspace(-1, 1, ZOOM_POINTS)
        ks = k + spans[0] * steps if moves[0] else np.array([k])
        ms = m + spans[1] * steps if moves[1] else np.array([m])
        # With both moving, m keeps the centre where it is while k changes.
        points = np.array([(a, b + (a - k) * m / k if moves[0] and moves[1] else b) for a in ks for b in ms])
        better = _best(fit, name, t, w, points)
        if better[0] < share:
            share, k, m = better
        spans = [span * 2.5 / (ZOOM_POINTS - 1) for span in spans]
    values = w * (np.sin(k * t + m) if name == "wave" else OUTERS[name].values(t, np.array([k]), np.array([m]))[0])
    body = OUTERS[name].spell(INNERS[inner].expr, k, m)
    return Curve(share, (name, inner, front), k, m, values, _fronted(FRONTS[front], body))


def _step(axis: np.ndarray, at: float) -> float:
    """Distance from a grid value to its farther neighbour."""
    axis = np.unique(axis)
    i = int(np.searchsorted(axis, at))
    near = [abs(float(axis[j]) - at) for j in (i - 1, i + 1) if 0 <= j < len(axis)]
    return max(near, default=abs(at))


def _fronted(front: Base | None, body: Base) -> Base:
    if front is None:
        return body
    if front[0] == "inv":
        return ("/", *body, *front[1:])
    return ("/", *front, *body[1:]) if body[0] == "inv" else ("*", *front, *body)


# ---- laws -------------------------------------------------------------------------------------


@np.errstate(all="ignore")
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
    if len(x) > ROWS:
        rows = np.argsort(x, kind="stable")[np.unique(np.linspace(0, len(x) - 1, ROWS).astype(int))]
        x, y, weights = x[rows], y[rows], None if weights is None else weights[rows]
    if len(x) < MIN_ROWS or not np.ptp(x) > 0 or not np.ptp(y) > 0:
        return []
    size = scale_of(y)
    y = y / size
    polish = _Polish(x, y, weights)
    ones = single(Fitter(x, y, weights))
    laws = _polished([_law(x, y, weights, [curve]) for curve in ones[:count]], polish, floor)
    if second and len(x) >= 2 * MIN_ROWS and laws and laws[0][0] > max(floor, 1e-20):
        twos = []
        for known in [*([curve] for curve in ones[:SECOND]), *_beginnings(x)]:
            others = single(Fitter(x, y, weights, [curve.values for curve in known]))
            twos += [_law(x, y, weights, [*known, other]) for other in others[: max(2, count // 4)]]
        laws += _polished(twos, polish, floor) + _polished(
            [_law(x, y, weights, _two_decays(x, y, weights))], polish, floor
        )
    kept: dict[Base, float] = {}
    for share, law in sorted(laws, key=lambda item: _rank(*item, floor)):
        kept.setdefault(_scaled(law, size), share)
    return [(share, law) for law, share in kept.items()][:count]


def _polished(laws, polish, floor: float) -> list[tuple[float, Base]]:
    """The leading laws, polished; best first."""
    laws = sorted(((share, law) for share, law in laws if math.isfinite(share)), key=lambda item: _rank(*item, floor))
    laws = [polish(*item) if item[0] > 1e-20 else item for item in laws[:POLISHED]]
    return sorted(laws, key=lambda item: _rank(*item, floor))


def _beginnings(x) -> Iterator[list[Curve]]:
    """First terms that leave the rest of a sum to be seen: a line, a parabola."""
    line, square = (
        Curve(1.0, ("power", name, "1"), 1.0, 0.0, inner.value(x), inner.expr)
        for name, inner in (("x", INNERS["x"]), ("x2", INNERS["x2"]))
    )
    yield [line]
    yield [line, square]


def _two_decays(x, y, weights) -> list[Curve]:
    """The best pair of exponentials of a grid: neither is seen while the other's rate is a little off."""
    best = (math.inf, 1.0, 2.0)
    one = np.ones_like(x)
    for k in _rates(x, 10):
        fit = Fitter(x, y, weights, [np.exp(np.clip(k * x, -300.0, 300.0))])
        share, other, _ = _best(fit, "exp", x, one, _rates_only(x))
        best = min(best, (share, float(k), other))
    return [
        Curve(best[0], ("exp", "x", "1"), k, 0.0, np.exp(np.clip(k * x, -300.0, 300.0)), ("exp", *times(k, X)))
        for k in best[1:]
    ]


def _rank(share: float, law: Base, floor: float) -> float:
    return math.log10(max(share, floor, 1e-26)) + TOKEN * len(law)


class _Polish:
    """Polishes a law's constants on the curve's own rows."""

    def __init__(self, x, y, weights):
        from fansr.fitting import Refiner

        self.refiner = Refiner(np.ascontiguousarray(x[:, None]), y, restarts=1, weights=weights)

    def __call__(self, share: float, law: Base) -> tuple[float, Base]:
        expr, values = free(list(law))
        values = np.asarray(values)
        held = values == 1.0
        places = iter(zip(held, values))
        fixed = [
            ("1.0" if place[0] else CONSTANT) if token == CONSTANT and (place := next(places)) else token
            for token in expr
        ]
        if held.all() or (~held).sum() >= len(self.refiner.y):
            return share, law
        fvu, consts = self.refiner.polish(fixed, values[~held])
        return (float(fvu), _trimmed(tuple(bind(fixed, consts)))) if fvu < share else (share, law)


def _trimmed(law: Base) -> Base:
    """Without a last summand that is rounding; the curve's values are about 1."""
    if law[0] in "+-":
        at = children(list(law))[1]
        if len(law) == at + 1 and abs(literal_value(law[at]) or 1.0) < 1e-11:
            return law[1:at]
    return law


def _scaled(law: Base, size: float) -> Base:
    """size * law, the factor taken into the coefficients of its terms."""
    if law[0] in "+-":
        at = children(list(law))[1]
        return (law[0], *_scaled(law[1:at], size), *_scaled(law[at:], size))
    if law[0] in ("*", "/") and literal_value(law[1]) is not None:
        return (law[0], repr(literal_value(law[1]) * size), *law[2:])
    value = literal_value(law[0]) if len(law) == 1 else None
    return _number(value * size) if value is not None else times(size, law)


def _law(x, y, weights, terms: list[Curve]) -> tuple[float, Base]:
    """(share left, a + b curve + ...) by least squares; an offset of nothing is left out."""
    w = np.sqrt(weights / weights.mean()) if weights is not None else np.ones(len(x))
    A = np.column_stack([np.ones(len(x)), *(curve.values for curve in terms)])
    if not np.isfinite(A).all():
        return math.inf, ()
    sizes = np.abs(A).max(axis=0)
    c = np.linalg.lstsq(A / sizes * w[:, None], y * w, rcond=1e-13)[0] / sizes
    if np.abs(c * sizes).max() > CANCELLING * np.abs(y).max():
        return math.inf, ()
    r = (y - A @ c) * w
    t = (y - np.average(y, weights=w * w)) * w
    share = float(r @ r) / float(t @ t)
    law = times(c[1], terms[0].expr) if c[1] else terms[0].expr
    for value, curve in zip(c[2:], terms[1:]):
        law = ("-" if value < 0 else "+", *law, *times(abs(value), curve.expr)) if value else law
    rest = abs(c[0]) * np.linalg.norm(w)
    if rest > 1e-7 * float(np.linalg.norm(t)) and rest**2 > 0.01 * float(r @ r):
        law = ("-" if c[0] < 0 else "+", *law, *_number(abs(c[0])))
    return share, law


def propose(problem: Problem, budget: Budget, rng: np.random.Generator, pool=None) -> Iterator[list]:
    """Candidates of one column, polished; FVUs on the problem's rows (thinned to some thousands).  Bounded by counts."""
    problem = thinned(problem, rng)
    columns = [j for j in range(problem.X.shape[1]) if np.ptp(problem.X[:, j]) > 0]
    if len(columns) != 1 or len(problem.y) < MIN_ROWS or not np.ptp(problem.y) > 0:
        return
    j = columns[0]
    polish = Polisher(problem)
    for second in (False, True):
        if budget.over():
            return
        found = curves(problem.X[:, j], problem.y, problem.weights, second=second)
        laws = [tuple(f"x{j + 1}" if token == "x1" else token for token in law) for _, law in found]
        yield polish(measured(problem, laws, "curves"), COUNT, 8.0)
