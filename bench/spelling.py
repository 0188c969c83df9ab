"""How laws are written: fifty-three small tables, and the law that a search prints for each.

    python -m bench.spelling --time 0.3

80 uniform rows a table, the third entry of a line being the noise as a share of the target's spread.  The search runs in this
process on the processor's clock, without the network.
"""

from __future__ import annotations

from fansr.cli import single_thread  # noqa: F401  # isort: skip  (before numpy)

import click
import numpy as np

from bench.composite_laws import on_the_processor
from fansr.expressions import evaluate, from_infix, to_infix

ROWS = 80
LAWS = [
    ("12.5/(1 + exp(-0.7*(t - 5.2)))", {"t": (0, 10)}, 0.0),
    ("12.5/(1 + exp(-0.7*(t - 5.2)))", {"t": (0, 10)}, 0.02),
    ("2.3*sin(1.7*t + 0.6)", {"t": (0, 12)}, 0.0),
    ("2.3*sin(1.7*t + 0.6) + 4.1", {"t": (0, 12)}, 0.05),
    ("1.2*sin(2*t) + 0.9*cos(2*t)", {"t": (0, 12)}, 0.02),
    ("x/(b - a)", {"a": (1, 2), "b": (3, 5), "x": (1, 4)}, 0.0),
    ("2*x/y", {"x": (1, 4), "y": (1, 4)}, 0.0),
    ("2**t", {"t": (0, 6)}, 0.0),
    ("80*0.5**(t/5.27)", {"t": (0, 20)}, 0.01),
    ("3*x**2 - 2*x + 1", {"x": (-2, 3)}, 0.0),
    ("3.1*x**2 - 2.2*x + 1.3", {"x": (-2, 3)}, 0.02),
    ("2*pi*sqrt(l/g)", {"l": (0.2, 3), "g": (1, 10)}, 0.0),
    ("7.3*(1 - exp(-x/3.2))", {"x": (0, 10)}, 0.01),
    ("(a - b)/(a + b)", {"a": (1, 4), "b": (1, 4)}, 0.0),
    ("3 - 2*x", {"x": (0, 4)}, 0.0),
    ("14.7 - 2.13*a - 3.4*b", {"a": (0, 4), "b": (0, 4)}, 0.05),
    ("a*b/(a + b)", {"a": (1, 4), "b": (1, 4)}, 0.0),
    ("(a*b)**2", {"a": (1, 4), "b": (1, 4)}, 0.0),
    ("exp(-(x - 3)**2/2)", {"x": (0, 6)}, 0.0),
    ("65*exp(-0.21*t) + 20", {"t": (0, 15)}, 0.01),
    ("log(x)/log(10)", {"x": (1, 50)}, 0.0),
    ("b*log(7)*a", {"a": (1, 5), "b": (1, 5)}, 0.0),
    ("a*b/(c + 2.4)", {"a": (1, 5), "b": (1, 5), "c": (0, 5)}, 0.01),
    ("tanh((x - 3)/2)", {"x": (0, 6)}, 0.0),
    ("5.2 - 1.9*cos(0.9*t)", {"t": (0, 12)}, 0.03),
    ("4.2*x/(1.7 + x)", {"x": (0.1, 10)}, 0.01),
    ("a - b - c", {"a": (0, 4), "b": (0, 4), "c": (0, 4)}, 0.0),
    ("a/(b/c)", {"a": (1, 4), "b": (1, 4), "c": (1, 4)}, 0.0),
    ("(3*a - 2*b)/c", {"a": (1, 4), "b": (1, 4), "c": (1, 4)}, 0.0),
    ("1.8*exp(-0.4*t)*cos(3*t + 0.5)", {"t": (0, 8)}, 0.01),
    # of several columns, or composed: what the rules of rewriting.py are for
    ("0.82*a*cos(a**2)", {"a": (0.5, 4)}, 0.0),
    ("cosh(a) + 0.29", {"a": (0.5, 3)}, 0.0),
    ("0.34*a**2*sinh(a) + 1", {"a": (0.5, 3)}, 0.0),
    ("(4.2*a + 0.37)**2", {"a": (0.5, 4)}, 0.0),
    ("cos(log(a))", {"a": (0.5, 6)}, 0.0),
    ("2.4*a**2*b/(a + b)", {"a": (0.5, 4), "b": (0.5, 4)}, 0.0),
    ("0.21*a*(b + 0.63) + 0.32", {"a": (0.5, 4), "b": (0.5, 4)}, 0.0),
    ("sqrt(0.72*a + 6)", {"a": (0.5, 9)}, 0.0),
    ("log(a + 0.76) - a", {"a": (0.5, 4)}, 0.0),
    ("(a + 3.3)*(a + b)/b", {"a": (0.5, 4), "b": (0.5, 4)}, 0.0),
    ("a/(1.2 - a)", {"a": (0.1, 1)}, 0.0),
    ("log((a + 1.4)*(b + 2.1) + c)", {"a": (0.5, 3), "b": (0.5, 3), "c": (0.5, 3)}, 0.0),
    ("c/((a + 2.1)*(b + 1.1))", {"a": (0.5, 3), "b": (0.5, 3), "c": (0.5, 3)}, 0.0),
    ("(a - 2.2)**2*(b - 2.5)*c", {"a": (0.5, 3), "b": (0.5, 3), "c": (0.5, 3)}, 0.0),
    ("(a - 0.41*b)**3/a", {"a": (0.5, 3), "b": (0.5, 3)}, 0.0),
    ("b*exp(20*(a - 9.8))/(c + 0.52)", {"a": (9.78, 9.82), "b": (0.5, 3), "c": (0.5, 3)}, 0.0),
    ("cbrt(a + sin(2*b))", {"a": (1, 4), "b": (0.5, 4)}, 0.0),
    ("a*b*exp(-c*d/e)/1.7", {name: (0.7, 3) for name in "abcde"}, 0.0),
    ("3*sqrt(a*b) + 0.15*sqrt(c**2 + 1.1*d)", {name: (0.5, 4) for name in "abcd"}, 0.0),
    ("a*b**2/(2*c) + d*e*f + 0.35*g", {name: (0.7, 3) for name in "abcdefg"}, 0.0),
    ("b/((2*a + b)*sqrt(a))", {"a": (0.5, 4), "b": (0.5, 4)}, 0.0),
    ("b*cos(4.4*sqrt(a)) + a*c", {"a": (0.5, 3), "b": (0.5, 3), "c": (0.5, 3)}, 0.0),
    ("cos(a**2.5)", {"a": (1.05, 1.4)}, 0.0),
]


@click.command()
@click.option("--time", "seconds", default=0.3, show_default=True, help="Processor seconds a table.")
@click.option("--front", is_flag=True, help="The laws of the front too.")
@click.argument("numbers", nargs=-1, type=int)
def main(seconds, front, numbers):
    """Print what was drawn and what was printed; NUMBERS: only those of the list."""
    from fansr.fitting import Budget, Problem
    from fansr.search import turns

    on_the_processor()
    proposers = tuple(name for name in turns.DEFAULT_PROPOSERS if name != "model")
    for k, (law, box, noise) in enumerate(LAWS):
        if numbers and k not in numbers:
            continue
        rng, names = np.random.default_rng([3, k]), list(box)
        X = np.column_stack([rng.uniform(*ends, ROWS) for ends in box.values()])
        y = evaluate(from_infix(law, names), X)
        y = y + noise * np.std(y) * rng.standard_normal(ROWS)
        found = turns.search(Problem(X, y, names), turns.Options(proposers=proposers), Budget(seconds))

        def text(c, names=names):
            return to_infix(c.expr, c.consts, names, digits=12 if c.fvu < 1e-20 else 5, pi=True)

        click.echo(f"{k:2d}  {law:34s} {noise:5g}  {text(found.best)}")
        for c in found.front if front else ():
            click.echo(f"{c.length:12d}  {c.fvu:8.3g}  {text(c)}")


if __name__ == "__main__":
    main()
