"""The options of fansr-fit that say what a law may be; they become one search.rules.Rules.

@rules_options
def fit(..., rules, rule_texts): ...
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from fansr.search import rules as law_rules

_OPTIONS: dict[str, dict[str, Any]] = {
    "--operators": {
        "metavar": "LIST",
        "help": "Only these operators, such as '+,-,*,/,exp,sqrt'; ^ for powers.  Also min, max, step (1 above 0, else 0), sign, "
        "floor, mod (with the divisor's sign), logistic.  [default: all]",
    },
    "--without": {"metavar": "LIST", "help": "None of these operators, such as 'sin,tan'."},
    "--max-length": {"type": click.IntRange(1), "metavar": "N", "help": "Tokens of a law at most."},
    "--max-constants": {"type": click.IntRange(0), "metavar": "N", "help": "Constants of a law at most."},
    "--max-depth": {"type": click.IntRange(1), "metavar": "N", "help": "Levels of a law at most; x is 1, sin(x) 2."},
    "--nest": {
        "metavar": "LIST",
        "help": "How many of an operator may stand below one another inside itself, or inside another: 'sin:0,exp(sin):1'.",
    },
    "--arguments": {
        "metavar": "LIST",
        "help": "Tokens of an operator's arguments at most: 'cos:5', or of its second alone: '^(2):1'.",
    },
    "--price": {
        "metavar": "LIST",
        "help": "For how many tokens an operator counts when laws are compared, such as 'sin=3' (of itself about 3.5); c=2 for every "
        "constant, x=2 for every column.",
    },
    "--positive": {
        "metavar": "LIST",
        "help": "Columns that are positive by nature: the law is finite wherever they are; c: every constant is at least 0.",
    },
    "--bounds": {"metavar": "RANGE", "help": "Of every constant: 'c in [0,10]' or 'c >= 0'."},
    "--define": {
        "metavar": "FORMULA",
        "multiple": True,
        "help": "A function of your own, such as 'gauss(x) = exp(-x**2)': searched as one token, printed by its name (repeatable).",
    },
    "--through": {
        "metavar": "POINT",
        "help": "A point of the law: '0,0' (the columns, then the target) or 'x=0: 5'; several with ';'.",
    },
    "--monotone": {
        "metavar": "LIST",
        "help": "Columns along which the law rises or falls in the table's box: 'x+,t-'.",
    },
    "--even": {"metavar": "LIST", "help": "Columns whose sign does not matter."},
    "--odd": {"metavar": "LIST", "help": "Columns whose sign is that of the law."},
    "--periodic": {"metavar": "LIST", "help": "Columns with the law's period along them: 'hour:24'."},
    "--convex": {
        "metavar": "LIST",
        "help": "Columns along which the law curves upwards in the table's box; 'x-' downwards.",
    },
    "--limit": {
        "metavar": "LIMIT",
        "help": "Where the law goes far outside of the table: 'x->inf: 0'; several with ';'.",
    },
}
NAMES = tuple(option.lstrip("-").replace("-", "_") for option in _OPTIONS)


def rules_options(function: Callable) -> Callable:
    """The options, handed on as `rules` (search.rules.Rules) and `rule_texts` (what was written, for a history entry)."""

    @functools.wraps(function)
    def with_rules(**given: Any) -> Any:
        texts = {name: given.pop(name) for name in NAMES}
        try:
            rules = law_rules.parse(**texts)
        except ValueError as error:
            raise click.UsageError(f"--{error}") from None
        said = {
            name: list(text) if name == "define" else text for name, text in texts.items() if text not in (None, ())
        }
        return function(**given, rules=rules, rule_texts=said)

    for option, settings in reversed(_OPTIONS.items()):
        with_rules = click.option(
            option, **{"default": None, **settings} if not settings.get("multiple") else settings
        )(with_rules)
    return with_rules
