"""Bodies in a plane that pull and push one another in pairs: the simulator behind the graph network's showcase.

A state is (B, n, 6): x, y, vx, vy, charge, mass of n bodies in B systems.  The force on body i by body j points along the line
between them and depends on r = sqrt(dx^2 + dy^2 + SOFTENING^2) alone; it is minus the derivative of `potential`, so that energy
is conserved up to the integrator (velocity Verlet).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

SOFTENING = 1e-2
DT = 1e-3  # of velocity Verlet
LOOK = 5  # steps between two looks at the distances
LAWS = ("spring", "gravity", "charge", "inverse")
# What multiplies the law's shape, and which power of r the force has (None: the spring, of rest length 1).
STRENGTH = {"spring": None, "gravity": "m", "charge": "q", "inverse": "m"}
POWER = {"spring": None, "gravity": -2, "charge": -2, "inverse": -1}


def pull(law: str, r: np.ndarray, q1, m1, q2, m2) -> np.ndarray:
    """The force on body 1 towards body 2 at distance r; negative where they repel."""
    if law == "spring":
        return r - 1
    if law == "gravity":
        return m1 * m2 / r**2
    if law == "charge":
        return -q1 * q2 / r**2
    return m1 * m2 / r


def potential(law: str, r: np.ndarray, q1, m1, q2, m2) -> np.ndarray:
    """Energy of a pair, whose derivative by r is `pull`."""
    if law == "spring":
        return 0.5 * (r - 1) ** 2
    if law == "gravity":
        return -m1 * m2 / r
    if law == "charge":
        return q1 * q2 / r
    return m1 * m2 * np.log(r)


def pairs(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of (receiver, sender) of all n (n - 1) ordered pairs, by receiver."""
    i, j = np.divmod(np.arange(n * n), n)
    return i[i != j], j[i != j]


def pair_forces(law: str, state: np.ndarray) -> np.ndarray:
    """(B, n (n - 1), 2): the force on each receiver by each sender, in the order of `pairs`."""
    i, j = pairs(state.shape[1])
    one, two = state[:, i], state[:, j]
    d = two[..., :2] - one[..., :2]
    r = np.sqrt((d**2).sum(-1) + SOFTENING**2)
    size = pull(law, r, one[..., 4], one[..., 5], two[..., 4], two[..., 5])
    return (size / r)[..., None] * d


def accelerations(law: str, state: np.ndarray) -> np.ndarray:
    """(B, n, 2)."""
    B, n, _ = state.shape
    return pair_forces(law, state).reshape(B, n, n - 1, 2).sum(2) / state[..., 5:6]


def energy(law: str, state: np.ndarray) -> np.ndarray:
    """(B,): kinetic and potential energy of each system."""
    i, j = pairs(state.shape[1])
    one, two = state[:, i], state[:, j]
    r = np.sqrt(((two[..., :2] - one[..., :2]) ** 2).sum(-1) + SOFTENING**2)
    held = 0.5 * potential(law, r, one[..., 4], one[..., 5], two[..., 4], two[..., 5]).sum(1)
    return 0.5 * (state[..., 5] * (state[..., 2:4] ** 2).sum(-1)).sum(1) + held


def nearest(state: np.ndarray) -> np.ndarray:
    """(B,): the least distance between two bodies of each system."""
    i, j = pairs(state.shape[1])
    return np.sqrt(((state[:, j, :2] - state[:, i, :2]) ** 2).sum(-1)).min(1)


def start(B: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """States at time 0: places normal, speeds half that, charges of both signs and 0.5 to 1.5, masses 0.5 to 2 (log-uniform)."""
    place, speed = rng.normal(size=(B, n, 2)), 0.5 * rng.normal(size=(B, n, 2))
    charge = rng.choice([-1.0, 1.0], (B, n, 1)) * rng.uniform(0.5, 1.5, (B, n, 1))
    mass = np.exp(rng.uniform(np.log(0.5), np.log(2), (B, n, 1)))
    return np.concatenate([place, speed, charge, mass], axis=-1)


def move(
    state: np.ndarray, acceleration: Callable[[np.ndarray], np.ndarray], seconds: float, every: float, dt: float = DT
) -> tuple[np.ndarray, np.ndarray]:
    """Velocity Verlet from state: (path, least).

    path (1 + seconds / every, B, n, 6): the state every `every` seconds, the first included; least (1 + seconds / every, B): how
    near two bodies of a system have come up to then, looked at every LOOK steps.
    """
    state = state.copy()
    least = nearest(state)
    path, leasts, a = [state.copy()], [least], acceleration(state)
    per = round(every / dt)
    for k in range(1, round(seconds / every) * per + 1):
        state[..., 2:4] += 0.5 * dt * a
        state[..., :2] += dt * state[..., 2:4]
        a = acceleration(state)
        state[..., 2:4] += 0.5 * dt * a
        if k % LOOK == 0 or k % per == 0:
            least = np.minimum(least, nearest(state))
        if k % per == 0:
            path.append(state.copy())
            leasts.append(least)
    return np.stack(path), np.stack(leasts)
