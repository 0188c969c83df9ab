"""Expressions that nobody would write, for the simplifier: every kind of leaf, damage, garbage."""

import random
import time
from collections import Counter

from fansr.expressions.tokens import ARITY, CONSTANT, OPERATORS
from fansr.simplification.simplify import Rejected, Simplifier

ALL_OPERATORS = [row.token for row in OPERATORS]
LEAVES = [
    *(f"x{j}" for j in range(1, 18)),
    *[CONSTANT] * 4,
    "0",
    "1",
    "-1",
    "2",
    "3.5",
    "1e-3",
    "-2.7",
    "1e300",
    "1e-300",
    "123456789123456789",
    "0.1",
    "inf",
    "-inf",
    "nan",
]
GARBAGE = [
    "",
    "foo",
    "X1",
    "x0",
    "<mul>",
    "</add>",
    "pow6",
    "mult1",
    "(-1)",
    "np.pi",
    "--1",
    "1e",
    "\0",
    "\u03c0",
    "_0",
    "?0",
]


def odd_input(rng: random.Random, longest: int = 35) -> list[str]:
    """A random prefix expression of up to `longest` tokens over every operator and kind of leaf, literals, infinities
    and NaN among them; one in eight is damaged: a token lost, doubled, exchanged or replaced by garbage."""
    few = rng.random() < 0.5  # the same few leaves and operators over and over: that is where rules meet
    leaves = [rng.choice(LEAVES) for _ in range(2)] if few else LEAVES
    operators = [rng.choice(ALL_OPERATORS) for _ in range(4)] if few else ALL_OPERATORS
    expr, left, room = [], 1, rng.randint(1, longest)
    while left:
        room -= 1
        token = rng.choice(operators) if rng.random() < 0.72 else rng.choice(leaves)
        grown = left - 1 + ARITY.get(token, 0)
        if grown > room:
            token, grown = rng.choice(leaves), left - 1
        expr.append(token)
        left = grown
    if rng.random() < 0.125:
        place = rng.randrange(len(expr))
        expr[place : place + 1] = rng.choice(
            [[], [expr[place]] * 2, [rng.choice(GARBAGE)], [rng.choice(LEAVES)], [rng.choice(ALL_OPERATORS)]]
        )
    return expr


def fuzz(one, n, seed=0):
    """Counter of outcomes, and the slowest inputs with their CPU seconds; anything but Rejected is let through."""
    rng = random.Random(seed)
    outcomes: Counter = Counter()
    slowest: list = []
    for _ in range(n):
        expr = odd_input(rng)
        start = time.thread_time()
        try:
            result = one(expr)
            outcome = "longer" if len(result) > len(expr) else "simplified"
        except Rejected as error:
            outcome = error.reason
        seconds = time.thread_time() - start
        outcomes[outcome] += 1
        if len(slowest) < 5 or seconds > slowest[-1][0]:
            slowest = sorted([*slowest, (seconds, expr)], reverse=True)[:5]
    return outcomes, slowest


def report_fuzz(n):
    """Fuzz and say what came."""
    start = time.process_time()
    outcomes, slowest = fuzz(Simplifier(), n)
    print(
        f"{n} odd inputs of up to 35 tokens in {time.process_time() - start:.0f} CPU s: "
        + ", ".join(f"{outcome} {count}" for outcome, count in outcomes.most_common())
    )
    for seconds, expr in slowest:
        print(f"  {seconds * 1e3:.1f} ms  {' '.join(expr)}")
