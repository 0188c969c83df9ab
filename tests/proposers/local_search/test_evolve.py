"""The local search, from genomes to the proposer: tree work keeps meanings, aimed changes hit, the search finds laws and repeats itself."""

import numpy as np
import pytest
from random_trees import random_tree

from fansr.expressions import opcodes as op
from fansr.expressions.prefix import problems
from fansr.expressions.programs import evaluate
from fansr.expressions.tokens import CONSTANT as C
from fansr.fitting.problem import Budget, Candidate, Problem
from fansr.proposers.local_search import evolve, genome_to_expression, random_mutations
from fansr.proposers.local_search.aimed_mutations import aim
from fansr.proposers.local_search.genome_canonical_form import canonical_rows
from fansr.proposers.local_search.genomes import Limits
from fansr.proposers.local_search.island import BINARY_CUMULATIVE, KINDS, UNARY_CUMULATIVE, Island, genomes_of
from fansr.proposers.local_search.nearest_terms import Sample, new_goals
from fansr.proposers.local_search.subtree_library import leading
from fansr.proposers.parts.target_views import views

NO_TABLE = 1 << 12


def rows_of(exprs, consts):
    """Genome rows of expressions."""
    rows = Island._empty(len(exprs))
    for k, (expr, c) in enumerate(zip(exprs, consts)):
        codes, values = genome_to_expression.to_codes(expr, c)
        rows["G"][k, : len(codes)], rows["W"][k, : len(codes)], rows["lengths"][k] = codes, values, len(codes)
    return rows


def canonical(expr, consts=()):
    """(expr, consts) of the canonical genome, or None."""
    rows = rows_of([expr], [consts])
    n = canonical_rows(genomes_of(rows), Limits(60, 99, np.zeros(NO_TABLE, np.uint64)))
    if n == 0:
        return None
    L = rows["lengths"][0]
    codes = rows["G"][0, :L]
    return genome_to_expression.to_tokens(codes), rows["W"][0, :L][codes == op.FREE]


def problem(X, y):
    return Problem(X, y, [f"x{j + 1}" for j in range(X.shape[1])])


@pytest.mark.parametrize("expr, want", [
    (["x1"], ["x1"]),
    (["neg", "mult3", "x1"], ["x1"]),  # factors and signs of terms go
    (["+", C, "*", C, "*", C, "x1"], ["x1"]),
    (["/", C, "*", C, "x2"], ["inv", "x2"]),
    (["+", "x2", "x1"], ["+", "x1", "x2"]),
    (["-", "x2", "-", "x1", "x2"], ["+", "x1", "x2"]),  # equal terms are one
    (["*", "x2", "*", "x1", C], ["*", "x1", "x2"]),
    (["*", "inv", "x1", "x2"], ["/", "x2", "x1"]),
    (["inv", "inv", "sin", "x1"], ["sin", "x1"]),
    (["exp", "+", C, "x1"], ["exp", "x1"]),
    (["log", "*", C, "x1"], ["log", "x1"]),
    (["pow1_2", "*", C, "x1"], ["pow1_2", "x1"]),
    (["*", "x1", "x1"], ["pow2", "x1"]),
    (["*", "pow2", "x1", "x1"], ["pow3", "x1"]),
    (["cos", "neg", "x1"], ["cos", "x1"]),
    (["sin", "neg", "x1"], ["sin", "x1"]),
    (["/", "/", "x1", "x2", "x3"], ["/", "x1", "*", "x2", "x3"]),
])  # fmt: skip
def test_canonical_forms(expr, want):
    assert canonical(expr, [2.0, 3.0, 4.0])[0] == want
    assert canonical(want)[0] == want


def test_nothing_is_left_of_constants():
    assert canonical(["+", C, "sin", C], [1.0, 2.0]) is None
    assert canonical(["-", "x1", "x1"]) is None


def test_canonical_form_spans_the_same_functions():
    """The original is c0 + sum of c*term of its canonical form, term by term, for the values carried along."""
    rng = np.random.default_rng(4)
    X, checked = rng.uniform(0.3, 2.0, (60, 3)), 0
    for _ in range(500):
        expr = random_tree(rng, int(rng.integers(2, 6)), 3)
        consts = rng.uniform(0.5, 2.0, expr.count(C))
        found = canonical(expr, consts)
        y = evaluate(expr, X, consts)
        if found is None or not np.isfinite(y).all() or np.abs(y).max() > 1e8 or not y.std() > 1e-6 * np.abs(y).max():
            continue
        codes = genome_to_expression.to_codes(*found)
        terms = [genome_to_expression.to_tokens(codes[0][a:b]) for a, b in genome_to_expression.terms_of(codes[0])]
        values, j = [np.ones(60)], 0
        for term in terms:
            n = term.count(C)
            values.append(evaluate(term, X, found[1][j : j + n]))
            j += n
        A = np.stack(values, 1)
        A = A / np.abs(A).max(0)
        left = y - A @ np.linalg.lstsq(A, y, rcond=None)[0]
        assert np.abs(left).max() < 1e-6 * np.abs(y).max(), (" ".join(expr), " ".join(found[0]))
        checked += 1
    assert checked > 100


def test_children_are_complete_new_and_in_range():
    rng = np.random.default_rng(0)
    exprs = [e for e in (random_tree(rng, 3, 2) for _ in range(60)) if len(e) < 30]
    rows = rows_of(exprs, [np.ones(e.count(C)) for e in exprs])
    table, state = np.zeros(1 << 14, np.uint64), np.array([7], np.uint64)
    n = canonical_rows(genomes_of(rows), Limits(30, 5, table))
    known = {rows["G"][k, : rows["lengths"][k]].tobytes() for k in range(n)}
    out = Island._empty(400)
    columns = np.array([op.COLUMN, op.COLUMN + 1], np.int64)
    menu = random_mutations.Menu(np.cumsum(KINDS) / KINDS.sum(), UNARY_CUMULATIVE, BINARY_CUMULATIVE, columns)
    made = random_mutations.breed(state, genomes_of(rows), n, menu, Limits(25, 4, table), genomes_of(out))
    assert made > 300
    for k in range(made):
        codes = out["G"][k, : out["lengths"][k]]
        assert problems(genome_to_expression.to_tokens(codes), 2) is None
        assert len(codes) <= 25 and (codes == op.FREE).sum() <= 4 and (codes > op.FREE).any()
        assert codes.tobytes() not in known
        known.add(codes.tobytes())


def test_spelled_programs_are_the_scaled_sums():
    exprs, consts = [["+", "sin", "x1", "inv", "x2"], ["*", "x1", "exp", "*", C, "x2"]], [[], [0.7]]
    rows = rows_of(exprs, consts)
    programs, given, homes, full = genome_to_expression.spelled(genomes_of(rows))
    X = np.random.default_rng(1).uniform(1, 2, (9, 2))
    c = [2.0, 3.0, -1.0]
    np.testing.assert_allclose(evaluate(programs[0], X, c), 2 * np.sin(X[:, 0]) + 3 / X[:, 1] - 1)
    assert genome_to_expression.to_tokens(full[0, : len(programs[0].op)]) == [
        "+",
        "*",
        C,
        "sin",
        "x1",
        "+",
        "/",
        C,
        "x2",
        C,
    ]
    assert given[1, 1] == 0.7 and homes[1, 1] == 4 and list(programs.n_constants) == [3, 3]
    without = genome_to_expression.to_tokens(genome_to_expression.without_summand(full[0, : len(programs[0].op)]))
    assert without == ["+", "*", C, "sin", "x1", "/", C, "x2"]


def aimed(X, y, expr, consts, tries=400):
    """Children that `aim` makes of one expression."""
    island = Island(X, y, None, views(y)[0], list(range(X.shape[1])), 40, 3)
    rows = rows_of([expr], [consts])
    out = Island._empty(tries)
    sample = Sample(island.refiner.columns, island.refiner.y, island.refiner.sw, island.n_aim)
    limits = Limits(40, 6, island.limits.table)
    made = aim(
        island.state,
        genomes_of(rows),
        rows["aimed"],
        tries,
        sample,
        island.terms,
        island.goals,
        limits,
        genomes_of(out),
    )
    return [genome_to_expression.to_tokens(out["G"][k, : out["lengths"][k]]) for k in range(made)]


def test_goals_that_are_known_give_the_children_they_gave():
    X = np.random.default_rng(5).uniform(0.5, 2.0, (100, 3))
    island = Island(X, X[:, 0] * np.sin(X[:, 1] * X[:, 2]), None, views(X[:, 0])[0], [0, 1, 2], 40, 3)
    rows = rows_of([["+", "*", C, "x1", C], ["+", "*", C, "sin", "x2", C]], [[0.8, 0.1], [1.2, 0.3]])
    sample = Sample(island.refiner.columns, island.refiner.y, island.refiner.sw, island.n_aim)
    goals, children = new_goals(), []
    for kept in (goals, goals, goals, new_goals()):  # the same draws, with all known the second time; then other draws
        out = Island._empty(200)
        state = np.array([7 + 2 * (len(children) > 1)], np.uint64)
        limits = Limits(40, 6, np.zeros(NO_TABLE, np.uint64))
        made = aim(state, genomes_of(rows), rows["aimed"], 60, sample, island.terms, kept, limits, genomes_of(out))
        children.append((made, out["G"].tobytes(), out["W"].tobytes()))
    assert children[0] == children[1] and children[2] == children[3] and children[0] != children[2]
    assert children[0][0] > 20 and (goals.keys != 0).sum() > 10


def test_exponential_of_logarithms_is_a_product():
    expr, consts = (
        ["+", "*", C, "log", "+", C, "x1", "+", "/", C, "x2", "+", "*", C, "log", "x3", C],
        [-1.5, 0.4, 0.7, 2.31, 0.2],
    )
    codes, values = (np.array(v) for v in genome_to_expression.to_codes(expr, consts))
    product, own = genome_to_expression.product_of_powers(codes, values)
    X = np.random.default_rng(0).uniform(0.5, 2, (20, 3))
    np.testing.assert_allclose(evaluate(product, X, own), np.exp(evaluate(expr, X, consts)), rtol=1e-12)
    assert product[:7] == ["*", "inv", "pow3", "pow1_2", "+", C, "x1"] and product.count("log") == 0


def test_aimed_changes_hit_what_is_missing():
    X = np.random.default_rng(2).uniform(0.5, 2.0, (100, 3))
    a, b, c = X.T
    # a summand, a factor, and the inside of a function
    assert ["+", "x1", "*", "x2", "x3"] in aimed(X, a + 3 * b * c, ["+", "*", C, "x1", C], [1.0, 0.0])
    found = aimed(X, a * np.sin(b * c), ["+", "*", C, "x1", C], [0.8, 0.0])
    assert any("sin" in e and "x1" in e for e in found)
    assert ["exp", "/", "x1", "x3"] in aimed(X, np.exp(a / c), ["+", "*", C, "exp", "x2", C], [1.0, 0.0])


def test_views_invert():
    """outside(target) is y and inside(y) the target, each up to the view's own scale."""
    for y in (np.array([1.5, 2.0, 5.0]), np.array([-1.5, -2.0, -5.0]), np.array([-3.0, 1.0, 2.0])):
        names = set()
        for outside, target, slope, inside in views(y):
            there = evaluate([*outside, "x1"], (evaluate([*inside, "x1"], y[:, None]))[:, None])
            np.testing.assert_allclose(there, y, rtol=1e-12)
            want = evaluate([*inside, "x1"], y[:, None])
            np.testing.assert_allclose(target / target[0], want / want[0], rtol=1e-12)
            step = 1e-7 * np.abs(want)
            numeric = (evaluate([*outside, "x1"], (want + step)[:, None]) - y) / step
            np.testing.assert_allclose(slope / slope[0], np.abs(numeric / numeric[0]), rtol=1e-4)
            names.add(outside)
        assert () in names and len(names) >= 2


LAWS = [
    ("nested root", 4, lambda x: x[2] * np.sqrt(x[0] ** 2 + x[1] * x[3])),
    ("sum in a sine", 4, lambda x: x[0] * np.sin(x[1] * x[2] + x[3])),
    ("distance", 6, lambda x: np.sqrt((x[0] - x[1]) ** 2 + (x[2] - x[3]) ** 2 + (x[4] - x[5]) ** 2)),
    ("quotient", 2, lambda x: (1.3 + 0.7 * x[0] ** 2) / (2.0 + x[1] ** 2 + 0.4 * x[0])),
    ("log of a sum", 3, lambda x: np.log(1 + x[0] * x[1] / x[2])),
]


@pytest.mark.parametrize("name, D, law", LAWS, ids=[law[0] for law in LAWS])
def test_finds_laws(name, D, law):
    X = np.random.default_rng(5).uniform(0.5, 3.0, (300, D))
    y, best = law(X.T), np.inf
    for batch in evolve.propose(problem(X, y), Budget(None, 0.6), np.random.default_rng(0)):
        for candidate in batch:
            assert problems(candidate.expr, D) is None
            best = min(best, candidate.fvu)
        if best < 1e-20:
            break
    assert best < 1e-20


def test_the_same_seed_gives_the_same_candidates():
    X = np.random.default_rng(6).uniform(-2, 2, (90, 2))
    y = X[:, 0] * np.tanh(X[:, 1]) + np.cos(2.7 * X[:, 0]) + 0.1 * np.random.default_rng(7).normal(size=90)

    def run(jobs):
        steps = evolve.propose(problem(X, y), Budget(None, 0.05), np.random.default_rng(1), jobs=jobs)
        return [(tuple(c.expr), c.fvu, tuple(c.consts)) for batch in steps for c in batch]

    first = run(1)
    assert first == run(1) == run(2) and len(first) > 5


def test_fvu_and_constants_belong_together():
    X = np.random.default_rng(8).uniform(0.5, 2, (200, 2))
    y = np.exp(-X[:, 0]) * X[:, 1] * 1e-20
    for batch in evolve.propose(problem(X, y), Budget(None, 0.02), np.random.default_rng(1)):
        for c in batch:
            p = evaluate(c.expr, X, c.consts)
            np.testing.assert_allclose(c.fvu, ((y - p) ** 2).sum() / ((y - y.mean()) ** 2).sum(), rtol=1e-5, atol=1e-22)


def test_starts_from_the_pool():
    """A law out of reach in this little time is found when the pool holds most of it."""
    X = np.random.default_rng(9).uniform(0.5, 2, (200, 5))
    inside = X[:, 0] * X[:, 1] / (1 + np.exp(-X[:, 2]))
    y = inside * np.cos(X[:, 3]) + 0.8 * X[:, 4]
    near = Candidate(
        ["*", C, "*", "cos", "x4", "/", "*", "x1", "x2", "+", C, "exp", "neg", "x3"], np.array([1.0, 1.0]), 0.5, "test"
    )
    best = min(
        c.fvu
        for batch in evolve.propose(problem(X, y), Budget(None, 0.15), np.random.default_rng(0), [near])
        for c in batch
    )
    assert best < 1e-20


@pytest.mark.parametrize("X, y", [
    (np.ones((20, 2)), np.arange(20.0)),
    (np.random.default_rng(0).normal(size=(20, 2)), np.full(20, 3.0)),
    (np.random.default_rng(0).normal(size=(3, 1)), np.array([1.0, 2.0, 4.0])),
    (np.random.default_rng(0).normal(size=(1, 1)), np.array([1.0])),
    (np.random.default_rng(0).integers(0, 2, (30, 3)).astype(float), np.random.default_rng(1).integers(0, 2, 30).astype(float)),
    (np.random.default_rng(0).normal(size=(40, 2)) * 1e-300, np.random.default_rng(0).normal(size=40) * 1e300),
    (np.random.default_rng(0).normal(size=(40, 2)) * 1e300, np.random.default_rng(0).normal(size=40) * 1e-300),
])  # fmt: skip
def test_hard_tables_do_not_break_it(X, y):
    for batch in evolve.propose(problem(X, y), Budget(None, 0.02), np.random.default_rng(0)):
        assert all(np.isfinite(c.fvu) and np.isfinite(c.consts).all() for c in batch)


def test_wide_tables():
    X = np.random.default_rng(3).uniform(0.5, 2, (150, 120))
    y = X[:, 70] * X[:, 11] + 3 * np.sqrt(X[:, 100])
    assert {11, 70, 100} <= set(leading(X, y, list(range(120)))) and len(leading(X, y, list(range(120)))) == 10
    assert (
        min(c.fvu for b in evolve.propose(problem(X, y), Budget(None, 0.1), np.random.default_rng(0)) for c in b)
        < 1e-20
    )


def test_time_is_kept():
    X = np.random.default_rng(0).normal(size=(100, 4))
    budget = Budget(seconds=0.0)
    assert (
        list(evolve.propose(problem(X, np.random.default_rng(1).normal(size=100)), budget, np.random.default_rng(0)))
        == []
    )
