"""A found law in the forms other tools read: sympy, LaTeX, numpy, torch, jax and C.

A part of SymbolicRegressor, which gives it `_law(k)` and `_saved`.  Sources of C and functions of jax are made from the numpy
source (expressions/export.py), walked as a syntax tree, so that every operator has one meaning; nothing is executed.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from fansr.expressions import CONSTANT, export, to_infix

if TYPE_CHECKING:
    import sympy
    import torch

    from fansr.search import saved_law


def per_target(method: Callable) -> Callable:
    """A method that gives a list, one entry a target, where the model was fitted to several."""

    @wraps(method)
    def each(self, *args, **kwargs):
        many = getattr(self, "estimators_", None)
        if many:
            return [getattr(model, method.__name__)(*args, **kwargs) for model in many]
        return method(self, *args, **kwargs)

    return each


@dataclass(frozen=True)
class NumpyLaw:
    """A law as a function of X (M, D), whose columns are `columns`, to y (M,); `source` is its code over numpy as np."""

    law: saved_law.Law
    columns: tuple[str, ...]
    source: str

    def __call__(self, X: np.ndarray) -> np.ndarray:
        X = np.asarray(X, dtype=np.float64)
        if X.ndim != 2 or X.shape[1] != len(self.columns):
            raise ValueError(f"X has shape {X.shape}, wanted (rows, {len(self.columns)}): {', '.join(self.columns)}")
        return self.law.predict(X)


class LawExports:
    """What SymbolicRegressor offers of a law besides its values; `law` is a row of front_, None the chosen one."""

    _saved: saved_law.SavedLaw
    _law: Callable[[int | None], saved_law.Law]

    @per_target
    def get_expression(self, nth: int | None = None, digits: int | None = None) -> str:
        """The law in the columns' own names; with all digits of its constants unless `digits` are asked for."""
        law = self._law(nth)
        return to_infix(law.prefix, law.constants, self._saved.columns, digits=digits)

    @per_target
    def sympy(self, law: int | None = None) -> sympy.Expr:
        """The law as an expression of sympy, over symbols named as the columns (as identifiers: ``a b`` is ``a_b``)."""
        one = self._law(law)
        sympy = _needed("sympy", "sympy()")
        return sympy.sympify(
            export.sympy_source(one.prefix, one.constants, export.identifiers(self._saved.columns)),
            locals={name: sympy.Symbol(name) for name in export.identifiers(self._saved.columns)},
        )

    @per_target
    def latex(self, law: int | None = None, digits: int | None = None) -> str:
        """The law in LaTeX for math mode; with as many digits of its constants as their errors leave, or `digits`."""
        one = self._law(law)
        constants = one.constants if digits is not None else one.rounded()
        return export.latex(one.prefix, constants, self._saved.columns, digits=digits)

    @per_target
    def numpy(self, law: int | None = None) -> NumpyLaw:
        """The law as a function of arrays, which can be kept, sent and pickled without this model."""
        one = self._law(law)
        names = export.identifiers(self._saved.columns)
        return NumpyLaw(one, tuple(self._saved.columns), export.numpy_source(one.prefix, one.constants, names))

    @per_target
    def torch(self, law: int | None = None) -> torch.nn.Module:
        """The law as a module whose parameter `consts` can be trained; forward takes X (..., D) and gives (...)."""
        _needed("torch", "torch()")
        one = self._law(law)
        return export.torch_module(one.prefix, one.constants)

    @per_target
    def jax(self, law: int | None = None) -> tuple[Callable, Any]:
        """(f, constants): f(X, constants) with X (..., D) and constants (C,) gives (...), to be differentiated and compiled."""
        one = self._law(law)
        _needed("jax", "jax()")
        import jax.numpy

        tree = _syntax(one, len(self._saved.columns))

        def f(X, constants):
            return _walked(tree, jax.numpy, X, constants) + 0.0 * X[..., 0]

        return f, jax.numpy.asarray(np.array(one.constants, dtype=np.float64))

    @per_target
    def to_c(self, law: int | None = None, name: str = "law") -> str:
        """The law as a function of C: ``double law(const double x[D])``, one row to one value, with all that it needs.

        It stands by itself over math.h, and its constants are an array at the top.
        """
        one, columns = self._law(law), self._saved.columns
        if not (name.isidentifier() and name.isascii()):
            raise ValueError(f"name={name!r}: wanted an identifier of C")
        body, used = _c(_syntax(one, len(columns)))
        listed = "".join(f"\n   x[{j}]  {_for_comment(column)}" for j, column in enumerate(columns))
        values = ", ".join(repr(float(c)) for c in one.constants)
        constants = f"static const double {name}_constants[] = {{{values}}};\n\n" if one.constants else ""
        helpers = "".join(f"static double {text}\n\n" for word, text in _C_HELPERS.items() if word in used)
        return (
            f"/* {_for_comment(self._saved.target)} = {_for_comment(self.get_expression(law, digits=6))}{listed} */\n"
            f"#include <math.h>\n\n{helpers}{constants}double {name}(const double x[{len(columns)}])\n{{\n"
            + (f"    const double *c = {name}_constants;\n" if one.constants else "")
            + ("    (void)x;\n" if "x[" not in body else "")
            + f"    return {body};\n}}\n"
        )


def _needed(package: str, what: str):
    """An optional package; ImportError in a line that says how to get it."""
    if find_spec(package) is None:
        raise ImportError(f"{what} needs {package}, which is not installed: pip install {package}")
    import importlib

    return importlib.import_module(package)


# ---- the numpy source as a tree -----------------------------------------------------------------


def _syntax(law: saved_law.Law, D: int) -> ast.expr:
    """The law's syntax tree over names x0 .. x{D-1} for columns and c0, c1, ... for its constants."""
    prefix, k = [], 0
    for token in law.prefix:
        if token == CONSTANT:
            token, k = f"x{D + k + 1}", k + 1
        prefix.append(token)
    names = [*(f"x{j}" for j in range(D)), *(f"c{j}" for j in range(k))]
    tree = ast.parse(export.numpy_source(prefix, None, names), mode="eval").body
    if isinstance(tree, ast.Call) and _called(tree) == "full":
        tree = tree.args[1]  # a law without columns
    return tree


def _called(node: ast.Call) -> str:
    """The word sin of np.sin(...)."""
    assert isinstance(node.func, ast.Attribute), ast.dump(node)
    return node.func.attr


def _place(node: ast.Name) -> tuple[str, int]:
    return node.id[0], int(node.id[1:])


def _walked(node: ast.expr, module, X, constants):
    """A syntax tree's value over a module with numpy's functions."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        which, place = _place(node)
        return X[..., place] if which == "x" else constants[place]
    if isinstance(node, ast.UnaryOp):
        return -_walked(node.operand, module, X, constants)
    if isinstance(node, ast.BinOp):
        a, b = (_walked(part, module, X, constants) for part in (node.left, node.right))
        return _ARITHMETIC[type(node.op)](a, b)
    assert isinstance(node, ast.Call), ast.dump(node)
    return getattr(module, _called(node))(*(_walked(part, module, X, constants) for part in node.args))


_ARITHMETIC = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
_C_NAMES = {
    "abs": "fabs", "power": "pow", "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arcsinh": "asinh",
    "arccosh": "acosh", "arctanh": "atanh", "sign": "sign_of", "minimum": "least", "maximum": "largest", "mod": "modulo",
    "heaviside": "step",
}  # fmt: skip
# As numpy has them: NaN stays NaN, and a remainder has the sign of the divisor.
_C_HELPERS = {
    "sign_of": "sign_of(double a) { return isnan(a) ? a : (a > 0) - (a < 0); }",
    "least": "least(double a, double b) { return isnan(a) || a < b ? a : b; }",
    "largest": "largest(double a, double b) { return isnan(a) || a > b ? a : b; }",
    "modulo": "modulo(double a, double b) { double r = fmod(a, b); return r != 0 && (r < 0) != (b < 0) ? r + b : r; }",
    "step": "step(double a, double at_0) { return isnan(a) ? a : a == 0 ? at_0 : a > 0; }",
}
_C_OWN = ("sqrt", "cbrt", "sin", "cos", "tan", "sinh", "cosh", "tanh", "exp", "log", "floor")
_SYMBOLS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}


def _c(node: ast.expr) -> tuple[str, set[str]]:
    """(C source, names of the functions it calls) of a syntax tree."""
    if isinstance(node, ast.Constant):
        return repr(float(node.value)), set()  # type: ignore[arg-type]
    if isinstance(node, ast.Name):
        which, place = _place(node)
        return f"{which}[{place}]", set()
    if isinstance(node, ast.UnaryOp):
        text, used = _c(node.operand)
        return f"(-{text})", used
    if isinstance(node, ast.BinOp):
        (a, of_a), (b, of_b) = _c(node.left), _c(node.right)
        return f"({a} {_SYMBOLS[type(node.op)]} {b})", of_a | of_b
    assert isinstance(node, ast.Call), ast.dump(node)
    called = _called(node)
    name = _C_NAMES.get(called, called)
    if name == called and name not in _C_OWN:
        raise ValueError(f"{called} has no form in C here")
    parts = [_c(part) for part in node.args]
    return f"{name}({', '.join(text for text, _ in parts)})", {name}.union(*(used for _, used in parts))


def _for_comment(text: str) -> str:
    """Text that cannot end a comment of C or go on over its line."""
    return " ".join(str(text).split()).replace("*/", "* /").replace("/*", "/ *").rstrip("\\")
