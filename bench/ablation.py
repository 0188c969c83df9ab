"""What each proposer is worth: laws found with all of them, without one, and with the first answers and that one alone.

    python -m bench.ablation --time 2 --each 3                    every proposer, the families of composite_laws.py
    python -m bench.ablation --only waves,peel --time 1

Every law is searched with all proposers first, on two draws of its rows; a law that is lost without one counts against it only
where both draws are found with all and neither without: others' luck is told apart from its worth.  In this process, on
the processor's clock, without the network.
"""

from __future__ import annotations

from fansr.cli import single_thread  # noqa: F401  # isort: skip  (before numpy)

import click

from bench.composite_laws import FAMILIES, FOUND, answer, laws_of, on_the_processor
from fansr.search import roster


def found_with(laws, proposers, seconds: float, seed: int) -> tuple[list[bool], float]:
    """(whether each law is found, processor seconds a law)."""
    outcomes = [answer(law, seconds, seed, proposers) for law in laws]
    return [error <= FOUND for error, *_ in outcomes], sum(spent for *_, spent in outcomes) / len(laws)


@click.command()
@click.option("--time", "seconds", default=2.0, show_default=True, help="Processor seconds a law.")
@click.option("--each", default=3, show_default=True, help="Laws of a family.")
@click.option("--seed", default=0, show_default=True, help="Of laws, rows and searches.")
@click.option("--only", default="", help="Proposers to look at, comma-separated.")
@click.option("--alone", is_flag=True, help="Also each beside the first answers alone.")
def main(seconds, each, seed, only, alone):
    """One line a proposer: laws found without it, those lost and won, seconds a law; alone: laws it adds to the first answers'."""
    on_the_processor()
    every = tuple(name for name in roster.DEFAULT_PROPOSERS if name != "model")
    laws = [law for family, make in FAMILIES.items() for law in laws_of(family, make, each, seed)]
    with_all, spent = found_with(laws, every, seconds, seed)
    twice = found_with(laws, every, seconds, seed + 1)[0]
    click.echo(f"all: {sum(with_all)} and {sum(twice)} of {len(laws)}, {spent:.2f} s a law")
    first = tuple(name for name in every if name in roster.FLOOR)
    by_first = found_with(laws, first, seconds, seed)[0] if alone else []
    if alone:
        click.echo(f"first answers ({', '.join(first)}): {sum(by_first)}")
    for name in only.split(",") if only else every:
        left = tuple(other for other in every if other != name)
        without, spent = found_with(laws, left, seconds, seed)
        lost = [law for law, a, b in zip(laws, with_all, without) if a and not b]
        firm = [law for law, a, b, c in zip(laws, with_all, twice, without) if a and b and not c]
        won = [law for law, a, b in zip(laws, with_all, without) if b and not a]
        again = found_with(firm, left, seconds, seed + 1)[0] if firm else []
        surely = [law for law, b in zip(firm, again) if not b]
        kinds = ", ".join(sorted({law.family for law in surely}))
        line = f"without {name}: {sum(without)}, lost {len(lost)} (surely {len(surely)}{': ' + kinds if kinds else ''}), won {len(won)}, {spent:.2f} s"
        if alone and name not in roster.FLOOR:
            added = [a and not b for a, b in zip(found_with(laws, (*first, name), seconds, seed)[0], by_first)]
            line += f"; alone it adds {sum(added)}"
        click.echo(line)


if __name__ == "__main__":
    main()
