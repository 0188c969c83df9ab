"""From a fitted candidate to a law fit to print: shorter, with round constants and honest digits.

Each step is a proposal that the data judge: a shorter form or a rounder constant is kept only where
the description length (rank.selection, and the code lengths below) says that nothing is lost.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from fansr.expr import drop_constants, end, from_tree, to_tree
from fansr.problem import Candidate
from fansr.tokens import ARITY, CONSTANT, literal_value, variable_index

NAMED = {"pi": math.pi, "e": math.e, "sqrt(2)": math.sqrt(2.0), "sqrt(3)": math.sqrt(3.0)}
# A round value must save this many nats: some chance value is always cheap enough to break even, and a
# wrong one costs the user more than a long decimal does.  At 3 about one generic constant in fifty is hit, at 1
# one in six, and on 1 % noise no more laws are recovered for it.
MARGIN = 3.0
# Multiples that laws carry besides plain numbers: 4 pi from solid angles, 2 pi from angles, sqrt(pi)
# and sqrt(2 pi) from Gaussian integrals, pi^2 from standing waves.  Code length in nats.
_FACTORS = [(1.0, 0.0)] + [
    (value, cost)
    for base, cost in ((math.pi, 1.5), (math.pi**2, 2.5), (math.sqrt(2.0), 2.0), (math.sqrt(3.0), 3.0),
                       (math.sqrt(math.pi), 3.0), (math.sqrt(2 * math.pi), 3.0), (math.e, 3.0), (math.log(2.0), 3.5))
    for value in (base, 1 / base)
]


# ---- algebra with known constants -------------------------------------------------------------


def absorb(expr: list[str], consts) -> tuple[list[str], list[float]]:
    """The same function with neutral and special constants written away.

    ``* 1 t`` becomes t, ``* 3 t`` mult3 t, ``pow t 2`` pow2 t, ``+ 0 t`` t, sums with a negative
    constant become differences, negations cancel; what holds no variable becomes one number.  Every
    rewrite is exact for all real arguments.  Never longer.  Returns skeleton and constants.
    """
    values = iter(float(c) for c in consts)

    def leaf(token):
        if token == CONSTANT:
            return next(values)
        value = None if token in ARITY else literal_value(token)
        return token if value is None else value

    def walk(node):
        if not isinstance(node, tuple):
            return leaf(node)
        kids = [walk(child) for child in node[1:]]
        return _rewrite(node[0], kids)

    return _emit(walk(to_tree(expr)))


def _emit(tree) -> tuple[list[str], list[float]]:
    consts: list[float] = []

    def walk(node):
        if isinstance(node, float):
            consts.append(node)
            return CONSTANT
        if isinstance(node, tuple):
            return (node[0], *[walk(child) for child in node[1:]])
        return node

    return from_tree(walk(tree)), consts


def _head(node) -> str:
    return node[0] if isinstance(node, tuple) else ""


def _rewrite(token: str, kids: list):
    """One node over finished operands; a float is a known constant."""
    if all(isinstance(kid, float) for kid in kids):
        value = _value(token, kids)
        if value is not None:
            return value
        return (token, *kids)
    if len(kids) == 1:
        return _rewrite_unary(token, kids[0])
    return {"+": _sum, "-": _difference, "*": _product, "/": _quotient, "pow": _power}[token](*kids)


def _value(token: str, kids: list[float]) -> float | None:
    from fansr.evaluate import evaluate

    expr = [token, *[repr(kid) for kid in kids]]
    value = float(evaluate(expr, np.zeros((1, 1)))[0])
    return value if math.isfinite(value) else None


def _rewrite_unary(token, a):
    head = _head(a)
    if token == "neg":
        if head == "neg":
            return a[1]
        if head == "-":
            return ("-", a[2], a[1])
        if head in "*/" and head and isinstance(a[1], float):
            return _rewrite(head, [-a[1], a[2]])
    elif token == "inv":
        if head == "inv":
            return a[1]
        if head == "/":
            return _rewrite("/", [a[2], a[1]])
        if head == "neg":
            return _rewrite_unary("neg", _rewrite_unary("inv", a[1]))
        if head == "*" and isinstance(a[1], float) and a[1] != 0:
            return _rewrite("/", [1 / a[1], a[2]])
    elif token in ("pow2", "pow4", "cos", "cosh", "abs") and head in ("neg", "abs"):
        return (token, a[1]) if head == "neg" or token != "abs" else a
    elif token[:4] == "mult" and head == "neg":
        return _rewrite_unary("neg", (token, a[1]))
    return (token, a)


def _sum(a, b):
    if isinstance(a, float):
        a, b = b, a
    if isinstance(b, float):
        if b == 0:
            return a
        if b < 0:
            return ("-", a, -b)
        return ("+", a, b)
    if _head(b) == "neg":
        return ("-", a, b[1])
    if _head(a) == "neg":
        return ("-", b, a[1])
    return ("+", a, b)


def _difference(a, b):
    if isinstance(b, float):
        return _sum(a, -b)
    if isinstance(a, float) and a == 0:
        return _rewrite_unary("neg", b)
    if _head(b) == "neg":
        return _sum(a, b[1])
    return ("-", a, b)


def _product(a, b):
    if isinstance(b, float):
        a, b = b, a
    if isinstance(a, float):
        return _scaled(a, b)
    for this, other in ((a, b), (b, a)):
        if _head(this) == "neg":
            return _rewrite_unary("neg", _product(this[1], other))
        if _head(this) in ("*", "/") and isinstance(this[1], float):
            return _scaled(this[1], _product(this[2], other) if this[0] == "*" else _quotient(other, this[2]))
    if _head(b) == "inv":
        return _quotient(a, b[1])
    if _head(a) == "inv":
        return _quotient(b, a[1])
    return ("*", a, b)


def _scaled(c: float, t):
    """c * t in the shortest tokens."""
    head = _head(t)
    if head in ("*", "/") and isinstance(t[1], float):
        return _scaled(c * t[1], t[2]) if head == "*" else ("/", c * t[1], t[2])
    if head == "neg":
        return _scaled(-c, t[1])
    if head[:4] == "mult":
        return _scaled(c * int(head[4:]), t[1])
    if head[:3] == "div":
        return _scaled(c / int(head[3:]), t[1])
    if head == "inv" and c != 1:
        return ("/", c, t[1])
    if c == 1:
        return t
    if c == -1:
        return _rewrite_unary("neg", t)
    if c == 0:
        return 0.0
    for k in (2, 3, 4, 5):
        for name, value in ((f"mult{k}", float(k)), (f"div{k}", 1.0 / k)):
            if abs(c) == value:
                return (name, t) if c > 0 else _rewrite_unary("neg", (name, t))
    return ("*", c, t)


def _quotient(a, b):
    if isinstance(b, float):
        return _scaled(1 / b, a) if b != 0 else ("/", a, b)
    if _head(b) == "neg":
        return _rewrite_unary("neg", _quotient(a, b[1]))
    if _head(b) in ("*", "/") and isinstance(b[1], float) and b[1] != 0:
        rest = _quotient(a, b[2]) if b[0] == "*" else _product(a, b[2])
        return _scaled(1 / b[1], rest)
    if isinstance(a, float):
        return _rewrite_unary("inv", b) if a == 1 else ("/", a, b)
    if _head(a) == "neg":
        return _rewrite_unary("neg", _quotient(a[1], b))
    if _head(a) in ("*", "/") and isinstance(a[1], float):
        return _scaled(a[1], _quotient(a[2], b) if a[0] == "*" else _rewrite_unary("inv", _product(a[2], b)))
    if _head(b) == "inv":
        return _product(a, b[1])
    return ("/", a, b)


_POWERS = {1.0: (), 2.0: ("pow2",), 3.0: ("pow3",), 4.0: ("pow4",), 5.0: ("pow5",), 6.0: ("pow2", "pow3"),
           8.0: ("pow2", "pow4"), 9.0: ("pow3", "pow3"), 0.5: ("pow1_2",), 0.25: ("pow1_4",), 1.5: ("pow3", "pow1_2"),
           2.5: ("pow5", "pow1_2"), 0.75: ("pow3", "pow1_4"), 1.25: ("pow5", "pow1_4")}


def _power(a, b):
    if isinstance(b, float):
        chain = _POWERS.get(abs(b))
        if chain is not None:
            tree = a
            for token in reversed(chain):
                tree = (token, tree)
            return tree if b > 0 else _rewrite_unary("inv", tree)
    if isinstance(a, float) and a == math.e:
        return ("exp", b)
    return ("pow", a, b)


# ---- constants --------------------------------------------------------------------------------


def standard_errors(expr, consts, X, y, fvu: float, floor: float, weights=None) -> np.ndarray:
    """Standard errors (C,) of fitted constants from the Jacobian at the optimum.

    sigma^2 is the residual sum over M - C, at least what rounding of y (floor) leaves; a direction
    the data do not determine gives infinity.
    """
    from fansr.evaluate import value_and_jacobian

    C, M = len(consts), len(y)
    if C == 0:
        return np.zeros(0)
    scale = float(np.abs(y).max()) or 1.0
    total = max(fvu, floor) * float(np.var(y / scale)) * M  # in units of scale^2, which may be no float itself
    sigma2 = total / max(1, M - C)
    with np.errstate(all="ignore"):
        _, J = value_and_jacobian(expr, X, np.asarray(consts, dtype=np.float64))
        J = J / scale
        if weights is not None:
            J = J * np.sqrt(weights)
        size = np.abs(J).max(axis=1, initial=0.0)
        norms = size * np.sqrt(((J / np.where(size > 0, size, 1.0)[:, None]) ** 2).sum(1))
        if not np.isfinite(norms).all() or (norms == 0).any():
            return np.full(C, np.inf)
        unit = J / norms[:, None]
        values, vectors = np.linalg.eigh(unit @ unit.T)
        inverse = (vectors**2 / np.maximum(values, 1e-15)).sum(1)
        return np.sqrt(sigma2 * inverse) / norms


def _integer_nats(n: int) -> float:
    """Code length of a whole number: 2 log2 n + 1 bits, the Elias gamma code."""
    return (2 * math.log2(max(1, abs(n))) + 1) * math.log(2.0)


def simple_values(c: float, tolerance: float, physics: bool = False) -> list[tuple[float, float]]:
    """(value, nats) of round numbers within `tolerance` of c, cheapest first.

    Whole numbers, fractions p/q with q <= 64, short decimals, and those times a few constants of
    mathematics; with `physics` also CODATA values times powers of ten.  0 costs one nat.
    """
    found: dict[float, float] = {}

    def offer(value: float, nats: float):
        if abs(value - c) <= tolerance and nats < found.get(value, math.inf):
            found[value] = nats

    if abs(c) <= tolerance:
        offer(0.0, 1.0)
    sign = math.copysign(1.0, c)
    size = abs(c)
    for factor, cost in _FACTORS:
        part = size / factor
        for value, nats in _rationals(part, tolerance / factor):
            offer(sign * value * factor, nats + cost)
    for value, nats in _decimals(size, tolerance):
        offer(sign * value, nats)
    if physics:
        for value, nats in _physical(size, tolerance):
            offer(sign * value, nats)
    return sorted(found.items(), key=lambda item: item[1])


def _rationals(value: float, tolerance: float):
    if not 1e-4 < value < 1e7:
        return
    seen = set()
    for q in (1, 2, 3, 4, 5, 6, 8, 9, 10, 12, 15, 16, 20, 24, 25, 27, 30, 32, 36, 45, 48, 50, 60, 64):
        p = round(value * q)
        if p > 0 and abs(p / q - value) <= tolerance:
            fraction = Fraction(p, q)
            if fraction not in seen:
                seen.add(fraction)
                yield float(fraction), _integer_nats(fraction.numerator) + _integer_nats(fraction.denominator)


def _decimals(value: float, tolerance: float):
    if value <= 0 or not math.isfinite(value):
        return
    exponent = math.floor(math.log10(value))
    for digits in range(1, 13):
        rounded = float(f"{value:.{digits - 1}e}")
        if abs(rounded - value) <= tolerance:
            # The exponent counts as a small whole number; each digit is one of ten.
            yield rounded, digits * math.log(10.0) + _integer_nats(abs(exponent) + 1)
            if digits > 6:
                return


def _physical(value: float, tolerance: float):
    from scipy import constants as codata

    for name in ("speed of light in vacuum", "Planck constant", "reduced Planck constant", "elementary charge",
                 "Boltzmann constant", "Newtonian constant of gravitation", "electron mass", "proton mass",
                 "Avogadro constant", "molar gas constant", "vacuum electric permittivity", "vacuum mag. permeability",
                 "Stefan-Boltzmann constant", "Rydberg constant", "Bohr radius", "fine-structure constant",
                 "standard acceleration of gravity"):
        c, uncertainty = codata.value(name), codata.precision(name)
        for p in (1, 2, 4):
            for factor, cost in _FACTORS[:3]:
                for top in (1.0, -1.0):
                    known = (c * p * factor) ** top
                    if abs(known - value) <= tolerance + uncertainty * known:
                        yield known, 4.0 + cost + _integer_nats(p)


def real_nats(c: float, error: float) -> float:
    """Code length of a fitted constant kept to its standard error: log(|c| / error) and a nat for the sign and size."""
    if not error < math.inf or error <= 0:
        return 36.0
    return min(36.0, max(0.0, math.log(abs(c) / error) if c else 0.0) + 1.0)


def snap(candidate: Candidate, fitter, floor: float, physics: bool = False, tokens: float = 1.5) -> Candidate:
    """Replace constants by round values wherever that is the shorter description of the data.

    fitter: a refine.Refiner over the data.  One constant at a time, the one with the largest gain
    first; the others are fitted again each time.  A value is taken when the loss of fit,
    (RSS' - RSS) / (2 sigma^2) nats with sigma^2 the residual variance, is less than what its shorter
    code saves.  Literals that stay are constants again in the result, with their exact values.
    """
    X, y, weights = fitter.columns.T, fitter.y, (fitter.sw * fitter.scale) ** 2
    expr, consts, fvu = list(candidate.expr), np.asarray(candidate.consts, dtype=np.float64), candidate.fvu
    M = len(y)
    sigma2 = max(fvu, floor) / max(1, M - len(consts))  # in units of the total sum of squares
    refused: set[tuple[int, float]] = set()
    for _ in range(4 * len(consts) + 4):
        errors = standard_errors(expr, consts, X, y, fvu, floor, weights)
        options = []
        for k, (c, error) in enumerate(zip(consts, errors)):
            reach = max(4 * error, 4e-15 * abs(c)) if error < math.inf else 0.0
            for value, nats in simple_values(float(c), reach, physics)[:6]:
                gain = real_nats(float(c), float(error)) - nats
                shorter = _shortened(expr, consts, k, value)
                gain += tokens * shorter - 0.5 * ((value - c) / max(error, 1e-300)) ** 2
                if gain > (MARGIN if value else 0.0) and (_place(expr, k), value) not in refused:
                    options.append((gain, k, value))
        taken = False
        for _gain, k, value in sorted(options, reverse=True)[:8]:
            at = _place(expr, k)
            trial = [*expr[:at], repr(value), *expr[at + 1:]]
            start = np.delete(consts, k)
            new_fvu, new_consts = fitter.polish(trial, start)
            loss = 0.5 * (max(new_fvu, floor) - max(fvu, floor)) / sigma2
            saved = real_nats(float(consts[k]), float(errors[k])) - _cost_of(value, float(consts[k]), physics)
            saved += tokens * _shortened(expr, consts, k, value)
            if new_fvu < math.inf and loss < saved - (MARGIN if value else 0.0):
                expr, consts, fvu, taken = trial, np.asarray(new_consts, dtype=np.float64), new_fvu, True
                break
            refused.add((at, value))
        if not taken:
            break
    return _finished(candidate, expr, consts, fvu, fitter)


def _cost_of(value: float, c: float, physics: bool) -> float:
    for simple, nats in simple_values(value, 1e-15 * abs(value), physics):
        if simple == value:
            return nats
    return 1.0 if value == 0 else 36.0


def _place(expr: list[str], k: int) -> int:
    """Position of the k-th free constant."""
    return [i for i, token in enumerate(expr) if token == CONSTANT][k]


def _shortened(expr, consts, k: int, value: float) -> int:
    """Tokens saved by writing the expression with its k-th constant at `value`."""
    values = [float(c) for c in consts]
    before = len(absorb(expr, values)[0])
    values[k] = value
    return before - len(absorb(expr, values)[0])


def _finished(candidate, expr, consts, fvu, fitter) -> Candidate:
    """Literals become constants with exact values, neutral ones vanish; the FVU is that of the result."""
    short, values = absorb(expr, consts)
    new_fvu = fitter.fvu(short, values)
    if not new_fvu <= fvu * (1 + 1e-6) + 1e-28 and not new_fvu <= candidate.fvu:
        short, values = absorb(candidate.expr, candidate.consts)  # a rewrite lost precision: keep what was fitted
        new_fvu = fitter.fvu(short, values)
        if not new_fvu <= candidate.fvu * (1 + 1e-6) + 1e-28:
            return candidate
    return Candidate(short, np.array(values), new_fvu, candidate.source, candidate.logp, candidate.n)


# ---- shorter forms ----------------------------------------------------------------------------


def neighbours(expr: list[str]) -> list[list[str]]:
    """Every expression one cut away: a node replaced by an operand, a subtree by a constant, a pair of
    unary operators by one; and quotients divided through, which only simplified may be shorter."""
    found = []
    for i, token in enumerate(expr):
        stop = end(expr, i)
        arity = ARITY.get(token, 0)
        if arity == 0:
            continue
        j = i + 1
        for _ in range(arity):
            k = end(expr, j)
            found.append([*expr[:i], *expr[j:k], *expr[stop:]])
            j = k
        if i > 0 and any(variable_index(t) is not None for t in expr[i:stop]):
            found.append([*expr[:i], CONSTANT, *expr[stop:]])
        if token == "pow" and expr[end(expr, i + 1):stop] == [CONSTANT]:
            base = expr[i + 1:stop - 1]
            found += [[*expr[:i], power, *base, *expr[stop:]] for power in ("pow2", "pow3", "pow1_2", "inv")]
    unique = {tuple(e): e for e in found if len(e) < len(expr) + 1}
    unique.pop(tuple(expr), None)
    return [*unique.values(), *_divided(expr)]


def _divided(expr: list[str]) -> list[list[str]]:
    """Every quotient u / (a + b) also as 1 / (a/u + b/u): longer as it stands, often shorter once simplified."""
    found = []
    for i, token in enumerate(expr):
        if token != "/":
            continue
        j = end(expr, i + 1)
        stop = end(expr, j)
        above, below = expr[i + 1:j], expr[j:stop]
        shared = drop_constants(above)
        if below[0] in ("+", "-") and shared:
            k = end(below, 1)
            whole = [below[0], "/", *below[1:k], *shared, "/", *below[k:], *shared]
            found.append([*expr[:i], *(["/", CONSTANT] if CONSTANT in above else ["inv"]), *whole, *expr[stop:]])
    return found


def shorten(candidate: Candidate, fitter, value, rounds: int = 12, over=lambda: False) -> tuple[Candidate, list[Candidate]]:
    """Cut as long as the selection improves; returns the best form and everything fitted on the way.

    value: function of a candidate giving the number to minimise (Pool.value).
    """
    from fansr.simplify import simplify_many

    best, tried = candidate, []
    seen = {tuple(candidate.expr)}
    for _ in range(rounds):
        forms = []
        cuts = neighbours(best.expr)
        for cut, (form, _reason) in zip(cuts, simplify_many(cuts, relax=False)):
            for shape in (form, cut):
                if shape is not None and tuple(shape) not in seen and len(shape) <= len(best.expr):
                    seen.add(tuple(shape))
                    forms.append(shape)
                    break
        if not forms or over():
            break
        fvus, consts = fitter.fit(forms)
        fitted = [Candidate(f, np.asarray(c), float(v), best.source) for f, v, c in zip(forms, fvus, consts) if v < math.inf]
        tried += fitted
        better = min(fitted, key=value, default=best)
        if not value(better) < value(best) - 1e-9:
            break
        best = better
    return best, tried


def digits_for(consts, errors) -> list[int]:
    """Significant digits of each constant that the data support: two beyond the standard error's first."""
    digits = []
    for c, error in zip(consts, errors):
        if not error < math.inf or c == 0:
            digits.append(4)
        elif error <= 0:
            digits.append(15)
        else:
            digits.append(int(min(15, max(2, math.ceil(math.log10(abs(c) / error)) + 2))))
    return digits
