"""How fast and how often the refiner finds planted constants, beside scipy's curve_fit from N(0, 5).

    bin/bench-refine [--candidates 500] [--points 512] [--scipy 60]

Draws random skeletons with 0 to 5 constants from the operator table's weights over 3 columns, plants constants
N(0, 5) in each, and asks for them back from the values alone.  Times are CPU seconds of this process.
"""

import argparse
import time
import warnings

import numpy as np

from fansr.expressions.programs import compile_program, evaluate
from fansr.expressions.tokens import CONSTANT, OPERATORS
from fansr.fitting.refiner import SCREEN, Refiner

WEIGHTS = np.array([row.weight for row in OPERATORS])
WEIGHTS /= WEIGHTS.sum()


def skeleton(rng, n_operators, D):
    """A random prefix skeleton: operators put in place of random leaves, then leaves drawn."""
    expr = [None]
    for _ in range(n_operators):
        row = OPERATORS[rng.choice(len(OPERATORS), p=WEIGHTS)]
        open_leaves = [i for i, token in enumerate(expr) if token is None]
        i = open_leaves[rng.integers(len(open_leaves))]
        expr[i : i + 1] = [row.token] + [None] * row.arity
    return [t or (CONSTANT if rng.random() < 0.35 else f"x{rng.integers(D) + 1}") for t in expr]


def planted(rng, count, points, D=3):
    """(expr, consts, X, y) with finite, varying y and at least one variable."""
    cases = []
    while len(cases) < count:
        expr = skeleton(rng, int(rng.integers(2, 9)), D)
        n = expr.count(CONSTANT)
        if n > 5 or not any(t[0] == "x" and t[1:].isdigit() for t in expr):
            continue
        lo, hi = np.sort(rng.uniform(-4, 4, 2))
        X = rng.uniform(lo, hi + 0.5, (points, D))
        consts = rng.normal(0, 5, n)
        y = evaluate(expr, X, consts)
        if np.isfinite(y).all() and np.abs(y).max() < 1e8 and y.std() > 1e-6 * np.abs(y).max():
            cases.append((expr, consts, X, y))
    return cases


def by_scipy(expr, X, y, rng, restarts):
    """Best FVU of curve_fit over restarts from N(0, 5)."""
    from scipy.optimize import curve_fit

    program, best = compile_program(expr), np.inf
    for _ in range(restarts):
        try:
            c, _ = curve_fit(
                lambda X, *c: evaluate(program, X, c), X, y, rng.normal(0, 5, program.n_constants), maxfev=1000
            )
            best = min(best, np.mean((evaluate(program, X, c) - y) ** 2) / y.var())
        except (RuntimeError, ValueError):
            continue
    return best


def main():
    """Run the comparison and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=500)
    parser.add_argument("--points", type=int, default=512)
    parser.add_argument("--restarts", type=int, default=8)
    parser.add_argument("--scipy", type=int, default=60, help="how many of them curve_fit gets too")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    cases = planted(rng, options.candidates, options.points)
    with_constants = [case for case in cases if len(case[1])]
    refiners = [Refiner(X, y, restarts=options.restarts, seed=options.seed) for _, _, X, y in cases]
    refiners[0].fit([cases[0][0]])

    begin = time.process_time()
    fvus = [refiner.fit([expr])[0][0] for refiner, (expr, _, _, _) in zip(refiners, cases)]
    own = time.process_time() - begin
    found = sum(fvu <= 1e-12 for fvu, case in zip(fvus, cases) if len(case[1]))
    exprs = [case[0] for case in cases]
    begin = time.process_time()
    for refiner in refiners[:10]:
        refiner.fit(exprs)
    shared = (time.process_time() - begin) / 10
    begin = time.process_time()
    for refiner in refiners[:10]:
        refiner.screen(exprs, 50)
    screen = (time.process_time() - begin) / 10

    n = len(cases)
    print(f"{n} candidates, {options.points} points, {options.restarts} restarts, {len(with_constants)} with constants")
    print(
        f"refiner, each on its own planted values   {own / n * 1e3:8.3f} ms a candidate, planted found {found}/{len(with_constants)}"
    )
    print(f"refiner, all on one table                 {shared / n * 1e3:8.3f} ms a candidate")
    print(f"screening ({SCREEN.points} points, {SCREEN.starts} starts)         {screen / n * 1e3:8.3f} ms a candidate")
    if options.scipy:
        some = with_constants[: options.scipy]
        warnings.simplefilter("ignore")
        begin = time.process_time()
        with np.errstate(all="ignore"):
            best = [by_scipy(expr, X, y, rng, options.restarts) for expr, _, X, y in some]
        spent = time.process_time() - begin
        ours = sum(fvu <= 1e-12 for fvu, case in zip(fvus, cases) if any(case is s for s in some))
        print(f"scipy curve_fit, first {len(some)} of them          {spent / len(some) * 1e3:8.3f} ms a candidate, "
              f"planted found {sum(b <= 1e-12 for b in best)}/{len(some)} (refiner on the same: {ours})")  # fmt: skip


if __name__ == "__main__":
    main()
