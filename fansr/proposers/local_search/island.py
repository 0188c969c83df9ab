"""A population of the local search: genomes bred, aimed and judged for one view of the target."""

from __future__ import annotations

import math

import numpy as np

from fansr.expressions import FOREIGN, OPERATOR, OPERATORS, opcodes as op
from fansr.fitting import Refiner, Schedule
from fansr.proposers.local_search.aimed_mutations import aim
from fansr.proposers.local_search.genome_canonical_form import canonical_rows
from fansr.proposers.local_search.genome_to_expression import (
    product_of_powers,
    spelled,
    to_codes,
    to_tokens,
    without_summand,
)
from fansr.proposers.local_search.genomes import WIDTH, Genomes, Limits
from fansr.proposers.local_search.nearest_terms import Sample
from fansr.proposers.local_search.random_mutations import Menu, breed
from fansr.proposers.local_search.subtree_library import leading, stock

POPULATION = 240
CHILDREN = 144  # per generation and kind
MOST_CONSTANTS = 5  # of a genome, besides the linear ones added
PRICE = 0.04  # of a token, in decades of FVU: a little less than the paper's 0.05, so that the search may overshoot
STALE = 40  # generations without progress before an island starts afresh around its best few

QUICK = Schedule(points=32, starts=2, first=5, more=0, keep=1, last=4, last_points=96, unwrap=0)

# How often a random change is of which kind, in the order of breed._change.
KINDS = np.array([14, 20, 12, 10, 15, 8, 6, 10, 2, 3.0])
UNARY = {"inv": 2, "neg": 1, "pow2": 4, "pow3": 1, "pow4": 0.3, "pow1_2": 3, "sin": 2.5, "cos": 2.5, "exp": 3, "log": 1.5,
         "tanh": 0.7, "abs": 0.2, "asin": 0.2, "atan": 0.2, "pow1_3": 0.2, "sinh": 0.1, "cosh": 0.1, "tan": 0.1, "acos": 0.1}  # fmt: skip
BINARY = {"+": 4, "-": 3, "*": 5, "/": 4, "pow": 0.3}


def _cumulative(weights, n, operators=None) -> np.ndarray:
    """Cumulative distribution over opcodes 0..n-1 from weights by token."""
    p = np.zeros(n)
    for token, weight in weights.items():
        if operators is None or token in operators:
            p[OPERATOR[token].opcode] = weight
    return np.cumsum(p) / p.sum() if p.any() else _cumulative(weights, n)


UNARY_CUMULATIVE, BINARY_CUMULATIVE = _cumulative(UNARY, len(OPERATORS)), _cumulative(BINARY, 5)


def genomes_of(rows) -> Genomes:
    """The genomes of a population's rows."""
    return Genomes(rows["G"], rows["W"], rows["lengths"])


class Island:
    """A population for one view of the target.

    G (P, WIDTH) codes, W (P, WIDTH) values, lengths (P,), ranked by score = log10 FVU + PRICE * size; full (P, 2*WIDTH)
    and full_w hold the fitted whole expressions c0 + c1*term1 + ... as codes and values.
    """

    def __init__(self, X, y, weights, view, columns, longest: int, seed: int, library=None, operators=None):
        self.outside, target, slope, self.inside = view
        slope = slope / slope.max()  # squares of 1e300 would overflow
        # One seed for all islands: they see the rows in one order and can share the library.
        self.refiner = Refiner(X, target, seed=0, weights=slope**2 if weights is None else slope**2 * weights)
        codes = np.array([op.COLUMN + j for j in columns], np.int64)
        unary, binary = UNARY_CUMULATIVE, BINARY_CUMULATIVE
        if operators is not None:  # others may still come of rewriting
            unary, binary = _cumulative(UNARY, len(OPERATORS), operators), _cumulative(BINARY, 5, operators)
        self.menu = Menu(np.cumsum(KINDS) / KINDS.sum(), unary, binary, codes)
        self.state = np.array([seed], np.uint64)
        self.limits = Limits(longest, MOST_CONSTANTS, np.zeros(1 << 20, np.uint64))
        self.met = 0
        self.n_aim = min(len(y), 64)
        self.library = library or stock(self.refiner.columns[:, : self.n_aim].T, leading(X, target, columns))
        self.terms = self.library
        self.population = self._empty(0)
        self.evaluations, self.stale, self.best = 0, 0, math.inf
        self.reported: set[bytes] = set()
        self.judged = self._empty(0)

    @staticmethod
    def _empty(n) -> dict[str, np.ndarray]:
        """A population of n rows."""
        return {
            "G": np.zeros((n, WIDTH), np.int64), "W": np.zeros((n, WIDTH)), "lengths": np.zeros(n, np.int64),
            "full": np.zeros((n, 2 * WIDTH), np.int64), "full_w": np.zeros((n, 2 * WIDTH)), "full_lengths": np.zeros(n, np.int64),
            "fvu": np.full(n, np.inf), "price": np.zeros(n), "score": np.full(n, np.inf),
        }  # fmt: skip

    def __len__(self) -> int:
        return len(self.population["fvu"])

    # -- evaluation

    def judge(self, G, W, lengths, n, jobs=1, over=None):
        """Fit genomes G[:n] and merge the good ones into the population; `judged` is them all."""
        rows = self.judged = self._empty(n)
        if n == 0:
            return
        rows["G"][:], rows["W"][:], rows["lengths"][:] = G[:n], W[:n], lengths[:n]
        programs, given, homes = spelled(genomes_of(rows), rows["full"])
        fvu, consts = self.refiner.run(programs, QUICK, given=given, jobs=jobs, over=over, bar=self._bar())
        self.evaluations += n
        rows["fvu"] = fvu
        rows["full_lengths"] = np.diff(programs.start)
        width = min(consts.shape[1], homes.shape[1])
        which = np.arange(width)[None, :] < programs.n_constants[:, None]
        k, j = np.nonzero(which)
        value, home = consts[k, j], homes[k, j]
        own = home >= 0
        rows["W"][k[own], home[own]] = value[own]
        at = rows["full"] == op.FREE
        at &= np.arange(2 * WIDTH)[None, :] < rows["full_lengths"][:, None]
        # Free constants of the whole expression, row by row in pre-order: the order of `consts`.
        r, c = np.nonzero(at)
        rows["full_w"][r, c] = value
        inner = ((rows["G"] == op.FREE) & (np.arange(WIDTH)[None, :] < rows["lengths"][:, None])).sum(1)
        rows["price"] = PRICE * (rows["lengths"] + programs.n_constants - inner)
        self._merge(rows)

    def _bar(self) -> float:
        """FVU above which a child will hardly enter the population (the few points judge roughly: ten times the worst)."""
        return 10 * float(np.median(self.population["fvu"][-20:])) if len(self) == POPULATION else math.inf

    def _merge(self, rows):
        """Keep the best POPULATION of old and new; of those with one FVU only the best."""
        rows["score"] = np.log10(np.maximum(rows["fvu"], 1e-18)) + rows["price"]
        both = {name: np.concatenate([self.population[name], rows[name]]) for name in rows}
        order = np.argsort(both["score"], kind="stable")
        order = order[np.isfinite(both["score"][order])]
        alike = np.round(np.log10(np.maximum(both["fvu"][order], 1e-18)), 5)
        _, first = np.unique(alike, return_index=True)
        order = order[np.sort(first)][:POPULATION]
        self.population = {name: np.ascontiguousarray(values[order]) for name, values in both.items()}
        best = self.population["score"][0] if len(order) else math.inf
        self.stale = 0 if best < self.best - 1e-4 else self.stale + 1
        self.best = min(self.best, best)

    # -- children

    def grow(self, n, jobs=1, over=None):
        """Judge n random genomes."""
        self._breed(0, n, jobs, over)

    def generation(self, rng, jobs=1, over=None):
        """One round of random and of aimed children; a fresh start around the best few when nothing moves."""
        if self.stale > STALE:
            keep = min(len(self), 6)
            self.population = {name: values[:keep] for name, values in self.population.items()}
            self.limits.table[:] = 0
            self.met, self.stale = 0, 0
            self.grow(POPULATION, jobs, over)
        if self.met > len(self.limits.table) // 2:
            self.limits.table[:] = 0
            self.met = 0
        self._breed(len(self), CHILDREN, jobs, over)
        self._aim(rng, jobs, over)

    def _breed(self, n_parents, n, jobs, over):
        out = self._empty(n)
        made = breed(self.state, genomes_of(self.population), n_parents, self.menu, self.limits, genomes_of(out))
        self.met += made
        self.judge(out["G"], out["W"], out["lengths"], made, jobs, over)

    def _aim(self, rng, jobs, over):
        n = len(self)
        # The leading few and as many drawn from the rest.
        chosen = np.unique(np.concatenate([np.arange(min(n, 10)), (n * rng.random(14) ** 2).astype(int)]))
        self._aim_at(
            {name: values[chosen] for name, values in self.population.items()} if n else self._empty(0), 10, jobs, over
        )

    def _aim_at(self, rows, tries, jobs, over):
        """Judge aimed children of these rows."""
        n = len(rows["fvu"])
        if n == 0 or len(self.terms.values) == 0:
            return
        out = self._empty(CHILDREN)
        parents = Genomes(rows["full"], rows["full_w"], rows["full_lengths"])
        sample = Sample(self.refiner.columns, self.refiner.y, self.refiner.sw, self.n_aim)
        made = aim(self.state, parents, n, tries, sample, self.terms, self.limits, genomes_of(out))
        self.met += made
        self.judge(out["G"], out["W"], out["lengths"], made, jobs, over)

    def seed(self, candidates, jobs=1, over=None):
        """Take candidates for y in: undone by the view's inside, brought to canonical form, judged."""
        rows = self._empty(len(candidates))
        n = 0
        for candidate in candidates:
            if not FOREIGN.isdisjoint(candidate.expr):
                continue  # bred are Table 5's operators
            codes, values = to_codes([*self.inside, *candidate.expr], candidate.consts)
            if len(codes) <= WIDTH:
                rows["G"][n, : len(codes)], rows["W"][n, : len(codes)], rows["lengths"][n] = codes, values, len(codes)
                n += 1
        n = canonical_rows(Genomes(rows["G"][:n], rows["W"][:n], rows["lengths"][:n]), self.limits)
        self.judge(rows["G"], rows["W"], rows["lengths"], n, jobs, over)
        # A candidate that lacks one term may rank too low to be aimed at later.
        fitted = self.judged
        for first in range(0, len(fitted["fvu"]), 12):
            self._aim_at({name: values[first : first + 12] for name, values in fitted.items()}, 12, jobs, over)

    def news(self, most: int) -> list[tuple[list[str], np.ndarray]]:
        """(expr for y, consts) of the leading genomes not reported before, with and without the added summand."""
        p, found = self.population, []
        for k in range(min(len(self), most)):
            L = p["full_lengths"][k]
            key = p["full"][k, :L].tobytes()
            if key in self.reported:
                continue
            self.reported.add(key)
            codes, values = p["full"][k, :L], p["full_w"][k, :L]
            consts = values[codes == op.FREE]
            found.append(([*self.outside, *to_tokens(codes)], consts))
            found.append(([*self.outside, *to_tokens(without_summand(codes))], consts[:-1]))
            if self.outside[-1:] == ("exp",):
                product, consts = product_of_powers(codes, values)
                found.append(([*self.outside[:-1], *product], consts))
        return found
