"""Laws as one module against numpy, sympy, plain numerical derivatives, and counts by hand."""

import math

import numpy as np
import pytest
import torch
from random_trees import random_tree

from fansr.distillation import law_graph, law_kernel, law_values
from fansr.distillation.input_columns import InputColumns
from fansr.distillation.law_layer import LawLayer, widened
from fansr.expressions import OPERATOR, evaluate, export, n_constants

NAMES = ["a", "b", "c"]
# Where an operator and its derivative are finite, away from kinks.
PLACES = {"acosh": (1.2, 3.0), "atanh": (-0.8, 0.8), "asin": (-0.8, 0.8), "acos": (-0.8, 0.8), "tan": (-1.2, 1.2)}
BINARY = [token for token, row in OPERATOR.items() if row.arity == 2 and "=" not in token]
UNARY = [token for token, row in OPERATOR.items() if row.arity == 1 and "=" not in token]


def layer(*laws, **how):
    told = {"guard": "none", "dtype": torch.float64, **how}
    return LawLayer(
        [(text.split() if isinstance(text, str) else text, consts) for text, consts in laws],
        InputColumns(NAMES),
        **told,
    )


def rows(n=60, low=0.3, high=0.9, seed=0):
    return np.random.default_rng(seed).uniform(low, high, (n, 3))


@pytest.mark.parametrize("token", [*UNARY, *BINARY])
def test_every_operator_has_numpys_values_and_the_derivative_of_differences(token):
    X = torch.tensor(rows(12, *PLACES.get(token, (0.3, 0.9))), requires_grad=True)
    law = f"* <constant> {token} x1" if token in UNARY else f"* <constant> {token} x1 * <constant> x2"
    consts = [1.5] if token in UNARY else [1.5, 0.7]
    made = layer((law, consts))
    source = export.numpy_source(law.split(), consts, NAMES)
    a, b = X.detach().numpy().T[:2]
    assert np.allclose(made(X)[:, 0].detach().numpy(), eval(source, {"np": np, "a": a, "b": b}), rtol=1e-12)
    if token in ("step", "sign", "floor"):  # flat on both sides; what they are multiplied with has a slope
        made(X).sum().backward()
        assert X.grad is None or not X.grad.abs().any()
        return
    assert torch.autograd.gradcheck(made, (X,))

    def by_constants(values):
        with torch.no_grad():
            made.consts.copy_(values)
        columns = dict(enumerate(X.detach().t().unbind(0)))
        return torch.stack(
            law_values.values(made.graph, [columns[j] for j in range(len(columns))], values.unbind(0), X.detach())
        )

    assert torch.autograd.gradcheck(by_constants, (made.consts.detach().clone().requires_grad_(True),))


@pytest.mark.parametrize("engine", ["torch", "numba"])
def test_random_laws_have_the_values_of_plain_evaluation(engine):
    rng = np.random.default_rng(4)
    X = rows(700, -2, 2)  # more than one block of the kernel
    laws = []
    while len(laws) < 60:
        expr = random_tree(rng, 4, 3)
        laws.append((expr, rng.normal(0, 1.5, n_constants(expr))))
    made = layer(*laws, engine=engine)
    with torch.no_grad(), np.errstate(all="ignore"):
        Y = made(torch.as_tensor(X)).numpy()
        for k, (expr, consts) in enumerate(laws):
            assert np.allclose(Y[:, k], evaluate(expr, X, consts), rtol=1e-9, equal_nan=True), expr


def test_sympy_agrees():
    sympy = pytest.importorskip("sympy")
    laws = [
        ("+ * <constant> sin * <constant> x1 / pow2 x2 + <constant> x3", [2.0, 3.0, 1.0]),
        ("pow1_3 - x1 x2", []),
        ("logistic mod x1 x3", []),
    ]
    X = rows(40, 0.1, 3.0)
    with torch.no_grad():
        Y = layer(*laws)(torch.as_tensor(X)).numpy()
    for k, (text, consts) in enumerate(laws):
        formula = sympy.sympify(
            export.sympy_source(text.split(), consts, NAMES), locals={n: sympy.Symbol(n) for n in NAMES}
        )
        function = sympy.lambdify([sympy.Symbol(n) for n in NAMES], formula, "numpy")
        assert np.allclose(Y[:, k], function(*X.T), rtol=1e-9)


def test_equal_parts_are_computed_once():
    laws = [("+ sin x1 * x1 x2", []), ("* sin x1 * x2 x1", []), ("+ <constant> * <constant> sin x1", [2.0, 2.0])]
    graph = law_graph.build([(text.split(), consts) for text, consts in laws])
    # sin x1, x1*x2, their sum, their product, 2*sin x1, 2 + that
    assert graph.operations == 6 and len(graph.consts) == 1 and graph.columns == [0, 1]
    loose = law_graph.build([(text.split(), consts) for text, consts in laws], tied=False)
    assert loose.operations == 6 and len(loose.consts) == 2
    # written out: 3 + 3 operators and 2 that are no copies
    codes, *_ = law_graph.program(graph)
    assert sum(code < law_graph.op.LITERAL for code in codes) == graph.operations


def test_the_kernel_runs_over_copies_of_any_order():
    """First operands that stand elsewhere, a law that is a leaf, a law that is another's part."""
    laws = [("- x1 x1", []), ("x2", []), ("- * x1 x2 x1", []), ("* x1 x2", []), ("<constant>", [4.0]), ("- 1 x2", [])]
    X = rows(9)
    made = layer(*laws, engine="numba")
    with torch.no_grad():
        Y = made(torch.as_tensor(X)).numpy()
    a, b, _ = X.T
    assert np.allclose(Y, np.column_stack([0 * a, b, a * b - a, a * b, 0 * a + 4, 1 - b]))


def test_odd_roots_have_a_finite_gradient_at_0():
    X = torch.tensor([[0.0, 8.0, -1.0]], dtype=torch.float64, requires_grad=True)
    Y = layer(("pow1_3 x1", []), ("pow1_3 x2", []), ("pow1_5 x3", []))(X)
    Y.sum().backward()
    assert Y.tolist() == [[0.0, pytest.approx(2.0), pytest.approx(-1.0)]]
    assert X.grad.tolist() == [[0.0, pytest.approx(1 / 12), pytest.approx(0.2)]]


@pytest.mark.parametrize("shape", [(5, 3), (2, 4, 3), (2, 3, 4, 3), (3,), (0, 3)])
def test_any_leading_shape(shape):
    made = layer(("+ x1 x2", []), ("exp x3", []), dtype=torch.float32)
    X = torch.rand(shape)
    Y = made(X)
    assert Y.shape == (*shape[:-1], 2) and Y.dtype == torch.float32
    assert torch.allclose(Y[..., 0], X[..., 0] + X[..., 1]) and torch.allclose(Y[..., 1], X[..., 2].exp())


def test_half_precision_is_within_its_epsilon():
    made = layer(("+ * <constant> sin x1 pow2 x2", [1.5]), dtype=torch.float32)
    X = torch.as_tensor(rows(200)).to(torch.bfloat16)
    Y = made(X)
    whole = made(X.float())
    assert Y.dtype == torch.bfloat16 and torch.all(
        (Y.float() - whole).abs() <= torch.finfo(torch.bfloat16).eps * whole.abs()
    )


def test_compiling_it_gives_the_eager_values():
    made = layer(
        ("+ * <constant> sin * <constant> x1 / pow2 x2 + <constant> x3", [2.0, 3.0, 1.0]),
        ("pow1_3 x2", []),
        dtype=torch.float32,
    )
    compiled = torch.compile(made, backend="aot_eager", fullgraph=True)
    X = torch.rand(50, 3)
    assert torch.allclose(compiled(X), made(X), rtol=1e-6)
    grads = []
    for one in (made, compiled):
        made.zero_grad()
        one(X).sum().backward()
        grads.append(made.consts.grad.clone())
    assert torch.allclose(*grads, rtol=1e-5)


@pytest.mark.prove
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, of its compiler
def test_compiled_to_machine_code_it_gives_the_eager_values():
    made = layer(
        ("+ * <constant> sin * <constant> x1 / pow2 x2 + <constant> x3", [2.0, 3.0, 1.0]),
        ("pow1_5 x2", []),
        dtype=torch.float32,
    )
    X = torch.rand(300, 3)
    assert torch.allclose(torch.compile(made)(X), made(X), rtol=1e-5)


def test_the_guard_keeps_rows_within_their_ranges_and_counts_them():
    low, high = np.array([0.0, 1.0, 0.0]), np.array([1.0, 2.0, 1.0])
    values = np.array([1.0]), np.array([2.0]), np.array([1.5])
    text = "inv x1"
    made = layer((text, []), ranges=(low, high), value_ranges=values, guard="clip", engine="torch")
    wide = widened(low, high)
    assert math.isclose(wide[0][0], -0.1) and math.isclose(wide[1][0], 1.1)
    X = torch.tensor([[0.5, 9, 9], [5.0, 9, 9], [0.0, 9, 9], [-3.0, 9, 9], [math.nan, 9, 9]], dtype=torch.float64)
    # 1/0.5 is 2; 5 comes back to 1.1; 1/0 comes back to the largest value widened; 1/-0.1 to the least; what is no number is the mean
    assert made(X)[:, 0].tolist() == pytest.approx([2.0, 1 / 1.1, 2.1, 0.9, 1.5])
    assert made.outside(X).tolist() == [False, True, True, True, True]  # columns that no law uses are not looked at
    free = layer((text, []), ranges=(low, high), value_ranges=values, guard="none")
    assert torch.equal(free(X)[:, 0].nan_to_num(nan=7.0), (1 / X[:, 0]).nan_to_num(nan=7.0))


def test_bases_and_linear_map_are_what_numpy_makes_of_them():
    rng = np.random.default_rng(2)
    X = rng.normal(size=(40, 6))
    mean, P = rng.normal(size=6), rng.normal(size=(2, 6))
    back_mean, Q = rng.normal(size=5), rng.normal(size=(2, 5))
    W, b = rng.normal(size=(6, 5)), rng.normal(size=5)
    columns = InputColumns([f"x{j + 1}" for j in range(6)], None, mean, P, keep_raw=False).double()
    made = LawLayer(
        [(["sin", "x1"], []), (["*", "x1", "x2"], [])],
        columns,
        None,
        None,
        "none",
        (back_mean, Q),
        (W, b),
        dtype=torch.float64,
    )
    Z = (X - mean.astype(np.float32)) @ P.astype(np.float32).T.astype(float)
    V = np.column_stack([np.sin(Z[:, 0]), Z[:, 0] * Z[:, 1]])
    with torch.no_grad():
        assert np.allclose(made(torch.as_tensor(X)).numpy(), back_mean + V @ Q + X @ W + b, atol=1e-5)


def test_made_columns():
    made = InputColumns(["u", "v"], {"d": "u - v", "e": "x1**2 + 1", "f": lambda X: X.norm(dim=1)})
    X = torch.rand(7, 2)
    Z = made(X)
    assert made.names == ["u", "v", "d", "e", "f"]
    assert torch.allclose(Z, torch.stack([X[:, 0], X[:, 1], X[:, 0] - X[:, 1], X[:, 0] ** 2 + 1, X.norm(dim=1)]))
    assert torch.equal(made.columns(X, ["f", "u"]), torch.stack([X.norm(dim=1), X[:, 0]]))


def test_the_engine_is_measured_once_and_kept():
    made = layer(("sin x1", []), dtype=torch.float32)
    with torch.no_grad():
        made(torch.rand(100, 3))
        assert list(made.engines) == [7] and made.engines[7] in ("torch", "numba")
    made(torch.rand(1000, 3))  # with gradients torch alone can
    assert list(made.engines) == [7]
    with pytest.raises(ValueError, match="engine='gpu': wanted one of auto"):
        layer(("x1", []), engine="gpu")


def test_the_kernel_is_compiled():
    assert law_kernel.BLOCK > 0 and law_kernel.run.signatures
