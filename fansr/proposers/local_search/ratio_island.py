"""A population of quotients for the local search: laws A/B found as sums that are linear in all their constants."""

from __future__ import annotations

import numpy as np

from fansr.expressions import CONSTANT, compile_many, opcodes as op
from fansr.proposers.local_search.genome_canonical_form import canonical_rows
from fansr.proposers.local_search.genome_to_expression import stop_of, terms_of, to_tokens
from fansr.proposers.local_search.genomes import WIDTH
from fansr.proposers.local_search.island import QUICK, Island, genomes_of
from fansr.proposers.local_search.subtree_library import library_of


class QuotientIsland(Island):
    """A population of quotients y = (c0 + sum of c*t) / (1 - sum of b*t), found as sums for y itself.

    y = c0 + sum of c*t + sum of b*(y*t) is linear in all its constants (Levy 1959), so the target becomes one more
    column and terms may carry it as a factor.  Such sums can be idle (y = y * something near 1): what counts is the
    FVU of the quotient, fitted from the sum's constants.
    """

    def __init__(self, X, y, weights, columns, longest: int, seed: int, library=None, operators=None):
        super().__init__(
            np.column_stack([X, y]),
            y,
            weights,
            ((), y, np.ones(len(y)), ()),
            columns,
            longest,
            seed,
            library,
            operators,
        )
        self.y_code = op.COLUMN + X.shape[1]
        # Terms with the target as a factor: those of the library, up to a few hundred.
        values, codes, lengths = self.library[:3]
        n = min(len(values), 400)
        times = np.zeros((n, WIDTH), np.int64)
        times[:, 0], times[:, 1], times[:, 2:] = op.MUL, self.y_code, codes[:n, : WIDTH - 2]
        with np.errstate(over="ignore", invalid="ignore"):
            values = np.vstack([values, values[:n] * self.refiner.y[: self.n_aim]])
        self.terms = library_of(values, np.vstack([codes, times]), np.append(lengths, lengths[:n] + 2))

    def judge(self, G, W, lengths, n, jobs=1, over=None):
        """As for any island, but genomes without a denominator are left to the island of plain sums."""
        parts = [_numerator_and_denominator(G[k, : lengths[k]], self.y_code) for k in range(n)]
        good = np.array([k for k in range(n) if parts[k] is not None and parts[k][1]], np.int64)
        self.parts = [parts[k] for k in good]
        super().judge(G[good], W[good], lengths[good], len(good), jobs, over)

    def grow(self, n, jobs=1, over=None):
        """Judge the denominators 1 - b*t of the library's first terms, alone and each with a random term t above."""
        codes, lengths = self.terms.codes, self.terms.lengths
        times = np.flatnonzero(codes[:, 1] == self.y_code)[:n]
        rows = self._empty(2 * len(times))
        picks = (
            np.random.default_rng(int(self.state[0])).integers(0, max(1, times[0]), len(times)) if len(times) else times
        )
        for k, (t, u) in enumerate(zip(times, picks)):
            with_target = codes[t, : lengths[t]]
            both = [op.ADD, *codes[u, : lengths[u]], *with_target]
            for row, genome in ((2 * k, with_target), (2 * k + 1, both)):
                rows["G"][row, : len(genome)], rows["lengths"][row] = genome, len(genome)
        made = canonical_rows(genomes_of(rows), self.limits)
        self.judge(rows["G"], rows["W"], rows["lengths"], made, jobs, over)

    def _merge(self, rows):
        """Judge by the quotients, then merge."""
        exprs, given = [], np.full((len(rows["fvu"]), 16), np.nan)
        for k, (upper, lower) in enumerate(self.parts):
            expr, consts = self._quotient(rows, k, upper, lower)
            exprs.append(expr)
            given[k, : len(consts)] = consts[:16]
        rows["fvu"], _ = self.refiner.run(compile_many(exprs), QUICK._replace(starts=1, first=3, last=3), given=given)
        super()._merge(rows)

    def _quotient(self, rows, k, upper, lower):
        """(expr, consts) of row k as a quotient; the linear constants are those of the fitted sum."""
        L = rows["full_lengths"][k]
        codes, values = rows["full"][k, :L], rows["full_w"][k, :L]
        c0, factors = values[L - 1], _factors(codes, values)
        top, top_consts = _scaled_sum(rows, k, upper, factors, 1.0)
        bottom, bottom_consts = _scaled_sum(rows, k, lower, factors, -1.0)
        top, top_consts = ["+", *top, CONSTANT] if top else [CONSTANT], [*top_consts, c0]
        return ["/", *top, "+", "1", *bottom], np.array([*top_consts, *bottom_consts])

    def news(self, most: int):
        p, found = self.population, []
        for k in range(min(len(self), most)):
            L = p["full_lengths"][k]
            key = p["full"][k, :L].tobytes()
            if key not in self.reported:
                self.reported.add(key)
                parts = _numerator_and_denominator(p["G"][k, : p["lengths"][k]], self.y_code)
                if parts[1]:
                    found.append(self._quotient(p, k, *parts))
        return found


def _numerator_and_denominator(g, y_code: int):
    """The terms without the target and those with it as a factor, as ([(number, first, stop, hole)], [...]).

    hole is the position of the target in a term, or -1.  None when the target stands anywhere but as a factor, or a
    term is the target alone (y = y says nothing).
    """
    upper, lower = [], []
    times, over = op.MUL, op.DIV
    for number, (first, stop) in enumerate(terms_of(g)):
        holes = [i for i in range(first, stop) if g[i] == y_code]
        if not holes:
            upper.append((number, first, stop, -1))
            continue
        i = first
        while i != holes[0] and g[i] in (times, over):
            right = stop_of(g, i + 1)
            if holes[0] >= right and g[i] == over:
                return None
            i = i + 1 if holes[0] < right else right
        if len(holes) > 1 or i != holes[0] or stop == first + 1:
            return None
        lower.append((number, first, stop, holes[0]))
    return upper, lower


def _factors(codes, values) -> list[float]:
    """The linear constants of a whole expression's terms, in order."""
    return [values[first + 1] for first, _ in terms_of(codes)[:-1]]


def _scaled_sum(rows, k, terms, factors, sign):
    """(tokens, consts) of sum sign*factor*term; the target's place, if any, is closed up."""
    expr, consts = [], []
    for place, (number, first, stop, hole) in enumerate(terms):
        g, w = list(rows["G"][k, first:stop]), list(rows["W"][k, first:stop])
        if hole >= 0:
            g, w = _close(g, w, hole - first)
        if place < len(terms) - 1:
            expr.append("+")
        expr += ["*", CONSTANT, *to_tokens(g)]
        consts += [sign * factors[number], *(v for q, v in zip(g, w) if q == op.FREE)]
    return expr, consts


def _close(g, w, hole):
    """A product without its factor at `hole`: the operator above goes and its other operand stays."""
    times = op.MUL
    parent, i = 0, 0
    while i != hole:
        parent = i
        right = stop_of(g, i + 1)
        i = i + 1 if hole < right else right
    right = stop_of(g, parent + 1)
    stop = stop_of(g, right)
    if g[parent] == times:
        a, b = (right, stop) if hole < right else (parent + 1, right)
        return [*g[:parent], *g[a:b], *g[stop:]], [*w[:parent], *w[a:b], *w[stop:]]
    # target / u becomes 1 / u
    inverse = op.INV
    return [*g[:parent], inverse, *g[right:stop], *g[stop:]], [*w[:parent], 0.0, *w[right:stop], *w[stop:]]
