"""Rules of laws: a checker that shares no code with them, over random combinations; what is understood, and what is refused."""

import ast
import math

import numpy as np
import pytest

from fansr.expressions import evaluate, from_infix, to_infix
from fansr.expressions.definitions import define
from fansr.fitting import Budget, Candidate, Problem, Refiner
from fansr.search import rules, turns

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


def broken_laws(first, last, seconds):
    wrong, kept = [], 0
    for number in range(first, last):
        rng = np.random.default_rng([11, number])
        said, problem = drawn_rules(rng), drawn_table(rng)
        found = turns.search(problem, turns.Options(rules=rules.parse(**said), samples=64), Budget(seconds))
        for law in [found.best, *found.front] if found.best else []:
            text = to_infix(law.expr, law.consts, NAMES)
            breach = breaches(text, law.expr, law.consts, said)
            breach += breaches_of_shape(text, said, problem)
            kept += 1
            if breach:
                wrong.append((number, said, text, law.expr, breach))
    return wrong, kept


def test_a_rule_is_never_broken():
    wrong, kept = broken_laws(0, 25, 0.0)
    assert not wrong, wrong[:3]
    assert kept > 60


@pytest.mark.prove
def test_a_rule_is_never_broken_in_many_searches():
    wrong, kept = broken_laws(100, 2100, 0.1)
    assert not wrong, (len(wrong), wrong[:5])
    assert kept > 5000


def test_the_checker_sees_breaches():
    assert breaches("sin(sin(a)) - 3", ["-", "sin", "sin", "x1", "<constant>"], [3.0], {
        "operators": "+,sin", "nest": "sin:0", "max_length": 4, "max_depth": 3, "max_constants": 0, "bounds": "c in [0,1]",
    }) == ["-", "length", "constants", "depth", "nest sin:0", "bounds"]  # fmt: skip
    assert (
        breaches("exp(sin(a) + sin(b))", ["exp", "+", "sin", "x1", "sin", "x2"], [], {"nest": "exp(sin):1,sin:0"}) == []
    )
    assert breaches("a**2", ["pow2", "x1"], [], {"without": "^"}) == ["^"]
    squares = ["*", "+", "x1", "x2", "pow2", "x1"]
    assert argument_sizes(squares) == [("pow2", [1]), ("+", [1, 1]), ("*", [3, 2])]
    assert breaches("(a + b)*a**2", squares, [], {"arguments": "*:2,*(2):2,^:1,+:1"}) == ["arguments *:2"]


def test_a_factor_of_whole_number_is_a_product():
    rule = rules.parse(nest="*(+):0")
    assert rule.broken(["mult4", "pow1_2", "+", "x1", "x2"]) and rule.broken(["*", "x1", "+", "x1", "x2"])
    assert not rule.broken(["+", "mult4", "x1", "x2"])


def law(text):
    expr, consts = from_infix(text, NAMES), []
    from fansr.expressions import free

    expr, consts = free(expr)
    return Candidate(expr, np.array(consts, float), 0.0)


@pytest.mark.parametrize("text, operators, shown", [
    ("a**3", "+,*", "a*a*a"), ("a - 3*b", "+,*", "a - 3*b"), ("a - b", "+,*", "a - b"), ("a/4", "+,*", "0.25*a"), ("-a", "*", "-a"),
    ("2*a", "/,+", "a/0.5"),
])  # fmt: skip
def test_what_others_can_say_is_said_with_them(text, operators, shown):
    rule = rules.parse(operators=operators)
    new = rule.respelled(law(text))
    X = np.random.default_rng(0).normal(size=(20, 2))
    np.testing.assert_allclose(
        evaluate(new.expr, X, new.consts), evaluate(law(text).expr, X, law(text).consts), rtol=1e-12
    )
    assert rule.broken(new.expr, new.consts) is None


def test_bounds_hold_and_the_others_are_fitted_again():
    X = np.linspace(0, 4, 40)[:, None]
    y = -3 * X[:, 0] + 12
    problem, rule = Problem(X, y, ["x"]), rules.parse(bounds="c in [-2,20]")
    fitter = Refiner(X, y)
    expr = "+ * <constant> x1 <constant>".split()
    fvu, consts = fitter.fit([expr])
    best = rule.admit(Candidate(expr, consts[0], float(fvu[0])), fitter)
    # by hand: with the slope held at -2 the offset is the mean of y + 2 x
    assert best.consts[0] == -2 and math.isclose(best.consts[1], np.mean(y + 2 * X[:, 0]), rel_tol=1e-9)
    found = turns.search(problem, turns.Options(rules=rule), Budget(0.0))
    assert all(-2 <= c <= 20 for c in found.best.consts) and found.best.fvu < 0.2
    assert rules.parse(positive="c").bounds == (0.0, math.inf) and rules.parse(
        bounds="c <= 3", positive="c"
    ).bounds == (0.0, 3.0)


def test_a_positive_column_keeps_a_law_defined():
    rng = np.random.default_rng(3)
    X = rng.uniform(3, 9, (50, 1))
    y = np.log(X[:, 0] - 2)
    rule = rules.parse(positive="a")
    found = turns.search(Problem(X, y, ["a"]), turns.Options(rules=rule), Budget(0.0))
    far = np.geomspace(1e-2, 1e3, 300)[:, None]
    with np.errstate(all="ignore"):
        assert np.isfinite(evaluate(found.best.expr, far, found.best.consts)).all()
    with pytest.raises(ValueError, match="the column a holds -1"):
        rules.check(rule, Problem(np.array([[1.0], [-1.0]]), np.ones(2), ["a"]))
    with pytest.raises(ValueError, match="no column is called 'a'.*nearest is 'aa'"):
        rules.check(rule, Problem(np.ones((2, 1)), np.ones(2), ["aa"]))


def test_prices_change_the_choice():
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 3, 60)
    y = np.exp(0.5 * x) + 0.1 * rng.normal(size=60)
    chosen = {}
    for price in (None, "exp=400"):
        options = turns.Options(rules=rules.parse(price=price))
        found = turns.search(Problem(x[:, None], y, ["x"]), options, Budget(0.0))
        chosen[price] = "exp" in found.best.expr or "pow" in found.best.expr
    assert chosen == {None: True, "exp=400": "pow" in found.best.expr}
    prices = rules.parse(price="c=2,x=3.5,sin=4")
    assert prices.surcharge(["+", "*", "<constant>", "x2", "sin", "x1"]) == 1 + 2 * 2.5 + 3
    assert not rules.parse() and rules.parse(define="bell(x) = exp(-x**2)") and rules.parse(price="sin=3")


def test_a_definition_is_searched_and_printed_by_its_name():
    token = define("gauss(x) = exp(-x**2)")
    x = np.linspace(-2, 6, 60)
    y = 3 * np.exp(-((1.3 * x - 2) ** 2)) + 0.5
    options = turns.Options(rules=rules.parse(define=["gauss(x) = exp(-x**2)"]))
    found = turns.search(Problem(x[:, None], y, ["x"]), options, Budget(0.0))
    assert token in found.best.expr and found.best.fvu < 1e-15, found.best
    assert "gauss(" in to_infix(found.best.expr, found.best.consts, ["x"])


@pytest.mark.parametrize("said, says", [
    ({"operators": "+,sinn"}, "operators: unknown operator 'sinn': the nearest known is 'sin'"),
    ({"operators": "sin,exp"}, "none of two places"),
    ({"without": "+,-,*,/,^,min,max,mod"}, "none of two places"),
    ({"nest": "sin"}, "cannot read 'sin', wanted 'sin:0'"),
    ({"nest": "sin(foo):1"}, "nest: unknown operator 'foo'"),
    ({"arguments": "sin"}, "arguments: cannot read 'sin', wanted 'cos:5'"),
    ({"arguments": "sin:0"}, "arguments: cannot read 'sin:0'"),
    ({"arguments": "sin(2):3"}, "sin has no argument number 2"),
    ({"arguments": "sinn:3"}, "arguments: unknown operator 'sinn'"),
    ({"price": "sin"}, "price: cannot read 'sin'"),
    ({"price": "sin=-1"}, "price: cannot read"),
    ({"price": "sin=nan"}, "price: cannot read"),
    ({"bounds": "k in [0,1]"}, "no constant is called 'k'"),
    ({"bounds": "c in [2,1]"}, "nothing lies in"),
    ({"bounds": "c"}, "bounds: cannot read 'c'"),
    ({"max_length": 0}, "wanted at least 1"),
    ({"define": "f = 2"}, "define: cannot read the definition"),
])  # fmt: skip
def test_what_cannot_be_kept_is_said(said, says):
    import re

    with pytest.raises(ValueError, match=re.sub(r"([\[\](){}+*?^$|.])", r"\\\1", says)):
        rules.parse(**said)
