"""A law whose form is known in part: 'A*exp(-k*t) + f(x)', with constants to be fitted and functions to be found.

    form = parse(["A*exp(-k*t) + f(x); f: max-length 6, operators + *"], names=["t", "x"])
    expr, consts, keys = form.law({"A": 2.0, "k": 0.1}, {"f": (["pow2", "x1"], [])})

Letters that are no column are constants; a name that is called and is no function known is one to be found, a law of the
columns (or formulas of columns) that it is called with.  Knows how a form is read, put together and undone; form_search.py
searches.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fansr.expressions import (
    CONSTANT,
    FUNCTIONS,
    Expr,
    from_infix,
    from_tree,
    to_tree,
    variable_index,
    variables,
    with_plain_names,
)
from fansr.search import rules as law_rules

GREEK = (
    "alpha beta gamma delta epsilon zeta eta theta kappa lam mu nu xi rho sigma tau phi chi psi omega".split()
)  # names of constants besides letters
NUMBERS = ("pi", "e", "E")
_LETTER = re.compile(r"[A-Za-z](?:_?\d{1,3})?")
SIZE_RULES = ("max-length", "max-constants", "max-depth")

# How an operator is undone for one operand: (operator, place of the operand) -> values of the operand from those of the whole
# and of the other operand.
_UNDONE: dict[tuple[str, int], Any] = {
    ("+", 0): lambda w, o: w - o, ("+", 1): lambda w, o: w - o, ("-", 0): lambda w, o: w + o, ("-", 1): lambda w, o: o - w,
    ("*", 0): lambda w, o: w / o, ("*", 1): lambda w, o: w / o, ("/", 0): lambda w, o: w * o, ("/", 1): lambda w, o: o / w,
    ("pow", 1): lambda w, o: np.log(w) / np.log(o), ("neg", 0): lambda w, o: -w, ("inv", 0): lambda w, o: 1 / w,
    ("exp", 0): lambda w, o: np.log(w), ("log", 0): lambda w, o: np.exp(w), ("sinh", 0): lambda w, o: np.arcsinh(w),
    ("tanh", 0): lambda w, o: np.arctanh(w), ("asinh", 0): lambda w, o: np.sinh(w), ("atanh", 0): lambda w, o: np.tanh(w),
    ("atan", 0): lambda w, o: np.tan(w), ("asin", 0): lambda w, o: np.sin(w), ("acos", 0): lambda w, o: np.cos(w),
    ("logistic", 0): lambda w, o: np.log(w / (1 - w)), ("pow3", 0): lambda w, o: np.cbrt(w),
    ("pow5", 0): lambda w, o: np.sign(w) * np.abs(w) ** 0.2, ("acosh", 0): lambda w, o: np.cosh(w),
    **{(f"pow1_{n}", 0): (lambda w, o, n=n: w**n) for n in (2, 3, 4, 5)},
    **{(f"mult{n}", 0): (lambda w, o, n=n: w / n) for n in (2, 3, 4, 5)},
    **{(f"div{n}", 0): (lambda w, o, n=n: w * n) for n in (2, 3, 4, 5)},
}  # fmt: skip


@dataclass(frozen=True)
class Call:
    """One place where a function to be found stands: its name, and its operands, prefix expressions over the table's columns."""

    name: str
    operands: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Form:
    """A form over a table's columns.

    tree: nested tuples whose leaves are columns (x1, ...), numbers, constants ("@A") and calls ("?0", by place in `calls`);
    parts: what is said of each function to be found, by name.
    """

    text: str
    tree: Any
    calls: tuple[Call, ...]
    parts: Mapping[str, law_rules.Rules] = field(default_factory=dict)

    @property
    def letters(self) -> list[str]:
        """Names of the constants, in the order met."""
        return list(dict.fromkeys(leaf[1:] for leaf in leaves(self.tree) if leaf[0] == "@"))

    @property
    def functions(self) -> list[str]:
        """Names of the functions to be found, in the order met."""
        return list(dict.fromkeys(call.name for call in self.calls))

    @property
    def operators(self) -> set[str]:
        """Operators that the form itself has."""
        return {token for token in _heads(self.tree)} | {t for call in self.calls for o in call.operands for t in o}

    def law(
        self, letters: Mapping[str, float], laws: Mapping[str, tuple[Sequence[str], Sequence[float]]]
    ) -> tuple[Expr, np.ndarray, list[tuple[str, int]]]:
        """(expression, constants (C,), keys (C)) of the form with its constants and functions put in.

        laws: by name, (prefix over x1, x2, ... for the operands, constants).  keys: ("@A", 0) for a letter, ("f", k) for the k-th
        constant of a function; those that stand twice are one constant.
        """
        consts: list[float] = []
        keys: list[tuple[str, int]] = []

        def number(key: tuple[str, int], value: float) -> str:
            keys.append(key)
            consts.append(float(value))
            return CONSTANT

        def walk(node: Any) -> Any:
            if isinstance(node, tuple):
                return (node[0], *map(walk, node[1:]))
            if node[0] == "@":
                return number((node, 0), letters.get(node[1:], 1.0))
            if node[0] == "?":
                call = self.calls[int(node[1:])]
                expr, values = laws[call.name]
                return put(to_tree(list(expr)), call, values, iter(range(len(values))))
            return node

        def put(node: Any, call: Call, values: Sequence[float], place: Any) -> Any:
            if isinstance(node, tuple):
                return (node[0], *[put(child, call, values, place) for child in node[1:]])
            if node == CONSTANT:
                k = next(place)
                return number((call.name, k), values[k])
            column = variable_index(node)
            return node if column is None else to_tree(list(call.operands[column]))

        return from_tree(walk(self.tree)), np.array(consts, dtype=np.float64), keys

    def with_columns(self, D: int) -> tuple[Expr, list[int]]:
        """(the form with c + x{D+1}, c + x{D+2}, ... for its calls, the place of each call's c among its constants), so that the
        derivative by that constant is the one by the function's value."""
        count, places = 0, {}

        def walk(node: Any) -> Any:
            nonlocal count
            if isinstance(node, tuple):
                return (node[0], *map(walk, node[1:]))
            if node[0] == "@":
                count += 1
                return CONSTANT
            if node[0] == "?":
                places[int(node[1:])] = count
                count += 1
                return ("+", CONSTANT, f"x{D + 1 + int(node[1:])}")
            return node

        expr = from_tree(walk(self.tree))
        return expr, [places[k] for k in range(len(self.calls))]

    def slots(self) -> list[str]:
        """Letters by the places of constants in with_columns, "" for a call's own."""
        return [leaf[1:] if leaf[0] == "@" else "" for leaf in leaves(self.tree) if leaf[0] in "@?"]

    def undone(
        self, name: str, X: np.ndarray, y: np.ndarray, letters: Mapping[str, float], others: Mapping[str, np.ndarray]
    ) -> np.ndarray | None:
        """Values (M,) that a function must have for the form to be y on every row; None where the form cannot be undone.

        others: values (M,) of the other functions.  NaN where no value would do.
        """
        places = [k for k, call in enumerate(self.calls) if call.name == name]
        if len(places) != 1:
            return None
        wanted = f"?{places[0]}"

        def value(node: Any) -> np.ndarray:
            from fansr.expressions import evaluate

            expr, extra = [], []
            for leaf in from_tree(node):
                if leaf[0] == "@":
                    expr.append(repr(float(letters[leaf[1:]])))
                elif leaf[0] == "?":
                    extra.append(others[self.calls[int(leaf[1:])].name])
                    expr.append(f"x{X.shape[1] + len(extra)}")
                else:
                    expr.append(leaf)
            rows = np.ascontiguousarray(np.column_stack([X, *extra]))
            return np.asarray(evaluate(expr, rows, np.zeros(0))) + np.zeros(len(X))

        def holds(node: Any) -> bool:
            return any(map(holds, node[1:])) if isinstance(node, tuple) else node == wanted

        node, whole = self.tree, np.asarray(y, dtype=np.float64)
        with np.errstate(all="ignore"):
            while node != wanted:
                if not isinstance(node, tuple):
                    return None
                at = next(k for k, child in enumerate(node[1:]) if holds(child))
                undo = _UNDONE.get((node[0], at))
                if node[0] == "pow" and at == 0:
                    power = value(node[2])
                    if not (power == power[0]).all() or not float(power[0]) or power[0] % 2 == 0:
                        return None
                    whole = np.sign(whole) * np.abs(whole) ** (1 / power) if power[0] % 2 == 1 else whole ** (1 / power)
                elif undo is None:
                    return None
                else:
                    other = value(node[2 - at]) if len(node) == 3 else None
                    whole = undo(whole, other)
                node = node[1 + at]
        return whole


def allowed(form: Form, said: law_rules.Rules) -> law_rules.Rules:
    """What is said of a law, with the operators that its form has: they are the user's wish, too."""
    return said if said.operators is None else replace(said, operators=said.operators | form.operators)


def check(form: Form, said: law_rules.Rules) -> None:
    """ValueError where no law of a form keeps what is said of the whole law: with a column for each function it is too large."""
    expr, consts, _ = form.law({}, {call.name: (["x1"], []) for call in form.calls})
    why = replace(allowed(form, said), bounds=None).broken(expr, consts)
    if why is not None:
        even = ", even with a column for each function" if form.calls else ""
        raise ValueError(f"form: no law of {form.text!r} keeps the rules{even}: {why}")


def ties_of(keys: Sequence[tuple[str, int]]) -> tuple[int, ...] | None:
    """Which constants are one, numbered in the order met; None where all are their own."""
    order = {key: k for k, key in enumerate(dict.fromkeys(keys))}
    return tuple(order[key] for key in keys) if len(order) < len(keys) else None


def leaves(node: Any) -> list[str]:
    """Leaves of a tree, in order."""
    return [leaf for child in node[1:] for leaf in leaves(child)] if isinstance(node, tuple) else [node]


def _heads(node: Any) -> list[str]:
    return [node[0], *(head for child in node[1:] for head in _heads(child))] if isinstance(node, tuple) else []


# ---- reading ----------------------------------------------------------------------------------


def parse(texts: Iterable[str], names: Sequence[str], target: str = "") -> Form:
    """A form of a table's columns from what a user writes; ValueError says what is not understood, with what is near.

    texts: one formula, and what is said of its functions ("f: max-length 6, operators + *"), in texts of their own or after a
    semicolon.  A left side that is the target's name is passed over.
    """
    words = [part.strip() for text in texts for part in str(text).split(";") if part.strip()]
    told = [word for word in words if re.match(r"\w+\s*:", word) and not word.startswith(tuple(names))]
    formulas = [word for word in words if word not in told]
    if len(formulas) != 1:
        raise ValueError(f"form: {len(formulas)} formulas, wanted one such as 'A*exp(-k*t) + f(x)'")
    formula = formulas[0]
    left, equals, right = formula.partition("=")
    if equals and left.strip() == target and not right.startswith("="):
        formula = right.strip()
    tree, calls = read(formula, names)
    form = Form(formula, tree, tuple(calls))
    if not form.letters and not calls:
        raise ValueError(f"form: {formula!r} leaves nothing to be found: no constant and no function")
    parts = {name: law_rules.Rules() for name in form.functions}
    for word in told:
        name, _, what = word.partition(":")
        if name.strip() not in parts:
            known = f"there is {', '.join(parts)}" if parts else "it has none"
            raise ValueError(f"form: no function is called {name.strip()!r} in {formula!r}: {known}")
        parts[name.strip()] = _part_rules(what, name.strip())
    return Form(formula, tree, tuple(calls), parts)


def _part_rules(text: str, name: str) -> law_rules.Rules:
    """Rules of one function: "max-length 6, operators + * exp"."""
    said: dict[str, Any] = {}
    known = (*SIZE_RULES, "operators", "without", "nest", "price", "bounds")
    for item in re.split(rf",\s*(?={'|'.join(known)})", text.strip()):
        key, _, value = item.strip().partition(" ")
        if key not in known or not value.strip():
            near = difflib.get_close_matches(key, known, 1)
            hint = f"the nearest is {near[0]}" if near else f"there are {', '.join(known)}"
            raise ValueError(f"form: {name}: cannot read {item.strip()!r}: {hint}, each with what it shall be")
        if key in SIZE_RULES:
            try:
                said[key.replace("-", "_")] = int(value)
            except ValueError:
                raise ValueError(f"form: {name}: {key} {value.strip()!r}: wanted a whole number") from None
        else:
            said[key] = value.replace(",", " ").split() if key in ("operators", "without") else value.strip()
    try:
        return law_rules.parse(**said)
    except ValueError as error:
        raise ValueError(f"form: {name}: {error}") from None


def read(formula: str, names: Sequence[str]) -> tuple[Any, list[Call]]:
    """(tree, calls) of a formula."""
    source, plain = with_plain_names(formula, names)
    source = re.sub(r"\blambda\b", "lam", source) if "lambda" not in names else source
    try:
        body = ast.parse(source.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        where = getattr(error, "offset", None)
        raise ValueError(f"form: cannot read {formula!r}" + (f" near character {where}" if where else "")) from None
    calls: list[Call] = []
    letters: dict[str, str] = {}

    class Reader(ast.NodeTransformer):
        def visit_Call(self, node):
            name = getattr(node.func, "id", "")
            if name in FUNCTIONS or name in ("pow", "exp2") or not name:
                node.args = [self.visit(arg) for arg in node.args]
                return node
            if not _LETTER.fullmatch(name):
                near = difflib.get_close_matches(name, list(FUNCTIONS), 1)
                hint = (
                    f"the nearest function is {near[0]}"
                    if near
                    else "functions to be found are called f, g, h, f1, ..."
                )
                raise ValueError(f"form: unknown function {name!r} in {formula!r}: {hint}")
            if not node.args or node.keywords:
                raise ValueError(
                    f"form: {name}() in {formula!r} depends on nothing: name its columns, {name}({names[0]})"
                )
            calls.append(Call(name, tuple(_operand(arg, name, plain, formula, names) for arg in node.args)))
            return ast.copy_location(ast.Name(f"_call{len(calls) - 1}_", ast.Load()), node)

        def visit_Name(self, node):
            word = node.id
            if word in plain or word in NUMBERS:
                return node
            if not _LETTER.fullmatch(word) and word not in GREEK:
                near = difflib.get_close_matches(word, names, 1)
                hint = f"the nearest is {near[0]!r}" if near else f"there are {', '.join(names)}"
                raise ValueError(
                    f"form: no column is called {word!r} ({formula!r}): {hint}; constants are letters, A, k, c1"
                )
            letters.setdefault(word, f"_letter{len(letters)}_")
            return ast.copy_location(ast.Name(letters[word], ast.Load()), node)

    shape = ast.unparse(Reader().visit(body))
    for call in calls:
        if len({len(other.operands) for other in calls if other.name == call.name}) > 1:
            raise ValueError(f"form: {call.name} is called with more and with fewer columns in {formula!r}")
        if call.name in letters:
            raise ValueError(f"form: {call.name} is a constant and a function in {formula!r}: give one another name")
    words = [*plain, *(f"_call{k}_" for k in range(len(calls))), *letters.values()]
    try:
        expr = from_infix(shape, words)
    except ValueError as error:
        raise ValueError(f"form: {error}") from None
    known = {f"x{len(plain) + 1 + k}": f"?{k}" for k in range(len(calls))}
    known |= {f"x{len(plain) + len(calls) + 1 + k}": f"@{letter}" for k, letter in enumerate(letters)}
    return _with_leaves(to_tree(expr), known), calls


def _with_leaves(node: Any, known: Mapping[str, str]) -> Any:
    if isinstance(node, tuple):
        return (node[0], *(_with_leaves(child, known) for child in node[1:]))
    return known.get(node, node)


def _operand(node: ast.expr, name: str, plain: Sequence[str], formula: str, names: Sequence[str]) -> tuple[str, ...]:
    for inner in ast.walk(node):
        word = getattr(inner, "id", None)
        if isinstance(inner, ast.Name) and word not in plain and word not in FUNCTIONS and word not in NUMBERS:
            near = difflib.get_close_matches(word, names, 1)
            hint = f"the nearest is {near[0]!r}" if near else f"there are {', '.join(names)}"
            raise ValueError(f"form: no column is called {word!r}, with which {name} is called in {formula!r}: {hint}")
    try:
        expr = from_infix(ast.unparse(node), list(plain))
    except ValueError as error:
        raise ValueError(f"form: {error}") from None
    if not variables(expr):
        raise ValueError(f"form: {name} is called with no column in {formula!r}")
    return tuple(expr)
