"""A law as presentation MathML, which browsers typeset by themselves, without scripts or fonts from elsewhere.

    mathml(["*", "<constant>", "sin", "x1"], [2.0], ["angle"])  ->  "<math ...><mn>2</mn>...</math>"

Browsers do not break MathML into lines.  `pieces` gives the terms of a law's outermost sum one by one, each with its width, so
that a page can let them wrap like words and choose a size at which the widest fits.  All text from outside is escaped.
"""

from __future__ import annotations

import html
import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import NamedTuple

from fansr.expressions.infix import EVEN_ROOTS, WHOLE_POWERS, format_number, power_of
from fansr.expressions.prefix import Expr, Tree, n_constants, to_tree
from fansr.expressions.tokens import CONSTANT, variable_index

_SUM, _PRODUCT, _SIGN, _POWER, _CALL, _ATOM = range(1, 7)  # how tightly a piece binds
_GREEK = {
    name: unicodedata.lookup(f"GREEK {size} LETTER {name.upper().replace('LAMBDA', 'LAMDA')}")
    for size, names in (
        ("SMALL", "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau upsilon phi chi psi omega pi"),
        ("CAPITAL", "Gamma Delta Theta Lambda Xi Sigma Upsilon Phi Psi Omega Pi"),
    )
    for name in names.split()
}  # fmt: skip
_ROOTS = {"pow1_3": 3, "pow1_4": 4, "pow1_5": 5}
_FENCES = {"abs": ("|", "|"), "floor": ("⌊", "⌋")}
_NAMES = {"log": "ln", "asinh": "arsinh", "acosh": "arcosh", "atanh": "artanh", "asin": "arcsin", "acos": "arccos",
          "atan": "arctan", "logistic": "σ", "sign": "sgn"}  # fmt: skip
_MINUS, _DOT, _APPLIED = "<mo>−</mo>", "<mo>⋅</mo>", "<mo>&#x2061;</mo>"
_NUMBER, _WORD, _OTHER = range(3)  # what stands at the edge of a piece: says how factors are put side by side


class Piece(NamedTuple):
    """A part of a law: its markup, how tightly it binds, its width in ems (an estimate on the large side), the height of its
    fractions, whether it is a number, a word or something else, and for one that begins with a minus what follows it."""

    markup: str
    level: int
    width: float
    depth: int = 0
    edge: int = _OTHER
    positive: tuple | None = None  # (markup, level, width, depth, edge)


def mathml(
    expr: Expr,
    consts: Iterable[float] | None = None,
    names: Sequence[str] | None = None,
    digits: int | None = None,
    target: str | None = None,
) -> str:
    """One <math> element of a law; `target` puts "target =" before it.

    consts None writes constants as c1, c2, ..., which shows the form of a law; digits None writes every number whole.
    """
    tree = _piece(expr, consts, names, digits)
    left = "" if target is None else f"{name_markup(target)}<mo>=</mo>"
    return wrapped(f"{left}{tree.markup}")


def wrapped(markup: str) -> str:
    """Markup as a <math> element."""
    return f'<math xmlns="http://www.w3.org/1998/Math/MathML" displaystyle="true"><mrow>{markup}</mrow></math>'


def pieces(
    expr: Expr, consts: Iterable[float] | None = None, names: Sequence[str] | None = None, digits: int | None = None
) -> list[tuple[str, float]]:
    """(markup, width in ems) of each term of the outermost sum, its sign before it; one alone where there is no sum."""
    values = iter(_values(expr, consts))
    terms: list[tuple[str, Piece]] = []

    def walk(tree: Tree, sign: str, first: bool) -> None:
        if isinstance(tree, tuple) and tree[0] in ("+", "-") and (sign == "+" or first):
            walk(tree[1], sign, first)
            # What is subtracted is one piece, so that its own signs stay as they are.
            if tree[0] == "+":
                walk(tree[2], "+", False)
            else:
                terms.append(("-", _build(tree[2], values, names, digits)))
            return
        terms.append((sign, _build(tree, values, names, digits)))

    walk(to_tree(expr), "+", True)
    found = []
    for k, (sign, piece) in enumerate(terms):
        if k == 0:
            found.append((piece.markup, piece.width))
            continue
        if sign == "+" and piece.positive:
            sign, piece = "-", Piece(*piece.positive)
        elif sign == "-":
            piece = _fenced(piece, _PRODUCT)
        # By itself it would be a sign of what follows, without the space of a sum.
        found.append((f'<mo form="infix">{"+" if sign == "+" else "−"}</mo>{piece.markup}', piece.width + 1.2))
    return found


def name_markup(name: str) -> str:
    """A column's name: x1 with a subscript, theta as the letter, anything longer upright, as it is."""
    match = re.fullmatch(r"([A-Za-z]+?)_?(\d+|(?<=_)[A-Za-z0-9]+)?", str(name))
    if match and (len(match[1]) == 1 or match[1] in _GREEK):
        letter = f"<mi>{_GREEK.get(match[1], match[1])}</mi>"
        if match[2] is None:
            return letter
        tag = "mn" if match[2].isdigit() else "mi"
        return f"<msub>{letter}<{tag}>{match[2]}</{tag}></msub>"
    return f'<mi mathvariant="normal">{_escaped(name)}</mi>'


def _escaped(text: object) -> str:
    plain = "".join("\ufffd" if unicodedata.category(ch) in ("Cc", "Cs", "Cn") else ch for ch in str(text))
    return html.escape(plain)


def _values(expr: Expr, consts: Iterable[float] | None) -> list[float | str]:
    if consts is None:
        return [f"c_{k + 1}" for k in range(n_constants(expr))]
    values: list[float | str] = [float(c) for c in consts]
    if len(values) != n_constants(expr):
        raise ValueError(f"{len(values)} constants came, the expression has {n_constants(expr)}")
    return values


def _piece(expr: Expr, consts, names, digits) -> Piece:
    return _build(to_tree(expr), iter(_values(expr, consts)), names, digits)


def _build(tree: Tree, values, names, digits) -> Piece:
    """The piece of a tree; `values` are taken in order."""
    if not isinstance(tree, tuple):
        column = variable_index(tree)
        if column is not None:
            return _word(names[column] if names is not None else tree)
        value = next(values) if tree == CONSTANT else float(tree)
        return _word(value) if isinstance(value, str) else number_piece(value, digits)
    if (
        tree[0] in WHOLE_POWERS and isinstance(tree[1], tuple) and tree[1][0] in EVEN_ROOTS
    ):  # sqrt(x)**3 reads as x^(3/2)
        inner = _fenced(_build(tree[1][1], values, names, digits), _ATOM)
        exponent = Fraction(int(tree[0][3:]), EVEN_ROOTS[tree[1][0]])
        return _raised(inner, f"<mn>{exponent.numerator}</mn><mo>/</mo><mn>{exponent.denominator}</mn>", 1.6)
    n, base = power_of(tree)
    if n > 1:
        exponent = number_piece(float(n))
        return _raised(_fenced(_build(base, values, names, digits), _ATOM), exponent.markup, exponent.width)
    parts = [_build(child, values, names, digits) for child in tree[1:]]
    return _joined(tree[0], parts)


def _word(name: str) -> Piece:
    return Piece(name_markup(name), _ATOM, 0.62 * len(str(name)), 0, _WORD)


def number_piece(value: float, digits: int | None = None) -> Piece:
    """A number: a decimal, or one times a power of ten."""
    if not math.isfinite(value):
        text = "NaN" if math.isnan(value) else "∞"
        piece = Piece(f"<mi>{text}</mi>", _ATOM, 1.0, 0, _NUMBER)
        return _negative(piece) if value < 0 else piece
    mantissa, e, power = format_number(abs(value), digits).partition("e")
    if not e:
        piece = Piece(f"<mn>{mantissa}</mn>", _ATOM, 0.58 * len(mantissa), 0, _NUMBER)
    else:
        sign = _MINUS if power.startswith("-") else ""
        ten = f"<msup><mn>10</mn><mrow>{sign}<mn>{power.lstrip('+-0') or '0'}</mn></mrow></msup>"
        width = 1.2 + 0.45 * len(power)
        if mantissa == "1":
            piece = Piece(ten, _POWER, width, 0, _NUMBER)
        else:
            markup = f"<mrow><mn>{mantissa}</mn>{_DOT}{ten}</mrow>"
            piece = Piece(markup, _PRODUCT, 0.58 * len(mantissa) + 0.8 + width, 0, _NUMBER)
    return _negative(piece) if math.copysign(1.0, value) < 0 else piece


def _negative(piece: Piece) -> Piece:
    """A minus before a piece."""
    inner = piece if piece.level >= _PRODUCT and piece.positive is None else _bracketed(piece)
    return Piece(f"<mrow>{_MINUS}{inner.markup}</mrow>", _SIGN, inner.width + 0.8, inner.depth, _OTHER, inner[:5])


def _bracketed(piece: Piece, opening: str = "(", closing: str = ")") -> Piece:
    markup = (
        f'<mrow><mo fence="true" stretchy="true">{opening}</mo>{piece.markup}'
        f'<mo fence="true" stretchy="true">{closing}</mo></mrow>'
    )
    return Piece(markup, _ATOM, piece.width + 0.8, piece.depth)


def _fenced(piece: Piece, least: int) -> Piece:
    """In brackets where it binds less tightly than is needed, or begins with a minus."""
    return piece if piece.level >= least and piece.positive is None else _bracketed(piece)


def _joined(token: str, parts: list[Piece]) -> Piece:
    """An operator over its operands."""
    a = parts[0]
    depth = max(part.depth for part in parts)
    if "=" in token:  # a function of the user's own: its name and definition
        return _call(token.partition("=")[0], parts, depth)
    if token in ("+", "-"):
        return _sum(token, a, parts[1])
    if token == "*":
        return _product(a, parts[1])
    if token.startswith("mult"):
        return _product(number_piece(float(token[4:])), a)
    if token == "neg":
        return _negative(a)
    if token in ("/", "inv") or token.startswith("div"):
        top, bottom = (
            (number_piece(1.0), a)
            if token == "inv"
            else (a, parts[1] if token == "/" else number_piece(float(token[3:])))
        )
        return _fraction(top, bottom)
    if token == "pow1_2":
        return Piece(f"<msqrt>{a.markup}</msqrt>", _ATOM, a.width + 1.0, depth)
    if token in _ROOTS:
        return Piece(f"<mroot><mrow>{a.markup}</mrow><mn>{_ROOTS[token]}</mn></mroot>", _ATOM, a.width + 1.2, depth)
    if token == "pow":
        return _raised(_fenced(a, _ATOM), parts[1].markup, parts[1].width)
    if token == "exp" and depth == 0:  # a fraction would be small up there
        return Piece(f"<msup><mi>e</mi>{_row(a.markup)}</msup>", _POWER, 0.6 + 0.75 * a.width, 0, _WORD)
    if token in _FENCES:
        return _bracketed(a, *_FENCES[token])
    if token == "mod":
        inner = f"{_fenced(a, _POWER).markup}<mo>mod</mo>{_fenced(parts[1], _POWER).markup}"
        return _bracketed(Piece(inner, _SUM, sum(p.width for p in parts) + 2.5, depth))
    return _call(_NAMES.get(token, token), parts, depth)


def _call(word: str, parts: list[Piece], depth: int) -> Piece:
    """A function by its name."""
    width = sum(part.width + 0.5 for part in parts)
    inside = _bracketed(Piece("<mo>,</mo>".join(part.markup for part in parts), _SUM, width, depth))
    markup = f'<mrow><mi mathvariant="normal">{_escaped(word)}</mi>{_APPLIED}{inside.markup}</mrow>'
    return Piece(markup, _CALL, 0.6 * len(word) + inside.width, depth, _WORD)


def _raised(base: Piece, exponent: str, width: float) -> Piece:
    """A power; `width` in ems is that of the exponent at full size."""
    markup = f"<msup>{_row(base.markup)}{_row(exponent)}</msup>"
    return Piece(markup, _POWER, base.width + 0.75 * width, base.depth, base.edge if base.edge == _WORD else _OTHER)


def _row(markup: str) -> str:
    return f"<mrow>{markup}</mrow>"


def _sum(token: str, a: Piece, b: Piece) -> Piece:
    sign = token
    if b.positive is not None and token == "+":
        sign, b = "-", Piece(*b.positive)
    elif token == "-":
        b = _fenced(b, _PRODUCT)
    markup = f"{a.markup}<mo>{'+' if sign == '+' else '−'}</mo>{b.markup}"
    return Piece(f"<mrow>{markup}</mrow>", _SUM, a.width + b.width + 1.2, max(a.depth, b.depth))


def _fraction(top: Piece, bottom: Piece) -> Piece:
    if top.positive is not None:  # the minus stands before the fraction
        return _negative(_fraction(Piece(*top.positive), bottom))
    markup = f"<mfrac>{_row(top.markup)}{_row(bottom.markup)}</mfrac>"
    return Piece(markup, _PRODUCT, max(top.width, bottom.width) + 0.4, 1 + max(top.depth, bottom.depth))


def _product(a: Piece, b: Piece) -> Piece:
    if a.positive is not None:
        return _negative(_product(Piece(*a.positive), b))
    left, right = _fenced(a, _PRODUCT), _fenced(b, _PRODUCT)
    # A number stands before a name as it is; between words or numbers a dot tells where one ends.
    plain = (
        a.edge == _NUMBER
        and "⋅" not in a.markup
        and (right.edge == _WORD or right.markup.startswith("<mrow><mo fence"))
    )
    between = '<mspace width="0.17em"/>' if plain else _DOT
    markup = f"<mrow>{left.markup}{between}{right.markup}</mrow>"
    width = left.width + right.width + (0.2 if plain else 0.8)
    return Piece(markup, _PRODUCT, width, max(a.depth, b.depth), right.edge if right.edge == _WORD else _OTHER)
