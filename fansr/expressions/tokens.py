"""The operator table and the vocabulary: the one place that knows what a token is.

Table 5 of the paper (appendix H) lists 38 operators.  Everything else in the package reads them
from OPERATORS: parsing, printing, evaluation, generation, the network's vocabulary and the tests.
MORE_OPERATORS are ours: a search, a formula and a stream may have them; what is drawn at random and the
network's vocabulary have not.
This module imports nothing of the package and nothing heavier than the standard library.

A *prefix expression* is a list of token strings in pre-order, for example
``["+", "mult2", "sin", "x1", "<constant>"]``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Operator(NamedTuple):
    """One row of Table 5, or of MORE_OPERATORS.

    In the templates ``a`` and ``b`` are the operands and ``v`` is the operator's own value; all
    are written in braces.  `derivative` holds d v / d a, and d v / d b for binary operators, as
    numpy expressions; they are what programs.py's kernels must equal.
    """

    token: str
    arity: int
    opcode: int
    weight: float  # sampling weight, appendix H; 0 for MORE_OPERATORS
    numpy: str  # python source over numpy as np
    derivative: tuple[str, ...]
    infix: str  # for people and for parsers of ordinary formulas
    precedence: int  # of the infix form: 1 sums, 2 products, 3 sign, 4 powers, 5 calls and atoms
    latex: str


def _table() -> tuple[Operator, ...]:
    rows: list[Operator] = []

    def add(token, arity, weight, numpy, derivative, infix, precedence, latex):
        rows.append(Operator(token, arity, len(rows), weight, numpy, derivative, infix, precedence, latex))

    add("+", 2, 10.0, "({a} + {b})", ("1.0", "1.0"), "{a} + {b}", 1, "{a} + {b}")
    add("-", 2, 10.0, "({a} - {b})", ("1.0", "-1.0"), "{a} - {b}", 1, "{a} - {b}")
    add("*", 2, 10.0, "({a} * {b})", ("{b}", "{a}"), "{a}*{b}", 2, r"{a} \cdot {b}")
    add("/", 2, 10.0, "({a} / {b})", ("1 / {b}", "-{v} / {b}"), "{a}/{b}", 2, r"\frac{{{a}}}{{{b}}}")
    # `pow` has no weight of its own in the paper's text ("all others with weight 1").
    add(
        "pow",
        2,
        1.0,
        "np.power({a}, {b})",
        ("{b} * np.power({a}, {b} - 1)", "{v} * np.log({a})"),
        "{a}**{b}",
        4,
        "{{{a}}}^{{{b}}}",
    )
    add("abs", 1, 1.0, "np.abs({a})", ("np.sign({a})",), "abs({a})", 5, r"\left|{a}\right|")
    add("inv", 1, 1.0, "(1 / {a})", ("-{v} * {v}",), "1/{a}", 2, r"\frac{{1}}{{{a}}}")
    add("neg", 1, 1.0, "(-{a})", ("-1.0",), "-{a}", 3, "-{a}")
    for k in (2, 3, 4, 5):
        add(
            f"pow{k}",
            1,
            1.0,
            f"np.power({{a}}, {k})",
            (f"{k} * np.power({{a}}, {k - 1})",),
            f"{{a}}**{k}",
            4,
            f"{{{{{{a}}}}}}^{{{{{k}}}}}",
        )
    add("pow1_2", 1, 1.0, "np.sqrt({a})", ("0.5 / {v}",), "sqrt({a})", 5, r"\sqrt{{{a}}}")
    # The odd roots are the real ones, defined for negative arguments too.
    add("pow1_3", 1, 1.0, "np.cbrt({a})", ("1 / (3 * {v} * {v})",), "cbrt({a})", 5, r"\sqrt[3]{{{a}}}")
    add("pow1_4", 1, 1.0, "np.sqrt(np.sqrt({a}))", ("0.25 * {v} / {a}",), "{a}**0.25", 4, r"\sqrt[4]{{{a}}}")
    add(
        "pow1_5",
        1,
        1.0,
        "(np.sign({a}) * np.power(np.abs({a}), 0.2))",
        ("0.2 * {v} / {a}",),
        "root5({a})",
        5,
        r"\sqrt[5]{{{a}}}",
    )
    for token, name, derivative, latex in (
        ("sin", "sin", "np.cos({a})", r"\sin"),
        ("cos", "cos", "-np.sin({a})", r"\cos"),
        ("tan", "tan", "1 + {v} * {v}", r"\tan"),
        ("asin", "arcsin", "1 / np.sqrt(1 - {a} * {a})", r"\arcsin"),
        ("acos", "arccos", "-1 / np.sqrt(1 - {a} * {a})", r"\arccos"),
        ("atan", "arctan", "1 / (1 + {a} * {a})", r"\arctan"),
        ("sinh", "sinh", "np.cosh({a})", r"\sinh"),
        ("cosh", "cosh", "np.sinh({a})", r"\cosh"),
        ("tanh", "tanh", "1 - {v} * {v}", r"\tanh"),
        ("asinh", "arcsinh", "1 / np.sqrt({a} * {a} + 1)", r"\operatorname{{arsinh}}"),
        ("acosh", "arccosh", "1 / np.sqrt({a} * {a} - 1)", r"\operatorname{{arcosh}}"),
        ("atanh", "arctanh", "1 / (1 - {a} * {a})", r"\operatorname{{artanh}}"),
        ("exp", "exp", "{v}", r"\exp"),
        ("log", "log", "1 / {a}", r"\log"),
    ):
        add(token, 1, 1.0, f"np.{name}({{a}})", (derivative,), f"{token}({{a}})", 5, latex + r"\left({a}\right)")
    for k in (2, 3, 4, 5):
        add(f"mult{k}", 1, 1.0, f"({k} * {{a}})", (f"{k}.0",), f"{k}*{{a}}", 2, f"{k} {{a}}")
    for k in (2, 3, 4, 5):
        add(f"div{k}", 1, 1.0, f"({{a}} / {k})", (f"1 / {k}",), f"{{a}}/{k}", 2, rf"\frac{{{{{{a}}}}}}{{{{{k}}}}}")
    return tuple(rows)


def _more(first: int) -> tuple[Operator, ...]:
    """Kinks, jumps and what repeats: opcodes from `first` on, unary ones before binary ones.

    A derivative is 0 on both sides of a jump and at it.  Where the operands of min and max are equal each has half.
    """
    rows: list[Operator] = []

    def add(token, numpy, derivative, latex):
        arity = len(derivative)
        infix = f"{token}({{a}})" if arity == 1 else f"{token}({{a}}, {{b}})"
        rows.append(Operator(token, arity, first + len(rows), 0.0, numpy, derivative, infix, 5, latex))

    add("step", "np.heaviside({a}, 0.0)", ("0.0",), r"\left[{a} > 0\right]")  # 0 at 0: step(x - c) is x > c
    add("sign", "np.sign({a})", ("0.0",), r"\operatorname{{sgn}}\left({a}\right)")
    add("floor", "np.floor({a})", ("0.0",), r"\left\lfloor {a} \right\rfloor")
    add("logistic", "(1 / (1 + np.exp(-{a})))", ("{v} * (1 - {v})",), r"\sigma\left({a}\right)")
    add(
        "min",
        "np.minimum({a}, {b})",
        ("np.heaviside({b} - {a}, 0.5)", "np.heaviside({a} - {b}, 0.5)"),
        r"\min\left({a}, {b}\right)",
    )
    add(
        "max",
        "np.maximum({a}, {b})",
        ("np.heaviside({a} - {b}, 0.5)", "np.heaviside({b} - {a}, 0.5)"),
        r"\max\left({a}, {b}\right)",
    )
    # The remainder has the divisor's sign: mod(-1, 3) is 2.
    add("mod", "np.mod({a}, {b})", ("1.0", "-np.floor({a} / {b})"), r"\left({a} \bmod {b}\right)")
    return tuple(rows)


OPERATORS: tuple[Operator, ...] = _table()  # Table 5: what is drawn at random and what the network knows
N_OPERATORS = len(OPERATORS)  # 38
MORE_OPERATORS: tuple[Operator, ...] = _more(N_OPERATORS)
OPERATOR: dict[str, Operator] = {row.token: row for row in (*OPERATORS, *MORE_OPERATORS)}
BINARY = tuple(row.token for row in OPERATORS if row.arity == 2)
UNARY = tuple(row.token for row in OPERATORS if row.arity == 1)
COMMUTATIVE = ("+", "*", "min", "max")
# Tokens outside Table 5: ours, and definitions as they are met (definitions.py).  What knows Table 5 alone leaves them be.
FOREIGN: set[str] = {row.token for row in MORE_OPERATORS}

CONSTANT = "<constant>"
MAX_VARIABLES = 17  # D of the paper's prior
VARIABLES = tuple(f"x{j + 1}" for j in range(MAX_VARIABLES))

# Opcodes of a flat program (programs.py): 0..37 are Table 5's operators, then ours and JOIN, then the kinds of leaf.
JOIN_OPCODE = len(OPERATOR)  # what its operand is; copies of it may stand elsewhere (a definition's argument)
LITERAL_OPCODE = JOIN_OPCODE + 1  # argument: the value
CONSTANT_OPCODE = LITERAL_OPCODE + 1  # argument: which constant, counted in pre-order
VARIABLE_OPCODE = LITERAL_OPCODE + 2  # argument: which column, from 0
COPY_OPCODE = LITERAL_OPCODE + 3  # argument: the position of the JOIN whose value it has

# Vocabulary of the network.  The first four ids are fixed for good; new tokens go to the end.
PAD, BOS, EOS = "<pad>", "<bos>", "<eos>"
VOCABULARY: tuple[str, ...] = (PAD, BOS, EOS, CONSTANT, *VARIABLES, *(row.token for row in OPERATORS))
TOKEN_ID: dict[str, int] = {token: i for i, token in enumerate(VOCABULARY)}
PAD_ID, BOS_ID, EOS_ID, CONSTANT_ID = 0, 1, 2, 3
FIRST_VARIABLE_ID = 4
FIRST_OPERATOR_ID = FIRST_VARIABLE_ID + MAX_VARIABLES  # id = FIRST_OPERATOR_ID + opcode

ARITY: dict[str, int] = {
    **{row.token: row.arity for row in OPERATOR.values()},
    CONSTANT: 0,
    **{token: 0 for token in VARIABLES},
}


def variable_index(token: str) -> int | None:
    """Column (from 0) that a token such as ``x3`` or ``x120`` names, or None when it names none.

    The vocabulary ends at x17; tables may be wider, so any xN with N >= 1 is a variable here.
    """
    if token[:1] == "x" and token[1:].isdigit() and token[1] != "0":
        return int(token[1:]) - 1
    return None


def literal_value(token: str) -> float | None:
    """Value of a numeric literal token such as ``2.5`` or ``-1e-3``, or None when it is none."""
    first = token[:1]
    if not (first.isdigit() or (first in "+-." and len(token) > 1)):
        return None
    try:
        return float(token)
    except ValueError:
        return None


def encode(expr: list[str]) -> list[int]:
    """Vocabulary ids of a prefix expression; KeyError names a token the network does not know."""
    return [TOKEN_ID[token] for token in expr]


def decode(ids: Iterable[int]) -> list[str]:
    """Tokens of vocabulary ids, without <pad>, <bos> and <eos>."""
    return [VOCABULARY[i] for i in ids if i > EOS_ID]
