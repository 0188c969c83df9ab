"""Tables as a trained network would give them: a law, and an error that is smooth in the columns and no noise."""

import numpy as np

from fansr.fitting import Problem

ROWS = 1000


def smooth_error(X, rms, rng, units=24):
    """(M,) values of a random layer of tanh over standardised columns, centred, of the given root mean square."""
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    hidden = np.tanh(Z @ rng.normal(0, 1.5, (X.shape[1], units)) + rng.normal(0, 1.5, units))
    error = hidden @ rng.normal(0, 1, units)
    error -= error.mean()
    return rms * error / np.sqrt(np.mean(error**2))


def heat(rng):
    """Heat equation on a rod: rms error 2.7e-3, as of a physics-informed network."""
    X = rng.uniform(0, 1, (ROWS, 2))
    x, t = X.T
    y = np.exp(-(np.pi**2) * 0.2 * t) * np.sin(np.pi * x)
    return X, y, ["x", "t"], 2.7e-3


def pair(rng):
    d = rng.uniform(-2, 2, (ROWS, 2))
    return d, np.sqrt((d**2).sum(axis=1) + 1e-2)


def spring(rng):
    """A message of a graph network, a mixture of the force's two components."""
    d, r = pair(rng)
    force = (1 / r - 1)[:, None] * d
    y = 0.8 * force[:, 0] - 0.5 * force[:, 1] + 0.1
    return np.column_stack([d, r]), y, ["dx", "dy", "r"], 0.01 * y.std()


def gravity(rng):
    d, r = pair(rng)
    m = rng.uniform(0.5, 2, (ROWS, 2))
    far = r > 0.7
    d, r, m = d[far], r[far], m[far]
    y = (0.8 * d[:, 0] - 0.5 * d[:, 1]) * m[:, 0] * m[:, 1] / r**3
    return np.column_stack([d, r, m]), y, ["dx", "dy", "r", "m1", "m2"], 0.01 * y.std()


def generic(rng):
    """A block that no law describes: the random layer alone."""
    X = rng.uniform(-2, 2, (ROWS, 3))
    return X, smooth_error(X, 1.0, rng), ["x1", "x2", "x3"], 0.0


TABLES = {"heat": heat, "spring": spring, "gravity": gravity, "generic": generic}


def table(name, seed=0):
    """The problem of that name, its numbers in single precision, as networks give them."""
    rng = np.random.default_rng([seed, list(TABLES).index(name)])
    X, y, names, rms = TABLES[name](rng)
    y = y + (smooth_error(X, rms, rng) if rms else 0.0)
    X, y = X.astype(np.float32).astype(float), y.astype(np.float32).astype(float)
    return Problem(np.ascontiguousarray(X), y, names)
