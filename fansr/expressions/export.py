"""A law in the forms other tools read: numpy source, LaTeX, a sympy string, a torch module.

All take (expr, consts, names): a prefix expression, its constants (C,) or None, and the columns' names (x1, x2, ...
when None).  digits=None writes every number so that it reads back exactly.  The infix form for people is
expr.to_infix.  Sources name columns by `identifiers(names)`, which are valid Python names in any case.

    numpy_source(["*", "<constant>", "sin", "x1"], [2.0], ["angle"])  ->  "2.0 * np.sin(angle)"
"""

from __future__ import annotations

import keyword
import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from fansr.expressions.infix import format_number, power_of
from fansr.expressions.prefix import Expr, to_tree, variables
from fansr.expressions.tokens import CONSTANT, OPERATOR, literal_value, variable_index

if TYPE_CHECKING:
    import torch

# Names the sources themselves use.
_TAKEN = {"np", "numpy", "Symbol", "Abs", "sign", "torch"}
_ATOM = 6  # binds tighter than any precedence of the operator table


def identifiers(names: Iterable[str]) -> list[str]:
    """Python identifiers for column names, one each, all different.

    A name that is an identifier stays (in the NFKC form Python itself reads).  In others each run of characters
    that may not stand in an identifier becomes one "_", a leading digit and a keyword get "_" in front or behind,
    and a name met before gets "_2", "_3", ...
    """
    found: list[str] = []
    reserved = {unicodedata.normalize("NFKC", str(name)) for name in names}
    for name in names:
        text = unicodedata.normalize("NFKC", str(name))
        clean = "".join(ch if ("_" + ch).isidentifier() else "\0" for ch in text.strip())
        clean = re.sub("\0+", "_", clean) or "_"
        if clean != text:
            clean = clean.strip("_") or "column"
        if not clean.isidentifier():
            clean = "_" + clean
        if keyword.iskeyword(clean) or clean in _TAKEN:
            clean += "_"
        unique, k = clean, 1
        while unique in found or (unique != text and unique in reserved):
            k += 1
            unique = f"{clean}_{k}"
        found.append(unique)
    return found


def _values(expr: Expr, consts: Iterable[float] | None) -> list[float]:
    """One number per free constant, checked."""
    values = [] if consts is None else [float(c) for c in consts]
    if len(values) != expr.count(CONSTANT):
        raise ValueError(f"{len(values)} constants came, the expression has {expr.count(CONSTANT)}")
    return values


def _default_names(expr: Expr, names) -> list[str]:
    """The columns' names as identifiers, x1, x2, ... when there are none."""
    used = variables(expr)
    if names is None:
        return [f"x{j + 1}" for j in range(used[-1] + 1 if used else 1)]
    if used and used[-1] >= len(names):
        raise ValueError(f"the expression uses column {used[-1] + 1}, there are {len(names)} names")
    return identifiers(names)


def _number(value: float, digits: int | None) -> str:
    """A float literal that reads back (exactly for digits=None)."""
    if not math.isfinite(value):
        return f"float('{value}')"
    return repr(float(value)) if digits is None else repr(float(f"{value:.{max(1, digits)}g}"))


# ---- numpy ------------------------------------------------------------------------------------


def numpy_source(
    expr: Expr, consts: Iterable[float] | None = None, names: Sequence[str] | None = None, digits: int | None = None
) -> str:
    """Python source over numpy as np and float64 arrays named identifiers(names); gives what evaluate() gives.

    Where no column occurs the source still has the shape of the first column.
    """
    values, columns = iter(_values(expr, consts)), _default_names(expr, names)

    def show(tree) -> str:
        if isinstance(tree, tuple):
            parts = [show(child) for child in tree[1:]]  # in order: constants are taken as they come
            return OPERATOR[tree[0]].numpy.format(**dict(zip("ab", parts)))
        column = variable_index(tree)
        if column is not None:
            return columns[column]
        text = _number(next(values) if tree == CONSTANT else float(tree), digits)
        return f"({text})" if text.startswith("-") else text

    text = _bare(show(to_tree(expr)))
    return text if variables(expr) else f"np.full(np.shape({columns[0]}), {text})"


def _bare(text: str) -> str:
    """Without a pair of brackets around the whole."""
    if not (text.startswith("(") and text.endswith(")")):
        return text
    depth = 0
    for i, ch in enumerate(text):
        depth += (ch == "(") - (ch == ")")
        if depth == 0:
            return text[1:-1] if i == len(text) - 1 else text
    return text


# ---- sympy ------------------------------------------------------------------------------------

# Where sympy's form differs from the table's infix: (template, precedence).  The odd roots are the real ones.
SYMPY = {
    "abs": ("Abs({a})", 5),
    "pow1_3": ("sign({a})*Abs({a})**(1/3)", 2),
    "pow1_4": ("{a}**(1/4)", 4),
    "pow1_5": ("sign({a})*Abs({a})**(1/5)", 2),
    "step": ("Heaviside({a}, 0)", 5),
    "logistic": ("1/(1 + exp(-({a})))", 2),
    "min": ("Min({a}, {b})", 5),
    "max": ("Max({a}, {b})", 5),
    "mod": ("Mod({a}, {b})", 5),
}


def _symbol(name: str) -> str:
    """A name in a sympy string; spelled Symbol('...') unless sympy cannot have a meaning of its own for it."""
    return name if re.fullmatch(r"[a-z](_?[0-9]+)?", name) else f"Symbol({name!r})"


def sympy_source(
    expr: Expr, consts: Iterable[float] | None = None, names: Sequence[str] | None = None, digits: int | None = None
) -> str:
    """A string for sympy.sympify, over symbols identifiers(names)."""
    values, columns = iter(_values(expr, consts)), _default_names(expr, names)

    def show(tree) -> tuple[str, int]:
        if not isinstance(tree, tuple):
            column = variable_index(tree)
            if column is not None:
                return _symbol(columns[column]), _ATOM
            text = format_number(next(values) if tree == CONSTANT else float(tree), digits)
            return text, 3 if text.startswith("-") else _ATOM
        row = OPERATOR[tree[0]]
        template, p = SYMPY.get(row.token, (row.infix, row.precedence))
        parts = [show(child) for child in tree[1:]]
        if p == 5 or row.token in SYMPY and p == 2:  # calls bring their own brackets
            return template.format(**dict(zip("ab", (part[0] for part in parts)))), p
        # Left operands may be of the same precedence, right ones must bind tighter; powers want atoms on both sides.
        least = (p, p + 1) if p < 4 else (5, 5)
        if row.token == "inv":
            least = (4, 4)
        texts = [part if level >= need else f"({part})" for (part, level), need in zip(parts, least)]
        return template.format(**dict(zip("ab", texts))), p

    return show(to_tree(expr))[0]


def templates(body: Expr) -> tuple[str, str]:
    """numpy's and sympy's source of a definition's body (x1 and x2 its arguments), as templates with {a} and {b}."""
    names = ["first_argument", "second_argument"]
    fields = dict(zip(names, ("({a})", "({b})")))
    numpy = numpy_source(body, None, names)
    sympy = re.sub(r"Symbol\('(\w+)'\)", r"\1", sympy_source(body, None, names))

    def filled(text):
        for name, field in fields.items():
            text = text.replace(name, field)
        return text

    return filled(numpy), filled(sympy)


# ---- LaTeX ------------------------------------------------------------------------------------

_GREEK = {
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu", "xi",
    "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega", "Gamma", "Delta", "Theta", "Lambda", "Xi", "Sigma",
    "Upsilon", "Phi", "Psi", "Omega", "pi", "Pi",
}  # fmt: skip


def _latex_name(name: str) -> str:
    """x1 -> x_{1}, theta_0 -> \\theta_{0}, anything longer upright."""
    match = re.fullmatch(r"([A-Za-z]+?)_?(\d+|(?<=_)[A-Za-z0-9]+)?", str(name))
    if match and (len(match[1]) == 1 or match[1] in _GREEK):
        head = f"\\{match[1]}" if match[1] in _GREEK else match[1]
        return head if match[2] is None else f"{head}_{{{match[2]}}}"
    escaped = re.sub(r"([#$%&_{}])", r"\\\1", str(name).replace("\\", "/"))
    escaped = escaped.replace("^", r"\text{\^{}}").replace("~", r"\text{\~{}}").replace(" ", r"\ ")
    return rf"\mathrm{{{escaped}}}"


def _latex_number(value: float, digits: int | None) -> str:
    """A decimal, or one times a power of ten; infinities and NaN in words."""
    if math.isnan(value):
        return r"\mathrm{NaN}"
    if math.isinf(value):
        return r"\infty" if value > 0 else r"-\infty"
    mantissa, e, power = format_number(value, digits).partition("e")
    if not e:
        return mantissa
    power_of_ten = f"10^{{{power}}}"
    return {"1": power_of_ten, "-1": f"-{power_of_ten}"}.get(mantissa, rf"{mantissa} \cdot {power_of_ten}")


def latex(
    expr: Expr, consts: Iterable[float] | None = None, names: Sequence[str] | None = None, digits: int | None = None
) -> str:
    """LaTeX for math mode in the columns' own names."""
    values = iter(_values(expr, consts))

    def leaf(token) -> tuple[str, int]:
        column = variable_index(token)
        if column is not None:
            return _latex_name(names[column] if names is not None else token), _ATOM
        text = _latex_number(next(values) if token == CONSTANT else float(token), digits)
        return text, 3 if text.startswith("-") else 2 if r"\cdot" in text else _ATOM

    def wrap(part: tuple[str, int], least: int) -> str:
        return part[0] if part[1] >= least else rf"\left({part[0]}\right)"

    def show(tree) -> tuple[str, int]:
        if not isinstance(tree, tuple):
            return leaf(tree)
        n, base = power_of(tree)
        if n > 1:
            return f"{wrap(show(base), _ATOM)}^{{{n}}}", 4
        row = OPERATOR[tree[0]]
        parts = [show(child) for child in tree[1:]]
        if row.token in ("/", "inv") or row.token.startswith("div") or row.token == "abs" or "sqrt" in row.latex:
            # Fractions, bars and roots delimit their operands by themselves.  A fraction to a power needs brackets.
            text = row.latex.format(**dict(zip("ab", (part[0] for part in parts))))
            return text, 2 if "frac" in text[:5] else 5
        if row.token == "pow":
            return f"{wrap(parts[0], _ATOM)}^{{{parts[1][0]}}}", 4
        if row.precedence == 5:
            return row.latex.format(**dict(zip("ab", (part[0] for part in parts)))), 5
        if row.token == "neg":
            return f"-{wrap(parts[0], 2) if not parts[0][0].startswith('-') else wrap(parts[0], _ATOM + 1)}", 3
        if row.token.startswith("mult"):
            return rf"{row.token[4:]} \cdot {factor(parts[0])}", 2
        if row.token == "*":
            return rf"{wrap(parts[0], 2)} \cdot {factor(parts[1])}", 2
        right = parts[1]
        if right[0].startswith("-"):
            if row.token == "+" and right[1] >= 2:
                return f"{parts[0][0]} - {right[0][1:]}", 1
            right = (right[0], 0)
        return f"{wrap(parts[0], 1)} {row.token} {wrap(right, 1 if row.token == '+' else 2)}", 1

    def factor(part: tuple[str, int]) -> str:
        """A right factor: a leading minus or a sum wants brackets."""
        return wrap(part, _ATOM + 1) if part[0].startswith("-") else wrap(part, 2)

    return show(to_tree(expr))[0]


# ---- torch ------------------------------------------------------------------------------------


def torch_module(expr: Expr, consts: Iterable[float] | None = None) -> torch.nn.Module:
    """A torch.nn.Module with a float64 parameter `consts` (C,); forward takes X (..., D) and gives (...).

    Works in the dtype of X and differentiates with respect to X and the constants.
    """
    import torch

    from fansr.expressions import definitions

    table = {
        "+": torch.add, "-": torch.sub, "*": torch.mul, "/": torch.div, "pow": torch.pow,
        "abs": torch.abs, "inv": torch.reciprocal, "neg": torch.neg,
        "pow1_2": torch.sqrt, "pow1_3": lambda a: a.sign() * a.abs() ** (1 / 3), "pow1_4": lambda a: a.sqrt().sqrt(),
        "pow1_5": lambda a: a.sign() * a.abs() ** 0.2,
    }  # fmt: skip
    for k in (2, 3, 4, 5):
        table[f"pow{k}"] = lambda a, k=k: a**k
        table[f"mult{k}"] = lambda a, k=k: a * k
        table[f"div{k}"] = lambda a, k=k: a / k
    table |= {
        "step": lambda a: torch.where(a.isnan(), a, (a > 0).to(a.dtype)), "logistic": torch.sigmoid,
        "min": torch.minimum, "max": torch.maximum, "mod": torch.remainder,
    }  # fmt: skip
    for token in OPERATOR:
        if token not in table and "=" not in token:
            table[token] = getattr(torch, token)
    values = _values(expr, consts)

    def apply(token, *operands):
        """A defined function of tensors."""
        stack = []
        for word in reversed(definitions.body_of(token)):
            column = variable_index(word)
            if word in OPERATOR:
                stack.append(table[word](*[stack.pop() for _ in range(OPERATOR[word].arity)]))
            else:
                stack.append(operands[0].new_tensor(literal_value(word)) if column is None else operands[column])
        return stack.pop()

    class Law(torch.nn.Module):
        """One law; `tokens` is its prefix expression."""

        def __init__(self):
            super().__init__()
            self.tokens = list(expr)
            self.consts = torch.nn.Parameter(torch.tensor(values, dtype=torch.float64))

        def forward(self, X):
            """Values (...) at points X (..., D)."""
            stack, j = [], len(values)
            for token in reversed(self.tokens):
                column = variable_index(token)
                if token in OPERATOR:
                    operands = [stack.pop() for _ in range(OPERATOR[token].arity)]
                    stack.append(apply(token, *operands) if "=" in token else table[token](*operands))
                elif column is not None:
                    stack.append(X[..., column])
                else:
                    j -= token == CONSTANT
                    value = self.consts[j].to(X.dtype) if token == CONSTANT else X.new_tensor(literal_value(token))
                    stack.append(value.expand(X.shape[:-1]))
            return stack.pop()

    return Law()
