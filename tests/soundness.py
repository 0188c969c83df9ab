"""Judge simplified expressions by values that neither the engine nor fansr's kernels computed.

    python tests/soundness.py -n 100000 --variables 17

draws skeletons of the paper's prior, simplifies them, and compares both on generic points in 80-bit
floats and, where those disagree, in 60 digits.  Constants of the simplified form are computed from the
original's piece by piece (matching.py) or, where that fails, fitted from starts near them.  Prints how many of each verdict there were; test_simplify.py holds a
small draw to the same standard.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections import Counter
from itertools import permutations

import mpmath
import numpy as np

from fansr.expressions.programs import compile_program, evaluate
from fansr.expressions.tokens import ARITY, CONSTANT, literal_value, variable_index
from fansr.simplification.equivalence import levenberg_marquardt

LD = np.longdouble
TRIES = 4  # draws of points and constants that constants are looked for on
ATTEMPTS = 24  # draws at most until there are enough finite points
ENOUGH = 12  # finite points that decide


def _root(x, k):
    with np.errstate(all="ignore"):
        return np.sign(x) * np.power(np.abs(x), LD(1) / LD(k)) if k % 2 else np.power(x, LD(1) / LD(k))


UNARY = {
    "abs": np.abs,
    "inv": lambda a: LD(1) / a,
    "neg": np.negative,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "exp": np.exp,
    "log": np.log,
    **{f"pow{k}": (lambda a, k=k: a**k) for k in (2, 3, 4, 5)},
    **{f"pow1_{k}": (lambda a, k=k: _root(a, k)) for k in (2, 3, 4, 5)},
    **{f"mult{k}": (lambda a, k=k: LD(k) * a) for k in (2, 3, 4, 5)},
    **{f"div{k}": (lambda a, k=k: a / LD(k)) for k in (2, 3, 4, 5)},
}
BINARY = {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "pow": np.power}


def values(expr, X, consts):
    """y (M,) in 80-bit floats."""
    return _traced(expr, X, consts)[0]


def _traced(expr, X, consts):
    """y (M,) in 80-bit floats, and (M,) whether every part of the expression is finite."""
    left = list(consts)
    stack = []
    finite = np.ones(len(X), bool)
    with np.errstate(all="ignore"):
        for token in reversed(expr):
            if token == CONSTANT:
                stack.append(np.full(len(X), left.pop(), LD))
            elif ARITY.get(token) == 1:
                stack.append(UNARY[token](stack.pop()))
            elif ARITY.get(token) == 2:
                stack.append(BINARY[token](stack.pop(), stack.pop()))
            elif variable_index(token) is not None:
                stack.append(X[:, variable_index(token)].astype(LD))
            else:
                stack.append(np.full(len(X), literal_value(token), LD))
            finite &= np.isfinite(stack[-1])
    return stack[0], finite


def _exact_unary(token, a):
    m = mpmath
    if token[:4] == "pow1":
        k = int(token[5:])
        if a < 0:
            return -m.root(-a, k) if k % 2 else m.nan
        return m.root(a, k)
    if token[:3] == "pow":
        return a ** int(token[3:])
    if token[:4] == "mult":
        return a * int(token[4:])
    if token[:3] == "div":
        return a / int(token[3:])
    if token == "inv":
        return 1 / a
    if token == "neg":
        return -a
    if token == "abs":
        return abs(a)
    return getattr(m, token)(a)


def _mpf(c):
    """All 64 bits of an 80-bit float."""
    return mpmath.mpf(float(c)) + mpmath.mpf(float(c - LD(float(c))))


def exact(expr, x, consts, digits=60):
    """The value at one point in many digits; nan where it is not real, undefined or too large to compute,
    None where a wave of a huge number needs more digits."""
    left = list(consts)
    stack = []
    with mpmath.workdps(digits):
        try:
            for token in reversed(expr):
                if token == CONSTANT:
                    value = _mpf(left.pop())
                elif ARITY.get(token) == 1:
                    if token in ("sin", "cos", "tan") and abs(stack[-1]) > mpmath.mpf(10) ** (digits - 40):
                        return None
                    value = _exact_unary(token, stack.pop())
                elif ARITY.get(token) == 2:
                    a, b = stack.pop(), stack.pop()
                    if token == "pow":
                        value = mpmath.power(a, b)
                    else:
                        value = {"+": a + b, "-": a - b, "*": a * b}[token] if token != "/" else a / b
                elif variable_index(token) is not None:
                    value = mpmath.mpf(float(x[variable_index(token)]))
                else:
                    value = mpmath.mpf(token)
                if (
                    isinstance(value, mpmath.mpc)
                    or not mpmath.isfinite(value)
                    or abs(mpmath.log10(abs(value) + 1)) > 1e5
                ):
                    return mpmath.nan
                stack.append(value)
        except (ZeroDivisionError, OverflowError, ValueError, mpmath.libmp.NoConvergence):
            return mpmath.nan
        return stack[0]


def draw_points(rng, n_variables, m=64):
    """X (M, D): generic values of several sizes, so that asin, log and acosh all see their domains."""
    q = m // 4
    blocks = [
        rng.normal(0, 5, (q, n_variables)),
        rng.uniform(0, 1, (q, n_variables)),
        np.abs(rng.normal(0, 2, (q, n_variables))),
        rng.uniform(-1, 1, (q, n_variables)),
    ]
    return np.concatenate(blocks)


def near(a, b, tolerance):
    with np.errstate(all="ignore"):
        return np.abs(a - b) <= tolerance * (np.abs(b) + LD(1e-30))


def judge(raw, simple, rng, n_variables, starts=40):
    """One of: same, rounding, nowhere finite, undecided, wrong; and an example for the last two.

    A form with constants is the same where it takes the values of the original at generic constants with constants of
    its own: computed from the original's piece by piece (matching.py), else fitted.  Where that fails, other
    constants of the original are drawn, tamer ones too, up to TRIES times.
    """
    draws = 0
    points = 0
    for attempt in range(ATTEMPTS):
        consts = _draw_constants(rng, raw.count(CONSTANT), attempt)
        X, y = _finite_points(raw, consts, rng, n_variables, 64 if attempt < 2 else 400)
        points = max(points, len(y))
        if len(y) and CONSTANT not in simple:
            return _compare(raw, simple, X, y, consts, np.zeros(0))
        if not len(y) or (len(y) < ENOUGH and attempt < ATTEMPTS - 1):
            continue
        if _match(raw, simple, X, y, consts):
            return "same", None
        draws += 1
        if draws == 2 and starts and _fit(raw, simple, X, y, consts, rng, starts) is not None:
            return "same", None
        if draws == TRIES:
            break
    if not points:
        return "nowhere finite", None
    return "undecided", {"points": points, "class": "few finite points" if points < ENOUGH else "no constants found"}


def _draw_constants(rng, n, attempt):
    """Constants of several kinds in turn: wide ones, tame ones of both signs, those below one and those above it."""
    if attempt % 4 == 0:
        return rng.normal(0, 5, n)
    if attempt % 4 == 1:
        return rng.choice([-1, 1], n) * rng.uniform(0.3, 2.5, n)
    return rng.uniform(0.05, 1, n) if attempt % 4 == 2 else rng.uniform(1, 3, n)


def _finite_points(raw, consts, rng, n_variables, m):
    """X (M, D) and y (M,), M <= 64, where the original is finite; where few are, more are drawn."""
    found_X, found_y = [], []
    for _ in range(1 if m < 400 else 5):
        X = draw_points(rng, n_variables, m)
        y, whole = _traced(raw, X, consts)
        rows = np.isfinite(y) & (np.abs(y) < 1e200)
        if (rows & whole).any():  # else what is finite comes from an infinity: exp(-1/0)
            rows &= whole
        steady = rows & _steady(raw, X, y, consts)
        if steady.sum() >= ENOUGH:
            rows = steady
        found_X.append(X[rows])
        found_y.append(y[rows])
        if not rows.any() or sum(map(len, found_y)) >= ENOUGH:
            break
    X, y = np.concatenate(found_X), np.concatenate(found_y)
    chosen = rng.permutation(len(y))[:64]
    return X[chosen], y[chosen]


def _match(raw, simple, X, y, consts):
    """Whether constants computed from the original's give its values."""
    from matching import Matcher

    return any(_meets(raw, simple, X, y, consts, found) for found in Matcher(raw, simple, X[:20], consts).found())


def _meets(raw, simple, X, y, consts, found):
    """Whether the simplified form has the original's values wherever those are more than rounding."""
    got = values(simple, X, found)
    with np.errstate(all="ignore"):
        good = near(got, y, 1e-5) | (np.abs(got - y) < 1e-9 * min(1, np.median(np.abs(y))))
    if good.all():
        return True
    # Most points agree: the others may be lost in rounding (the tangent of a huge number).
    steady = _steady(raw, X, y, consts)
    if good[steady].sum() < max(8, steady.sum() / 2):
        return False
    return all(_agree(raw, simple, X[i], consts, found) for i in np.flatnonzero(~good & steady))


def _steady(raw, X, y, consts):
    """(M,) whether a value of the original is more than rounding: it hardly moves with the last digits of what it comes from."""
    return near(values(raw, X * (1 + 1e-15), np.asarray(consts) * (1 - 1e-15)), y, 1e-8)


def _compare(raw, simple, X, y, consts, found):
    bad = ~near(values(simple, X, found), y, 1e-9)
    if not bad.any():
        return "same", None
    for i in np.flatnonzero(bad):
        # A difference that shrinks as the digits grow is rounding (the cosine of 1e30); one that stays is ours.
        for digits in (60, 300):
            with mpmath.workdps(digits):
                wanted, came = exact(raw, X[i], consts, digits), exact(simple, X[i], found, digits)
                if wanted is None or came is None:
                    continue
                if mpmath.isnan(wanted) or abs(wanted - came) <= mpmath.mpf(10) ** -25 * (
                    abs(wanted) + mpmath.mpf(10) ** -40
                ):
                    break
        else:
            if wanted is None or came is None:
                continue
            return "wrong", {"x": X[i].tolist(), "wanted": mpmath.nstr(wanted, 30), "came": mpmath.nstr(came, 30)}
    return "rounding", None


def _agree(raw, simple, x, consts, found):
    with mpmath.workdps(60):
        a, b = exact(raw, x, consts), exact(simple, x, found)
        return (
            a is None
            or b is None
            or mpmath.isnan(a)
            or (not mpmath.isnan(b) and abs(a - b) <= mpmath.mpf(10) ** -6 * abs(a))
        )


def _fit(raw, simple, X, y, consts, rng, starts):
    """Constants of `simple` that meet every value, or None."""
    program = compile_program(simple)
    k = program.n_constants
    rows = np.abs(y) < 1e100
    if not rows.any():
        return np.zeros(k)
    X, y = X[rows], y[rows]
    target = y.astype(np.float64)

    for start in _starts(program, X, target, consts, rng, k, starts):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = levenberg_marquardt(program, X, target, start, rtol=1e-9, atol=1e-14, iterations=40)
        if _meets(raw, simple, X, y, consts, found):
            return found
    return None


def _hints(consts):
    """Numbers the simplified form's constants may be: small ratios, and functions of the original's constants."""
    small = [
        0.0,
        *range(1, 11),
        12,
        15,
        16,
        20,
        25,
        27,
        32,
        *(1 / k for k in range(2, 11)),
        2 / 3,
        3 / 4,
        4 / 3,
        3 / 2,
        5 / 3,
    ]
    hints = [*small, *(-h for h in small), *consts, *(-c for c in consts)]
    with np.errstate(all="ignore"):
        for function in UNARY.values():
            hints += [float(function(LD(c))) for c in consts]
        for function in BINARY.values():
            hints += [float(function(LD(a), LD(b))) for a in consts for b in consts]
            hints += [float(function(LD(a), LD(b))) for a in consts for b in (2, 3, 4, 5)]
    return np.unique([h for h in hints if np.isfinite(h) and abs(h) < 1e30])


def _starts(program, X, y, consts, rng, k, n):
    """Starts for the constants: the original's in the best order, the best of all hints, then random hints and numbers."""
    if k <= len(consts) <= 5:
        yield from _best(program, X, y, np.array(list(permutations(consts, k)))[:120], 2)
    hints = _hints(consts)
    if k == 1:
        yield from _best(program, X, y, hints[:, None], 6)
    for attempt in range(n):
        yield rng.normal(0, 5, k) if attempt % 3 == 2 else rng.choice(hints, k)
        if k == 2 and attempt == n // 2:
            chosen = hints if len(hints) <= 50 else rng.choice(hints, 50, replace=False)
            yield from _best(program, X, y, np.array([[a, b] for a in chosen for b in chosen]), 8)


def _best(program, X, y, grid, n):
    """The `n` rows of constants that come nearest on a few points."""
    with np.errstate(all="ignore"):
        scores = [
            np.median(
                np.nan_to_num(np.abs(evaluate(program, X[:16], c) - y[:16]) / (np.abs(y[:16]) + 1e-12), nan=1e300)
            )
            for c in grid
        ]
    return grid[np.argsort(scores, kind="stable")[:n]]


def run(exprs, n_variables, seed=0, relax=False, report=None, starts=40, keep=None, rules=None):
    """Counter of verdicts and the examples of those that are not fine; `keep` gets each of these when it is found."""
    from fansr.simplification.simplify import simplify_many

    rng = np.random.default_rng(seed)
    verdicts, examples = Counter(), []
    for i, raw in enumerate(exprs):
        ((simple, reason),) = simplify_many([raw], relax=relax, rules=rules)
        if simple is None:
            verdict, example = f"rejected: {reason}", None
            if reason == "nonfinite":
                verdict = _really_nonfinite(raw, rng, n_variables)
        else:
            verdict, example = judge(raw, simple, rng, n_variables, starts)
        verdicts[verdict] += 1
        if verdict in ("wrong", "undecided", "rejected though finite"):
            examples.append(
                {"verdict": verdict, "raw": " ".join(raw), "simple": " ".join(simple or []), **(example or {})}
            )
            if keep:
                keep(examples[-1])
        if report and i % 500 == 499:
            report(i + 1, verdicts)
    return verdicts, examples


def _really_nonfinite(raw, rng, n_variables):
    X = draw_points(rng, n_variables)
    consts = rng.normal(0, 5, raw.count(CONSTANT))
    y = values(raw, X, consts)
    for i in np.flatnonzero(np.isfinite(y)):
        value, again = exact(raw, X[i], consts), exact(raw, X[i], consts, 300)
        # What grows with the digits is a division by a zero that rounding hides.
        if None not in (value, again) and abs(value - again) <= mpmath.mpf(10) ** -25 * abs(again):
            return "rejected though finite"
    return "rejected: nonfinite"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--variables", type=int, default=17)
    parser.add_argument(
        "--starts", type=int, default=12, help="starts of the fit, for each of up to 4 draws of the constants"
    )
    parser.add_argument("--rules", help="a tier or a folder of rules; the default is fansr-simplify's")
    parser.add_argument("--out")
    options = parser.parse_args()
    from fansr.corpus.gen import sample_skeletons
    from fansr.corpus.prior import Prior

    prior = Prior(variables=options.variables)
    exprs = sample_skeletons(prior, np.arange(options.first, options.first + options.n), seed=0)
    with open(options.out or os.devnull, "w") as file:
        verdicts, _ = run(
            exprs,
            options.variables,
            starts=options.starts,
            rules=options.rules,
            report=lambda i, v: print(i, dict(v), file=sys.stderr, flush=True),
            keep=lambda example: print(json.dumps(example), file=file, flush=True),
        )
    print(json.dumps(dict(verdicts.most_common())))


if __name__ == "__main__":
    main()
