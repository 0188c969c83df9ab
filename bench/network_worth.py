"""What the network adds to the whole search: laws found with it, with random draws in its place, and with neither.

    bin/bench-network-worth --list                                the laws, one a line
    bin/bench-network-worth --time 1 --time 3 --each 15           today's roster: neither, model, control
    bin/bench-network-worth --arms neither,parts,parts-control    another way of asking, and its control
    bin/bench-network-worth --held --each 25                      the kinds held back: measured, never developed on

Laws of four to seven columns, made of parts of one to three columns each that no part shares, put together in eight ways, four
of them held back.  Tables are 300 uniform rows; a law counts as found when it explains all but 1.19e-7 of the variance of 1,000
fresh rows.  The searches run in this process, one core, on the clock of the processor; all arms of a law one after the other.
"""

from __future__ import annotations

from fansr.cli import single_thread  # noqa: F401  # isort: skip  (before numpy)

import json
import pathlib
import time
import types
from collections import Counter

import click

from bench.asking import ways
from bench.composite_laws import FOUND, Box, Law, answer, box, choice, laws_of, number, on_the_processor, power_law

# ---- laws -------------------------------------------------------------------------------------


def part(rng, names: str) -> str:
    """A law of one to three columns, all positive: sums, products, and a function of either."""
    k, m = number(rng), number(rng, 0.3, 2.0)
    if len(names) == 1:
        x = names
        return choice(
            rng, f"{x}**2", f"sqrt({x})", f"log({x} + {k})", f"exp(-{m}*{x})", f"(sin({k}*{x}) + 2)", f"1/({x} + {k})", f"tanh({m}*{x})",
            f"{x}/({x} + {k})", f"{x}*exp(-{m}*{x})", f"(1 - exp(-{m}*{x}))", f"sqrt({x}**2 + {k})", f"{x}*log({x} + {k})",
            f"({x} + {k}*sqrt({x}))", f"({x}**2 + {k}*{x})", f"cos({m}*{x})**2", f"1/(exp({m}*{x}) - 0.5)",
        )  # fmt: skip
    if len(names) == 2:
        x, z = names
        return choice(
            rng, f"{x}*{z}", f"({x} + {k}*{z})", f"sqrt({x}**2 + {z}**2)", f"{x}/({x} + {k}*{z})", f"exp(-{m}*{x}/{z})", f"(sin({m}*{x}*{z}) + 2)",
            f"log(1 + {x}/{z})", f"({x} - {k}*{z})**2", f"{x}*{z}/({x} + {z})", f"cos({m}*({x} - {z}))", f"{x}**2/({z} + {k})",
            f"{x}*exp(-{m}*{z})", f"tanh({x}/{z})", f"{x}*(1 + {m}*{z}**2)", f"sqrt({x}*{z} + {k})", f"{x}*log({z} + {k})",
        )  # fmt: skip
    x, y, z = names
    return choice(
        rng, f"{x}*{y}/({z} + {k})", f"sqrt({x}*{y} + {z})", f"{x}*exp(-{y}/{z})", f"({x} + {k}*{y})/({z} + {m})", f"(sin({x}*{y}/{z}) + 2)",
        f"({x}*{y} + {k}*{z})", f"log({x}*{y}/{z} + {k})", f"{x}/({y}*{z} + {k})", f"({x}**2 + {y}*{z})", f"{x}*tanh({m}*{y}*{z})",
        f"{x}*{y}**2/{z}", f"{x}*sqrt({y}**2 + {z}**2)", f"exp(-{m}*{x}*{y}/{z})", f"{x}*cos({m}*{y} - {z})", f"({x} - {y})**2/{z}",
    )  # fmt: skip


def parts(rng, n: int) -> tuple[list[str], Box]:
    """n parts over four to seven columns in all, each over its own."""
    columns = int(rng.integers(max(4, n), min(7, 3 * n) + 1))
    sizes = [1] * n
    while sum(sizes) < columns:
        i = int(rng.integers(n))
        sizes[i] += sizes[i] < 3
    names, found = "abcdefg", []
    for size in sizes:
        found.append(part(rng, names[:size]))
        names = names[size:]
    return found, box(rng, "abcdefg"[:columns], 0.5, 3.0)


def sums(rng):
    """A + k*B."""
    (a, b), ranges = parts(rng, 2)
    return f"{a} + {number(rng)}*{b}", ranges


def products(rng):
    """k*A*B."""
    (a, b), ranges = parts(rng, 2)
    return f"{number(rng)}*{a}*{b}", ranges


def quotients(rng):
    """A/(B + k*C)."""
    (a, b, c), ranges = parts(rng, 3)
    return f"{a}/({b} + {number(rng)}*({c})**2)", ranges


def functions_of_sums(rng):
    """f(A + k*B)."""
    (a, b), ranges = parts(rng, 2)
    inner = f"{a} + {number(rng)}*{b}"
    return choice(rng, f"sqrt(({inner})**2 + 1)", f"log(({inner})**2 + 1)", f"exp(-({inner})/6)", f"sin(({inner})/3)", f"1/(({inner})**2 + 1)"), ranges  # fmt: skip


def held_sums_of_products(rng):
    """A*B + k*C."""
    (a, b, c), ranges = parts(rng, 3)
    return f"{a}*{b} + {number(rng)}*{c}", ranges


def held_functions_in_products(rng):
    """A*f(B)."""
    (a, b), ranges = parts(rng, 2)
    return f"{a}*" + choice(rng, f"sqrt(({b})**2 + 1)", f"log(({b})**2 + 1)", f"exp(-({b})/6)", f"(sin(({b})/3) + 2)", f"tanh({b})"), ranges  # fmt: skip


def held_products_of_sums(rng):
    """(A + k*B)*C."""
    (a, b, c), ranges = parts(rng, 3)
    return f"({a} + {number(rng)}*{b})*{c}", ranges


def held_remainders(rng):
    """A power law of two columns, and a part of others a fifth of it."""
    columns = int(rng.integers(4, 6))
    front = power_law(rng, "ab")
    return f"{number(rng, 2.0, 5.0)}*{front} + 0.2*{part(rng, 'cdefg'[: columns - 2])}", box(rng, "abcdefg"[:columns], 0.5, 3.0)  # fmt: skip


KINDS = {f.__name__: f for f in (sums, products, quotients, functions_of_sums)}
HELD = {
    f.__name__: f for f in (held_sums_of_products, held_functions_in_products, held_products_of_sums, held_remainders)
}
EXTREMES = 50.0  # largest |y| over its median: tables whose variance is one row's are another subject


def laws(kinds: dict, each: int, seed: int) -> list[Law]:
    """`each` laws of every kind that no few rows dominate."""
    import numpy as np

    from bench.composite_laws import table

    found = []
    for name, make in kinds.items():
        kept = 0
        for law in laws_of(name, make, 4 * each, seed):
            y = table(law, 400, seed)[1]
            if kept < each and np.abs(y).max() < EXTREMES * np.median(np.abs(y)):
                found.append(law)
                kept += 1
    return found


# ---- arms -------------------------------------------------------------------------------------


def roster(arm: str) -> tuple[str, ...]:
    """The proposers of an arm: today's with the network, with the control in its place, with neither, or with another way."""
    from fansr.search.turns import DEFAULT_PROPOSERS

    if arm in ("model", "control"):
        return tuple(arm if name == "model" else name for name in DEFAULT_PROPOSERS)
    return ways.proposers(arm, tuple(name for name in DEFAULT_PROPOSERS if name != "model"))


def clocked():
    """The processor's clock for whatever a search takes the time from."""
    from fansr.network import sample
    from fansr.proposers import composites

    on_the_processor()
    clock = types.SimpleNamespace(**vars(time))
    clock.monotonic = time.process_time
    for module in (sample, composites):
        module.time = clock


@click.command()
@click.option(
    "--time", "seconds", multiple=True, type=float, default=(3.0,), show_default=True, help="Processor seconds a law."
)
@click.option(
    "--arms",
    default="neither,model,control",
    show_default=True,
    help=f"Also: {', '.join(ways.WAYS)}, each with -control.",
)
@click.option("--each", default=15, show_default=True, help="Laws of a kind.")
@click.option("--held", is_flag=True, help="The kinds held back instead.")
@click.option("--kind", "only", multiple=True, help="Kinds whose names begin so.")
@click.option("--report", type=click.Path(exists=True), help="Only the summary of an --out file.")
@click.option("--seed", default=2026, show_default=True)
@click.option("--noise", default=0.0, show_default=True, help="Of the target's spread.")
@click.option(
    "--hard", type=click.Path(exists=True), help="Only laws that the first arm of this --out file did not find."
)
@click.option("--model", default=None, help="A model file.  [default: the shipped one]")
@click.option("--list", "listed", is_flag=True, help="Print the laws and do nothing.")
@click.option("--out", type=click.Path(), help="Every law's outcome, a JSON object a line.")
def main(seconds, arms, each, held, only, report, seed, noise, hard, model, listed, out):
    """Print for each number of seconds and each arm how many laws were found, and by which proposer."""
    if report:
        summary([json.loads(line) for line in pathlib.Path(report).read_text().splitlines()])
        return
    kinds = {name: make for name, make in (HELD if held else KINDS).items() if not only or name.startswith(only)}
    chosen = laws(kinds, each, seed)
    if hard:
        lines = [json.loads(line) for line in pathlib.Path(hard).read_text().splitlines()]
        missed = {r["formula"] for r in lines if r["arm"] == lines[0]["arm"] and not r["found"]}
        chosen = [law for law in chosen if law.formula in missed]
    if listed:
        for law in chosen:
            click.echo(f"{law.family}: {law.formula}   {law.box}")
        return
    names = [arm.strip() for arm in arms.split(",")]
    clocked()
    answer(Law("warm", "a*b + c*d", dict.fromkeys("abcd", (1.0, 2.0))), 0.5, 0, roster("model"))  # what is loaded once
    rows = []
    for law in chosen:
        for budget in seconds:
            for arm in names:
                with ways.asked(arm, model) as tally:
                    error, text, source, spent = answer(law, budget, seed, roster(arm), noise)
                rows.append({
                    "kind": law.family, "formula": law.formula, "columns": len(law.box), "seconds": budget, "arm": arm,
                    "found": bool(error <= FOUND), "error": error, "source": source, "spent": round(spent, 3), "law": text[:300], **tally,
                })  # fmt: skip
                if out:
                    with open(out, "a") as file:
                        file.write(json.dumps(rows[-1]) + "\n")
    summary(rows)


def summary(rows: list[dict]):
    """A line for each number of seconds and each arm; laws won and lost beside the first arm."""
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    for budget in dict.fromkeys(row["seconds"] for row in rows):
        found = {
            arm: {r["formula"] for r in rows if r["arm"] == arm and r["seconds"] == budget and r["found"]}
            for arm in arms
        }
        for arm in arms:
            mine = [row for row in rows if row["arm"] == arm and row["seconds"] == budget]
            sources = Counter(row["source"] for row in mine if row["found"])
            told = {
                kind: sum(r["found"] for r in mine if r["kind"] == kind)
                for kind in dict.fromkeys(r["kind"] for r in mine)
            }
            click.echo(
                f"{budget:g} s, {arm}: {len(found[arm])} of {len(mine)} (+{len(found[arm] - found[arms[0]])} -{len(found[arms[0]] - found[arm])}), "
                f"{sum(r['spent'] for r in mine) / max(1, len(mine)):.2f} s a law; {told}; by {dict(sources.most_common())}; "
                f"asked {sum(r['asked'] for r in mine)} times, {sum(r['asking'] for r in mine):.1f} s, {sum(r['solved'] for r in mine)} answered exactly"
            )


if __name__ == "__main__":
    main()
