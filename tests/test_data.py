"""The shipped tables against what is known of them, and the benchmark's laws against formulas written out here."""

import json
import math

import numpy as np
import pytest
from scipy.optimize import curve_fit

from fansr.cli import resources
from fansr.expressions.infix import from_infix
from fansr.expressions.programs import evaluate
from fansr.tables.loading import load_problem

BENCHMARK = json.loads(resources.path("data", "fastsrb.json").read_text())
LAWS = {law["id"]: law for law in BENCHMARK["laws"]}
EXCLUDED = {"B4", "B7", "B17", "II.24.17", "III.14.14"}


def table(name):
    problem, _, dropped = load_problem(str(resources.path("data", name + ".csv")))
    assert not dropped
    return problem.X, problem.y


def fitted(name, law, start):
    """(parameters, residual square, FVU) of scipy's least squares."""
    X, y = table(name)
    p, _ = curve_fit(law, X.T if X.shape[1] > 1 else X[:, 0], y, start, maxfev=10_000)
    rss = float(np.sum((y - law(X.T if X.shape[1] > 1 else X[:, 0], *p)) ** 2))
    return p, rss, rss / float(np.sum((y - y.mean()) ** 2))


def test_certified_fits_of_the_reference_data_sets():
    p, rss, _ = fitted("filament", lambda x, a, b: a * x**b, (0.7, 4))
    assert np.allclose(p, (0.76886226, 3.8604056), rtol=1e-6) and math.isclose(rss, 4.3173084e-3, rel_tol=1e-6)
    p, rss, _ = fitted("oxygen_demand", lambda x, a, b: a * (1 - np.exp(-b * x)), (200, 0.5))
    assert np.allclose(p, (213.80940889, 0.54723748), rtol=1e-5) and math.isclose(rss, 1168.0088766, rel_tol=1e-8)
    p, rss, _ = fitted("puromycin", lambda x, a, b: a * x / (b + x), (200, 0.05))
    assert np.allclose(p, (212.68, 0.06412), rtol=1e-3) and math.isclose(rss, 1195.449, rel_tol=1e-5)


@pytest.mark.parametrize(
    "name, law, start, fvu",
    [
        ("planets", lambda x, c: c * x**1.5, (365.0,), 1e-7),
        ("galilean_moons", lambda x, c: c * x**1.5, (6e-9,), 1e-7),
        ("hydrogen_lines", lambda n, c: c / (1 / n[0] ** 2 - 1 / n[1] ** 2), (91.0,), 1e-9),
        ("boyle_1662", lambda v, c: c / v, (1400.0,), 1e-4),
        ("ohm_1826", lambda x, a, b: a / (b + x), (7000, 20), 2e-4),
        ("hubble_1929", lambda r, h: h * r, (400.0,), 0.4),
        ("cmb_firas", lambda n, a, b: a * n**3 / np.expm1(b * n), (40.0, 0.53), 1e-6),
        ("water_vapour", lambda t, a, b, c: np.exp(a - b / (t + c)), (16.0, 3800.0, -46.0), 1e-6),
        ("stopping_distance", lambda v, a, b: a * v + b * v * v, (1.0, 0.1), 0.35),
        ("galileo_1608", lambda h, c: c * np.sqrt(h), (47.0,), 0.004),
        ("us_census", lambda t, a, b: a * (t - b) ** 2, (0.006, 1790.0), 0.0015),
    ],
)
def test_textbook_law_holds_to_the_noise_stated(name, law, start, fvu):
    assert fitted(name, law, start)[2] < fvu


def test_cosmic_background_temperature():
    (_, b), _, _ = fitted("cmb_firas", lambda n, a, b: a * n**3 / np.expm1(b * n), (40.0, 0.53))
    h, c, k = 6.62607015e-34, 2.99792458e8, 1.380649e-23
    assert abs(100 * h * c / (k * b) - 2.725) < 1e-3


def test_stated_errors_of_the_microwave_background():
    """With them Planck's law at 2.725 K leaves chi^2 near the number of rows, 45.0 in the residuals of table 4."""
    from fansr.tables.loading import load_problem

    problem, _, _ = load_problem(str(resources.path("data", "cmb_firas_errors.csv")), sigma="sigma_mjy_sr")
    nu = problem.X[:, 0] * 100 * 2.99792458e8
    planck = 2e20 * 6.62607015e-34 * nu**3 / 2.99792458e8**2 / np.expm1(6.62607015e-34 * nu / (1.380649e-23 * 2.725))
    chi2 = (
        problem.weights
        * (problem.y - planck * np.average(problem.y / planck, weights=problem.weights * planck**2)) ** 2
    ).sum()
    assert problem.names == ["wavenumber_per_cm"] and 40 < chi2 < 50
    assert np.array_equal(problem.y, table("cmb_firas")[1])


def test_totals_that_misprints_would_break():
    X, y = table("stopping_distance")
    assert (X.sum(), y.sum(), len(y)) == (770, 2149, 50)
    X, y = table("hubble_1929")
    assert len(y) == 24 and np.isclose(X.sum(), 21.873) and y.sum() == 8955
    X, y = table("boyle_1662")
    assert len(y) == 25 and np.abs(X[:, 0] * y / 1408 - 1).max() < 0.01
    X, y = table("galileo_1608")
    assert (X.sum(), y.sum(), len(y)) == (3528, 6140, 5)
    X, y = table("us_census")
    # The rounded series of R's `uspop`, which leaves out Alaska and Hawaii; 1870 is corrected there for the undercount.
    rounded = np.array(
        [
            3.93,
            5.31,
            7.24,
            9.64,
            12.9,
            17.1,
            23.2,
            31.4,
            39.8,
            50.2,
            62.9,
            76.0,
            92.0,
            105.7,
            122.8,
            131.7,
            151.3,
            179.3,
            203.2,
        ]
    )
    assert np.array_equal(X[:, 0], np.arange(1790, 2021, 10)) and np.all(np.diff(y) > 0)
    assert np.all(np.abs(np.delete(y[:19] / rounded - 1, 8)) < 0.006)


def test_published_regression_of_boiling_points():
    """Weisberg: 100 log10(pressure) = -42.138 + 0.895 * boiling point, residual standard error 0.379."""
    X, y = table("forbes_1857")
    slope, offset = np.polyfit(X[:, 0], 100 * np.log10(y), 1)
    rest = 100 * np.log10(y) - slope * X[:, 0] - offset
    assert len(y) == 17 and abs(slope - 0.895) < 1e-3 and abs(offset + 42.138) < 0.05
    assert abs(np.sqrt(rest @ rest / 15) - 0.379) < 1e-3 and np.abs(rest).argmax() == 11


def test_every_table_is_described():
    text = resources.path("data", "README.md").read_text()
    tables = sorted(p.name for p in resources.path("data").iterdir() if p.name.endswith(".csv"))
    assert len(tables) >= 10
    for name in tables:
        assert f"`{name}`" in text


# ---- the benchmark ----------------------------------------------------------------------------


def draw(law, n, rng):
    columns = []
    for v in law["variables"]:
        low, high = v["low"], v["high"]
        x = 10 ** rng.uniform(np.log10(low), np.log10(high), n) if v["dist"] == "log" else rng.uniform(low, high, n)
        if v["sign"] == "pos_neg":
            x = x * rng.choice([-1.0, 1.0], n)
        x = -x if v["sign"] == "neg" else x
        columns.append(np.rint(x) if v["dist"] == "int" else x)
    return np.column_stack(columns)


def test_shape_of_the_benchmark():
    assert len(BENCHMARK["laws"]) == len(LAWS) == 120
    assert {key for key, law in LAWS.items() if law["excluded"]} == EXCLUDED
    kept = [law["difficulty"] for law in LAWS.values() if not law["excluded"]]
    assert [kept.count(d) for d in ("easy", "medium", "hard")] == [30, 39, 46]
    for law in LAWS.values():
        assert [v["name"] for v in law["variables"]] == [f"v{j + 1}" for j in range(len(law["variables"]))]
        for v in law["variables"]:
            assert (
                v["dist"] in ("log", "uni", "int") and v["sign"] in ("pos", "neg", "pos_neg") and v["low"] < v["high"]
            )
            assert v["low"] > 0 or v["dist"] != "log"


@pytest.mark.parametrize("key", sorted(LAWS))
def test_law_is_finite_on_its_ranges_and_uses_all_columns(key):
    law = LAWS[key]
    names = [v["name"] for v in law["variables"]]
    expr = from_infix(law["infix"], names)
    X = draw(law, 400, np.random.default_rng(0))
    y = evaluate(expr, X)
    finite = np.isfinite(y)
    assert finite.any() if law["excluded"] else finite.mean() > 0.98
    assert set(expr) >= {f"x{j + 1}" for j in range(len(names))}
    # The same text as Python reads it.
    with np.errstate(all="ignore"):
        scope = {n: X[:, j] for j, n in enumerate(names)}
        python = eval(
            law["infix"],
            {"__builtins__": {}},
            {
                **{
                    f: getattr(np, f)
                    for f in (  # noqa: S307 - our own file
                        "sin",
                        "cos",
                        "tanh",
                        "sqrt",
                        "exp",
                        "log",
                        "pi",
                    )
                },
                **scope,
            },
        )
    # Differences such as exp(x) - 1 keep few digits for tiny x, whoever computes them.
    assert np.allclose(y[finite], (python + np.zeros(len(X)))[finite], rtol=1e-7, atol=0)


HBAR, EPSILON, C, KB, G = 6.626e-34 / (2 * np.pi), 8.854e-12, 2.99792458e8, 1.380649e-23, 6.6743e-11


def test_the_london_current_is_that_of_a_metal():
    """SRSD's carriers of III.21.20: as many as a metal has, 8.5e28 of copper among them, charged like electrons."""
    rho, q, _, m = LAWS["III.21.20"]["variables"]
    assert rho["low"] < 8.5e28 < rho["high"] and m["low"] < 9.11e-31 * 10 < m["high"]
    assert rho["sign"] == q["sign"] == "neg" and "SRSD" in LAWS["III.21.20"]["note"]


BY_HAND = {
    "I.12.2": lambda q, p, r: q * p / (4 * np.pi * EPSILON * r**2),
    "I.18.4": lambda m, r, n, s: (m * r + n * s) / (m + n),
    "I.9.18": lambda m, n, a, b, c, d, e, f: G * m * n / ((a - b) ** 2 + (c - d) ** 2 + (e - f) ** 2),
    "I.29.16": lambda a, b, t, u: np.sqrt(a * a + b * b - 2 * a * b * np.cos(t - u)),
    "I.41.16": lambda w, T: HBAR * w**3 / (np.pi**2 * C**2 * (np.exp(HBAR * w / (KB * T)) - 1)),  # expm1 would differ
    "II.6.15b": lambda p, t, r: 3 * p * np.cos(t) * np.sin(t) / (4 * np.pi * EPSILON * r**3),
    "II.35.21": lambda n, m, B, T: n * m * np.tanh(m * B / (KB * T)),
    "III.8.54": lambda E, t: np.sin(E * t / HBAR) ** 2,
    "III.21.20": lambda r, q, A, m: -r * q * A / m,
    "B2": lambda m, k, L, E, t, u: m * k / L**2 * (1 + np.sqrt(1 + 2 * E * L**2 / (m * k**2)) * np.cos(t - u)),
    "B5": lambda d, m, n: 2 * np.pi * d**1.5 / np.sqrt(G * (m + n)),
    "B9": lambda m, n, r: -32 / 5 * G**4 / C**5 * (m * n) ** 2 * (m + n) / r**5,
    "B16": lambda p, q, A, m, V: np.sqrt((p - q * A) ** 2 * C**2 + m**2 * C**4) + q * V,
    "I.6.2b": lambda t, u, s: np.exp(-(((t - u) / s) ** 2) / 2) / (np.sqrt(2 * np.pi) * s),
}


@pytest.mark.parametrize("key", sorted(BY_HAND))
def test_law_against_a_formula_written_by_hand(key):
    law = LAWS[key]
    X = draw(law, 300, np.random.default_rng(1))
    y = evaluate(from_infix(law["infix"], [v["name"] for v in law["variables"]]), X)
    assert np.allclose(y, BY_HAND[key](*X.T), rtol=1e-6, atol=1e-12 * np.abs(y).max())
