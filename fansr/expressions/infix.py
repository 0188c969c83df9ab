"""Formulas as people write them: a prefix expression printed, and a formula read.

Pure Python, since expressions are short; what a token is called in text is tokens.py's.
"""

from __future__ import annotations

import ast
import difflib
import itertools
import math
import re
import warnings
from collections.abc import Iterable, Sequence
from functools import lru_cache

from fansr.expressions.prefix import Expr, Tree, arity, n_constants
from fansr.expressions.tokens import CONSTANT, MAX_VARIABLES, OPERATOR, literal_value, variable_index

# ---- printing ---------------------------------------------------------------------------------

_ATOM = 6
WHOLE_POWERS = {"pow3": 3, "pow5": 5}
POWERS = {"pow2": 2, "pow3": 3, "pow4": 4, "pow5": 5}
EVEN_ROOTS = {"pow1_2": 2, "pow1_4": 4}
_COLUMN = {f"x{j + 1}": j for j in range(MAX_VARIABLES)}


def format_number(value: float, digits: int | None = None) -> str:
    """Shortest decimal that reads back exactly, or one of `digits` significant digits."""
    if digits is not None and math.isfinite(value):
        text = f"{value:.{max(1, digits)}g}"
    else:
        text = repr(float(value))
    if text.endswith(".0"):
        text = text[:-2]
    digit = text.lstrip("-").rstrip("0")
    if text.endswith("00000") and len(text) > 7 and text.lstrip("-").isdigit():  # 138900000000 as 1.389e11
        power = len(text.lstrip("-")) - 1
        return f"{'-' if value < 0 else ''}{digit[0]}{'.' * (len(digit) > 1)}{digit[1:]}e{power}"
    return re.sub(r"e\+?(-?)0*(\d+)$", r"e\1\2", text) if "e" in text else text


_PARTS_OF_PI = (
    ("pi/180", math.pi / 180), ("pi/90", math.pi / 90), ("pi/360", math.pi / 360), ("180/pi", 180 / math.pi), ("2*pi/365.25", 2 * math.pi / 365.25),
    ("2*pi/86400", 2 * math.pi / 86400),
)  # fmt: skip


def part_of_pi(value: float) -> str:
    """ "pi/6", "2*pi", "-5*pi/3" for a number that is one to 15 digits, numerator and denominator up to 12; else "".

    Also "pi/180", "pi/90", "pi/360" and "180/pi" of angles in degrees, "2*pi/365.25" and "2*pi/86400" of days and seconds.
    """
    share = abs(value) / math.pi
    for text, exact in _PARTS_OF_PI:
        if abs(abs(value) - exact) <= 6e-15 * exact:
            return "-" + text if value < 0 else text
    if not share < 13:
        return ""
    for below in range(1, 13):
        above = round(share * below)
        if 1 <= above <= 12 and abs(share * below - above) <= 6e-15 * above:
            text = ("" if above == 1 else f"{above}*") + "pi" + ("" if below == 1 else f"/{below}")
            return "-" + text if value < 0 else text
    return ""


def part_of_logarithm(value: float) -> str:
    """ "log(7)", "2*log(3)", "-log(2)/5" for a number that is one to 15 digits, the parts and the argument up to 12; else "".

    Also what stands before logarithms of base 10 and 2: "1/log(2)", "10/log(10)" of decibels, "-2.5/log(10)" of magnitudes.
    """
    if not 0.04 < abs(value) < 40:
        return ""
    for n in (10, 2):
        above = abs(value) * math.log(n)
        near = round(2 * above) / 2
        if near in (*range(1, 13), 20, 2.5) and abs(above - near) <= 6e-15 * near:
            return f"{'-' if value < 0 else ''}{near:g}/log({n})"
    for n in (2, 3, 5, 6, 7, 10, 11, 12):  # log(4) is 2*log(2)
        share = abs(value) / math.log(n)
        for below in range(1, 13) if 0.08 < share < 12.5 else ():
            above = round(share * below)
            if 1 <= above <= 12 and abs(share * below - above) <= 6e-15 * above:
                text = ("" if above == 1 else f"{above}*") + f"log({n})" + ("" if below == 1 else f"/{below}")
                return "-" + text if value < 0 else text
    return ""


def to_infix(
    expr: Expr,
    consts: Iterable[float] | None = None,
    names: Sequence[str] | None = None,
    digits: int | None = None,
    pi: bool = False,
) -> str:
    """An ordinary formula, e.g. ``2*sin(x1) + 0.5``.

    `consts` fills the free constants in order (without them they print as ``C``), `names` gives the
    columns' own names, `digits` the significant digits of every number; with `pi`, parts of pi and of logarithms of whole numbers
    are written as such (``sin(pi/6*t)``, ``log(7)*u``, ``10*log10(u)``).  from_infix reads it back.
    """
    values = list(consts)[: n_constants(expr)] if consts is not None else None
    stack: list[
        tuple[str, int, tuple | None]
    ] = []  # (text, precedence, (operand, root or power) of an even root or a power)
    for token in reversed(expr):
        row = OPERATOR.get(token)
        if row is None:
            stack.append((*_leaf(token, values, names, digits, pi), None))
        elif len(stack) < row.arity:
            raise ValueError(f"incomplete expression: {token!r} lacks operands")
        elif row.arity == 2:
            text, precedence = _binary(row, stack.pop(), stack.pop())
            if pi and token in "*/":
                text = _with_its_base(text)
                precedence = _ATOM if _ONE_LOGARITHM.fullmatch(text) else precedence
            stack.append((text, precedence, None))
        else:
            operand = stack.pop()
            stack.append((*_unary(row, operand), _as_power(token, operand)))
    if len(stack) != 1:
        raise ValueError(f"{len(stack)} expressions, wanted one")
    return stack[0][0]


_READS_OTHERWISE = re.compile(r"^[\d.]|[-+*/^,<>=]")
_UNIT = re.compile(r"\s*[(\[].*[)\]]\s*$")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)


@lru_cache(4096)
def shown_name(name: str) -> str:
    """A column's name as it stands in a formula: in backquotes where it would read as a number or a formula itself, like `0` and `b-c`."""
    bare = _UNIT.sub("", name)  # of `speed (km/h)`, which nobody takes for a quotient
    otherwise = _READS_OTHERWISE.search(bare) or (bare in FUNCTIONS and bare != name)
    return f"`{name}`" if otherwise and "`" not in name else name


def _leaf(token: str, values, names, digits, pi: bool) -> tuple[str, int]:
    """Text and precedence of a leaf; takes the last of the values."""
    column = _COLUMN.get(token)
    if column is None and token != CONSTANT:
        column = variable_index(token)
    if column is not None:
        return (shown_name(names[column]) if names is not None else token), _ATOM
    if token == CONSTANT:
        if values is None:
            return "C", _ATOM
        value = values.pop()
    else:
        arity(token)  # ValueError for what is no token
        value = float(token)
    if pi and (text := part_of_pi(value) or part_of_logarithm(value)):
        return text, _ATOM if text in ("pi", *(f"log({n})" for n in range(2, 13))) else OPERATOR["*"].precedence
    text = format_number(value, digits)
    return text, 3 if text[:1] == "-" else _ATOM


_ONE_LOGARITHM = re.compile(r"log\d+\([^()]*\)")
_SHARE = re.compile(r"^(-?)([\d.]+)/log\((10|2)\)\*")


def _with_its_base(text: str) -> str:
    """A product's text: "10/log(10)*u*log(v)" as "10*u*log10(v)", "u*log(v)/log(2)" as "u*log2(v)"; itself where it is no such."""
    share, over = _SHARE.match(text), re.search(r"/log\((10|2)\)$", text)
    if share is None and over is None:
        return text
    body = text[share.end() :] if share is not None else text[: over.start()]
    if body[-1:] != ")":
        return text
    depth, at = 0, len(body)
    while at and (depth or at == len(body)):
        at -= 1
        depth += {")": 1, "(": -1}.get(body[at], 0)
    if depth or not re.search(r"(^|\*)log$", body[:at]):
        return text
    base = (share or over)[3 if share is not None else 1]
    front = "" if share is None else share[1] if share[2] == "1" else f"{share[1]}{share[2]}*"
    return f"{front}{body[:at]}{base}{body[at:]}"


def _wrap(part, least: int) -> str:
    return part[0] if part[1] >= least else f"({part[0]})"


def _unary(row, operand) -> tuple[str, int]:
    token, p = row.token, row.precedence
    if p == 5:
        return row.infix.replace("{a}", operand[0]), p
    if token in WHOLE_POWERS and operand[2] is not None and operand[2][1] in EVEN_ROOTS:
        # A power of an even root: both forms are undefined for negative arguments.
        inner, root = operand[2]
        return f"{_wrap(inner, 5)}**{format_number(WHOLE_POWERS[token] / EVEN_ROOTS[root])}", 4
    if token in POWERS and operand[2] is not None and operand[2][1] not in EVEN_ROOTS:
        inner, n = operand[2]
        return f"{_wrap(inner, 5)}**{POWERS[token] * n}", 4
    if token == "inv":
        return f"1/{_wrap(operand, 4)}", p
    if token == "neg":
        return f"-{_wrap(operand, 2)}", p
    if token[0] == "m":  # mult2..mult5
        return f"{token[4:]}*{_wrap(operand, 2)}", p
    return row.infix.replace("{a}", _wrap(operand, _ATOM - 1 if p == 4 else p)), p  # pow2..pow5 and div2..div5


def _as_power(token: str, operand) -> tuple | None:
    """(base, "pow1_2") of an even root, (base, n) of whole powers one in another, None of what is neither."""
    if token in EVEN_ROOTS:
        return operand, token
    if token not in POWERS:
        return None
    if operand[2] is None:
        return operand, POWERS[token]
    base, n = operand[2]
    if n in EVEN_ROOTS:
        return None if token in WHOLE_POWERS else (operand, POWERS[token])
    return base, POWERS[token] * n


def power_of(tree: Tree) -> tuple[int, Tree]:
    """(n, base) of whole powers one in another, (x^3)^2 being x^6; (1, tree) of anything else."""
    n = 1
    while isinstance(tree, tuple) and tree[0] in POWERS:
        n, tree = n * POWERS[tree[0]], tree[1]
    return n, tree


def _binary(row, left, right) -> tuple[str, int]:
    token, p = row.token, row.precedence
    if p == 5:
        return row.infix.replace("{a}", left[0], 1).replace("{b}", right[0]), p
    if token == "pow":
        return f"{_wrap(left, 5)}**{_wrap(right, 5)}", p
    if token == "+" and right[0][:1] == "-":
        # A leading minus belongs to the first term only, so it may join the sum from the left.
        return f"{_wrap(left, p)} - {right[0][1:]}", p
    text = _wrap(right, p + 1 if token in "-/" else p)
    if text[:1] == "-":
        text = f"({text})"
    return f"{_wrap(left, p)} {token} {text}" if p == 1 else f"{_wrap(left, p)}{token}{text}", p


# ---- parsing ----------------------------------------------------------------------------------

# What a formula may call, and the token it means; pow is read apart.  Definitions are added as they are met.
FUNCTIONS = {
    **{row.token: row.token for row in OPERATOR.values() if row.arity == 1 or row.precedence == 5},
    "sqrt": "pow1_2",
    "cbrt": "pow1_3",
    "root4": "pow1_4",
    "root5": "pow1_5",
    "ln": "log",
    "square": "pow2",
    "cube": "pow3",
    "inverse": "inv",
    "arcsin": "asin",
    "arccos": "acos",
    "arctan": "atan",
    "arcsinh": "asinh",
    "arccosh": "acosh",
    "arctanh": "atanh",
    "Abs": "abs",
    "fabs": "abs",
    "heaviside": "step",
    "sigmoid": "logistic",
    "expit": "logistic",
    "minimum": "min",
    "maximum": "max",
    "Min": "min",
    "Max": "max",
    "Mod": "mod",
}
# Functions of other names that are a few tokens, "a" and "b" standing for what they are called with.
WRITTEN_OUT: dict[str, tuple[str, ...]] = {
    "log10": ("*", repr(1 / math.log(10)), "log", "a"),
    "log2": ("*", repr(1 / math.log(2)), "log", "a"),
    "log1p": ("log", "+", "1.0", "a"),
    "expm1": ("-", "exp", "a", "1.0"),
    "ceil": ("neg", "floor", "neg", "a"),
    "radians": ("*", repr(math.pi / 180), "a"),
    "degrees": ("*", repr(180 / math.pi), "a"),
    "hypot": ("pow1_2", "+", "pow2", "a", "pow2", "b"),
}
_CHAINED = ("min", "max")  # of more than two: min(a, min(b, c))
_NUMBERS = {"pi": math.pi, "e": math.e, "E": math.e}
_ROOTS = {0.5: "pow1_2", 1 / 3: "pow1_3", 0.25: "pow1_4", 0.2: "pow1_5"}


def with_plain_names(text: str, names: Sequence[str]) -> tuple[str, list[str]]:
    """(a formula with every column's name a Python identifier and ** for ^, those identifiers): names that are none become `_column0_`, ...

    A name in backquotes is one whatever it looks like, and one that looks like a number is one only there.
    """
    words = [name if name.isidentifier() and name != "lambda" else f"_column{j}_" for j, name in enumerate(names)]
    text = text.replace("^", "**")
    by_length = sorted(
        ((name.replace("^", "**"), word) for name, word in zip(names, words)), key=lambda pair: -len(pair[0])
    )
    for name, word in by_length:
        text = text.replace(f"`{name}`", word)
    for name, word in by_length:
        if name and name != word and not _NUMBER.fullmatch(name):
            text = text.replace(name, word)
    return text, words


def from_infix(text: str, names: list[str] | None = None) -> Expr:
    """Parse an ordinary formula into a prefix expression; ValueError says what is wrong and where.

    Understood: + - * / ** ^ and signs, numbers, pi and e, C as a free constant, the functions of
    Table 5 under their usual names (sqrt, cbrt, ln, arcsin, ...), min, max, step, sign, floor, mod, logistic, those of WRITTEN_OUT
    (log10, log2, log1p, expm1, ceil, hypot, radians, degrees) and what was defined; a % b is mod(a, b), a > b is step(a - b), 1 or 0.  Without `names` variables are
    x1, x2, ... or v1, v2, ...; with `names` they are the columns' names, which hide pi and e; a name in backquotes is one whatever it
    looks like, and one that looks like a number is one only there.
    Integer powers 2 to 5 become pow2..pow5 and 1/x becomes inv; **0.5 and **0.25 become roots,
    **(1/3) and **(1/5) do not, since they differ from the real roots for negative arguments.
    """
    places = {name: j for j, name in enumerate(names)} if names is not None else {}
    source, _ = with_plain_names(text.strip(), names or ())
    try:
        with warnings.catch_warnings():  # Python's remarks on what it reads are none of the user's
            warnings.simplefilter("ignore", SyntaxWarning)
            body = ast.parse(source, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        where = getattr(error, "offset", None)
        raise ValueError(f"cannot read the formula {text!r}" + (f" near character {where}" if where else "")) from None

    def name_of(word: str) -> Expr:
        if word in places:
            return [f"x{places[word] + 1}"]
        hidden = re.fullmatch(r"_column(\d+)_", word)
        if hidden:
            return [f"x{int(hidden[1]) + 1}"]
        if names is None and re.fullmatch(r"[xv][1-9]\d*", word):
            return [f"x{word[1:]}"]
        if word == "C" or word == "_constant_":
            return [CONSTANT]
        if word in _NUMBERS:
            return [repr(_NUMBERS[word])]
        wanted = "one of " + ", ".join(places) if places else "x1, x2, ..."
        raise ValueError(f"unknown name {word!r} in {text!r}: wanted {wanted}")

    def walk(node) -> Expr:
        if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool):
            return [repr(float(node.value))]
        if isinstance(node, ast.Name):
            return name_of(node.id)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
            inner = walk(node.operand)
            if isinstance(node.op, ast.UAdd):
                return inner
            value = literal_value(inner[0])
            return [repr(-value)] if value is not None else ["neg", *inner]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
            return call(node)
        if isinstance(node, ast.BinOp):
            return binary(node)
        if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], (ast.Gt, ast.Lt)):
            sides = walk(node.left), walk(node.comparators[0])
            more, less = sides if isinstance(node.ops[0], ast.Gt) else sides[::-1]
            return ["step", *(more if less in (["0.0"], ["-0.0"]) else ["-", *more, *less])]
        raise ValueError(f"cannot read {ast.unparse(node)!r} in {text!r}")

    def call(node) -> Expr:
        function = node.func.id
        if function == "pow" and len(node.args) == 2:
            return power(walk(node.args[0]), walk(node.args[1]))
        token = FUNCTIONS.get(function)
        whole = WRITTEN_OUT.get(function) if token is None else None
        if token is None and whole is None:
            near = difflib.get_close_matches(function, [*FUNCTIONS, *WRITTEN_OUT], 1)
            raise ValueError(
                f"unknown function {function!r} in {text!r}" + (f": the nearest known is {near[0]!r}" if near else "")
            )
        wanted, came = OPERATOR[token].arity if whole is None else 1 + ("b" in whole), len(node.args)
        if came != wanted and not (token in _CHAINED and came > wanted):
            raise ValueError(f"{function!r} came with {came} arguments in {text!r}, wanted {wanted}")
        parts = [walk(part) for part in node.args]
        if whole is not None:
            named = dict(zip("ab", parts))
            return [word for token in whole for word in named.get(token, [token])]
        while len(parts) > wanted:
            parts[-2:] = [[token, *parts[-2], *parts[-1]]]
        return [token, *itertools.chain(*parts)]

    def power(base: Expr, exponent: Expr) -> Expr:
        value = literal_value(exponent[0]) if len(exponent) == 1 else None
        if value in (2.0, 3.0, 4.0, 5.0):
            return [f"pow{int(value)}", *base]
        if value in (0.5, 0.25):
            return [_ROOTS[value], *base]
        if value == -1.0:
            return ["inv", *base]
        for whole, top in WHOLE_POWERS.items():
            for root, bottom in EVEN_ROOTS.items():
                if value is not None and abs(value) == top / bottom:
                    return [*(["inv"] if value < 0 else []), whole, root, *base]
        if value is not None and value in (-2.0, -3.0, -4.0, -5.0):
            return ["inv", f"pow{int(-value)}", *base]
        return ["pow", *base, *exponent]

    def binary(node) -> Expr:
        left, right = walk(node.left), walk(node.right)
        if isinstance(node.op, ast.Pow):
            return power(left, right)
        token = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Mod: "mod"}.get(type(node.op))
        if token is None:
            raise ValueError(f"cannot read {ast.unparse(node)!r} in {text!r}")
        a = literal_value(left[0]) if len(left) == 1 else None
        b = literal_value(right[0]) if len(right) == 1 else None
        if a is not None and b is not None and token != "mod" and not (token == "/" and b == 0):
            return [repr({"+": a + b, "-": a - b, "*": a * b, "/": a / b if b else 0.0}[token])]
        if token == "/" and a == 1.0:
            return ["inv", *right]
        return [token, *left, *right]

    try:
        return walk(body)
    except RecursionError:
        raise ValueError(f"the formula is nested too deeply: {text[:60]!r}...") from None
