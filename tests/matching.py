"""Constants of a simplified expression computed from those of the original, piece by piece.

A fit from random starts loses its way where constants stand inside waves, powers and quotients.  Here the
values that the simplified form must take are carried down its tree instead: functions are inverted,
what is known is taken away, coefficients come from linear equations, and where two unknown pieces meet,
one of them is tried at the values of every piece of the original.  What comes out is only a proposal:
soundness.py evaluates both forms with it.
"""

from __future__ import annotations

import itertools

import numpy as np
from soundness import BINARY, LD, UNARY

from fansr.expressions.prefix import to_tree
from fansr.expressions.tokens import CONSTANT, literal_value, variable_index

INVERSE = {
    "inv": "inv",
    "neg": "neg",
    "sin": "asin",
    "cos": "acos",
    "tan": "atan",
    "asin": "sin",
    "acos": "cos",
    "atan": "tan",
    "sinh": "asinh",
    "cosh": "acosh",
    "tanh": "atanh",
    "asinh": "sinh",
    "acosh": "cosh",
    "atanh": "tanh",
    "exp": "log",
    "log": "exp",
    **{f"pow{k}": f"pow1_{k}" for k in (2, 3, 4, 5)},
    **{f"pow1_{k}": f"pow{k}" for k in (2, 3, 4, 5)},
}
SCALES = frozenset(
    ("abs", *(f"pow{k}" for k in (2, 3, 4, 5)), *(f"pow1_{k}" for k in (2, 3, 4, 5)))
)  # f(a*x) = f(a) * f(x)
TURNED = SCALES | {"exp", "pow", "/"}  # 1/f may stand for f of 1/x and the like
EVEN = frozenset(("cos", "cosh", "abs", "pow2", "pow4"))
SEVERAL = EVEN | {"sin", "tan"}
CLOSE = 1e-7  # relative difference of values that are taken for equal on the way
QUORUM = 0.7  # share of the points that must agree: some are lost in rounding
EACH = 3  # proposals kept for a piece at the values of another
WORK = 2000  # pieces looked at before it is given up


class GaveUp(Exception):
    """Too many pieces were tried."""


class Matcher:
    """Finds constants for `simple` that give it the values of `raw`, whose constants are known.

    X (M, D) float64 points; consts of `raw`.  Constants of `simple` are numbered from left to right.
    """

    def __init__(self, raw, simple, X, consts):
        self.X, self.n = X, simple.count(CONSTANT)
        self.left = WORK
        self.stack = None  # the values of the pieces and their negatives, for all at once
        self.memo: dict = {}
        self.shifted: dict = {}
        self.keep: list = []
        self.fresh = itertools.count(self.n)  # constants of our own, beyond those of the form
        numbers = iter(range(self.n))
        self.tree = _numbered(to_tree(simple), numbers)
        self.free: dict = {}
        self.pieces: list = []  # (operator, values) of the original's pieces that vary
        given = iter(consts)
        self.wanted = self._collect(to_tree(raw), given)
        with np.errstate(all="ignore"):
            self.pieces += [("", 1 / y) for head, y in self.pieces if head in TURNED]

    def _collect(self, node, given):
        if not isinstance(node, tuple):
            y = np.full(len(self.X), next(given), LD) if node == CONSTANT else self._leaf(node)
            head = ""
        else:
            kids = [self._collect(child, given) for child in node[1:]]
            with np.errstate(all="ignore"):
                y = UNARY[node[0]](*kids) if len(kids) == 1 else BINARY[node[0]](*kids)
            head = node[0]
        if _constant(y) is None and not any(_equal(y, other) for _, other in self.pieces):
            self.pieces.append((head, y))
        return y

    def _leaf(self, token):
        j = variable_index(token)
        return self.X[:, j].astype(LD) if j is not None else np.full(len(self.X), literal_value(token), LD)

    def found(self, most=4):
        """Up to `most` proposals, each an array (C,) of 80-bit floats."""
        out = []
        try:
            for known in self.solve(self.tree, self.wanted, {}, False):
                out.append(np.array([_plain(known.get(i, LD(1))) for i in range(self.n)], LD))
                if len(out) == most:
                    break
        except (GaveUp, RecursionError):
            pass
        return out

    # ---- the tree ---------------------------------------------------------------------------

    def unknown(self, node, known):
        """Whether a piece holds a constant that is not known yet."""
        if isinstance(node, int):
            return node not in known
        return isinstance(node, tuple) and any(self.unknown(child, known) for child in node[1:])

    def value(self, node, known):
        if isinstance(node, int):
            return np.full(len(self.X), known[node], LD)
        if isinstance(node, np.ndarray):
            return node
        if not isinstance(node, tuple):
            return self._leaf(node)
        kids = [self.value(child, known) for child in node[1:]]
        with np.errstate(all="ignore"):
            return UNARY[node[0]](*kids) if len(kids) == 1 else BINARY[node[0]](*kids)

    def solve(self, node, t, known, scale):
        """Yields `known` with more constants, such that the piece has the values t (M,), or t times any number where
        `scale`."""
        self.left -= 1
        if self.left < 0:
            raise GaveUp
        if isinstance(node, int) and node not in known:
            value = _constant(t)
            if value is not None:
                yield {**known, node: value}
        elif not self.unknown(node, known):
            y = self.value(node, known)
            if scale:
                with np.errstate(all="ignore"):
                    if _constant(y / t) is not None:
                        yield known
            elif _equal(y, t):
                yield known
        elif node[0] in "+-":
            yield from self._sum(node, t, known, scale)
        elif node[0] in ("*", "/", "inv", "neg") or node[0][:4] == "mult" or node[0][:3] == "div":
            yield from self._product(node, t, known, scale)
        elif node[0] == "pow":
            yield from self._power(node, t, known, scale)
        else:
            yield from self._function(node, t, known, scale)

    def _try_pieces(self, node, known, scale=True):
        """Yields `known` with the constants of a piece for which it has the values of some piece of the original; those
        with the same operator first."""
        for more, _ in self._at_pieces(node, known, scale):
            yield {**known, **more}

    def _shifted(self, node):
        """A piece plus a number of its own."""
        if id(node) not in self.shifted:
            self.shifted[id(node)] = ("+", node, next(self.fresh))
            self.keep.append(node)
        return self.shifted[id(node)]

    def _joined(self, factor, exponent, base):
        """A factor, or what is divided by it, times known values."""
        key = id(factor), exponent, base.tobytes()
        if key not in self.shifted:
            self.shifted[key] = ("*" if exponent == 1 else "/", base, factor)
            self.keep.append(factor)
        return self.shifted[key]

    def _at_pieces(self, node, known, scale):
        """[(constants of a piece, values)] for the values of every piece of the original that it can take."""
        own = _constants(node)
        given = {i: known[i] for i in own if i in known}
        key = id(node), scale, tuple(sorted(given))
        if key not in self.memo:
            self.memo[key] = found = []  # while it is looked for, a piece inside itself finds nothing
            head = node[0] if isinstance(node, tuple) else ""
            for same in (True, False):
                for other, y in self.pieces:
                    if (other == head) == same:
                        new: list = []
                        for more in itertools.islice(self.solve(node, y, given, scale), 4 * EACH):
                            one = {i: more[i] for i in own if i in more}
                            if not any(_alike(one, other) for other in new):
                                new.append(one)
                            if len(new) == EACH:
                                break
                        found += [(one, y) for one in new]
            self.keep.append(node)  # its id stays its own
        return self.memo[key]

    # ---- sums -------------------------------------------------------------------------------

    def _terms(self, node, coefficient):
        if isinstance(node, tuple):
            token = node[0]
            if token in ("+", "-"):
                yield from self._terms(node[1], coefficient)
                yield from self._terms(node[2], coefficient if token == "+" else -coefficient)
                return
            if token == "neg":
                yield from self._terms(node[1], -coefficient)
                return
            if token[:4] == "mult" or token[:3] == "div":
                yield from self._terms(
                    node[1], coefficient * int(token[4:]) if token[0] == "m" else coefficient / LD(int(token[3:]))
                )
                return
        yield coefficient, node

    def _sum(self, node, t, known, scale):
        yield from self._terms_to(list(self._terms(node, LD(1))), t, known, scale)

    def _terms_to(self, terms, t, known, scale):
        """As `solve`, for a sum of (coefficient, term)."""
        rest, linear, others = np.zeros(len(t), LD), [], []
        terms = [part for coefficient, term in terms for part in self._multiplied_out(coefficient, term, known)]
        for coefficient, term in terms:
            if not self.unknown(term, known):
                rest = rest + coefficient * self.value(term, known)
                continue
            lone = self._lone(term, known)
            if lone is None:
                others.append((coefficient, term))
            else:
                number, exponent, base = lone
                linear.append((number, exponent, coefficient * base))
        if not others:
            yield from self._linear(linear, rest, t, known, scale)
            return
        if len(others) == 1 and not linear:
            ((coefficient, term),) = others
            for target in (t, -t) if scale else (t,):
                yield from self.solve(term, (target - rest) / coefficient, known, False)
        others.sort(key=lambda pair: len(_constants(pair[1])))
        for coefficient, term in others:
            factors = [pair for pair in self._factors(term, 1) if self.unknown(pair[0], known)]
            for factor, exponent in factors:
                if isinstance(factor, int):
                    continue
                if len(factors) == 1 and self._is_loose(factor, known):
                    yield from self._any_size(terms, term, coefficient, factor, exponent, t, known, scale)
                else:
                    for more in self._try_pieces(factor, known):
                        yield from self._terms_to(terms, t, more, scale)
                    base = self._known_part(term, known)
                    if np.any(base != base[0]):  # a piece may hold what stands before it
                        for more in self._try_pieces(self._joined(factor, exponent, base), known):
                            yield from self._terms_to(terms, t, more, scale)
                    if linear and factor[0] in "+-":  # what is added to it may have gone to the constant of the sum
                        for more in self._try_pieces(self._shifted(factor), known):
                            yield from self._terms_to(terms, t, more, scale)

    def _multiplied_out(self, coefficient, term, known):
        """The terms of something known times a sum with unknown constants."""
        factors = [pair for pair in self._factors(term, 1) if self.unknown(pair[0], known)]
        if (
            len(factors) != 1
            or factors[0][1] != 1
            or not isinstance(factors[0][0], tuple)
            or factors[0][0][0] not in "+-"
        ):
            yield coefficient, term
            return
        ((factor, _),) = factors
        base = self._known_part(term, known)
        for inner, part in self._terms(factor, coefficient):
            yield from self._multiplied_out(inner, ("*", base, part), known)

    def _known_part(self, term, known):
        """Values of the product of the known factors of a term."""
        base = np.ones(len(self.X), LD)
        with np.errstate(all="ignore"):
            for factor, exponent in self._factors(term, 1):
                if not self.unknown(factor, known):
                    base = base * self.value(factor, known) ** exponent
        return base

    def _any_size(self, terms, term, coefficient, factor, exponent, t, known, scale):
        """A term that is f^1 or f^-1 times something known, where f = C*x + C can have any size: at the values of a piece, its
        size from the sum."""
        others = [pair for pair in terms if pair[1] is not term]
        with np.errstate(all="ignore"):
            for _, y in self._at_pieces(factor, known, False):
                more = {**known, **dict.fromkeys(_constants(factor), LD(1))}
                base = self.value(term, more) / self.value(factor, more) ** exponent
                size = next(self.fresh)
                for sized in self._terms_to([*others, (coefficient, ("*", size, base * y**exponent))], t, known, scale):
                    yield from self.solve(factor, y * sized[size] ** exponent, sized, False)

    def _lone(self, term, known):
        """(number of the constant, its exponent, values it is multiplied by) of a term C*f or f/C, else None."""
        base, lone = np.ones(len(self.X), LD), None
        for factor, exponent in self._factors(term, 1):
            if isinstance(factor, int) and factor not in known:
                if lone is not None:
                    return None
                lone = factor, exponent
            elif self.unknown(factor, known):
                return None
            else:
                with np.errstate(all="ignore"):
                    base = base * self.value(factor, known) ** exponent
        return (*lone, base) if lone else None

    def _linear(self, linear, rest, t, known, scale):
        """rest + sum c*f = t (or a*t): linear in what is unknown."""
        if not linear:
            with np.errstate(all="ignore"):
                if _constant(rest / t) is not None if scale else _equal(rest, t):
                    yield known
            return
        columns = [base for _, _, base in linear]
        systems = [(columns, t - rest)]
        if scale and np.any(rest != 0):
            systems.append(([*columns, -t], -rest))
        for columns, wanted in systems:
            solution = _least_squares(np.stack(columns, 1), wanted)
            if solution is None or (
                len(columns) > len(linear)
                and abs(solution[-1]) * np.median(np.abs(t)) < 1e-12 * np.median(np.abs(rest))
            ):
                continue
            more = dict(known)
            for (number, exponent, _), c in zip(linear, solution):
                with np.errstate(all="ignore"):
                    more[number] = c if exponent == 1 else LD(1) / c
            yield more

    # ---- products ---------------------------------------------------------------------------

    def _factors(self, node, exponent):
        if isinstance(node, tuple):
            token = node[0]
            if token in ("*", "/"):
                yield from self._factors(node[1], exponent)
                yield from self._factors(node[2], exponent if token == "*" else -exponent)
                return
            if token == "inv":
                yield from self._factors(node[1], -exponent)
                return
            if token == "neg" or token[:4] == "mult" or token[:3] == "div":
                yield {"n": "-1", "m": token[4:], "d": token[3:]}[token[0]], exponent if token[0] != "d" else -exponent
                yield from self._factors(node[1], exponent)
                return
        yield node, exponent

    def _product(self, node, t, known, scale):
        rest, lone, others = t, None, []
        for factor, exponent in self._factors(node, 1):
            if not self.unknown(factor, known):
                with np.errstate(all="ignore"):
                    rest = rest / self.value(factor, known) ** exponent
            elif isinstance(factor, int):
                lone = factor, exponent
            else:
                others.append((factor, exponent))
        if lone is not None and not scale and not np.any(t):
            yield {**known, **dict.fromkeys(_constants(node) - known.keys(), LD(1)), lone[0]: LD(0)}
            return
        if not others:
            value = _constant(rest)
            if value is not None and value != 0:
                yield {**known, lone[0]: value if lone[1] == 1 else 1 / value}
            return
        if len(others) == 1:
            ((factor, exponent),) = others
            with np.errstate(all="ignore"):
                target = rest if exponent == 1 else 1 / rest
            for more in self.solve(factor, target, known, scale or lone is not None):
                if lone is None:
                    yield more
                else:
                    yield from self._product(node, t, more, scale)
            return
        # Those that any number can be taken out of come last: the others say which.
        others.sort(key=lambda pair: (self._is_loose(pair[0], known), len(_constants(pair[0]))))
        for factor, exponent in others:
            for more in self._try_pieces(factor, known):
                yield from self._product(node, t, more, scale)
            base = self._known_part(node, known)
            if np.any(base != base[0]):  # a piece may hold what stands before it
                for more in self._try_pieces(self._joined(factor, exponent, base), known):
                    yield from self._product(node, t, more, scale)

    def _is_loose(self, node, known):
        return all(self._lone(term, known) is not None for _, term in self._terms(node, LD(1)))

    # ---- powers and functions ---------------------------------------------------------------

    def _power(self, node, t, known, scale):
        _, base, exponent = node
        free_base, free_exponent = self.unknown(base, known), self.unknown(exponent, known)
        if not free_base and not free_exponent:
            yield from self.solve(node, t, known, scale)
            return
        with np.errstate(all="ignore"):
            if not free_base or not free_exponent:
                if isinstance(exponent, int) and free_exponent:
                    yield from self._slope(
                        exponent, np.log(np.abs(t)), np.log(np.abs(self.value(base, known))), known, scale, LD
                    )
                elif isinstance(base, int) and free_base:
                    yield from self._slope(base, np.log(t), self.value(exponent, known), known, scale, np.exp)
                elif free_base:
                    yield from self.solve(base, t ** (1 / self.value(exponent, known)), known, False)
                    for more in self._try_pieces(base, known, False):
                        yield from self._power(node, t, more, scale)
                else:
                    yield from self.solve(exponent, np.log(t) / np.log(self.value(base, known)), known, False)
                    if scale:
                        for more in self._try_pieces(exponent, known, False):
                            yield from self._power(node, t, more, scale)
                return
        if isinstance(base, int):
            for piece in (exponent, self._shifted(exponent)) if scale else (exponent,):
                for more in self._try_pieces(piece, known):
                    yield from self._power(node, t, more, scale)
        else:
            for more in self._try_pieces(base, known, isinstance(exponent, int)):
                yield from self._power(node, t, more, scale)
            if not isinstance(exponent, int):
                for more in self._try_pieces(exponent, known, False):
                    yield from self._power(node, t, more, scale)

    def _slope(self, number, a, b, known, scale, shape):
        """a = c*b (+ any number where `scale`); the constant is shape(c)."""
        columns = [b, np.ones(len(b), LD)] if scale else [b]
        solution = _least_squares(np.stack(columns, 1), a)
        if solution is not None:
            yield {**known, number: shape(solution[0])}

    def _function(self, node, t, known, scale):
        name, child = node
        # Where several arguments give one value the pieces of the original say which it is.
        ways = (self._back, self._from_pieces)
        for way in reversed(ways) if name in SEVERAL else ways:
            yield from way(name, child, t, known, scale)
        if scale and name in SCALES:
            for more in self._try_pieces(child, known):
                with np.errstate(all="ignore"):
                    if _constant(UNARY[name](self.value(child, more)) / t) is not None:
                        yield more

    def _from_pieces(self, name, child, t, known, scale):
        """The argument has the values of a piece, or their negatives."""
        if self.stack is None:
            self.stack = np.stack([y for _, y in self.pieces])
            self.stack = np.concatenate([self.stack, -self.stack])
        with np.errstate(all="ignore"):
            Z = UNARY[name](self.stack)
            ratio = Z / t
            finite = np.isfinite(ratio)
            enough = finite.sum(1) >= max(4, len(t) // 3)
            middle = np.ones(len(Z), LD)
            if scale:
                middle = np.median(np.where(enough[:, None] & finite, ratio, 1), axis=1)
            close = (np.abs(ratio - middle[:, None]) <= CLOSE * np.abs(middle[:, None])) & finite
        for i in np.flatnonzero(enough & (close.sum(1) >= QUORUM * finite.sum(1))):
            yield from self.solve(child, self.stack[i], known, False)

    def _back(self, name, child, t, known, scale):
        """The argument has the values of the inverse function."""
        with np.errstate(all="ignore"):
            if name == "exp" and scale:
                yield from self.solve(("+", child, next(self.fresh)), np.log(np.abs(t)), known, False)
                return
            for target in (t, -t) if scale else (t,):
                back = target if name == "abs" else UNARY[INVERSE[name]](target)
                for value in (back, -back) if name in EVEN else (back,):
                    yield from self.solve(child, value, known, scale and name in SCALES)


def _numbered(node, numbers):
    """The tree with its constants as ints."""
    if isinstance(node, tuple):
        return (node[0], *(_numbered(child, numbers) for child in node[1:]))
    return next(numbers) if node == CONSTANT else node


def _constants(node):
    """Numbers of the constants of a piece."""
    if isinstance(node, int):
        return {node}
    return set().union(*map(_constants, node[1:])) if isinstance(node, tuple) else set()


def _alike(one, other):
    return one.keys() == other.keys() and all(abs(one[i] - other[i]) <= 1e-9 * abs(one[i]) for i in one)


def _plain(c):
    """A number that is a plain fraction but for rounding, as that: an exponent of -14 may stand over negative numbers."""
    if not abs(c) < 1e6:
        return c
    near = np.round(c * 60) / 60
    return near if abs(c - near) <= 1e-10 * max(abs(c), LD(0.01)) else c


def _equal(a, b):
    with np.errstate(all="ignore"):
        apart = np.abs(a - b)
        both = np.isfinite(apart).sum()
        return both >= max(4, len(a) // 3) and (apart <= CLOSE * np.abs(b) + LD(1e-30)).sum() >= QUORUM * both


def _constant(t):
    """The number that t is at most points, or None."""
    finite = t[np.isfinite(t)]
    if len(finite) < max(4, len(t) // 3):
        return None
    middle = np.sort(finite)[len(finite) // 2]
    return (
        middle
        if (np.abs(finite - middle) <= CLOSE * np.abs(middle) + LD(1e-30)).sum() >= QUORUM * len(finite)
        else None
    )


def _least_squares(A, b):
    """x (k,) with A x = b at most of the rows, in 80-bit floats, or None; rows count by their own size."""
    with np.errstate(all="ignore"):
        rows = np.isfinite(A).all(1) & np.isfinite(b)
        if rows.sum() < A.shape[1] + 3:
            return None
        A, b = A[rows], b[rows]
        size = np.maximum(np.abs(A).max(1), np.abs(b)) + LD(1e-300)
        A, b = A / size[:, None], b / size
        for _ in range(3):  # rows lost in rounding go after the first solution
            x = _solve(A, b)
            if x is None or not np.isfinite(x).all():
                return None
            misses = np.abs(A @ x - b)
            good = misses <= CLOSE
            if good.all():
                return x
            keep = misses <= np.sort(misses)[int(len(misses) * 0.8)]
            if keep.sum() < A.shape[1] + 3:
                break
            if good.mean() >= QUORUM:
                keep = good
            A, b = A[keep], b[keep]
        return x if good.mean() >= QUORUM else None


def _solve(A, b):
    """Least squares by Gram and Schmidt, each column twice."""
    m, k = A.shape
    norms = np.sqrt((A * A).sum(0))
    if not (norms > 0).all():
        return None
    A = A / norms
    Q, R = np.zeros((m, k), LD), np.zeros((k, k), LD)
    for j in range(k):
        v = A[:, j].copy()
        for _ in range(2):
            for i in range(j):
                dot = (Q[:, i] * v).sum()
                R[i, j] += dot
                v = v - dot * Q[:, i]
        R[j, j] = np.sqrt((v * v).sum())
        if R[j, j] < 1e-13:  # another column says the same: this one gets nothing
            R[j, j] = 1
        else:
            Q[:, j] = v / R[j, j]
    y = Q.T @ b
    x = np.zeros(k, LD)
    for j in range(k - 1, -1, -1):
        x[j] = (y[j] - (R[j, j + 1 :] * x[j + 1 :]).sum()) / R[j, j]
    return x / norms
