"""Description length of a law in nats: what its structure's tokens and its constants cost.

The residuals' share, and the choice by the sum, is selection.py's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

from fansr.expressions import CONSTANT, end, literal_value, variable_index

# What a token of a law costs under `mdl`, in nats: a coarse prior over the operators that laws of
# science are written with (a uniform choice among all tokens would be 3.6 nats each).  It decides only
# where rows are few and noisy; there it is what keeps a search over many thousand structures from
# explaining the noise with the one that happens to fit it.  Chosen on 224 synthetic tables of 6 to 250
# rows (`bin/bench-families tables --seed 7`); from 1.0 to 1.5 the results differ by under 2 %.
TOKEN_NATS = 1.5
_RARE_NATS = {
    **dict.fromkeys(("exp", "log", "pow1_2", "abs", "min", "max", "logistic"), 2.6),
    "pow3": 2.2,
    **dict.fromkeys(("pow4", "pow1_3", "step", "sign"), 3.8),
    **dict.fromkeys(("floor", "mod"), 5.3),
    **dict.fromkeys(("sin", "cos", "tanh"), 5.3),
    **dict.fromkeys(
        ("pow5", "pow1_4", "pow1_5", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh"), 6.8
    ),
}
# A power whose exponent varies costs these on top: with a constant base it is an exponential and as rare as one; x**(1/x) or
# (1 + x)**(2 - x) fits any bump and is no law of anything.
_EXPONENTIAL_NATS, _TOWER_NATS = 1.1, 5.3
# So does a wave whose argument is no polynomial of at most second degree in the columns: sin(a b**t) or cos(a sqrt(t + b)) imitates any wave of
# slightly uneven pace, and where noise leaves the choice the even one is meant.
_CHIRP_NATS = 6.0
_BENT = frozenset(
    "pow pow3 pow4 pow5 pow1_2 pow1_3 pow1_4 pow1_5 exp log sin cos tan tanh asin acos atan sinh cosh asinh acosh atanh".split()
)
# So does a function of a sum of one column with a function or a quotient of it, sqrt(c1/x + c2) or log(c1 + exp(x)), and a step of any
# function, tanh(sqrt(x)): a second bend around the first imitates most curves that have a name.  exp(c/x) has one, and sqrt(1 - x^2/z^2)
# is of two columns.
_NESTED_NATS = 3.0
# So does a power of a power of a sum, ((x - c)^3)^3: high powers of sums imitate exponentials, and hardly any law has one.
_WHOLE = frozenset("pow2 pow3 pow4 pow5".split())

# Below this FVU a constant is charged the further digits it is told to, 0.5 log(CLEAN / FVU): at such
# precision what is left is rarely the white noise that the fit's likelihood supposes.
CLEAN = 1e-3

# A further column in a plain sum, + c*x, is what regression would try: of D columns chance offers the best, which is worth log D nats
# besides its constant, and not what four tokens of a structure are.  So it costs no more than that (and FURTHER at least) where noise
# leaves the choice: from an FVU of NOISY[0] on in part, from NOISY[1] on whole.  The constant of such a sum costs FURTHER too.
FURTHER, NOISY = 1.0, (1e-3, 1e-2)


def token_nats(token: str) -> float:
    """What a token costs by itself."""
    return _RARE_NATS.get(token, TOKEN_NATS)


def structure_nats(expr: list[str]) -> float:
    """Code length of a law's structure: the sum of its tokens' costs, and of what is raised to varying powers."""
    return _structure_nats(tuple(expr))


@lru_cache(4096)
def _structure_nats(expr: tuple[str, ...]) -> float:
    nats = sum(token_nats(token) for token in expr) - _repeated_nats(expr)
    for i, token in enumerate(expr):
        if token == "pow":
            middle = end(expr, i + 1)
            if _varies(expr[middle : end(expr, middle)]):
                nats += _TOWER_NATS if _varies(expr[i + 1 : middle]) else _EXPONENTIAL_NATS
        elif token in ("sin", "cos", "tan"):
            argument = expr[i + 1 : end(expr, i + 1)]
            if any(t in _BENT and _varies(argument[k : end(argument, k)]) for k, t in enumerate(argument)):
                nats += _CHIRP_NATS
        elif token in _STEPS or (token in _BENT and expr[i + 1] in ("+", "-")):
            argument = expr[i + 1 : end(expr, i + 1)]
            one = len({variable_index(t) for t in argument} - {None}) == 1
            if one and any(t in _DIVIDING and _varies(_bent(argument, k)) for k, t in enumerate(argument)):
                nats += _NESTED_NATS
        if token in _WHOLE:
            argument = expr[i + 1 : end(expr, i + 1)]
            high = (t in _WHOLE and argument[k + 1] in ("+", "-") for k, t in enumerate(argument))
            nats += _NESTED_NATS * any(high)
    return nats


_DIVIDING = _BENT | {"inv", "/"}
_STEPS = frozenset("tanh atan logistic".split())


def _bent(expr: Sequence[str], k: int) -> Sequence[str]:
    """What the function at k bends: its argument, or what a quotient divides by."""
    first = end(expr, k + 1) if expr[k] == "/" else k + 1
    return expr[first : end(expr, first)]


# A further summand of the form of one that is there, a second wave or a third peak, is told by saying so and where it stands.
AGAIN = 2 * TOKEN_NATS
_FORMS = frozenset("sin cos exp tanh inv / pow2".split())


def _repeated_nats(expr: Sequence[str]) -> float:
    """What summands of the form of an earlier one cost less than their symbols, in nats; a form has two numbers and a function."""
    if expr[0] not in ("+", "-") or sum(token in _FORMS for token in expr) < 2:
        return 0.0
    seen: set[tuple[str, ...]] = set()
    nats, i = 0.0, 0
    while i < len(expr):
        if expr[i] in ("+", "-"):
            i += 1
            continue
        stop = end(expr, i)
        form = _form(expr[i:stop])
        if form in seen:
            nats += max(0.0, sum(token_nats(token) for token in expr[i:stop]) - AGAIN)
        elif form.count(CONSTANT) > 1 and not _FORMS.isdisjoint(form):
            seen.add(form)
        i = stop
    return nats


def _form(term: Sequence[str]) -> tuple[str, ...]:
    """A summand with all numbers alike, and sines for cosines."""
    form: list[str] = []
    for token in term:
        if token[:4] == "mult" or token[:3] == "div":
            form += ["*", CONSTANT]
        elif token == "cos":
            form.append("sin")
        else:
            form.append(token if literal_value(token) is None else CONSTANT)
    return tuple(form)


def plain_parts(expr: list[str]) -> tuple[int, bool]:
    """(further columns, a constant) of a law that is a sum: how many summands are a constant times a column that no other summand
    holds, and whether a constant is added to such.  One such term is the law itself and not counted where nothing else is there."""
    if expr[0] not in ("+", "-", "neg"):
        return 0, False
    plain: list[int] = []
    others: set[int] = set()
    rest, constant, i = 0, False, 0
    while i < len(expr):
        if expr[i] in ("+", "-", "neg"):
            i += 1
            continue
        stop = end(expr, i)
        term = expr[i:stop]
        held = {k for k in map(variable_index, term) if k is not None}
        scaled = term[0] == "*" or (term[0] == "/" and variable_index(term[1]) is not None)
        if len(term) == 3 and len(held) == 1 and scaled and len(set(term)) == 3:
            plain += held
        elif held:
            rest += 1
            others |= held
        else:
            constant = True
        i = stop
    alone = sum(j not in others for j in set(plain))
    return max(0, alone if rest else alone - 1), constant and alone > 0


def further_nats(expr: list[str], fvu: float, columns: int) -> float:
    """What the further columns of a plain sum and its constant cost less, in nats, than their tokens do, in a table of so many columns."""
    if columns < 2 or not fvu > NOISY[0]:
        return 0.0
    further, constant = plain_parts(expr)
    share = min(1.0, math.log(fvu / NOISY[0]) / math.log(NOISY[1] / NOISY[0]))
    nats = max(0.0, 4 * TOKEN_NATS - max(FURTHER, math.log(columns))) * further
    return share * (nats + (2 * TOKEN_NATS - FURTHER if constant else 0.0))


def _varies(expr: Sequence[str]) -> bool:
    return any(variable_index(token) is not None for token in expr)


def constant_nats(M: int, fvu: float, floor: float) -> float:
    """What a fitted constant costs under `mdl`: the precision that M rows, and very small residuals, give it."""
    return 0.5 * (math.log(M) + max(0.0, math.log(CLEAN / max(fvu, floor))))
