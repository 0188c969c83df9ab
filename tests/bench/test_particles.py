"""The simulator of bodies: against scipy's integrator, against derivatives of its own energy, and by what physics conserves."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from bench.distillation import particles


@pytest.fixture(params=particles.LAWS)
def law(request):
    return request.param


def test_forces_are_minus_the_energys_derivative(law):
    state = particles.start(3, 4, np.random.default_rng(1))
    state[..., 2:4] = 0
    force = particles.accelerations(law, state) * state[..., 5:6]
    step = 1e-6
    for body in range(4):
        for axis in range(2):
            moved = [state.copy(), state.copy()]
            moved[0][:, body, axis] += step
            moved[1][:, body, axis] -= step
            slope = (particles.energy(law, moved[0]) - particles.energy(law, moved[1])) / (2 * step)
            np.testing.assert_allclose(force[:, body, axis], -slope, rtol=1e-5, atol=1e-7)


def test_energy_and_momentum_stay(law):
    rng = np.random.default_rng(2)
    first = particles.start(40, 4, rng)
    first = first[particles.nearest(first) > 0.25]
    path, least = particles.move(first, lambda s: particles.accelerations(law, s), 1.0, 0.1)
    apart = least >= 0.25
    assert apart[-1].sum() >= 3
    before = particles.energy(law, path[0])
    kinetic = 0.5 * (path[..., 5] * (path[..., 2:4] ** 2).sum(-1)).sum(-1)
    for state, kept in zip(path, apart):
        drift = np.abs(particles.energy(law, state) - before)[kept]
        assert (drift < 1e-4 * np.maximum(1, kinetic.max(0))[kept]).all()
    momentum = (path[..., 2:4] * path[..., 5:6]).sum(2)
    np.testing.assert_allclose(momentum, momentum[:1].repeat(len(path), 0), atol=1e-9)


def test_two_bodies_as_scipy_moves_them(law):
    state = np.array([[[0.5, 0.1, 0.0, 0.6, 1.0, 1.2], [-0.6, -0.2, 0.1, -0.4, -0.8, 0.7]]])

    def slope(t, z):
        now = state.copy()
        now[0, :, :4] = z.reshape(2, 4)
        return np.concatenate([now[0, :, 2:4], particles.accelerations(law, now)[0]], axis=1).ravel()

    exact = solve_ivp(slope, (0, 1), state[0, :, :4].ravel(), rtol=1e-11, atol=1e-12).y[:, -1].reshape(2, 4)
    path, _ = particles.move(state, lambda s: particles.accelerations(law, s), 1.0, 0.5)
    assert path.shape == (3, 1, 2, 6)
    np.testing.assert_allclose(path[-1, 0, :, :4], exact, atol=2e-5)


def test_the_least_distance_is_kept_though_bodies_part_again():
    state = np.array([[[-0.5, 0.0, 2.0, 0.0, 1.0, 1.0], [0.5, 0.05, -2.0, 0.0, 1.0, 1.0]]])
    path, least = particles.move(state, lambda s: 0 * s[..., :2], 0.5, 0.1)
    assert particles.nearest(path[-1])[0] == pytest.approx(np.hypot(1, 0.05))
    np.testing.assert_allclose(least[:3, 0], [np.hypot(1, 0.05), np.hypot(0.6, 0.05), np.hypot(0.2, 0.05)])
    assert least[-1, 0] == pytest.approx(0.05)
