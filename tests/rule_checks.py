"""Rules of laws: random combinations of them, and a checker of printed laws that shares no code with the product.

said, problem = drawn_rules(rng), drawn_table(rng)
breaches(text, prefix, consts, said) + breaches_of_shape(text, said, problem)
"""

import ast
import math

import numpy as np

from fansr.expressions import to_infix
from fansr.fitting import Budget, Problem
from fansr.search import turns

NAMES = ["a", "b"]
OPERATORS = ["+", "-", "*", "/", "^", "sqrt", "exp", "log", "sin", "cos", "tanh", "abs", "min", "max", "step"]
# What ast calls what a user calls otherwise.
SIGNS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "^"}


class Law(ast.NodeVisitor):
    """The printed formula taken apart by Python's own parser: operators, constants, levels, and what stands inside what."""

    def __init__(self, text):
        self.operators, self.nested = set(), set()
        self.inside: list[str] = []
        self.visit(ast.parse(text, mode="eval").body)

    def below(self, name, children):
        self.operators.add(name)
        self.nested.update((outer, name, self.inside.count(name)) for outer in self.inside)
        self.inside.append(name)
        for child in children:
            self.visit(child)
        self.inside.pop()

    def visit_Call(self, node):
        self.below(node.func.id, node.args)

    def visit_BinOp(self, node):
        self.below(SIGNS[type(node.op)], (node.left, node.right))

    def visit_UnaryOp(self, node):
        # A sign is part of a number where one follows, at the head of a product too.
        inner = node.operand
        while isinstance(inner, ast.BinOp) and isinstance(inner.op, (ast.Mult, ast.Div)):
            inner = inner.left
        if isinstance(inner, ast.Constant):
            self.visit(node.operand)
        else:
            self.below("-", (node.operand,))


def levels(prefix):
    """Depth of a prefix expression by a stack of open operands; all operators here take one or two."""
    two = {"+", "-", "*", "/", "pow", "min", "max", "mod"}
    deepest, open_at = 0, [1]
    for token in prefix:
        level = open_at.pop()
        deepest = max(deepest, level)
        leaf = token == "<constant>" or (token[0] == "x" and token[1:].isdigit()) or token[0].isdigit()
        open_at += [] if leaf else [level + 1] * (2 if token in two else 1)
    return deepest


TOKENS_OF = {"^": ("pow", "pow2", "pow3", "pow4", "pow5"), "*": ("*", "mult2", "mult3", "mult4", "mult5")}


def argument_sizes(prefix):
    """(token, tokens of each of its arguments) of every operator, read from right to left with a stack of sizes."""
    found, sizes = [], []
    for token in reversed(prefix):
        leaf = token == "<constant>" or (token[0] == "x" and token[1:].isdigit()) or token[0].isdigit()
        places = 0 if leaf else 2 if token in ("+", "-", "*", "/", "pow", "min", "max", "mod") else 1
        of = [sizes.pop() for _ in range(places)]
        sizes.append(1 + sum(of))
        found += [(token, of)] if of else []
    return found


def breaches(text, prefix, consts, said):
    """Which of the rules (as they were said) a printed law breaks."""
    law, found = Law(text), []
    allowed = set(OPERATORS)
    if "operators" in said:
        allowed = set(said["operators"].split(","))
    allowed -= set(said.get("without", "").split(","))
    used = set(law.operators)
    if "-" not in allowed and "+" in allowed and all(c is not None for c in consts):
        used -= {"-"}  # a + (-3) prints as a - 3
        found += ["-"] if {"-", "neg"} & set(prefix) else []
    if "operators" in said:
        found += sorted(used - allowed)
    else:
        found += sorted(used & set(said.get("without", "").split(",")))
    found += ["length"] if len(prefix) > said.get("max_length", math.inf) else []
    found += ["constants"] if len(consts) > said.get("max_constants", math.inf) else []
    found += ["depth"] if levels(prefix) > said.get("max_depth", math.inf) else []
    for part in said.get("nest", "").split(",") if "nest" in said else []:
        name, _, most = part.partition(":")
        outer, _, inner = name.rstrip(")").partition("(")
        inner = inner or outer
        deep = max((n for o, i, n in law.nested if (o, i) == (outer, inner)), default=-1)
        # `deep` counts those of the name above it, the outer itself among them where the names are one.
        found += [f"nest {part}"] if deep + (0 if inner == outer else 1) > int(most) else []
    for part in said.get("arguments", "").split(",") if "arguments" in said else []:
        name, most = part.split(":")
        name, _, place = name.rstrip(")").partition("(")
        for token, sizes in argument_sizes(prefix):
            if token in TOKENS_OF.get(name, (name,)) and any(
                size > int(most) for k, size in enumerate(sizes, 1) if not place or k == int(place)
            ):
                found.append(f"arguments {part}")
    if "bounds" in said:
        low, high = map(float, said["bounds"].split("[")[1].rstrip("]").split(","))
        found += ["bounds"] if any(not low <= c <= high for c in consts) else []
    return found


FUNCTIONS = {
    name: getattr(np, name)
    for name in ("exp", "log", "sqrt", "sin", "cos", "tanh", "sinh", "cosh", "cbrt", "floor", "sign", "tan")
}
FUNCTIONS |= {"abs": np.abs, "min": np.minimum, "max": np.maximum, "step": lambda x: (x > 0) * 1.0, "mod": np.mod,
              "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "asinh": np.arcsinh, "acosh": np.arccosh,
              "atanh": np.arctanh, "root4": lambda x: x**0.25, "root5": lambda x: np.sign(x) * np.abs(x) ** 0.2,
              "logistic": lambda x: 1 / (1 + np.exp(-x))}  # fmt: skip


def values_of(text, a, b):
    """The printed law at columns a, b, by Python's own reading of it."""
    with np.errstate(all="ignore"):
        return np.asarray(eval(text, {"__builtins__": {}}, {**FUNCTIONS, "a": a, "b": b})) + 0.0 * a  # noqa: S307


def breaches_of_shape(text, said, problem):
    """Which of the shapes (as they were said, all of column a) a printed law does not have, by points of its own."""
    rng, found = np.random.default_rng(99), []
    (low, low_b), (high, high_b) = problem.X.min(axis=0), problem.X.max(axis=0)
    a, b = rng.uniform(low, high, 400), rng.uniform(low_b, high_b, 400)
    size = 1e-7 * np.abs(problem.y).max()
    grid = np.linspace(low, high, 201)[None, :] + np.zeros((40, 1))
    lines = values_of(text, grid, np.repeat(b[:40, None], 201, axis=1))
    lines = lines[np.isfinite(lines).all(axis=1)]
    size = max(size, 1e-7 * np.abs(lines).max(initial=0.0))
    if "monotone" in said:
        sign = 1 if said["monotone"][-1] == "+" else -1
        found += ["monotone"] if (sign * np.diff(lines) < -size).any() else []
    if "convex" in said:
        sign = -1 if said["convex"][-1] == "-" else 1
        found += ["convex"] if (sign * np.diff(lines, n=2) < -size).any() else []
    here = values_of(text, a, b)
    for kind, sign in (("even", 1), ("odd", -1)):
        if kind in said:
            off = values_of(text, -a, b) - sign * here
            found += [kind] if not (np.abs(off[np.isfinite(here)]) <= size).all() else []
    if "periodic" in said:
        period = float(said["periodic"].split(":")[1])
        off = values_of(text, a + 3 * period, b) - here
        found += ["periodic"] if not (np.abs(off[np.isfinite(here)]) <= 100 * size).all() else []
    if "through" in said:
        *_, y = at = [float(v) for v in said["through"].split(",")]
        value = values_of(text, np.array([at[0]]), np.array([at[1]]))[0]
        found += ["through"] if not abs(value - y) <= max(size, 1e-7 * abs(y)) else []
    if "limit" in said:
        far = [
            np.abs(values_of(text, np.full(20, 10.0**k), b[:20]) - float(said["limit"].split(":")[1]))
            for k in (4, 8, 12)
        ]
        if not ((far[2] <= size) | ((far[2] < far[1]) & (far[1] < far[0]))).all():
            found.append("limit")
    return found


def drawn_rules(rng):
    """A random combination as a user would say it."""
    said = {}
    if rng.random() < 0.5:
        chosen = [str(t) for t in rng.choice(OPERATORS, int(rng.integers(2, 9)), replace=False)]
        if not {"+", "-", "*", "/", "^", "min", "max"} & set(chosen):
            chosen.append("+")
        said["operators"] = ",".join(chosen)
    elif rng.random() < 0.6:
        said["without"] = ",".join(str(t) for t in rng.choice(OPERATORS[4:], int(rng.integers(1, 5)), replace=False))
    for name, low, high in (("max_length", 1, 14), ("max_constants", 0, 4), ("max_depth", 1, 6)):
        if rng.random() < 0.35:
            said[name] = int(rng.integers(low, high))
    if rng.random() < 0.3:
        said["nest"] = ",".join(
            rng.choice(["sin:0", "exp:0", "exp(sin):0", "sqrt(exp):0", "+:1", "*(+):0"], 2, replace=False)
        )
    if rng.random() < 0.3:
        low = float(rng.choice([0.0, 0.5, -1.0]))
        said["bounds"] = f"c in [{low:g},{low + float(rng.choice([1, 5, 100])):g}]"
    if rng.random() < 0.2:
        said["price"] = str(rng.choice(["sin=3", "exp=8,+=2", "c=2,x=3"]))
    if rng.random() < 0.3:
        said["arguments"] = ",".join(
            rng.choice(["sin:1", "exp:3", "^(1):1", "*:3", "*(2):2", "/(2):1", "sqrt:5"], 2, replace=False)
        )
    if rng.random() < 0.5:
        kinds = {"monotone": ["a+", "a-"], "convex": ["a", "a-"], "even": ["a"], "odd": ["a"], "periodic": ["a:3", "a:6.5"],
                 "through": ["0,0,0", "1,2,3", "0,1,0"], "limit": ["a->inf: 0", "a->inf: 2"]}  # fmt: skip
        for kind in rng.choice(list(kinds), int(rng.choice([1, 1, 1, 2])), replace=False):
            said[str(kind)] = str(rng.choice(kinds[str(kind)]))
    return said


def drawn_table(rng):
    M = int(rng.choice([12, 30, 60]))
    X = rng.uniform(0.2, 5.0, (M, 2))
    a, b = X.T
    laws = [2 * a + 3, a * b, 3 * np.exp(-a) + 1, a**2 / b, np.sin(2 * a) + b, np.sqrt(a * a + b), np.minimum(a, b),
            np.where(a > 2, 5.0, 1.0), np.log(a) * b, np.exp(np.sin(a)), -4 * a**1.5, rng.normal(size=M)]  # fmt: skip
    y = laws[int(rng.integers(len(laws)))]
    return Problem(X, y + float(rng.choice([0, 0, 0.05])) * rng.normal(size=M), NAMES)


def assert_kept(drawn, breaches_of, numbers, seconds, least):
    """No law of these searches breaks what was said of it, and more than `least` were looked at.

    drawn(number): what is said, a problem, its options; breaches_of(law, text, said, problem): names of the rules that a law breaks.
    """
    wrong, kept = [], 0
    for number in numbers:
        said, problem, options = drawn(number)
        found = turns.search(problem, options, Budget(seconds))
        for law in [found.best, *found.front] if found.best else []:
            text = to_infix(law.expr, law.consts, problem.names)
            kept += 1
            breach = breaches_of(law, text, said, problem)
            if breach:
                wrong.append((number, said, text, law.expr, breach))
    assert not wrong, (len(wrong), wrong[:5])
    assert kept > least
