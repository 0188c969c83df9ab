"""programs.py against numpy source, torch autograd, finite limits and its own promises."""

import math

import numpy as np
import pytest
from random_trees import random_tree

from fansr.expressions import programs as ev
from fansr.expressions.tokens import CONSTANT, MORE_OPERATORS, OPERATOR, OPERATORS

ALL = (*OPERATORS, *MORE_OPERATORS)

# Points inside, at and just outside the edges of every operator's domain.
EDGES = np.array(
    [
        0.0,
        -0.0,
        1.0,
        -1.0,
        np.nextafter(1, 2),
        np.nextafter(1, 0),
        -np.nextafter(1, 2),
        -np.nextafter(1, 0),
        1e-300,
        -1e-300,
        5e-324,
        1e-8,
        -1e-8,
        0.5,
        -0.5,
        2.0,
        -2.0,
        3.7,
        -3.7,
        np.pi / 2,
        30.0,
        -30.0,
        709.0,
        710.5,
        -745.0,
        1e154,
        -1e154,
        1e300,
        -1e300,
        np.inf,
        -np.inf,
        np.nan,
    ]
)


def source(expr, position=0):
    """(numpy source, next position) of a prefix expression, written straight from the operator table."""
    token = expr[position]
    if token in OPERATOR:
        row = OPERATOR[token]
        a, position = source(expr, position + 1)
        b = None
        if row.arity == 2:
            b, position = source(expr, position)
        return row.numpy.format(a=a, b=b), position
    if token == CONSTANT:
        return f"c[{expr[:position].count(CONSTANT)}]", position + 1
    if token[0] == "x":
        return f"X[:, {int(token[1:]) - 1}]", position + 1
    return f"({token})", position + 1


def by_numpy(expr, X, c):
    text, stop = source(expr)
    assert stop == len(expr)
    with np.errstate(all="ignore"):
        return np.asarray(eval(text, {"np": np, "X": X, "c": c})) * np.ones(len(X))


def test_every_unary_operator_equals_numpy_at_domain_edges():
    X = EDGES[:, None]
    for token in (row.token for row in ALL if row.arity == 1):
        want, got = by_numpy([token, "x1"], X, []), ev.evaluate([token, "x1"], X)
        np.testing.assert_allclose(got, want, rtol=2e-15, atol=0, err_msg=token)


def test_every_binary_operator_equals_numpy_at_domain_edges():
    a, b = (v.ravel() for v in np.meshgrid(EDGES, EDGES))
    X = np.stack([a, b], 1)
    for row in (row for row in ALL if row.arity == 2):
        expr = [row.token, "x1", "x2"]
        np.testing.assert_allclose(ev.evaluate(expr, X), by_numpy(expr, X, []), rtol=2e-15, atol=0, err_msg=row.token)


def test_pow_of_a_negative_base_is_numpys():
    X = np.array([[-2.0, 3.0], [-2.0, -3.0], [-2.0, 0.5], [-8.0, 1 / 3], [0.0, 0.0], [-1.0, np.inf], [0.0, -1.0]])
    np.testing.assert_array_equal(ev.evaluate(["pow", "x1", "x2"], X), by_numpy(["pow", "x1", "x2"], X, []))


def test_random_trees_equal_numpy_and_inputs_are_untouched():
    rng = np.random.default_rng(5)
    X = rng.normal(0, 2, (700, 3))  # more than one block
    X[3, 1] = np.nan
    kept, compared = X.copy(), 0
    for _ in range(300):
        expr = random_tree(rng, rng.integers(1, 6), 3)
        c = rng.normal(0, 5, expr.count(CONSTANT))
        c_kept = c.copy()
        want, got = by_numpy(expr, X, c), ev.evaluate(expr, X, c)
        # Rounding differs by ulps at each step and a later step may magnify it; an error would be gross.
        close = np.isclose(got, want, rtol=1e-6, atol=1e-9, equal_nan=True)
        edge = np.isnan(got) != np.isnan(want)  # an ulp at a domain edge
        assert close.mean() > 0.98 and edge.mean() < 0.02, " ".join(expr)
        compared += np.isfinite(want).sum()
        np.testing.assert_array_equal(X, kept)
        np.testing.assert_array_equal(c, c_kept)
    assert compared > 50_000


def test_table_of_derivatives():
    """d v / d a and d v / d b equal the table's formulas, at edges too."""
    a = EDGES
    for row in ALL:
        operands = [a] if row.arity == 1 else [v.ravel() for v in np.meshgrid(a, a)]
        for side in range(row.arity):
            # The operands themselves are the free constants, so the Jacobian is the table's derivative.
            got = np.array(
                [
                    ev.value_and_jacobian([row.token] + [CONSTANT] * row.arity, np.zeros((1, 1)), list(point))[1][
                        side, 0
                    ]
                    for point in zip(*operands)
                ]
            )
            names = dict(zip("ab", operands))
            with np.errstate(all="ignore"):
                v = eval(row.numpy.format(a="a", b="b"), {"np": np, **names})
                want = eval(row.derivative[side].format(a="a", b="b", v="v"), {"np": np, "v": v, **names})
            want = want * np.ones(len(operands[0]))
            if row.token == "pow" and side == 1:  # the documented departure: the limit, not NaN
                limit = (operands[0] == 0) & (operands[1] > 0)
                assert np.isnan(want[limit]).any() and (got[limit] == 0).all()
                got, want = got[~limit], want[~limit]
            # 1 - tanh^2 cancels: an ulp in tanh, where numpy's and the C library's differ, is 1e-16 here.
            slack = 5e-16 if row.token == "tanh" else 0
            np.testing.assert_allclose(got, want, rtol=1e-14, atol=slack, err_msg=f"{row.token} operand {side}")


def test_derivatives_near_edges_against_high_precision():
    """The table itself, against mpmath's derivative close to where each operator ends or bends."""
    mp = pytest.importorskip("mpmath")
    mp.mp.dps = 60
    near = {
        "asin": [1 - 1e-9, -1 + 1e-9],
        "acos": [1 - 1e-9, -1 + 1e-9],
        "atanh": [1 - 1e-9],
        "acosh": [1 + 1e-9],
        "log": [1e-300, 1e300],
        "pow1_2": [1e-300],
        "pow1_3": [-1e-200, 1e-200],
        "pow1_4": [1e-280],
        "pow1_5": [-1e-200],
        "inv": [-1e-150],
        "tan": [1.5707963],
        "tanh": [10.0],
        "exp": [-700.0, 700.0],
        "abs": [-1e-300],
        "sinh": [-700.0],
        "cosh": [700.0],
    }
    real = {
        "pow1_2": mp.sqrt,
        "pow1_3": lambda z: mp.sign(z) * abs(z) ** (mp.mpf(1) / 3),
        "pow1_4": lambda z: z ** (mp.mpf(1) / 4),
        "pow1_5": lambda z: mp.sign(z) * abs(z) ** (mp.mpf(1) / 5),
        "inv": lambda z: 1 / z,
        "abs": abs,
    }
    for token, points in near.items():
        function = real.get(token) or getattr(mp, token)
        for x in points:
            step = mp.mpf(abs(x)) * mp.mpf(10) ** -25
            z = mp.mpf(x)
            want = (function(z + step) - function(z - step)) / (2 * step)
            got = ev.value_and_jacobian([token, CONSTANT], np.zeros((1, 1)), [x])[1][0, 0]
            assert math.isclose(got, float(want), rel_tol=3e-7), (token, x)


def torch_value(expr, X, c):
    """The expression built from torch operations: (values, next position, next constant)."""
    import torch

    unary = {
        "abs": torch.abs,
        "inv": torch.reciprocal,
        "neg": torch.neg,
        "pow1_2": torch.sqrt,
        "pow1_4": lambda v: v.sqrt().sqrt(),
        "pow1_3": lambda v: v.sign() * v.abs() ** (1 / 3),
        "pow1_5": lambda v: v.sign() * v.abs() ** 0.2,
        **{f"pow{k}": lambda v, k=k: v**k for k in (2, 3, 4, 5)},
        **{f"mult{k}": lambda v, k=k: v * k for k in (2, 3, 4, 5)},
        **{f"div{k}": lambda v, k=k: v / k for k in (2, 3, 4, 5)},
    }
    binary = {"+": torch.add, "-": torch.sub, "*": torch.mul, "/": torch.div, "pow": torch.pow}
    binary |= {"min": torch.minimum, "max": torch.maximum, "mod": torch.remainder}
    unary |= {"step": lambda v: (v > 0) + 0 * v, "logistic": torch.sigmoid}
    stack, j = [], len(c)
    for token in reversed(expr):
        if token in binary:
            stack.append(binary[token](stack.pop(), stack.pop()))
        elif token in OPERATOR:
            stack.append((unary.get(token) or getattr(torch, token))(stack.pop()))
        elif token == CONSTANT:
            j -= 1
            stack.append(c[j].expand(len(X)))
        elif token[0] == "x":
            stack.append(X[:, int(token[1:]) - 1])
        else:
            stack.append(torch.full((len(X),), float(token), dtype=torch.float64))
    return stack.pop()


def test_jacobian_equals_torch_autograd_for_every_operator():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(11)
    X = rng.uniform(0.05, 0.95, (600, 2))
    used, n_compared = set(), 0
    for trial in range(290):
        token = ALL[trial % len(ALL)].token  # every operator has its turn at the top ...
        expr = [token]
        for _ in range(OPERATOR[token].arity):  # ... over a random operand with constants
            expr += ["+", "*", CONSTANT, *random_tree(rng, 2, 2), CONSTANT]
        c = rng.normal(0, 1, expr.count(CONSTANT))
        leaf = torch.tensor(c, requires_grad=True)
        points = torch.tensor(X)
        value = torch_value(expr, points, leaf)
        y, J = ev.value_and_jacobian(expr, X, c)
        fine = np.isfinite(y) & np.isfinite(J).all(0) & (np.abs(J) < 1e12).all(0) & torch.isfinite(value).numpy()
        rows = np.flatnonzero(fine)[:: max(1, fine.sum() // 4)][:4]
        for i in rows:
            (gradient,) = torch.autograd.grad(value[i], leaf, retain_graph=True)
            if torch.isfinite(gradient).all():
                np.testing.assert_allclose(J[:, i], gradient.numpy(), rtol=1e-7, atol=1e-9, err_msg=" ".join(expr))
                n_compared += 1
                used.update(expr)
    assert n_compared > 400 and {row.token for row in ALL} <= used


def test_many_at_once_and_blocks():
    rng = np.random.default_rng(2)
    X = rng.normal(size=(1300, 20))
    exprs = [["x19"], ["pow2", "-", "x1", CONSTANT], ["/", CONSTANT, "x2"], ["3.5"]]
    consts = [[], [2.0], [-1.0], []]
    many = ev.evaluate_many(exprs, X, consts)
    np.testing.assert_array_equal(many[0], X[:, 18])
    np.testing.assert_array_equal(many[3], np.full(1300, 3.5))
    for k, expr in enumerate(exprs):
        np.testing.assert_array_equal(many[k], ev.evaluate(ev.compile_program(expr), X, consts[k]))
        np.testing.assert_array_equal(many[k][700:], ev.evaluate(expr, X[700:], consts[k]))


@pytest.mark.parametrize("expr", [[], ["+", "x1"], ["x1", "x1"], ["sin"], ["+", "x1", "x2", "x3"], ["*", "x1", "sin"]])
def test_incomplete_expressions_are_refused(expr):
    with pytest.raises(ValueError, match="not one complete prefix expression"):
        ev.compile_program(expr)


def test_errors_say_what_is_wrong():
    with pytest.raises(ValueError, match="unknown token 'foo'"):
        ev.evaluate(["foo"], np.ones((2, 1)))
    with pytest.raises(ValueError, match="2 constants came, the expression has 1"):
        ev.evaluate([CONSTANT], np.ones((2, 1)), [1, 2])
    with pytest.raises(ValueError, match="X has 1 columns, the expression uses x3"):
        ev.evaluate(["x3"], np.ones((2, 1)))
    with pytest.raises(ValueError, match="wanted .points, columns"):
        ev.evaluate(["x1"], np.ones(3))


def test_readonly_and_fortran_inputs():
    X = np.asfortranarray(np.random.default_rng(0).normal(size=(9, 2)))
    X.setflags(write=False)
    np.testing.assert_array_equal(ev.evaluate(["-", "x1", "x2"], X), X[:, 0] - X[:, 1])
    assert len(ev.evaluate(["x1"], np.ones((0, 1)))) == 0
