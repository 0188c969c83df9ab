"""--where: a condition on a record's fields, written as in Python and never run as such.

    fvu_val < 1e-7 and status == 'ok'
    len(expr) <= 9 or 'sin' in expr
    truth.infix != None and difficulty in ['easy', 'medium']
    noise=0.1                                                   one field, a number or a text without quotes

The text is parsed, every node of it is one of those below, and it is evaluated by walking them: no name means anything but a
field, nothing is called but len and abs, and no number grows.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from typing import Any

import numpy as np

MOST = 2000  # letters of a condition
COMPARE = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
ARITHMETIC = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
CALLS = {"len": len, "abs": abs}
ALIASES = {"difficulty": "group"}  # fansr-render puts a benchmark's difficulty into the field `group`
ONE_FIELD = re.compile(r"\s*([A-Za-z_]\w*)\s*=\s*([^=\s].*?)\s*", re.DOTALL)
WANTED = "wanted comparisons of fields, such as \"fvu < 1e-6 and status == 'ok'\""


def condition(text: str) -> Callable[[dict], bool]:
    """A function of a record for a condition; ValueError says what is wrong with the text.

    A field that a record lacks is None; a comparison that makes no sense for what is there (None < 3) is false.
    """
    if len(text) > MOST:
        raise ValueError(f"a condition of {len(text)} letters; at most {MOST}")
    one = ONE_FIELD.fullmatch(text)
    if one:
        return lambda record: _is(_field(record, one[1]), one[2])
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(f"{text!r} is no condition; {WANTED}") from None
    _check(tree)
    return lambda record: bool(_value(tree, record))


def _field(record: dict, name: str) -> Any:
    return record[name] if name in record else record.get(ALIASES.get(name, name))


def _is(value: Any, wanted: str) -> bool:
    """Whether a value is the number, or else the text, that was written."""
    try:
        return float(value) == float(wanted)
    except (TypeError, ValueError):
        return str(value) == wanted


def _check(node: ast.AST, depth: int = 0) -> None:
    """ValueError for what a condition may not hold."""
    good = depth < 50
    if isinstance(node, ast.Compare):
        good = good and all(type(op) in COMPARE for op in node.ops)
    elif isinstance(node, ast.BinOp):
        # Numbers alone: a text or a list times a number could be of any size.
        parts = (node.left, node.right)
        good = good and type(node.op) in ARITHMETIC
        good = good and not any(
            isinstance(p, ast.List | ast.Tuple) or (isinstance(p, ast.Constant) and isinstance(p.value, str))
            for p in parts
        )
    elif isinstance(node, ast.UnaryOp):
        good = good and isinstance(node.op, ast.Not | ast.USub)
    elif isinstance(node, ast.Call):
        named = isinstance(node.func, ast.Name) and node.func.id in CALLS
        if not (good and named and len(node.args) == 1 and not node.keywords):
            raise ValueError(f"{ast.unparse(node)!r}: only len(FIELD) and abs(FIELD) may be called; {WANTED}")
        return _check(node.args[0], depth + 1)
    elif isinstance(node, ast.Constant):
        good = good and isinstance(node.value, str | int | float | bool | None)
    elif isinstance(node, ast.Attribute):
        good = good and isinstance(node.value, ast.Name | ast.Attribute)
    elif not isinstance(node, ast.BoolOp | ast.Name | ast.List | ast.Tuple):
        good = False
    if not good:
        raise ValueError(f"{ast.unparse(node)[:60]!r} has no place in a condition; {WANTED}")
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            _check(child, depth + 1)
    return None


def _value(node: ast.AST, record: dict) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return _plain(_field(record, node.id))
    if isinstance(node, ast.Attribute):
        inside = _value(node.value, record)
        return _plain(inside.get(node.attr)) if isinstance(inside, dict) else None
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(item, record) for item in node.elts]
    if isinstance(node, ast.BoolOp):
        every = isinstance(node.op, ast.And)
        return (all if every else any)(_value(part, record) for part in node.values)
    try:
        if isinstance(node, ast.UnaryOp):
            value = _value(node.operand, record)
            return not value if isinstance(node.op, ast.Not) else -value
        if isinstance(node, ast.BinOp):
            left, right = (_value(part, record) for part in (node.left, node.right))
            both = all(isinstance(v, int | float) for v in (left, right))
            return ARITHMETIC[type(node.op)](float(left), float(right)) if both else None
        if isinstance(node, ast.Call):
            return CALLS[node.func.id](_value(node.args[0], record))
        left = _value(node.left, record)
        for op, part in zip(node.ops, node.comparators):
            right = _value(part, record)
            if not COMPARE[type(op)](left, right):
                return False
            left = right
        return True
    except (TypeError, ZeroDivisionError, OverflowError):
        return None


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
