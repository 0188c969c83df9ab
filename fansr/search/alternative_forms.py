"""Other forms of a law, fitted and compared with it: polynomials multiplied out, functions at their limit as their series.

3 (x - 1/3)^2 + 2/3, (a x + b) x + c   3 x^2 - 2 x + 1, a x^2 + b x + c
c exp(1e-8 u), tanh(1e-4 u), x^0.01    their series, where the rows cannot tell: c + c' u, 1 + 0.01 log(x)
(1/T + x^-0.0003)^-5200                x^1.56 exp(-5200/T), where the rows cannot tell
exp(0.98 r n), r a column of shares    (1 + r)^n
u v + 1.02 u + 2.1 v + 2.25            (u + 2.1) (v + 1.05), where the rows cannot tell
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import reduce

import numpy as np

from fansr.expressions import from_tree, variable_index
from fansr.fitting import Candidate
from fansr.search.law_trees import (
    added,
    coefficient,
    everywhere,
    scaled,
    summands,
    text_of,
    tree_of,
    values_on,
    with_text,
)
from fansr.search.monomials import inverse, monomials, term_of, times, written
from fansr.search.plain_forms import ROUNDING, if_as_good
from fansr.search.spelling import linear

TOLD = 6.0  # over the rows: the relative loss of fit that a plainer law may cost to be worth the selection's look
LARGE_POWER, LARGEST_LOG = 20.0, 200.0  # of (1 + u)^n that may stand for exp(n u); of the number before it
FLAT = 0.3  # largest |argument| of a function that may be at its limit
NEARLY, MOST_TERMS = 0.5, 10  # relative difference of a d and b c; terms of a sum that is looked at
NEARLY_ONE, BETTER = (0.5, 1.2), 0.9  # of the constant of compound interest; share of the FVU that it may leave
LONGER = 4  # tokens that a form may be longer than the one it replaces


def expanded(candidate: Candidate, fitter) -> Candidate | None:
    """The candidate with squares and cubes of k x + m, and (k x + m) x, multiplied out, x a column: its polynomial's own coefficients; or None."""
    met = []

    def rule(node):
        if isinstance(node, tuple) and node[0] in ("pow2", "pow3"):
            line = linear(with_text(node[1]))
            if line is not None and line[1] != 0:
                met.append(node)
                w, m, j = line
                x, n = f"x{j + 1}", int(node[0][3:])
                powers = [None, x, ("pow2", x), ("pow3", x)]
                return added([(math.comb(n, k) * w**k * m ** (n - k), powers[k]) for k in range(n, -1, -1)])
        if isinstance(node, tuple) and node[0] == "*":
            lines = [linear(with_text(factor)) for factor in node[1:]]
            if (
                None not in lines
                and lines[0][2] == lines[1][2]
                and lines[0][1] * lines[1][1] == 0 != lines[0][1] + lines[1][1]
            ):
                met.append(node)  # Horner's (a x + b) x
                (w, m, j), (v, k, _) = lines
                return added([(w * v, ("pow2", f"x{j + 1}")), (w * k + v * m, f"x{j + 1}")])
        if isinstance(node, tuple) and node[0] in ("+", "-"):
            return added(list(summands(node)))
        return node

    tree = everywhere(tree_of(candidate), rule)
    if not met:
        return None
    found = if_as_good(candidate, tree, fitter, LONGER)
    return None if found is candidate else found


def limits(candidate: Candidate, X: np.ndarray, fitter) -> Iterator[Candidate]:
    """The candidate with a function of a small argument as the first one or two terms of its series, fitted again.

    exp(1e-8 u), cos(3e-4 x), tanh of little stand for plain polynomials, with constants of 1e7 that cancel, and x^0.01 for a logarithm.
    """
    tree = tree_of(candidate)
    places = [(node, *of) for node in _nodes(tree) if (of := _function_of(node)) and _small(of[1], X)]
    for node, function, u in places[:3]:
        for order in (1, 2):
            series = added([(c, (None, u, ("pow2", u))[power]) for c, power in SERIES[function] if power <= order])
            if isinstance(series, float):
                continue
            other = everywhere(_replaced(tree, node, series), _multiplied_out)
            expr, consts = text_of(other)
            if len(expr) > len(candidate.expr) + LONGER or len(consts) > len(candidate.consts):
                continue
            fvu, values = fitter.polish(expr, np.asarray(consts, dtype=np.float64))
            if fvu <= candidate.fvu * (1 + TOLD / len(X)) + ROUNDING:
                yield Candidate(expr, np.asarray(values), float(fvu), candidate.source, candidate.logp, candidate.n)
                break


def without_large_powers(candidate: Candidate, X: np.ndarray, fitter) -> Candidate:
    """The candidate with (a + u)^n of a small u and a large n as exp(n u/a), fitted again; itself where it has none or the rows can tell."""
    if "pow" not in candidate.expr:
        return candidate
    tree = tree_of(candidate)
    for node, form in ((node, _exponential(node, X)) for node in _nodes(tree)):
        if form is None:
            continue
        expr, consts = text_of(everywhere(_replaced(tree, node, form), _one_factor))
        if len(expr) <= len(candidate.expr) + LONGER and len(consts) <= len(candidate.consts):
            fvu, values = fitter.polish(expr, np.asarray(consts, dtype=np.float64))
            if fvu <= candidate.fvu * (1 + TOLD / len(X)) + ROUNDING:
                return Candidate(expr, np.asarray(values), float(fvu), candidate.source, candidate.logp, candidate.n)
    return candidate


def _exponential(node, X: np.ndarray):
    """(a + u)^n, u small beside a and n large, as a^n exp(n u/a), and so powers of what u has as v^p with a tiny p; None of another node."""
    if not (
        isinstance(node, tuple) and node[0] == "pow" and isinstance(node[2], float) and abs(node[2]) >= LARGE_POWER
    ):
        return None
    n, a, rest, powers = node[2], 0.0, [], []
    for c, term in summands(node[1]):
        if term is None:
            a += c
        elif (
            isinstance(term, tuple)
            and term[0] == "pow"
            and isinstance(term[2], float)
            and _small(_function_of(term)[1], X)
        ):
            a += c
            powers.append((c * term[2], term[1]))
        else:
            rest.append((c, term))
    if not a > 0 or not (rest or powers) or rest and not np.abs(values_on(added(rest), X) / a).max() < FLAT:
        return None
    size = n * math.log(a)
    if abs(size) > LARGEST_LOG:
        return None
    parts = [("pow", v, n * k / a) for k, v in powers]
    parts += [("exp", added([(n * c / a, term) for c, term in rest]))] if rest else []
    return scaled(math.exp(size), reduce(lambda u, v: ("*", u, v), parts))


def _one_factor(node):
    """A product, or a quotient, with its numbers as one in front."""
    if not isinstance(node, tuple) or node[0] not in ("*", "/"):
        return node
    c, rest = coefficient(node)
    return node if rest is None else scaled(c, rest)


def _function_of(node) -> tuple[str, object] | None:
    """(function, argument) of a node with a series, x^p being exp(p log(x)); None of any other."""
    if node[0] in SERIES:
        return node[0], node[1]
    if node[0] == "pow" and isinstance(node[2], float):
        return "exp", ("*", node[2], ("log", node[1]))
    return None


def shifted_products(candidate: Candidate, fitter, over) -> Iterator[Candidate]:
    """The candidate with a u v + b u + c v + d of nearly a d = b c as a (u + c/a) (v + b/a), fitted again."""
    tree = tree_of(candidate)
    for node in (node for node in _nodes(tree) if node[0] in ("+", "-")):
        found = monomials(node)
        for four in found.pairs(NEARLY) if found is not None and len(found) <= MOST_TERMS else ():
            if over():
                return
            (_, a), (uk, b), (vk, c), (t, _) = four.items()
            u, v = (term_of(times(key, inverse(t)), found.trees) for key in (uk, vk))
            whole = ("*", added([(1.0, u), (c / a, None)]), added([(1.0, v), (b / a, None)]))
            part = scaled(a, ("*", term_of(t, found.trees), whole) if t else whole)
            rest = found.without(four)
            try:
                expr, consts = text_of(_replaced(tree, node, ("+", part, written(rest)) if rest else part))
            except (ValueError, OverflowError, ZeroDivisionError):
                continue
            if len(consts) > len(candidate.consts) + 1 or len(expr) > len(candidate.expr) + LONGER:
                continue
            fvu, values = fitter.polish(expr, np.asarray(consts, dtype=np.float64))
            if fvu <= candidate.fvu * (1 + TOLD / len(fitter.y)) + ROUNDING:
                yield Candidate(expr, np.asarray(values), float(fvu), candidate.source, candidate.logp, candidate.n)


def compounded(candidate: Candidate, X: np.ndarray, fitter) -> Iterator[Candidate]:
    """The candidate with exp(c r n), c near 1 or -1, as compound interest (1 + r)^n, r a column of shares, fitted again."""
    tree = tree_of(candidate)
    for node in (node for node in _nodes(tree) if node[0] == "exp"):
        c, rest = coefficient(node[1])
        if not NEARLY_ONE[0] < abs(c) < NEARLY_ONE[1] or not isinstance(rest, tuple) or rest[0] != "*":
            continue
        for rate, time in (rest[1:], rest[:0:-1]):
            if not (isinstance(rate, str) and isinstance(time, str)) or not np.abs(X[:, int(rate[1:]) - 1]).max() < 0.5:
                continue
            power = ("pow", ("+", 1.0, rate), time if c > 0 else ("neg", time))
            whole = _replaced(tree, node, power)
            for form in (whole, *_with_one_term_less(whole)):  # a series in r stood for the difference
                expr, consts = text_of(form)
                fvu, values = fitter.polish(expr, np.asarray(consts, dtype=np.float64))
                if fvu < BETTER * candidate.fvu:
                    yield Candidate(expr, np.asarray(values), float(fvu), candidate.source, candidate.logp, candidate.n)
                    break


def _with_one_term_less(tree) -> Iterator[object]:
    """The tree without one of the terms of a sum in it, each in turn."""
    for node in _nodes(tree):
        if node[0] in ("+", "-"):
            yield _replaced(tree, node, node[1])
            yield _replaced(tree, node, node[2] if node[0] == "+" else ("neg", node[2]))


# function -> (coefficient, power of its argument), up to the second
SERIES = {
    "exp": ((1.0, 0), (1.0, 1), (0.5, 2)),
    "sin": ((1.0, 1),),
    "tanh": ((1.0, 1),),
    "tan": ((1.0, 1),),
    "asin": ((1.0, 1),),
    "atan": ((1.0, 1),),
    "sinh": ((1.0, 1),),
    "cos": ((1.0, 0), (-0.5, 2)),
    "cosh": ((1.0, 0), (0.5, 2)),
}


def _multiplied_out(node):
    """A sum with the numbers of its terms multiplied through, so that constants that cancel meet."""
    if isinstance(node, tuple) and node[0] in ("+", "-", "*", "neg", "/"):
        terms = list(summands(node))
        return added(terms) if len(terms) > 1 else node
    return node


def _nodes(tree) -> Iterator[tuple]:
    if isinstance(tree, tuple):
        yield tree
        for child in tree[1:]:
            yield from _nodes(child)


def _replaced(tree, old, new):
    if tree is old:
        return new
    return (tree[0], *(_replaced(child, old, new) for child in tree[1:])) if isinstance(tree, tuple) else tree


def _small(node, X: np.ndarray) -> bool:
    """Whether an argument depends on the columns and stays small on all rows."""
    leaves = from_tree(with_text(node)) if isinstance(node, tuple) else [with_text(node)]
    if not any(variable_index(token) is not None for token in leaves):
        return False
    values = np.abs(values_on(node, X))
    return bool(np.isfinite(values).all() and 0 < values.max() < FLAT)
