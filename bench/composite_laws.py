"""Composite laws: eighteen families of the kinds that searches lose, four of them held back from development.

    python -m bench.composite_laws --list                         the laws, one a line
    python -m bench.composite_laws --time 2 --each 6              share found, processor seconds, what was printed instead
    python -m bench.composite_laws --held --time 2 --each 10      the four held back: measured, never developed on

A law is a formula and the range of every column; tables are 300 uniform rows, unrounded.  It counts as found when it explains all
but 1.19e-7 of the variance of 1,000 fresh rows of the same ranges, as exact at 1e-20.  The search runs in this process, on the
clock of the processor, without the network.
"""

from __future__ import annotations

from fansr.cli import single_thread  # noqa: F401  # isort: skip  (before numpy)

import math
import time
import types
from collections.abc import Callable, Iterator
from typing import NamedTuple

import click
import numpy as np

from fansr.evaluation.metrics import fvu
from fansr.expressions import evaluate, from_infix, literal_value, to_infix
from fansr.streams import rng_for

ROWS, FRESH = 300, 1000
FOUND, EXACT = 1.19e-7, 1e-20
Box = dict[str, tuple[float, float]]


class Law(NamedTuple):
    """y = formula over columns with their (low, high)."""

    family: str
    formula: str
    box: Box


# ---- drawing ----------------------------------------------------------------------------------


def number(rng, low: float = 0.3, high: float = 4.0) -> str:
    """Two digits, log-uniform."""
    return f"{math.exp(rng.uniform(math.log(low), math.log(high))):.2g}"


def box(rng, names: str, low: float = 0.5, high: float = 4.0) -> Box:
    """Ranges of columns a, b, c, ...: each of its own width within the bounds."""
    return {name: (round(low * rng.uniform(1, 1.5), 2), round(high * rng.uniform(0.7, 1), 2)) for name in names}


def choice(rng, *forms: str) -> str:
    return forms[rng.integers(len(forms))]


def power_law(rng, names: str) -> str:
    """A product of powers of all these columns."""
    return "*".join(f"{name}**{choice(rng, '1', '2', '(-1)', '(-2)', '0.5', '1', '3', '(-1)')}" for name in names)


# ---- families: a function of a generator gives (formula, box) ---------------------------------


def awkward_products(rng):
    """A power law of many columns times an awkward curve of one, half of them under a root."""
    names = "abcde"[: rng.integers(3, 6)]
    last, k = names[-1], number(rng, 0.2, 1.2)
    curve = choice(
        rng, f"log(1 + {k}*{last}**2)", f"(1 - sin({k}*{last}))", f"(1.3 + cos({k}*{last}))", f"({last} + sqrt({k} + {last}**2))",
        f"exp(-{k}*{last})/({last} + {k})", f"log({last} + {k})**2", f"(exp({k}*{last}) + 1)", f"(1 - {k}*exp(-{last}))",
    )  # fmt: skip
    form = f"{number(rng)}*{power_law(rng, names[:-1])}*{curve}"
    return choice(rng, form, f"sqrt({form})", f"1/({form})"), box(rng, names)


def power_in_exponential(rng):
    """A power law in front of an exponential of a power law: a*exp(-k*b*c**2*d/(e*f))."""
    front, inside = "ab"[: rng.integers(1, 3)], "bcdef"[: rng.integers(3, 6)]
    exponent = "*".join(f"{name}**{choice(rng, '1', '2', '(-1)')}" for name in inside)
    form = f"{number(rng)}*{power_law(rng, front)}*exp(-{number(rng, 0.1, 0.5)}*{exponent})"
    return form, box(rng, "".join(sorted(set(front + inside))), 0.7, 2.0)


def narrow_columns(rng):
    """A column that varies by a fraction of a per cent, in laws of three and four columns or shifted."""
    k = number(rng)
    form = choice(
        rng, f"sqrt(a - 9.7)*b + {k}*c", f"exp(20*(a - 9.8))*b/(c + {k})", f"(a - 9.8)**2*{number(rng, 100, 900)} + b*c",
        f"sin(100*(a - 9.75))*c + {k}*b", "b/(a - 9.7) + c/d", "b*c/(1 + exp(200*(a - 9.8)))", f"sqrt(2*a*b + c**2)*{k}",
        f"b*exp(-a*c/(d + {k}))", f"b*c**2*(1 - exp(-a*d))/{k}", f"a*b/c + log(d + {k})", f"(a*b - c)/(a + {k}*d)",
    )  # fmt: skip
    names = sorted(columns_in(form) - {"a"})
    return form, {"a": (9.78, 9.82), **box(rng, "".join(names), 0.5, 3.0)}


def poles(rng):
    """A pole inside the box: few rows carry the variance."""
    k = number(rng, 1.0, 2.0)
    form = choice(
        rng, f"a*exp(b)/(c - d) + {k}", f"c*tan(a*b) + {k}", f"a/(exp(b*c/3) - {k})", f"a*log(b)/(c**2 - {k}*d)", f"1/sin({k}*a*b)",
        f"sqrt(c)/(a*b - {k}) + d", f"a*c/(log(b) - c/{k})", f"d/(a - b) + {k}*c/(a + b)", f"(a + {k}*c)/(b*cos(d))", f"c*sin(a)/(b - {k})**3",
    )  # fmt: skip
    return form, box(rng, "".join(sorted(columns_in(form))), 0.5, 3.0)


def quotients(rng):
    """Quotients of two sums over four and five columns, some under a root or beside a term."""
    k, m, n = number(rng), number(rng), number(rng)
    form = choice(
        rng, f"(a*b + {k}*c*d)/({m} + b*c + {n}*d)", f"(a**2 + {k}*b*c)/(d**2 + {m}*a*b)", f"sqrt((a*b + {k}*c)/(d + {m}*a))",
        f"(a + {k}*b)/(c + {m}*d) + {n}*e", f"a*(b + {k}*c)/(d*({m} + e))", f"(sqrt(a) + {k}*b)/(c*d + {m})", f"(a*b*c + {k}*d)/(a + b + {m}*e)",
        f"exp(-{k}*a)*b/(c + {m}*d)", f"(a - b)*(c + {k}*d)/(a*b + {m}*c)", f"log((a + {k}*b)/(c + {m}*d))",
    )  # fmt: skip
    return form, box(rng, "".join(sorted(columns_in(form))))


def hidden_remainders(rng):
    """A strong plain part that hides a weak composite one, of other columns or of the same."""
    k, size = number(rng, 0.5, 2.0), number(rng, 0.03, 0.3)
    plain = choice(rng, "3*a", "2*a**2", "a*b", "5*a/b", "4*a*b**2", "a + 2*b", "2*a*c", "3*sqrt(a*b)")
    weak = choice(
        rng, f"cos({k}*c*d)", f"sin(c**2 + {k}*d)", f"log({k} + c*d)*b", f"exp(-{k}*c*d/b)", f"sqrt(c**2 + {k}*d)", f"b*c/({k} + d)",
        f"tanh({k}*c/d)", f"cos(b*c*d/{k})", f"1/(c + {k}*d**2)", f"sin({k}*c)*sqrt(d)", f"cos({k}*(c - d)**2)",
    )  # fmt: skip
    form = f"{plain} + {size}*{weak}"
    return form, box(rng, "".join(sorted(columns_in(form))), 0.5, 4.0)


def fast_waves(rng):
    """Waves of tens of periods over the box, with amplitudes and backgrounds."""
    w, k = number(rng, 20, 90), number(rng)
    form = choice(
        rng, f"a*b*sin({w}*c) + {k}*b", f"b*cos({w}*a + 0.7)/(c + {k})", f"exp(-{number(rng, 0.2, 0.9)}*a)*sin({w}*a)*b*c",
        f"cos({w}*a)**2*b/c", f"c*log(b)*sin({w}*a)", f"{k}*b**2/c + 0.1*sin({w}*a)", f"sqrt(b + c)*cos({w}*a)", f"b*sin({w}*a*c)",
        f"log({k} + 1 + sin({w}*a))*b", f"b/({k} + 1 + cos({w}*a))", f"sin({w}*a)*sin({number(rng, 3, 9)}*b)", f"a*sin({w}*(b - c))",
    )  # fmt: skip
    return form, box(rng, "".join(sorted(columns_in(form))), 0.3, 3.0)


def chirps(rng):
    """Waves of a power or a product, and products of waves of different columns."""
    k, m = number(rng, 1.0, 5.0), number(rng, 1.0, 4.0)
    form = choice(
        rng, f"b*cos({k}*a**3)", f"sin({k}*a**2) + b", f"sin({k}*a)*cos({m}*b)", f"c*sin({k}*a)*sin({m}*b)", f"sin({k}*a*b) + c",
        f"cos({k}*a)*exp(-b)*sin({m}*b)", f"b*sin({k}/a)", f"sin({k}*a**2)*cos({m}*b) + {m}", f"cos({k}*sqrt(a))*b + c*a",
    )  # fmt: skip
    return form, box(rng, "abc" if "c " in form or "c*" in form or form.endswith("c") else "ab", 0.3, 3.0)


def shifted_products(rng):
    """Functions of products of shifted columns."""
    k, m = number(rng, 0.5, 2.5), number(rng, 0.5, 2.5)
    form = choice(
        rng, f"sin((a - {k})*(b - {m}))", f"exp(-(a - {k})*(b + {m})/4)", f"c*(a - {k})*(b + {m})", f"sqrt((a + {k})*(b + {m}))*c",
        f"log((a + {k})*(b + {m}) + c)", f"c/((a + {k})*(b + {m}))", f"cos((a - {k})*b) + c", f"(a - {k})**2*(b - {m})*c",
    )  # fmt: skip
    return form, box(rng, "abc" if "c*" in form or "*c" in form or "c/" in form or " c" in form else "ab", 0.5, 3.0)


def degenerate_limits(rng):
    """Laws whose functions hardly bend on the box, so that plainer ones stand next to them; and plain laws of few rows' worth."""
    k, m, s = number(rng), number(rng), number(rng, 0.001, 0.02)
    form = choice(
        rng, f"a*exp(-{s}*b*c)", f"{k}*a + b*cos({s}*c)", f"a/(1 + {s}*b*c)", f"a*sqrt(1 + {s}*b)*c", f"tanh({s}*a)*b/c", f"a*b + log(1 + {s}*c)",
        f"{k}*a*b + {m}*a", f"{k}*a**2 + {m}*a*b - b", f"{k}*(a - b)*c", f"{k}*a/(exp({s}*b) - 1)",
    )  # fmt: skip
    return form, box(rng, "".join(sorted(columns_in(form))), 0.5, 3.0)


def far_phases(rng):
    """Waves of columns far from zero: years, Unix time, Julian days."""
    unit, low, high = ((1.0, 1990, 2020), (86400.0, 1.6e9, 1.603e9), (1.0, 2450000, 2450040))[rng.integers(3)]
    period = f"{unit * float(number(rng, 0.7, 6.0)):g}"
    wave = f"{choice(rng, 'sin', 'cos')}(2*pi*(a - {low:g})/{period} + {number(rng, 0.3, 3.0)})"
    form = choice(
        rng, f"{number(rng)}*{wave}", f"b*{wave}", f"{number(rng)} + {number(rng)}*{wave}", f"{wave} + {number(rng)}*b"
    )
    return form, {"a": (low, high), **({"b": (0.5, 3.0)} if "b" in form else {})}


def powers_outside(rng):
    """Odd powers and roots of them around a sum."""
    k = number(rng)
    inner = choice(
        rng, f"a + {k}*b*c", f"a*b - {k}*c", f"{k} + a/b + c", f"a - {k}*b", f"a + sin({k}*b)", f"a*c + {k}*log(b)"
    )
    form = choice(
        rng, f"({inner})**3", f"({inner})**5", f"cbrt({inner})", f"({inner})**3/a", f"c*({inner})**3", f"({inner})**1.5"
    )
    return form.replace(f"- {k}", f"+ {k}") if form.endswith("1.5") else form, box(
        rng, "abc" if "c" in form.replace("cbrt", "") else "ab"
    )


def many_columns(rng):
    """Four to seven columns in the shapes of textbooks."""
    k = number(rng)
    form = choice(
        rng, "a*b*(c - d)/(e*f)", f"sqrt(a**2 + b**2 + {k}*c*d)", "a*(1 + b*c)/(d + e)", f"a*b*exp(-c*d/e)/{k}", "(a*b + c*d)/(e + f)",
        f"a*sin(b*c + d)*exp(-e*c/{k})", f"{k}*a*b/(c**2*sqrt(1 + d*e))", "a*b*log(c/d) + e*f", "a/(b + c/(d + e))", "a*b + c*d - e*f*g",
        "a*sqrt(b*c/(d + e))", f"a*b**2/(2*c) + d*e*f + {k}*g", "a*(b - c)**2/(d*(e + f))", "1/(1/a + 1/b + c/(d*e))",
    )  # fmt: skip
    return form, box(
        rng,
        "".join(x for x in "abcdefg" if x in form.replace("sqrt", "").replace("exp", "").replace("log", "")),
        0.7,
        3.0,
    )


def three_pieces(rng):
    """Four to seven columns: three functions of one or two of them each, in a product, a sum or a quotient."""
    left = list(rng.permutation(list("abcdefg"[: rng.integers(4, 8)])))
    columns = list(left)

    def piece() -> str:
        k, a = number(rng, 0.3, 2.5), left.pop() if left else columns[rng.integers(len(columns))]
        if left and rng.random() < 0.75:
            b = left.pop()
            return choice(
                rng, f"sqrt({a} + {k}*{b})", f"log({a}/{b} + {k})", f"exp(-{k}*{a}*{b})", f"({a} - {b})", f"{a}*{b}", f"sin({k}*{a}*{b})",
                f"(1/({a} + {k}*{b}))", f"({a}**2 + {k}*{b}**2)", f"cos({a} - {b})", f"{a}/{b}**2", f"exp(-{a}/({k}*{b}))", f"sqrt({a}*{b})",
                f"tanh({k}*{a}/{b})", f"({a} - {b})**2",
            )  # fmt: skip
        return choice(
            rng, f"sqrt({k} + {a}**2)", f"log(1 + {k}*{a})", f"exp(-{k}*{a})", f"({a} + {k})", f"sin({k}*{a})", f"{a}**2", a, f"(1/({a} + {k}))",
            f"sqrt({a})", f"cos({k}*{a})",
        )  # fmt: skip

    p, q, r, k = piece(), piece(), piece(), number(rng)
    form = choice(
        rng, f"{p}*{q}*{r}", f"{k}*{p}*{q} + {r}", f"{p}*({q} + {k}*{r})", f"{p}*{q}/({r} + {k})", f"{p}/{q} + {k}*{r}",
        f"sqrt({p}**2 + {k}*{q}**2)*{r}", f"{p}*{q}/{r}", f"{p}*({q} - {k})/{r}", f"{k}/(1/({p}) + {q}*{r})",
    )  # fmt: skip
    return form, box(rng, "".join(sorted(columns_in(form))), 0.6, 3.0)


def held_products(rng):
    """Two awkward curves of a column each, times a power law."""
    k, m = number(rng, 0.3, 1.5), number(rng, 0.3, 1.5)
    first = choice(rng, f"sqrt({k} + a**2)", f"log({k} + a)", f"(1 + sin({k}*a)/2)", f"tanh({k}*a)", f"exp(-{k}*a**2)")
    second = choice(
        rng, f"/(1 + {m}*b**2)", f"*(2 + cos({m}*b))", f"*exp(-{m}/b)", f"*(b + {m})**1.5", f"/log(2 + {m}*b)"
    )
    return f"{number(rng)}*{power_law(rng, 'cde'[: rng.integers(1, 4)])}*{first}{second}", box(rng, "abcde")


def held_remainders(rng):
    """A strong sum of two plain terms and something composite of other columns, a tenth of it."""
    k = number(rng, 0.5, 2.0)
    strong = choice(rng, "6*a - 2*b", "a*b**2 + b", "4*a/b + 3*b", "5*sqrt(a*b)")
    weak = choice(
        rng, f"sin({k}*c)*d", f"c**2/(d + {k})", f"exp(-c/({k}*d))", f"log(1 + {k}*c**2)*d", f"cos({k}*c - d)"
    )
    return f"{strong} + 0.3*{weak}", box(rng, "abcd")


def held_waves(rng):
    """Fast waves with phases, amplitudes of two columns, a second wave or a square beside."""
    w, v = number(rng, 12, 40), number(rng, 2, 9)
    form = choice(
        rng, f"a*b*sin({w}*c + 1.1)", f"a/b*cos({w}*c)", f"sin({w}*c) + {number(rng)}*sin({v}*a)", f"cos({w}*c)*sin({v}*a)*b",
        f"a*sin({w}*c**2) + b", f"b*exp(-a*c)*cos({w}*c)", f"sin({w}*(c - 1.7))**2 + a*b",
    )  # fmt: skip
    return form, box(rng, "abc", 0.3, 3.0)


def held_wide(rng):
    """Five to seven columns: a function of a sum of products, in a product or over a sum."""
    k = number(rng)
    inner = choice(rng, "c*d + e", f"c/d + {k}*e", "c**2 + d*e", "c*d/e", "c + d*e*f")
    outer = choice(
        rng,
        f"sqrt({inner})",
        f"log(1 + {inner})",
        f"exp(-({inner})/5)",
        f"1/({k} + {inner})",
        f"({inner})**2",
        f"sin(({inner})/3)",
    )
    return (
        choice(rng, f"a*b*{outer}", f"a/b*{outer}", f"a*b + {k}*{outer}", f"{outer}*(a + g*b)", f"a**2*{outer}/g"),
        box(rng, "abcdefg", 0.7, 3.0),
    )


FAMILIES = {f.__name__: f for f in (
    awkward_products, power_in_exponential, narrow_columns, poles, quotients, hidden_remainders, fast_waves, chirps,
    shifted_products, degenerate_limits, far_phases, powers_outside, many_columns, three_pieces,
)}  # fmt: skip
HELD = {f.__name__: f for f in (held_products, held_remainders, held_waves, held_wide)}


def columns_in(formula: str) -> set[str]:
    """The one-letter names that stand in a formula."""
    import re

    return set(re.findall(r"(?<![A-Za-z])[a-g](?![A-Za-z])", formula))


def laws_of(family: str, make: Callable, each: int, seed: int = 0) -> Iterator[Law]:
    """`each` different laws of a family that are finite and vary on their box, from the family's own generator."""
    seen: set[str] = set()
    attempt = 0
    while len(seen) < each:
        formula, ranges = make(rng_for(seed, f"composite.{family}", attempt))
        attempt += 1
        used = columns_in(formula)
        law = Law(family, formula, {name: bounds for name, bounds in ranges.items() if name in used})
        X, y = table(law, 400, seed)
        if formula not in seen and np.isfinite(y).all() and np.ptp(y) > 1e-6 * np.abs(y).max():
            seen.add(formula)
            yield law


def table(law: Law, rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """X (rows, D) uniform on the law's box and y (rows,)."""
    rng = rng_for(seed, f"composite.rows.{law.formula}", rows)
    X = np.column_stack([rng.uniform(low, high, rows) for low, high in law.box.values()])
    with np.errstate(all="ignore"):
        return X, evaluate(from_infix(law.formula, list(law.box)), X)


# ---- measuring --------------------------------------------------------------------------------


def on_the_processor():
    """Budgets and times of this process's searches count its processor time."""
    from fansr.fitting import problem
    from fansr.search import clocks, ending, turns

    clock = types.SimpleNamespace(**vars(time))
    clock.monotonic = time.process_time
    for module in (problem, clocks, ending, turns):
        module.time = clock


def answer(law: Law, seconds: float, seed: int, proposers: tuple[str, ...], noise: float = 0.0):
    """(FVU on fresh rows, printed law, its constants' number, source, processor seconds) of a search."""
    from fansr.fitting import Budget, Problem
    from fansr.search import turns

    X, y = table(law, ROWS, seed)
    if noise:
        y = y + noise * np.std(y) * rng_for(seed, "composite.noise", 0).standard_normal(len(y))
    begun = time.process_time()
    found = turns.search(
        Problem(X, y, list(law.box), "y"), turns.Options(seed=seed, proposers=proposers), Budget(seconds)
    )
    spent = time.process_time() - begun
    fresh, truth = table(law, FRESH, seed + 1)
    with np.errstate(all="ignore"):
        values = evaluate(found.best.expr, fresh, found.best.consts)
    error = fvu(truth, values) if np.isfinite(values).all() else math.inf
    return error, spelled(found.best, list(law.box)), found.best.source, spent


def spelled(candidate, names: list[str]) -> str:
    """A candidate as the command prints it, seven digits a constant."""
    from fansr.expressions import bind

    tokens = (t if literal_value(t) is None else f"{float(t):.7g}" for t in bind(candidate.expr, candidate.consts))
    return to_infix(list(tokens), names)


@click.command()
@click.option("--time", "seconds", default=2.0, show_default=True, help="Processor seconds a law.")
@click.option("--each", default=6, show_default=True, help="Laws of a family.")
@click.option("--skip", default=0, show_default=True, help="Leave out each family's first laws.")
@click.option("--family", "only", multiple=True, help="Families whose names begin so.")
@click.option("--held", is_flag=True, help="The families held back instead.")
@click.option("--seed", default=0, show_default=True)
@click.option("--noise", default=0.0, show_default=True, help="Of the target's spread.")
@click.option("--without", default="", help="Proposers to leave out, comma-separated.")
@click.option("--list", "listed", is_flag=True, help="Print the laws and do nothing.")
@click.option("--all", "everything", is_flag=True, help="Print found laws too.")
def main(seconds, each, skip, only, held, seed, noise, without, listed, everything):
    """Print for each family how many laws were found, and what stood in the place of the others."""
    from fansr.search.turns import DEFAULT_PROPOSERS

    families = {name: make for name, make in (HELD if held else FAMILIES).items() if not only or name.startswith(only)}
    proposers = tuple(p for p in DEFAULT_PROPOSERS if p not in ("model", *without.split(",")))
    on_the_processor()
    total, found, exact, spent = 0, 0, 0, 0.0
    for family, make in families.items():
        laws = list(laws_of(family, make, each, seed))[skip:]
        if listed:
            for law in laws:
                click.echo(f"{family}: {law.formula}   {law.box}")
            continue
        right, lines = [], []
        for law in laws:
            error, text, source, took = answer(law, seconds, seed, proposers, noise)
            right.append((error <= FOUND, error <= EXACT, took))
            if everything or error > FOUND:
                lines.append(f"      {error:8.1e} {took:5.2f} s  {law.formula}   ->   {text[:220]}   [{source}]")
        a, b, c = map(sum, zip(*right))
        total, found, exact, spent = total + len(laws), found + a, exact + b, spent + c
        click.echo(f"{family}: {a} of {len(laws)} (exact {b}), {c / len(laws):.2f} s")
        click.echo("\n".join(lines) + "\n" * bool(lines), nl=False)
    if total:
        click.echo(f"all: {found} of {total} (exact {exact}), {spent / total:.2f} s a law")


if __name__ == "__main__":
    main()
