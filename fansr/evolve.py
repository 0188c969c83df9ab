"""A proposer: local search over expressions, seeded by the best candidates so far.

Each *island* is a population that works on one view of the target: y itself, y^2, 1/y, 1/y^2, log|y| or exp(y), so that sums
inside an outer root, quotient, exponential or logarithm are plain sums to it.  A genome stands for its top-level
terms; it is judged by the FVU of c0 + c1*term1 + c2*term2 + ..., whose linear constants the refiner solves exactly
(linear scaling: Keijzer 2003), on a few points, plus a price for its length.

Children come in two ways (breed.py): random changes of ranked parents, and *aimed* ones, where the values that a
place in the tree would have to take are found by undoing what stands above it, and the nearest term of a library
is put there (semantic back-propagation: Pawlak, Wieloch & Krawiec 2015).  With the root as the place this adds the
term that best explains the residual or the factor that best explains the ratio.

    for batch in propose(problem, Budget(seconds=3), rng, pool): ...
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from fansr.breed import WIDTH, aim, breed, canonical_rows, spell
from fansr.evaluate import COLUMN, FREE, Programs, compile_many
from fansr.problem import Budget, Candidate, Problem
from fansr.refine import FULL, Refiner, Schedule
from fansr.tokens import CONSTANT, OPERATOR, OPERATORS, literal_value, variable_index

POPULATION = 240
CHILDREN = 144  # per generation and kind
LONGEST = 30  # tokens of a genome
MOST_CONSTANTS = 5  # of a genome, besides the linear ones added
ROWS = 128  # points an island sees; the refiner's quick rounds use the first 32 of them
PRICE = 0.04  # of a token, in decades of FVU: a little less than the paper's 0.05, so that the search may overshoot
EVALUATIONS = 60_000  # without a clock, times budget.work
STALE = 40  # generations without progress before an island starts afresh around its best few

QUICK = Schedule(points=32, starts=2, first=5, more=0, keep=1, last=4, last_points=96, unwrap=0)

# How often a random change is of which kind, in the order of breed._change.
KINDS = np.array([14, 20, 12, 10, 15, 8, 6, 10, 2, 3.0])
UNARY = {"inv": 2, "neg": 1, "pow2": 4, "pow3": 1, "pow4": 0.3, "pow1_2": 3, "sin": 2.5, "cos": 2.5, "exp": 3, "log": 1.5,
         "tanh": 0.7, "abs": 0.2, "asin": 0.2, "atan": 0.2, "pow1_3": 0.2, "sinh": 0.1, "cosh": 0.1, "tan": 0.1, "acos": 0.1}  # fmt: skip
BINARY = {"+": 4, "-": 3, "*": 5, "/": 4, "pow": 0.3}


def _cumulative(weights, n) -> np.ndarray:
    """Cumulative distribution over opcodes 0..n-1 from weights by token."""
    p = np.zeros(n)
    for token, weight in weights.items():
        p[OPERATOR[token].opcode] = weight
    return np.cumsum(p) / p.sum()


UNARY_CUMULATIVE, BINARY_CUMULATIVE = _cumulative(UNARY, len(OPERATORS)), _cumulative(BINARY, 5)


# ---- codes and tokens -------------------------------------------------------------------------


def to_codes(expr, consts=None) -> tuple[list[int], list[float]]:
    """Genome codes and values of a prefix expression; literals become free constants."""
    consts = iter(() if consts is None else consts)
    codes, values = [], []
    for token in expr:
        column = variable_index(token)
        if token in OPERATOR:
            codes.append(OPERATOR[token].opcode)
            values.append(0.0)
        elif column is not None:
            codes.append(COLUMN + column)
            values.append(0.0)
        else:
            codes.append(FREE)
            values.append(float(next(consts, 1.0)) if token == CONSTANT else literal_value(token))
    return codes, values


def to_tokens(codes) -> list[str]:
    """The prefix expression of genome codes."""
    return [
        OPERATORS[q].token if q < len(OPERATORS) else CONSTANT if q == FREE else f"x{q - COLUMN + 1}" for q in map(int, codes)
    ]


# ---- views of the target ----------------------------------------------------------------------


def views(y: np.ndarray) -> list[tuple[tuple[str, ...], np.ndarray, np.ndarray, tuple[str, ...]]]:
    """(outside, target, slope, inside) for every view that fits y (M,).

    `outside` are the tokens put before an expression for `target` to make one for y, `inside` those that do the
    opposite to an expression for y, and slope = |dy / dtarget| up to a factor weighs residuals.
    """
    found = [((), y, np.ones(len(y)), ())]
    size = np.abs(y)
    sign = () if (y >= 0).all() else ("neg",) if (y <= 0).all() else None
    with np.errstate(all="ignore"):
        if sign is not None:
            unit = size.max()
            found.append(((*sign, "pow1_2"), y * (y / unit), unit / np.maximum(size, 1e-3 * unit) / 2, ("pow2",)))
            if (size > 0).all() and size.max() / size.min() < 1e6:
                low = size.min()
                found.append(((*sign, "inv", "pow1_2"), (low / y) ** 2, (size / size.max()) ** 3, ("inv", "pow2")))
            if (size > 0).all() and size.max() / size.min() < 1e12:
                found.append(((*sign, "exp"), np.log(size), size, ("log", *sign)))
        if (size > 0).all() and size.max() / size.min() < 1e8:
            found.append((("inv",), 1 / y, y * (y / size.max()), ("inv",)))
        if size.max() < 30 and np.ptp(y) > 0.05:
            found.append((("log",), np.exp(y), np.exp(-y), ("exp",)))
    return [(o, t, s, i) for o, t, s, i in found if np.isfinite(t).all() and np.isfinite(s).all() and np.ptp(t) > 0]


# ---- the library of terms ---------------------------------------------------------------------


def leading(X, y, columns: list[int], most: int = 10) -> list[int]:
    """The columns that vary most with y: by the largest correlation of x, x^2 or 1/x with it, in table order."""
    if len(columns) <= most:
        return columns
    strength = []
    with np.errstate(all="ignore"):
        centred = (y - y.mean()) / np.ptp(y)
        for j in columns:
            x = X[:, j] / np.abs(X[:, j]).max()
            found = [abs(((f - f.mean()) * centred).sum()) / np.sqrt(((f - f.mean()) ** 2).sum()) for f in (x, x * x, 1 / x)]
            strength.append(max([v for v in found if np.isfinite(v)], default=0.0))
    return sorted(columns[i] for i in np.argsort(strength)[-most:])


def _library(X: np.ndarray, columns: list[int], most: int = 1500):
    """Terms built from few columns, shortest first: (values (N, M), codes (N, WIDTH), lengths (N,)).

    Products, quotients, sums and differences of columns, functions of them, and products of a column with those.
    A term whose values are those of an earlier one up to a factor, or not finite, is left out.
    """
    code = {token: row.opcode for token, row in OPERATOR.items()}
    seen: set[bytes] = set()
    rows, genomes = [], []

    def add(genome, values):
        size = np.abs(values).max() if len(values) else 0.0
        if len(rows) >= most or not (0 < size < 1e200):
            return False
        scaled = values / size
        scaled = scaled * (1 if scaled[np.abs(scaled).argmax()] > 0 else -1)
        key = np.round(scaled, 7).astype(np.float32).tobytes()
        if key in seen:
            return False
        seen.add(key)
        rows.append(values)
        genomes.append(genome)
        return True

    with np.errstate(all="ignore"):
        leaves = [([COLUMN + j], X[:, j]) for j in columns]
        functions = [
            ("inv", lambda v: 1 / v), ("pow2", np.square), ("pow1_2", np.sqrt), ("pow3", lambda v: v**3), ("sin", np.sin),
            ("cos", np.cos), ("exp", np.exp), ("log", np.log), ("tanh", np.tanh), ("pow4", lambda v: v**4),
        ]  # fmt: skip
        singles = [([code[f], *g], act(v)) for g, v in leaves for f, act in functions]
        pairs = []
        for (g, v), (h, u) in itertools.combinations(leaves, 2):
            pairs += [([code["*"], *g, *h], v * u), ([code["/"], *g, *h], v / u), ([code["/"], *h, *g], u / v),
                      ([code["-"], *g, *h], v - u), ([code["+"], *g, *h], v + u)]  # fmt: skip
        mixed = [([code["*"], *g, *h], v * u) for g, v in leaves for h, u in singles]
        mixed += [([code["/"], *g, *h], v / u) for g, v in leaves for h, u in singles]
        outer = [([code[f], *g], act(v)) for g, v in pairs for f, act in functions[:8]]
        triples = [([code["*"], *g, *h], v * u) for g, v in leaves for h, u in pairs]
        triples += [([code["/"], *h, *g], u / v) for g, v in leaves for h, u in pairs]
        products = [([code["*"], *g, *h], v * u) for (g, v), (h, u) in itertools.combinations(singles, 2)]
        for group in (leaves, singles, pairs, mixed, outer, triples, products):
            for genome, values in group:
                add(genome, values)
    codes, lengths = np.zeros((len(rows), WIDTH), np.int64), np.array([len(g) for g in genomes], np.int64)
    for k, genome in enumerate(genomes):
        codes[k, : len(genome)] = genome
    return np.ascontiguousarray(rows, np.float64).reshape(len(rows), len(X)), codes, lengths


# ---- islands ----------------------------------------------------------------------------------


class Island:
    """A population for one view of the target.

    G (P, WIDTH) codes, W (P, WIDTH) values, lengths (P,), ranked by score = log10 FVU + PRICE * size; full (P, 2*WIDTH)
    and full_w hold the fitted whole expressions c0 + c1*term1 + ... as codes and values.
    """

    def __init__(self, X, y, weights, view, columns, longest: int, seed: int, library=None):
        self.outside, target, slope, self.inside = view
        slope = slope / slope.max()  # squares of 1e300 would overflow
        # One seed for all islands: they see the rows in one order and can share the library.
        self.refiner = Refiner(X, target, seed=0, weights=slope**2 if weights is None else slope**2 * weights)
        self.columns = np.array([COLUMN + j for j in columns], np.int64)
        self.longest = longest
        self.state = np.array([seed], np.uint64)
        self.table = np.zeros(1 << 20, np.uint64)
        self.met = 0
        self.n_aim = min(len(y), 64)
        self.library = library or _library(self.refiner.columns[:, : self.n_aim].T, leading(X, target, columns))
        self.terms, self.term_codes, self.term_lengths = self.library
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
        programs, given, homes = spelled(rows["G"], rows["W"], rows["lengths"], rows["full"])
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
        at = rows["full"] == FREE
        at &= np.arange(2 * WIDTH)[None, :] < rows["full_lengths"][:, None]
        # Free constants of the whole expression, row by row in pre-order: the order of `consts`.
        r, c = np.nonzero(at)
        rows["full_w"][r, c] = value
        inner = ((rows["G"] == FREE) & (np.arange(WIDTH)[None, :] < rows["lengths"][:, None])).sum(1)
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
            self.table[:] = 0
            self.met, self.stale = 0, 0
            self.grow(POPULATION, jobs, over)
        if self.met > len(self.table) // 2:
            self.table[:] = 0
            self.met = 0
        self._breed(len(self), CHILDREN, jobs, over)
        self._aim(rng, jobs, over)

    def _breed(self, n_parents, n, jobs, over):
        p = self.population
        out = self._empty(n)
        kinds = np.cumsum(KINDS) / KINDS.sum()
        made = breed(self.state, p["G"], p["W"], p["lengths"], n_parents, kinds, UNARY_CUMULATIVE, BINARY_CUMULATIVE, self.columns,
                     self.longest, MOST_CONSTANTS, self.table, out["G"], out["W"], out["lengths"])  # fmt: skip
        self.met += made
        self.judge(out["G"], out["W"], out["lengths"], made, jobs, over)

    def _aim(self, rng, jobs, over):
        n = len(self)
        # The leading few and as many drawn from the rest.
        chosen = np.unique(np.concatenate([np.arange(min(n, 10)), (n * rng.random(14) ** 2).astype(int)]))
        self._aim_at({name: values[chosen] for name, values in self.population.items()} if n else self._empty(0), 10, jobs, over)

    def _aim_at(self, rows, tries, jobs, over):
        """Judge aimed children of these rows."""
        n = len(rows["fvu"])
        if n == 0 or len(self.terms) == 0:
            return
        out = self._empty(CHILDREN)
        made = aim(self.state, rows["full"], rows["full_w"], rows["full_lengths"], n, tries, self.refiner.columns, self.refiner.y,
                   self.refiner.sw, self.n_aim, self.terms, self.term_codes, self.term_lengths, self.longest, MOST_CONSTANTS, self.table,
                   out["G"], out["W"], out["lengths"])  # fmt: skip
        self.met += made
        self.judge(out["G"], out["W"], out["lengths"], made, jobs, over)

    def seed(self, candidates, jobs=1, over=None):
        """Take candidates for y in: undone by the view's inside, brought to canonical form, judged."""
        rows = self._empty(len(candidates))
        n = 0
        for candidate in candidates:
            codes, values = to_codes([*self.inside, *candidate.expr], candidate.consts)
            if len(codes) <= WIDTH:
                rows["G"][n, : len(codes)], rows["W"][n, : len(codes)], rows["lengths"][n] = codes, values, len(codes)
                n += 1
        n = canonical_rows(rows["G"][:n], rows["W"][:n], rows["lengths"][:n], self.longest, MOST_CONSTANTS, 6, self.table)
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
            consts = values[codes == FREE]
            found.append(([*self.outside, *to_tokens(codes)], consts))
            found.append(([*self.outside, *to_tokens(_without_summand(codes))], consts[:-1]))
            if self.outside[-1:] == ("exp",):
                product, consts = _product(codes, values)
                found.append(([*self.outside[:-1], *product], consts))
        return found


def _product(codes, values):
    """(tokens, consts) of exp(c0 + c1*t1 + ...) as a product, where t = log u gives u to a power.

    Powers within 0.02 of a multiple of 1/2 are taken to be that; the fit that follows says whether they are.
    """
    expr, consts = [], [math.exp(min(700.0, values[len(codes) - 1]))]
    for first, stop in _terms_of(codes)[:-1]:
        c, term, inner = values[first + 1], to_tokens(codes[first + 2 : stop]), values[first + 2 : stop][codes[first + 2 : stop] == FREE]
        if codes[first] == OPERATOR["*"].opcode and term[0] == "log":
            half = round(2 * c)
            if half == 0 and abs(c) < 0.02:
                continue
            if abs(c - half / 2) < 0.02 and _POWERS.get(abs(half)) is not None:
                factor, own = [*(["inv"] if half < 0 else []), *_POWERS[abs(half)], *term[1:]], inner
            else:
                factor, own = ["pow", *term[1:], CONSTANT], [*inner, c]
        else:
            factor, own = ["exp", to_tokens(codes[first : first + 1])[0], CONSTANT, *term], [c, *inner]
        expr += ["*", *factor]
        consts = [*consts, *own]
    # expr reads * f1 * f2 ...; the leading factor closes it.
    return [*expr, CONSTANT], np.array([*consts[1:], consts[0]])


# Tokens that raise to half of the key.
_POWERS = {1: ["pow1_2"], 2: [], 3: ["pow3", "pow1_2"], 4: ["pow2"], 5: ["pow5", "pow1_2"], 6: ["pow3"], 8: ["pow4"], 10: ["pow5"]}


def _without_summand(codes):
    """The codes of c1*t1 + (c2*t2 + (... + c0)) without c0: the last operand of the innermost top-level sum."""
    # The ADD whose second operand is the final constant is the last top-level one; dropping both closes the gap.
    plus = OPERATOR["+"].opcode
    place, at = 0, 0
    while at < len(codes) - 1 and codes[at] == plus:
        place = at
        open_slots, at = 1, at + 1
        while open_slots:
            q = codes[at]
            open_slots += -1 if q >= len(OPERATORS) else OPERATORS[q].arity - 1
            at += 1
    return np.concatenate([codes[:place], codes[place + 1 : -1]])


def spelled(G, W, lengths, full) -> tuple[Programs, np.ndarray, np.ndarray]:
    """(Programs, given, homes) of genomes; `full` (n, 2*WIDTH) receives the whole expressions' codes."""
    n = len(lengths)
    room = int(lengths.sum()) + 24 * n + 1
    op, link = np.empty(room, np.int64), np.empty(room, np.int64)
    start, n_constants = np.empty(n + 1, np.int64), np.empty(n, np.int64)
    given, homes = np.ones((n, 16)), np.full((n, 16), -1, np.int64)
    used = spell(G, W, lengths, n, 1, op, link, start, n_constants, given, homes, full)
    return Programs(op[:used], link[:used], np.zeros(used), start, n_constants), given, homes


class QuotientIsland(Island):
    """A population of quotients y = (c0 + sum of c*t) / (1 - sum of b*t), found as sums for y itself.

    y = c0 + sum of c*t + sum of b*(y*t) is linear in all its constants (Levy 1959), so the target becomes one more
    column and terms may carry it as a factor.  Such sums can be idle (y = y * something near 1): what counts is the
    FVU of the quotient, fitted from the sum's constants.
    """

    def __init__(self, X, y, weights, columns, longest: int, seed: int, library=None):
        super().__init__(np.column_stack([X, y]), y, weights, ((), y, np.ones(len(y)), ()), columns, longest, seed, library)
        self.y_code = COLUMN + X.shape[1]
        # Terms with the target as a factor: those of the library, up to a few hundred.
        n = min(len(self.terms), 400)
        times = np.zeros((n, WIDTH), np.int64)
        times[:, 0], times[:, 1], times[:, 2:] = OPERATOR["*"].opcode, self.y_code, self.term_codes[:n, : WIDTH - 2]
        with np.errstate(over="ignore", invalid="ignore"):
            self.terms = np.vstack([self.terms, self.terms[:n] * self.refiner.y[: self.n_aim]])
        self.term_codes, self.term_lengths = np.vstack([self.term_codes, times]), np.append(self.term_lengths, self.term_lengths[:n] + 2)

    def judge(self, G, W, lengths, n, jobs=1, over=None):
        """As for any island, but genomes without a denominator are left to the island of plain sums."""
        parts = [_numerator_and_denominator(G[k, : lengths[k]], self.y_code) for k in range(n)]
        good = np.array([k for k in range(n) if parts[k] is not None and parts[k][1]], np.int64)
        self.parts = [parts[k] for k in good]
        super().judge(G[good], W[good], lengths[good], len(good), jobs, over)

    def grow(self, n, jobs=1, over=None):
        """Judge the denominators 1 - b*t of the library's first terms, alone and each with a random term t above."""
        times = np.flatnonzero(self.term_codes[:, 1] == self.y_code)[:n]
        rows = self._empty(2 * len(times))
        picks = np.random.default_rng(int(self.state[0])).integers(0, max(1, times[0]), len(times)) if len(times) else times
        for k, (t, u) in enumerate(zip(times, picks)):
            with_target = self.term_codes[t, : self.term_lengths[t]]
            both = [OPERATOR["+"].opcode, *self.term_codes[u, : self.term_lengths[u]], *with_target]
            for row, genome in ((2 * k, with_target), (2 * k + 1, both)):
                rows["G"][row, : len(genome)], rows["lengths"][row] = genome, len(genome)
        made = canonical_rows(rows["G"], rows["W"], rows["lengths"], self.longest, MOST_CONSTANTS, 6, self.table)
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


def _terms_of(g) -> list[tuple[int, int]]:
    """(first, stop) of each top-level term of a genome or of a whole expression without its summand."""
    plus, spans, i = OPERATOR["+"].opcode, [], 0
    while True:
        more = g[i] == plus
        i += int(more)
        stop = _stop(g, i) if more else len(g)
        spans.append((i, stop))
        if not more:
            return spans
        i = stop


def _stop(g, i: int) -> int:
    """Index after the subtree at i."""
    open_slots = 1
    while open_slots:
        q = g[i]
        open_slots += -1 if q >= len(OPERATORS) else OPERATORS[q].arity - 1
        i += 1
    return i


def _numerator_and_denominator(g, y_code: int):
    """The terms without the target and those with it as a factor, as ([(number, first, stop, hole)], [...]).

    hole is the position of the target in a term, or -1.  None when the target stands anywhere but as a factor, or a
    term is the target alone (y = y says nothing).
    """
    upper, lower = [], []
    times, over = OPERATOR["*"].opcode, OPERATOR["/"].opcode
    for number, (first, stop) in enumerate(_terms_of(g)):
        holes = [i for i in range(first, stop) if g[i] == y_code]
        if not holes:
            upper.append((number, first, stop, -1))
            continue
        i = first
        while i != holes[0] and g[i] in (times, over):
            right = _stop(g, i + 1)
            if holes[0] >= right and g[i] == over:
                return None
            i = i + 1 if holes[0] < right else right
        if len(holes) > 1 or i != holes[0] or stop == first + 1:
            return None
        lower.append((number, first, stop, holes[0]))
    return upper, lower


def _factors(codes, values) -> list[float]:
    """The linear constants of a whole expression's terms, in order."""
    return [values[first + 1] for first, _ in _terms_of(codes)[:-1]]


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
        consts += [sign * factors[number], *(v for q, v in zip(g, w) if q == FREE)]
    return expr, consts


def _close(g, w, hole):
    """A product without its factor at `hole`: the operator above goes and its other operand stays."""
    times = OPERATOR["*"].opcode
    parent, i = 0, 0
    while i != hole:
        parent = i
        right = _stop(g, i + 1)
        i = i + 1 if hole < right else right
    right = _stop(g, parent + 1)
    stop = _stop(g, right)
    if g[parent] == times:
        a, b = (right, stop) if hole < right else (parent + 1, right)
        return [*g[:parent], *g[a:b], *g[stop:]], [*w[:parent], *w[a:b], *w[stop:]]
    # target / u becomes 1 / u
    inverse = OPERATOR["inv"].opcode
    return [*g[:parent], inverse, *g[right:stop], *g[stop:]], [*w[:parent], 0.0, *w[right:stop], *w[stop:]]


# ---- the proposer -----------------------------------------------------------------------------


def propose(problem: Problem, budget: Budget, rng, pool=None, jobs: int = 1):
    """Yield lists of fitted candidates, each an improvement of some island.

    Without a clock it stops after EVALUATIONS * budget.work evaluations and depends on `rng` and the pool alone.
    """
    M, D = problem.X.shape
    over = budget.over
    seed = int(rng.integers(1 << 62))
    rows = rng.permutation(M)[:ROWS]
    X, y = problem.X[rows], problem.y[rows]
    weights = None if problem.weights is None else problem.weights[rows]
    columns = [j for j in range(D) if np.ptp(X[:, j]) > 0]
    if not columns or not np.ptp(y) > 0:
        return
    judge = Refiner(problem.X, problem.y, seed=seed % 1000, weights=problem.weights)
    longest = min(LONGEST, max(8, M))
    first, *others = views(y)
    plain = Island(X, y, weights, first, columns, longest, seed)
    islands = [plain, QuotientIsland(X, y, weights, columns, longest, seed + 1, plain.library)]
    islands += [Island(X, y, weights, view, columns, longest, seed + 2 + k, plain.library) for k, view in enumerate(others)]
    limit = EVALUATIONS * budget.work if budget.seconds is None else math.inf
    for island in islands:
        island.seed(list(pool)[:60] if pool else [], jobs, over)
        island.grow(POPULATION, jobs, over)
        if over():
            return
        yield []
    for turn in itertools.count():
        if over() or sum(island.evaluations for island in islands) >= limit:
            return
        island = _next(islands, turn, rng)
        island.generation(rng, jobs, over)
        found = island.news(4 if turn % 8 else 12)
        if found:
            yield _verdicts(judge, found, jobs, over)
        if turn % 16 == 15 and pool:
            for other in islands:
                other.seed(list(pool)[:20], jobs, over)


def _next(islands, turn, rng) -> Island:
    """Whose turn it is: each its own in the first rounds, then mostly the island with the lowest score."""
    if turn < 3 * len(islands) or rng.random() < 0.35:
        return islands[turn % len(islands)]
    return min(islands, key=lambda island: island.best + 0.02 * island.stale)


def _verdicts(judge: Refiner, found, jobs, over) -> list[Candidate]:
    """Candidates with constants fitted to y on all points, started from the island's and from fresh draws."""
    programs = compile_many([expr for expr, _ in found])
    most = max(1, int(programs.n_constants.max()))
    given = np.full((len(found), most), np.nan)
    for k, (_, consts) in enumerate(found):
        given[k, : len(consts)] = consts
    fvu, consts = judge.run(programs, FULL._replace(starts=4), given=given, jobs=jobs, over=over)
    return [
        Candidate(expr, consts[k, : programs.n_constants[k]].copy(), float(fvu[k]), "evolve")
        for k, (expr, _) in enumerate(found)
        if np.isfinite(fvu[k])
    ]
