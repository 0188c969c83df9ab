"""The equations of the showcase: their exact solutions leave no residual, by autograd and by finite differences."""

import numpy as np
import pytest
import torch

from bench.distillation import heat


@pytest.fixture(params=list(heat.EQUATIONS))
def equation(request):
    return heat.EQUATIONS[request.param]


def exact_network(equation):
    return lambda X: equation.exact(*X.T)[:, None]


def test_the_exact_solution_leaves_no_residual(equation):
    X = torch.rand(200, len(equation.columns), dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    residual = equation.residual(exact_network(equation), X, equation.coefficient)
    assert residual.shape == (200,)
    assert residual.abs().max() < 1e-10
    wrong = equation.residual(exact_network(equation), X, 1.1 * equation.coefficient)
    assert wrong.abs().max() > 0.01


def test_residuals_agree_with_finite_differences(equation):
    """Of a function that solves nothing: the residual put together from differences instead of autograd."""

    def u(X):
        return torch.sin(1.3 * X[:, :1]) * torch.exp(0.7 * X[:, -1:])

    X = torch.rand(50, len(equation.columns), dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    found = equation.residual(u, X.clone(), 0.8).detach().numpy()
    h = 1e-4

    def slope(axis, order):
        step = torch.zeros(X.shape[1], dtype=torch.float64)
        step[axis] = h
        up, down, mid = u(X + step)[:, 0], u(X - step)[:, 0], u(X)[:, 0]
        return ((up - down) / (2 * h) if order == 1 else (up - 2 * mid + down) / h**2).numpy()

    value = u(X)[:, 0].numpy()
    expected = {
        "heat": lambda: slope(1, 1) - 0.8 * slope(0, 2),
        "wave": lambda: slope(1, 2) - 0.8 * slope(0, 2),
        "logistic": lambda: slope(0, 1) - 0.8 * value * (1 - value),
    }[equation.name]()
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_conditions_hold_for_the_exact_solution_alone(equation):
    rng = torch.Generator().manual_seed(5)
    assert equation.conditions(lambda X: exact_network(equation)(X.double()), rng).item() < 1e-12
    assert equation.conditions(lambda X: exact_network(equation)(X.double()) + 0.1, rng).item() > 1e-3
