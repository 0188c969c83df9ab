"""A population of the local search: genomes bred, aimed and judged for one view of the target."""

from __future__ import annotations

import math

import numpy as np

from fansr.expressions import FOREIGN, OPERATOR, OPERATORS, opcodes as op
from fansr.fitting import Refiner
from fansr.proposers.local_search.aimed_mutations import aim
from fansr.proposers.local_search.genome_canonical_form import canonical_rows
from fansr.proposers.local_search.genome_to_expression import (
    product_of_powers,
    spelled,
    to_codes,
    to_tokens,
    without_summand,
)
from fansr.proposers.local_search.genomes import MAX_TERMS, WIDTH, Genomes, Limits
from fansr.proposers.local_search.nearest_terms import Sample, new_goals
from fansr.proposers.local_search.random_mutations import Menu, breed
from fansr.proposers.local_search.subtree_library import leading, stock

POPULATION = 240
CHILDREN = 96  # per generation and kind
MOST_CONSTANTS = 5  # of a genome, besides the linear ones added
MOST = MOST_CONSTANTS + MAX_TERMS + 1  # of a whole expression
PRICE = 0.04  # of a token, in decades of FVU: a little less than the paper's 0.05, so that the search may overshoot
STALE = 20  # generations without progress before an island starts afresh around its best few

# A child with a score (on few points and by few steps) this much above the population's worst is given up; one this much above
# the population's first third is worth further steps.  In decades of FVU.
ENTERING, LEADING = 0.5, 0.5

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

    G (P, WIDTH) codes, W (P, WIDTH) values, lengths (P,), aimed (P,) how often a genome was a parent of aimed children; ranked by score = log10 FVU + PRICE * size; consts (P, MOST) are the
    fitted constants of the whole expressions c0 + c1*term1 + ... in pre-order (`wholes` writes those out).
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
        self.terms, self.goals = self.library, new_goals()
        self.population = self._empty(0)
        self.evaluations, self.stale, self.best = 0, 0, math.inf
        self.reported: set[bytes] = set()
        self.judged = self._empty(0)

    @staticmethod
    def _empty(n) -> dict[str, np.ndarray]:
        """A population of n rows."""
        return {
            "G": np.zeros((n, WIDTH), np.int64), "W": np.zeros((n, WIDTH)), "lengths": np.zeros(n, np.int64),
            "consts": np.zeros((n, MOST)), "aimed": np.zeros(n, np.int64), "fvu": np.full(n, np.inf), "price": np.zeros(n), "score": np.full(n, np.inf),
        }  # fmt: skip

    def __len__(self) -> int:
        return len(self.population["fvu"])

    # -- evaluation

    def judge(self, G, W, lengths, n, jobs=1, over=None):
        """Fit genomes G[:n] and merge the good ones into the population; `judged` is them all."""
        rows = self.judged = self._empty(n)
        if n == 0:
            return
        rows["G"], rows["W"], rows["lengths"] = G[:n], W[:n], lengths[:n]
        programs, given, homes, _ = spelled(genomes_of(rows))
        own = homes >= 0
        rows["price"] = PRICE * (rows["lengths"] + programs.n_constants - own.sum(1))
        rows["fvu"], consts = self.refiner.quick(programs, given, self._bars_of_sums(rows["price"]), jobs, over)
        self.evaluations += n
        width = min(consts.shape[1], MOST)
        rows["consts"][:, :width] = consts[:, :width]
        k, j = np.nonzero(own)
        rows["W"][k, homes[k, j]] = rows["consts"][k, j]
        self._merge(rows)

    @staticmethod
    def wholes(rows) -> Genomes:
        """The whole expressions c0 + c1*term1 + ... of rows, their fitted constants as values; 2 * WIDTH positions each."""
        programs, _, _, full = spelled(genomes_of(rows))
        lengths = np.diff(programs.start)
        values = np.zeros(full.shape)
        # Free constants row by row in pre-order: the order of `consts`.
        k, i = np.nonzero((full == op.FREE) & (np.arange(full.shape[1])[None, :] < lengths[:, None]))
        first = np.concatenate([[0], np.cumsum(programs.n_constants)])[:-1]
        values[k, i] = rows["consts"][k, np.arange(len(k)) - first[k]]
        return Genomes(full, values, lengths)

    def _bars(self, price) -> np.ndarray:
        """(n, 2): the FVU below which children of these prices may enter the population and may lead it."""
        if len(self) < POPULATION:
            return np.full((len(price), 2), np.inf)
        score = self.population["score"]
        limits = np.array([score[-1] + ENTERING, min(score[POPULATION // 3], score[-1]) + LEADING])
        return 10 ** np.minimum(limits[None, :] - price[:, None], 300)

    def _bars_of_sums(self, price) -> np.ndarray:
        """The same for the sums that genomes stand for."""
        return self._bars(price)

    def _merge(self, rows):
        """Keep the best POPULATION of old and new; of those with one FVU only the best."""
        rows["score"] = np.log10(np.maximum(rows["fvu"], 1e-18)) + rows["price"]
        old = self.population
        score, fvu = (np.concatenate([old[name], rows[name]]) for name in ("score", "fvu"))
        order = np.argsort(score, kind="stable")
        order = order[np.isfinite(score[order])]
        alike = np.round(np.log10(np.maximum(fvu[order], 1e-18)), 5)
        _, first = np.unique(alike, return_index=True)
        order = order[np.sort(first)][:POPULATION]
        stay = order < len(old["score"])
        stayed, came = order[stay], order[~stay] - len(old["score"])
        self.population = {}
        for name, values in old.items():
            kept = self.population[name] = np.empty((len(order), *values.shape[1:]), values.dtype)
            kept[stay], kept[~stay] = values[stayed], rows[name][came]
        best = self.population["score"][0] if len(order) else math.inf
        self.stale = 0 if best < self.best - 1e-4 else self.stale + 1
        self.best = min(self.best, best)

    # -- children

    def grow(self, n, jobs=1, over=None):
        """Judge n random genomes."""
        G, W, lengths = self._bred(0, n)
        self.judge(G, W, lengths, len(lengths), jobs, over)

    def generation(self, rng, jobs=1, over=None):
        """One round of random and of aimed children; a fresh start around the best few when nothing moves."""
        if self.stale > STALE:
            keep = min(len(self), 6)
            self.population = {name: values[:keep] for name, values in self.population.items()}
            self.stale = 0
            self._forget()
            self.grow(POPULATION, jobs, over)
        if self.met > len(self.limits.table) // 2:
            self._forget()
        both = self._bred(len(self), CHILDREN), self._aimed(self._parents(rng), 10)
        G, W, lengths = (np.concatenate(parts) for parts in zip(*both))
        self.judge(G, W, lengths, len(lengths), jobs, over)

    def _forget(self):
        """All genomes may come again."""
        self.limits.table[:] = 0
        self.population["aimed"][:] = 0
        self.met = 0

    def _bred(self, n_parents: int, n: int) -> Genomes:
        """Up to n random children of the first n_parents, or genomes grown from nothing."""
        out = genomes_of(self._empty(n))
        return self._new(out, breed(self.state, genomes_of(self.population), n_parents, self.menu, self.limits, out))

    def _parents(self, rng):
        """Parents of aimed children: the leading few and as many drawn from the rest."""
        n = len(self)
        drawn = (n * rng.random(14) ** 2).astype(int)[: 14 * (n > 0)]
        chosen = np.unique(np.concatenate([np.arange(min(n, 10)), drawn]))
        rows = {name: values[chosen] for name, values in self.population.items()}
        self.population["aimed"][chosen] += 1
        return rows

    def _aimed(self, rows, tries: int) -> Genomes:
        """Aimed children of these rows."""
        out = genomes_of(self._empty(CHILDREN))
        if len(rows["aimed"]) == 0 or len(self.terms.values) == 0:
            return self._new(out, 0)
        sample = Sample(self.refiner.columns, self.refiner.y, self.refiner.sw, self.n_aim)
        parents = self.wholes(rows)
        return self._new(
            out, aim(self.state, parents, rows["aimed"], tries, sample, self.terms, self.goals, self.limits, out)
        )

    def _new(self, out: Genomes, made: int) -> Genomes:
        """The first `made` genomes, counted as met."""
        self.met += made
        return Genomes(out.G[:made], out.W[:made], out.lengths[:made])

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
            rows = {name: values[first : first + 12] for name, values in fitted.items()}
            G, W, lengths = self._aimed(rows, 12)
            self.judge(G, W, lengths, len(lengths), jobs, over)

    def _unreported(self, most: int) -> np.ndarray:
        """Numbers of those of the leading genomes that were not reported before; now they are."""
        p, new = self.population, []
        for k in range(min(len(self), most)):
            key = p["G"][k, : p["lengths"][k]].tobytes()
            if key not in self.reported:
                self.reported.add(key)
                new.append(k)
        return np.array(new, np.int64)

    def news(self, most: int) -> list[tuple[list[str], np.ndarray]]:
        """(expr for y, consts) of the leading genomes not reported before, with and without the added summand."""
        found, new = [], self._unreported(most)
        whole = self.wholes({name: values[new] for name, values in self.population.items()})
        for k in range(len(new)):
            codes, values = (part[k, : whole.lengths[k]] for part in whole[:2])
            consts = values[codes == op.FREE]
            found.append(([*self.outside, *to_tokens(codes)], consts))
            found.append(([*self.outside, *to_tokens(without_summand(codes))], consts[:-1]))
            if self.outside[-1:] == ("exp",):
                product, consts = product_of_powers(codes, values)
                found.append(([*self.outside[:-1], *product], consts))
        return found
