"""A population of quotients for the local search: laws A/B found as sums that are linear in all their constants."""

from __future__ import annotations

import numpy as np

from fansr.expressions import Program, opcodes as op
from fansr.proposers.local_search.genome_canonical_form import canonical_rows
from fansr.proposers.local_search.genome_to_expression import to_tokens
from fansr.proposers.local_search.genomes import WIDTH, Genomes
from fansr.proposers.local_search.island import Island, genomes_of
from fansr.proposers.local_search.quotient_spelling import are_quotients, quotients
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
        good = np.zeros(n, np.int64)
        are_quotients(Genomes(G[:n], W[:n], lengths[:n]), self.y_code, good)
        good = np.flatnonzero(good)
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

    def _bars_of_sums(self, price):
        """No sum is given up for its own FVU, and its curved constants can wait for the quotient's fit."""
        return np.tile([np.inf, 0.0], (len(price), 1))

    def _merge(self, rows):
        """Judge by the quotients, then merge."""
        programs, given = quotients(genomes_of(rows), rows["consts"], self.y_code)
        fitted = np.isfinite(rows["fvu"])
        rows["fvu"], _ = self.refiner.quick(programs, given, self._bars(rows["price"]))
        rows["fvu"][~fitted] = np.inf
        super()._merge(rows)

    def news(self, most: int):
        new = self._unreported(most)
        rows = {name: values[new] for name, values in self.population.items()}
        programs, given = quotients(genomes_of(rows), rows["consts"], self.y_code)
        return [(tokens_of(programs[k]), given[k, : programs.n_constants[k]]) for k in range(len(new))]


def tokens_of(program: Program) -> list[str]:
    """The prefix expression of a quotient's program; its one literal is 1."""
    codes = np.where(program.op == op.COLUMN, op.COLUMN + program.link, program.op)
    return ["1" if q == op.LITERAL else to_tokens([q])[0] for q in codes]
