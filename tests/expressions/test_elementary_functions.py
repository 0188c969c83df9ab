"""elementary_functions.py against numpy in long double, mpmath, and numpy at the edges of each function."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest

from fansr.expressions import evaluate

RNG = np.random.default_rng(20)
N = 60_000
UNIT = RNG.uniform(-1, 1, N)
ANGLES = np.concatenate([UNIT * size for size in (1e6, 1e3, 10, 1, 1e-3, 1e-8)])
TURNS = np.rint(RNG.uniform(-636_000, 636_000, N))  # quarters of a turn: the nearest doubles to a zero of sin or cos
NEAR_ZEROS = (TURNS * (np.longdouble(math.pi) / 2 + np.longdouble(6.123233995736766e-17))).astype(float)
POSITIVE = np.concatenate(
    [np.exp(RNG.uniform(-744, 709, N)), np.exp(UNIT), 1 + UNIT * 1e-3, 1 + UNIT * 1e-9, RNG.uniform(0, 5e-308, N)]
)
HYPERBOLIC = np.concatenate([UNIT * size for size in (710, 25, 3, 1.2, 0.6, 1e-4, 1e-9)])
# Function: arguments, the most error in units in the last place.
CASES = {
    "exp": (np.concatenate([UNIT * 750, UNIT * 5, UNIT, UNIT * 1e-3, RNG.uniform(-745.2, -707, N)]), 1.02),
    "log": (POSITIVE, 0.9),
    "sin": (np.concatenate([ANGLES, NEAR_ZEROS, ANGLES * 1e9]), 1.0),
    "cos": (np.concatenate([ANGLES, NEAR_ZEROS, ANGLES * 1e9]), 1.0),
    "sinh": (HYPERBOLIC, 1.7),
    "cosh": (HYPERBOLIC, 1.5),
    "tanh": (HYPERBOLIC, 1.6),
    "cbrt": (np.concatenate([POSITIVE, -POSITIVE]), 0.7),
}
TOKEN = {"cbrt": "pow1_3"}


def values(name, x):
    return evaluate([TOKEN.get(name, name), "x1"], x[:, None])


def in_last_places(got, want):
    """|got - want| in units in the last place of the double next to want, where want is a finite double."""
    with np.errstate(all="ignore"):
        nearest = want.astype(float)
    usual = np.isfinite(nearest)
    assert np.array_equal(usual, np.isfinite(got))
    return np.abs(got[usual] - want[usual]) / np.spacing(np.abs(nearest[usual]))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 60, reason="no long double here")
def test_errors_in_units_of_the_last_place(name):
    x, most = CASES[name]
    with np.errstate(all="ignore"):
        want = getattr(np, name)(x.astype(np.longdouble))
    error = in_last_places(values(name, x), want)
    assert len(error) > 0.9 * len(x) and error.max() < most, (name, float(error.max()))


@pytest.mark.parametrize("name", CASES)
def test_errors_against_mpmath(name):
    mp = pytest.importorskip("mpmath")
    x, most = CASES[name]
    x = RNG.choice(x, 1500)
    got = values(name, x)
    with mp.workdps(50):
        function = (lambda v: mp.sign(v) * mp.cbrt(abs(v))) if name == "cbrt" else getattr(mp, name)
        for a, y in zip(x.tolist(), got.tolist()):
            want = function(mp.mpf(a))
            nearest = float(want)
            if math.isfinite(nearest):
                assert abs(y - want) <= most * math.ulp(nearest), (name, a, y, nearest)
            else:
                assert y == nearest


SPECIAL = [0.0, 1.0, 5e-324, 1e-310, 2.2250738585072014e-308, 1e-300, 1e-9, 0.5, 0.55, 1.7, 22.0, 708.5, 709.78, 709.79, 710.4758,
           710.476, 745.1, 745.2, 1e6, 1000000.1, 1e22, 1.7976931348623157e308, math.inf]  # fmt: skip
SPECIAL = np.array([sign * v for v in SPECIAL for sign in (1, -1)] + [math.nan])


@pytest.mark.parametrize("name", CASES)
def test_edges_are_numpys_alone_and_together(name):
    with np.errstate(all="ignore"):
        want = getattr(np, name)(SPECIAL)
        room = 2 * np.spacing(np.abs(want))
    alone = np.concatenate([values(name, v[None]) for v in SPECIAL])
    without_large = values(name, SPECIAL[~(abs(SPECIAL) > 1e6)])  # sin and cos: not by the C library
    for got, wanted, ulps in (
        (values(name, SPECIAL), want, room),
        (alone, want, room),
        (without_large, want[~(abs(SPECIAL) > 1e6)], room[~(abs(SPECIAL) > 1e6)]),
    ):
        assert np.array_equal(np.isnan(got), np.isnan(wanted))
        usual = np.isfinite(wanted)
        assert np.array_equal(got[~usual & ~np.isnan(wanted)], wanted[~usual & ~np.isnan(wanted)])  # infinite
        assert (abs(got[usual] - wanted[usual]) <= ulps[usual]).all(), name
        exact = wanted == 0  # zeros with their signs
        assert np.array_equal(got[exact], wanted[exact]) and (np.signbit(got) == np.signbit(wanted))[exact].all()


def test_exact_values():
    one = np.array([0.0])
    assert values("exp", one) == 1 and values("cos", one) == 1 and values("cosh", one) == 1
    assert values("log", np.array([1.0])) == 0
    powers = np.arange(-340.0, 341)
    np.testing.assert_array_equal(values("cbrt", 2.0 ** (3 * powers)), 2.0**powers)
    assert np.array_equal(values("cbrt", np.arange(-50.0, 50) ** 3), np.arange(-50.0, 50))


def test_a_row_of_any_length_has_the_values_of_its_numbers():
    x = RNG.normal(0, 3, 70)
    x[40:50] *= 1e7  # sin and cos of these are the C library's
    for name in CASES:
        one_by_one = np.concatenate([values(name, v[None]) for v in x])
        for n in range(1, 70):
            np.testing.assert_array_equal(values(name, x[:n]), one_by_one[:n], err_msg=name)


def test_without_compilation_the_same():
    """Plain Python runs the same lines; only the contraction of products and sums may differ."""
    code = (
        "import numpy as np, sys; from fansr.expressions import evaluate; x = np.linspace(-3, 3, 41)\n"
        "for name in sys.argv[1:]: print(*map(float.hex, evaluate([name, 'x1'], x[:, None]).tolist()))"
    )
    names = [TOKEN.get(name, name) for name in CASES]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *names],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    x = np.linspace(-3, 3, 41)
    for name, line in zip(CASES, done.stdout.splitlines(), strict=True):
        plain = np.array([float.fromhex(word) for word in line.split()])
        np.testing.assert_allclose(values(name, x), plain, rtol=5e-16, err_msg=name)
