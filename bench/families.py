"""Laws of our own making, and small noisy tables: seven families of 30 laws that some proposers were written to find, and
three of 30 that were written when the proposers were finished.

    bin/bench-families laws -o data/families.json         write the laws (seeded; the shipped file is this one's output)
    bin/bench-families laws --later -o later.json         the three later families
    bin/bench-families laws --random --each 12 -o dev.json   laws of a random grammar: what the proposers are developed on
    bin/bench-fastsrb ladder --laws data/families.json --budgets 10 --repeats 1 --out out/families
    bin/bench-families tables -o tables.zst               problems: textbook models and the real tables of data/
    fansr-fit tables.zst --time 3 -o fits.zst && bin/bench-families judge fits.zst

Every table carries what scipy's curve_fit reaches with the true model, started at the true parameters, so that
`judge` can say how often the printed law is as good with no more constants, and how often it overfits.
"""

import json
import math
import pathlib
import re
import sys
import time
import warnings

import click
import numpy as np

from fansr.cli import command, resources
from fansr.errors import DataError
from fansr.evaluation.metrics import fvu
from fansr.expressions.infix import from_infix
from fansr.expressions.tokens import CONSTANT
from fansr.streams.reader_writer import open_reader, open_writer
from fansr.streams.seeds import rng_for

LAWS_EACH = 30

# ---- families of laws -------------------------------------------------------------------------


def _names(rng, low, high):
    return [f"x{j + 1}" for j in range(rng.integers(low, high + 1))]


def _number(rng, low=0.2, high=5.0):
    """A constant of two digits, log-uniform."""
    return f"{math.exp(rng.uniform(math.log(low), math.log(high))):.2g}"


def _term(rng, names, most=2):
    """A product of up to `most` distinct variables."""
    return "*".join(rng.permutation(names)[: rng.integers(1, most + 1)])


def nested_radicals(rng):
    """Roots in roots: sqrt(x1 + 2.1*sqrt(x2 + cbrt(x3*x4))), times or over a variable."""
    names = list(_names(rng, 2, 4))
    inner = _term(rng, names)
    for depth in range(rng.integers(2, 4)):
        root = ("sqrt", "cbrt")[rng.integers(2)] if depth else "sqrt"
        factor = "" if rng.random() < 0.5 else f"{_number(rng)}*"
        inner = f"{_term(rng, names)} + {factor}{root}({inner})"
    outer = f"sqrt({inner})"
    return (
        (outer, f"{_term(rng, names, 1)}*{outer}", f"{_term(rng, names, 1)}/{outer}")[rng.integers(3)],
        names,
        (0.5, 5.0),
    )


def three_body(rng):
    """Sums of three or four products over three bodies: masses, differences, squared distances."""
    names = [f"x{j + 1}" for j in range(rng.integers(4, 7))]

    def factor():
        a, b = rng.permutation(names)[:2]
        return (a, a, f"({a} - {b})", f"{a}**2", f"({a} + {b})", f"1/{a}")[rng.integers(6)]

    terms = []
    for _ in range(rng.integers(3, 5)):
        product = "*".join(factor() for _ in range(rng.integers(2, 4)))
        terms.append(product if rng.random() < 0.6 else f"{_number(rng)}*{product}")
    return " + ".join(terms), names, (0.5, 3.0)


def damped_oscillations(rng):
    """Amplitude, decay, frequency and phase as variables or numbers: x1*exp(-0.3*x2)*cos(2.2*x2 + x3)."""
    names = ["x1"] + [f"x{j + 2}" for j in range(rng.integers(1, 4))]
    time = names[0]
    others = iter(rng.permutation(names[1:]))

    def knob(low, high):
        return next(others, None) or _number(rng, low, high)

    decay, speed = knob(0.1, 1.0), knob(1.0, 6.0)
    amplitude, phase = knob(0.5, 5.0), next(others, None)
    wave = ("sin", "cos")[rng.integers(2)]
    inside = f"{speed}*{time}" + (f" + {phase}" if phase else "")
    form = f"{amplitude}*exp(-{decay}*{time})*{wave}({inside})"
    names = [name for name in names if name in form]
    return (form, f"{form} + {_number(rng)}")[rng.integers(2)], names, (0.2, 4.0)


def deep_mixtures(rng):
    """Four to seven variables, sums and products nested inside a root, logarithm, sine or exponential."""
    names = list(_names(rng, 4, 7))
    order = list(rng.permutation(names))
    half = len(order) // 2
    inner = " + ".join(["*".join(order[:half]), *(order[half:] if rng.random() < 0.5 else ["*".join(order[half:])])])
    scaled = f"({inner})/{len(names)}"
    body = (f"sqrt({inner})", f"log({inner})", f"sin({scaled})", f"exp(-{scaled})")[rng.integers(4)]
    outer = (f"{order[0]}*{body}", f"{body} + {order[-1]}**2", f"{body}/({order[0]} + {order[-1]})")[rng.integers(3)]
    return outer, names, (0.5, 2.5)


def rational(rng):
    """Polynomials over polynomials in one to three variables."""
    names = list(_names(rng, 1, 3))

    def polynomial(n):
        terms = [f"{_number(rng)}*{_term(rng, names)}" + ("", "**2")[rng.integers(2)] for _ in range(n)]
        return " + ".join([_number(rng), *terms])

    return f"({polynomial(rng.integers(1, 3))})/({polynomial(rng.integers(1, 3))})", names, (0.2, 4.0)


def fast_oscillations(rng):
    """Ten to forty radians over the range: x2*cos(9.8*x1) + x3."""
    names = list(_names(rng, 1, 3))
    wave = f"{('sin', 'cos')[rng.integers(2)]}({_number(rng, 6.0, 20.0)}*x1)"
    others = names[1:] or [_number(rng)]
    form = f"{others[0]}*{wave}"
    return form + ("", f" + {others[-1]}", f" + {_number(rng)}*x1")[rng.integers(3)], names, (0.2, 3.0)


def peaks(rng):
    """Narrow Gaussians and Lorentzians, which are outliers to anything fitted by variance alone."""
    names = list(_names(rng, 1, 3))
    centre, width = f"{rng.uniform(1.0, 3.0):.2g}", f"{rng.uniform(0.05, 0.3):.2g}"
    height = names[-1] if len(names) > 1 else _number(rng)
    at = f"(x1 - {names[1]})" if len(names) == 3 else f"(x1 - {centre})"
    form = (f"{height}*exp(-({at}/{width})**2)", f"{height}/(1 + ({at}/{width})**2)")[rng.integers(2)]
    return form + ("", f" + {_number(rng)}")[rng.integers(2)], names, (0.5, 3.5)


def saturations(rng):
    """Products of one to three saturating or decaying factors, over a background: x3*x1**2/(2.1 + x1**2)*(1 - exp(-0.7*x2))."""
    names = list(_names(rng, 2, 4))
    factors = []
    for name in names[: rng.integers(1, 4)]:
        k = _number(rng, 0.3, 3.0)
        factors.append(
            (
                f"{name}/({k} + {name})",
                f"{name}**2/({k} + {name}**2)",
                f"(1 - exp(-{k}*{name}))",
                f"exp(-{k}*{name})",
                f"tanh({k}*{name})",
            )[rng.integers(5)]
        )
    rest = names[len(factors) :]
    form = "*".join([*rest, *factors])
    return form + ("", f" + {_number(rng)}", f" + {_number(rng)}*{names[-1]}")[rng.integers(3)], names, (0.2, 4.0)


def logs_of_sums(rng):
    """Logarithms and exponentials of sums, added to or multiplied with other columns: x3*log(1 + x1*exp(-0.4*x2)) + x2**2."""
    names = list(_names(rng, 2, 5))
    a, b = rng.permutation(names)[:2]
    inner = (
        f"{_number(rng)} + {a}*exp(-{_number(rng, 0.2, 1.0)}*{b})",
        f"{a}**2 + {_number(rng)}*{b}",
        f"{a} + {b} + {a}*{b}",
        f"{a}*{b} + {_number(rng)}",
    )[rng.integers(4)]
    body = (
        f"log({inner})",
        f"sqrt({inner})*log({inner})",
        f"1/log({_number(rng, 1.5, 4.0)} + {inner})",
        f"exp(-1/({inner}))",
    )[rng.integers(4)]
    others = [name for name in names if name not in (a, b)] or [a]
    tail = _term(rng, others, 2)
    return (
        (f"{tail}*{body}", f"{body} + {tail}", f"{body}/{tail}", f"{tail}*{body} - {a}**2")[rng.integers(4)],
        names,
        (0.5, 3.0),
    )


def two_waves(rng):
    """Two oscillations of different columns or combinations of them, added or multiplied, with amplitudes that vary."""
    names = list(_names(rng, 2, 4))

    def wave():
        x, z = rng.permutation(names)[:2]
        inside = (
            f"{_number(rng, 1.0, 9.0)}*{x}",
            f"{_number(rng, 1.0, 5.0)}*{x} + {z}",
            f"{x}*{z}",
            f"{x} - {_number(rng, 1.0, 4.0)}*{z}",
        )[rng.integers(4)]
        return f"{('sin', 'cos')[rng.integers(2)]}({inside})"

    amplitude = _term(rng, names, 1)
    form = (
        f"{amplitude}*{wave()} + {_number(rng)}*{wave()}",
        f"{_number(rng)}*{wave()}*{wave()}",
        f"{amplitude}*{wave()}*{wave()} + {_number(rng)}",
        f"{wave()} + {wave()} + {_number(rng)}*{amplitude}",
    )[rng.integers(4)]
    return form, names, (0.2, 3.5)


# ---- laws as scientists write them: a random grammar, to develop the proposers on --------------


def _simple(rng, names):
    """A term with at most one inner constant: a product, quotient, power or a function of a scaled column."""
    a, *more = rng.permutation(names)
    b = more[0] if more else a
    k = _number(rng, 0.3, 3.0)
    return (
        f"{a}*{b}" if more else f"{a}**2",
        f"{a}/{b}" if more else f"1/{a}",
        f"{k}*{a}",
        f"{a}**2",
        f"sqrt({a})",
        f"{a}/({k} + {b})",
        f"exp(-{k}*{a})",
        f"log({k} + {a})",
        f"sin({k}*{a})",
        f"{a}*exp(-{k}*{b})",
        f"tanh({k}*{a})",
        f"1/({k} + {a}**2)",
    )[rng.integers(12)]


def _polynomial(rng, names, most=3):
    """A sum of up to three different products, some with constants, some with a constant of its own."""
    terms, met = [], set()
    for _ in range(rng.integers(2, most + 1)):
        product = (f"{_term(rng, names, 1)}**2", _term(rng, names), _term(rng, names))[rng.integers(3)]
        if frozenset(product) not in met:
            met.add(frozenset(product))
            terms.append(product if rng.random() < 0.5 else f"{_number(rng)}*{product}")
    return " + ".join([*([_number(rng)] if rng.random() < 0.35 or len(terms) < 2 else []), *terms])


def _wrapped(rng, inner):
    """A function around an inner expression that is positive and of order one to ten."""
    k = _number(rng, 0.1, 0.6)
    return (
        f"sqrt({inner})",
        f"log({inner})",
        f"exp(-{k}*({inner}))",
        f"sin({k}*({inner}))",
        f"tanh({k}*({inner}))",
        f"1/(1 + {inner})",
        f"1/sqrt({inner})",
        f"({inner})**2",
        f"1/(1 + exp({inner} - {_number(rng, 2.0, 6.0)}))",
        f"cbrt({inner})",
    )[rng.integers(10)]


def _used(form, names):
    """The form with the columns it uses numbered anew, and their names."""
    used = [name for name in names if name in form]
    for k, name in enumerate(used):
        form = form.replace(name, f"x{k + 1}")
    return form, used and [f"x{k + 1}" for k in range(len(used))]


def wrapped(rng):
    """One function around a sum of products: 1/sqrt(x1*x2 + 0.7*x3)."""
    names = list(_names(rng, 2, 5))
    return *_used(_wrapped(rng, _polynomial(rng, names)), names), (0.3, 3.0)


def factored(rng):
    """A function around a sum of products, times or over another column, or beside it: x3*log(1.2 + x1*x2)."""
    names = list(_names(rng, 3, 6))
    order = list(rng.permutation(names))
    body = _wrapped(rng, _polynomial(rng, order[1:]))
    return *_used(
        (
            f"{order[0]}*{body}",
            f"{body}/{order[0]}",
            f"{body} + {_number(rng)}*{order[0]}",
            f"{order[0]}**2*{body}",
            f"{order[0]}*{order[1]}*{body}",
        )[rng.integers(5)],
        names,
    ), (0.3, 3.0)


def ratios(rng):
    """Ratios of sums, with a factor or a function in one of them: x1*(x2 + 2*x3)/(x1 + x2*x3)."""
    names = list(_names(rng, 2, 5))
    upper, lower = _polynomial(rng, names, 2), _polynomial(rng, names, 2)
    return *_used(
        (
            f"({upper})/({lower})",
            f"{_term(rng, names)}/({lower})",
            f"({upper})/({_simple(rng, names)} + {_number(rng)})",
            f"{_number(rng)} + {_term(rng, names)}/({lower})",
            f"sqrt(({upper})/({lower}))",
        )[rng.integers(5)],
        names,
    ), (0.3, 3.0)


def two_terms(rng):
    """Two different simple terms with inner constants, one with a factor: 2.1*exp(-0.4*x1) + x2/(1.3 + x3)."""
    names = list(_names(rng, 2, 4))
    a, b = _simple(rng, names), _simple(rng, names)
    return *_used(
        (
            f"{_number(rng)}*{a} + {b}",
            f"{a} + {_number(rng)}*{b}",
            f"{_number(rng)} + {a} + {b}",
            f"{a} - {_number(rng)}*{b}",
        )[rng.integers(4)],
        names,
    ), (0.3, 3.5)


def products(rng):
    """Products of two or three simple terms of different columns, some over a background: (1 + 0.4*x1)*exp(-x2/x3)."""
    names = list(_names(rng, 2, 5))
    order = list(rng.permutation(names))
    half = max(1, len(order) // 2)
    a, b = _simple(rng, order[:half]), _simple(rng, order[half:])
    return *_used(
        (
            f"{a}*{b}",
            f"({_number(rng)} + {a})*{b}",
            f"{a}*({_number(rng)} + {b})",
            f"{a}*{b} + {_number(rng)}",
            f"({a} + {b})*{order[0]}",
        )[rng.integers(5)],
        names,
    ), (0.3, 3.5)


RANDOM = {function.__name__: function for function in (wrapped, factored, ratios, two_terms, products)}
FAMILIES = {
    function.__name__: function
    for function in (
        nested_radicals,
        three_body,
        damped_oscillations,
        deep_mixtures,
        rational,
        fast_oscillations,
        peaks,
    )
}
# Written when the proposers were finished, and measured once.
LATER = {function.__name__: function for function in (saturations, logs_of_sums, two_waves)}


def usable(infix, names, bounds) -> bool:
    """Finite on its box, not constant, and every column matters: shuffling it moves the values noticeably."""
    from fansr.expressions.programs import evaluate

    rng = rng_for(0, "families.check")
    expr = from_infix(infix, names)
    X = rng.uniform(*bounds, (400, len(names)))
    y = evaluate(expr, X)
    if not np.isfinite(y).all() or not np.ptp(y) > 1e-3 * np.abs(y).max():
        return False
    for j in range(len(names)):
        shuffled = X.copy()
        shuffled[:, j] = rng.permutation(X[:, j])
        if fvu(y, evaluate(expr, shuffled)) < 1e-3:
            return False
    return True


def make_laws(seed: int = 0, families=None, each: int = LAWS_EACH) -> dict:
    """The file of laws: `each` of every family (FAMILIES, or those given), each from its own generator, duplicates and useless ones redrawn."""
    laws = []
    for family, function in (FAMILIES if families is None else families).items():
        seen, attempt = set(), 0
        while len(seen) < each:
            infix, names, bounds = function(rng_for(seed, f"families.{family}", attempt))
            attempt += 1
            if infix in seen or not all(name in infix for name in names) or not usable(infix, names, bounds):
                continue
            seen.add(infix)
            laws.append(
                {
                    "id": f"{family} {len(seen)}",
                    "difficulty": family,
                    "infix": infix,
                    "variables": [
                        {"name": name, "low": bounds[0], "high": bounds[1], "dist": "uni", "sign": "pos"}
                        for name in names
                    ],
                }
            )
    return {
        "name": "families" if families is None else "_".join(families),
        "sources": ["bin/bench-families laws"],
        "laws": laws,
    }


# ---- small noisy tables -----------------------------------------------------------------------

# name: (infix with parameters, parameter ranges, range of x, drawn logarithmically?)
TEXTBOOK = {
    "michaelis_menten": ("p1*x1/(p2 + x1)", ((1, 10), (0.3, 3)), (0.1, 10)),
    "hill": ("p1*x1**2/(p2 + x1**2)", ((1, 10), (0.5, 6)), (0.2, 8)),
    "substrate_inhibition": ("p1*x1/(p2 + x1 + x1**2*p3)", ((2, 10), (0.3, 2), (0.1, 0.6)), (0.1, 8)),
    "langmuir_offset": ("p1 + p2*x1/(1 + p3*x1)", ((0.5, 2), (1, 5), (0.2, 2)), (0.1, 8)),
    "exponential_decay": ("p1*exp(-p2*x1)", ((1, 10), (0.2, 1)), (0, 6)),
    "decay_to_floor": ("p1 + p2*exp(-p3*x1)", ((0.5, 2), (2, 10), (0.3, 1.5)), (0, 6)),
    "charging": ("p1*(1 - exp(-p2*x1))", ((1, 10), (0.2, 1.5)), (0.1, 6)),
    "logistic": ("p1/(1 + exp(p2 - p3*x1))", ((2, 10), (2, 4), (0.8, 2)), (0, 5)),
    "gompertz": ("p1*exp(-exp(p2 - p3*x1))", ((2, 10), (1, 2), (0.5, 1.5)), (0, 6)),
    "gaussian_peak": ("p1*exp(-((x1 - p2)/p3)**2)", ((1, 10), (2, 4), (0.5, 1.5)), (0, 6)),
    "lorentzian_peak": ("p1/(1 + ((x1 - p2)/p3)**2)", ((1, 10), (2, 4), (0.4, 1.2)), (0, 6)),
    "rational_calibration": ("(p1 + p2*x1)/(1 + p3*x1)", ((0.2, 2), (1, 4), (0.1, 1)), (0, 10)),
    "power_law": ("p1*x1**p2", ((0.5, 5), (0.3, 2.6)), (0.3, 5)),
    "arrhenius": ("p1*exp(-p2/x1)", ((1, 10), (0.5, 3)), (0.4, 4)),
    "straight_line": ("p1 + p2*x1", ((-3, 3), (0.5, 3)), (0, 5)),
    "parabola": ("p1 + p2*x1 + p3*x1**2", ((-3, 3), (-2, 2), (0.3, 1)), (-2, 3)),
}
SIZES, NOISES = (6, 8, 12, 20, 40, 100, 250), (0.01, 0.03, 0.1, 0.3)

# Real table: (textbook model over its columns, start)
REAL = {
    "planets": ("p1*x1**1.5", (365.0,)),
    "galilean_moons": ("p1*x1**1.5", (6e-9,)),
    "hydrogen_lines": ("p1/(1/x1**2 - 1/x2**2)", (91.0,)),
    "boyle_1662": ("p1/x1", (1400.0,)),
    "ohm_1826": ("p1/(p2 + x1)", (7000.0, 20.0)),
    "hubble_1929": ("p1*x1", (400.0,)),
    "cmb_firas": ("p1*x1**3/(exp(p2*x1) - 1)", (40.0, 0.5)),
    "water_vapour": ("exp(p1 - p2/(x1 + p3))", (16.0, 3900.0, -43.0)),
    "filament": ("p1*x1**p2", (0.8, 4.0)),
    "oxygen_demand": ("p1*(1 - exp(-p2*x1))", (200.0, 0.5)),
    "puromycin": ("p1*x1/(p2 + x1)", (210.0, 0.06)),
    "stopping_distance": ("p1*x1 + p2*x1**2", (1.0, 0.1)),
}


def parametric(infix: str, n_columns: int):
    """(prefix expression with constants numbered in order of appearance, order of the parameters)."""
    names = [f"x{j + 1}" for j in range(n_columns)]
    parameters = sorted(set(re.findall(r"\bp\d+\b", infix)))
    expr = from_infix(infix, names + parameters)
    order, tokens = [], []
    for token in expr:
        column = int(token[1:]) - 1 if token[0] == "x" and token[1:].isdigit() else -1
        if column >= n_columns:
            order.append(column - n_columns)
            token = CONSTANT
        tokens.append(token)
    return tokens, order


def reference(infix, start, X, y, X_val=None, y_val=None) -> dict:
    """What the true model reaches: scipy's curve_fit from `start`, FVU on the rows and on unseen ones, leave-one-out error."""
    from scipy.optimize import curve_fit

    from fansr.expressions.programs import evaluate

    expr, order = parametric(infix, X.shape[1])

    def model(rows, *p):
        return evaluate(expr, np.ascontiguousarray(rows.T), [p[k] for k in order])

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            best, _ = curve_fit(model, X.T, y, p0=start, maxfev=20000)
        except (RuntimeError, TypeError):
            best = np.array(start, dtype=float)
        found = {"fvu": fvu(y, model(X.T, *best)), "parameters": [float(p) for p in best], "infix": infix}
        if X_val is not None:
            found["fvu_val"] = fvu(y_val, model(X_val.T, *best))
    return found


def synthetic(seed: int, repeats: int):
    """Problem records of the textbook models: every model at every size with every noise in turn."""
    from fansr.expressions.programs import evaluate

    for i, (name, (infix, ranges, span)) in enumerate(TEXTBOOK.items()):
        expr, order = parametric(infix, 1)
        for j, m in enumerate(SIZES * repeats):
            number = i * len(SIZES) * repeats + j
            rng = rng_for(seed, "tables", number)
            p = [rng.uniform(*bounds) for bounds in ranges]
            noise = NOISES[(i + j + j // len(SIZES)) % len(NOISES)]
            X = np.sort(rng.uniform(*span, (m, 1)), axis=0)
            X_val = np.linspace(X[0], X[-1], 512)  # unseen values, but within what the table covers
            clean, y_val = (evaluate(expr, rows, [p[k] for k in order]) for rows in (X, X_val))
            y = clean + rng.normal(0, 1, m) * noise * np.std(clean)
            yield {
                "kind": "problem",
                "id": number,
                "X": X,
                "y": y,
                "X_val": X_val,
                "y_val": y_val,
                "names": ["x"],
                "target": "y",
                "noise": noise,
                "points": m,
                "law": name,
                "group": "textbook",
                "constants": len(p),
                "reference": reference(infix, p, X, y, X_val, y_val),
            }


def real():
    """Problem records of the real tables that come with fansr."""
    from fansr.tables.loading import load_problem

    for k, (name, (infix, start)) in enumerate(REAL.items()):
        problem, _warnings, _dropped = load_problem(str(resources.path("data", f"{name}.csv")))
        X, y = problem.X, problem.y
        yield {
            "kind": "problem",
            "id": 1_000_000 + k,
            "X": X,
            "y": y,
            "names": list(problem.names),
            "target": problem.target,
            "points": len(y),
            "law": name,
            "group": "real",
            "constants": len(start),
            "table": True,
            "reference": {
                **reference(infix, start, X, y),
                "left_out": left_out(*parametric(infix, X.shape[1]), start, X, y),
            },
        }


def left_out(expr, order, start, X, y) -> float | None:
    """Leave-one-out FVU of a form: constants fitted again without each row in turn."""
    from fansr.evaluation.peer_support import polish
    from fansr.expressions.programs import evaluate

    predicted = np.empty(len(y))
    for row in range(len(y)):
        keep = np.arange(len(y)) != row
        _, consts = polish(expr, [start[k] for k in order], X[keep], y[keep])
        with np.errstate(all="ignore"):
            predicted[row] = evaluate(expr, X[row : row + 1], consts)[0]
    return fvu(y, predicted)


# ---- the verdict ------------------------------------------------------------------------------


def verdict(fit: dict, problem: dict | None) -> dict:
    """One table's outcome beside the true model's.

    as_good: no more constants, and an error on unseen values (synthetic: clean targets on a grid; real: leave-one-out)
    of at most 1.2 times the true model's.  overfits: fits the sample better than the true model does and is more than
    twice as wrong on unseen values.
    """
    truth = fit["reference"]
    # Whole numbers belong to the form, as the 1 in p1/(1 + exp(p2 - p3*x)) does.
    constants = sum(not (abs(c) <= 10 and float(c).is_integer()) for c in fit["consts"])
    ours, theirs = fit.get("fvu_val"), truth.get("fvu_val")
    if problem is not None and fit["expr"]:
        ours = left_out(fit["expr"], range(len(fit["consts"])), list(fit["consts"]), problem["X"], problem["y"])
        theirs = truth["left_out"]
    ours = math.inf if ours is None else ours
    return {
        "law": fit["law"],
        "group": fit["group"],
        "points": fit["points"],
        "noise": fit.get("noise"),
        "constants": constants,
        "more_constants": constants > fit["constants"],
        "unseen": ours,
        "unseen_truth": theirs,
        "as_good": bool(ours <= 1.2 * theirs and constants <= fit["constants"]),
        "no_worse": bool(ours <= 1.2 * theirs),
        "overfits": bool(fit["fvu"] < truth["fvu"] and ours > 2 * theirs),
        "underfits": bool(fit["fvu"] > 1.2 * truth["fvu"] and ours > 2 * theirs),
    }


def summary(rows: list[dict], by: str) -> str:
    """A markdown table of shares by a field."""
    lines = [
        f"| {by} | n | as good % | no worse % | overfits % | underfits % | more constants % |",
        "|---|---|---|---|---|---|---|",
    ]
    groups = sorted({row[by] for row in rows if row[by] is not None})
    for name, some in [("all", rows), *((g, [row for row in rows if row[by] == g]) for g in groups)]:
        shares = [
            f"{100 * np.mean([row[key] for row in some]):.0f}"
            for key in ("as_good", "no_worse", "overfits", "underfits", "more_constants")
        ]
        lines.append(f"| {name} | {len(some)} | " + " | ".join(shares) + " |")
    return "\n".join(lines)


@click.group()
def commands():
    """Laws and small tables of our own making, and what became of them."""


@commands.command()
@click.option("-o", "--output", default=str(resources.path("data", "families.json")), show_default=True)
@click.option("--later", is_flag=True, help="The three families written after the proposers, instead of the seven.")
@click.option("--random", "at_random", is_flag=True, help="Five shapes of a random grammar, for developing on.")
@click.option("--each", default=LAWS_EACH, show_default=True, help="Laws of each family.")
@command.seed_option()
def laws(output, later, at_random, each, seed):
    """Write the seven families as a file of laws for fansr-render."""
    made = make_laws(seed, RANDOM if at_random else LATER if later else None, each)
    lines = ",\n".join("  " + json.dumps(law) for law in made.pop("laws"))
    pathlib.Path(output).write_text(json.dumps(made)[:-1] + f',\n "laws": [\n{lines}]}}\n')


@commands.command()
@click.option("-o", "--output", default="-")
@click.option("--repeats", default=2, show_default=True, help="Tables of each model and size.")
@click.option("--real/--no-real", "with_real", default=True)
@command.seed_option()
def tables(output, repeats, with_real, seed):
    """Write the small noisy tables as problems."""
    with open_writer(output, "problem", [command.history_entry(seed=seed)]) as writer:
        for record in (*synthetic(seed, repeats), *(real() if with_real else ())):
            writer.write(record)


@commands.command()
@click.argument("problems", default="-")
@click.option("-o", "--output", default="-")
@click.option("--time", "seconds", type=float, default=None, help="Seconds a table.  [default: by counts]")
@command.seed_option()
def pools(problems, output, seconds, seed):
    """Search the tables and keep everything that was found, so that selections can be compared without searching again."""
    from fansr.fitting.problem import Budget, Problem
    from fansr.search import turns

    options = turns.Options(seed=seed)
    with (
        open_reader(problems, holds="problem") as reader,
        open_writer(output, "pool", [*reader.history, command.history_entry(seed=seed)]) as writer,
    ):
        for record in reader:
            problem = Problem.from_record(record)
            start = time.process_time()
            state, _status = turns.gather(problem, options, Budget(seconds))
            state._prune(lambda: False)
            writer.write(
                {
                    **record,
                    "kind": "pool",
                    "problem": problem.id,
                    "seconds": time.process_time() - start,
                    "pool": [
                        {"expr": c.expr, "consts": np.asarray(c.consts), "fvu": c.fvu, "source": c.source}
                        for c in state.pool
                    ],
                }
            )


def _prices(context, param, value):
    """Lists of numbers by name: tokens=1.2,1.5 clean=1e-3,1e-2."""
    found = {}
    for word in value:
        name, _, numbers = word.partition("=")
        if name not in ("tokens", "clean", "tower", "margin", "named") or not numbers:
            raise click.UsageError(f"{word}: wanted tokens=, clean=, tower=, margin= or named= and numbers with commas")
        found[name] = [float(number) for number in numbers.split(",")]
    return found


@commands.command()
@click.argument("kept")
@click.argument("prices", nargs=-1, callback=_prices, metavar="[NAME=NUMBER,...]...")
@click.option("--methods", default="mdl", show_default=True, help="Selections, with commas.")
def select(kept, prices, methods):
    """What other prices of tokens and constants would have chosen from the pools that `pools` kept.

    tokens: factor to the price of every token; clean: the FVU below which a constant's digits cost; tower: price of a variable
    power of a variable; margin: nats a round constant must save; named: share of its symbols' price that a curve with a name costs.  All combinations are tried.
    """
    import itertools

    from fansr.evaluation.result import fvu_held_out
    from fansr.fitting.problem import Candidate, Problem
    from fansr.search import description_length, rounding, selection, turns

    plain, tower = description_length.structure_nats, description_length._TOWER_NATS
    clean, margin, named = description_length.CLEAN, rounding.MARGIN, selection.NAMED
    with open_reader(kept) as reader:
        records = [record for record in reader if record["group"] == "textbook"]
    click.echo(
        "| selection | rows | n | as good % | no worse % | overfits % | underfits % | more constants % |\n|---|---|---|---|---|---|---|---|"
    )
    for (
        method,
        factor,
        description_length.CLEAN,
        description_length._TOWER_NATS,
        rounding.MARGIN,
        selection.NAMED,
    ) in itertools.product(
        methods.split(","),
        prices.get("tokens", [1.0]),
        prices.get("clean", [clean]),
        prices.get("tower", [tower]),
        prices.get("margin", [margin]),
        prices.get("named", [named]),
    ):
        description_length.structure_nats = lambda expr: factor * plain(expr)
        rows = []
        for record in records:
            problem = Problem.from_record(record)
            found = turns.choose(
                problem,
                turns.Options(select=method),
                [Candidate(c["expr"], c["consts"], c["fvu"], c["source"]) for c in record["pool"]],
            ).best
            rows.append(
                verdict(
                    {
                        **record,
                        "expr": found.expr,
                        "consts": found.consts,
                        "fvu": found.fvu,
                        "fvu_val": fvu_held_out(found, problem),
                    },
                    None,
                )
            )
        name = f"{method} tokens={factor:g} clean={description_length.CLEAN:g} tower={description_length._TOWER_NATS:g} margin={rounding.MARGIN:g} named={selection.NAMED:g}"
        for label, some in (("all", rows), ("6-12", [row for row in rows if row["points"] <= 12])):
            shares = [
                f"{100 * np.mean([row[key] for row in some]):.0f}"
                for key in ("as_good", "no_worse", "overfits", "underfits", "more_constants")
            ]
            click.echo(f"| {name} | {label} | {len(some)} | " + " | ".join(shares) + " |")


@commands.command()
@click.argument("fits", default="-")
@click.option("--each", is_flag=True, help="A line for every table too.")
def judge(fits, each):
    """Compare fits of those tables with the true models."""
    originals = {record["id"]: record for record in real()}
    with open_reader(fits, holds="fit") as reader:
        kept = list(reader)
    rows = [verdict(fit, originals.get(fit["problem"])) for fit in kept]
    if each:
        from fansr.expressions.infix import to_infix

        for fit, row in zip(kept, rows):
            says = (
                ", ".join(key for key in ("as_good", "overfits", "underfits", "more_constants") if row[key])
                or "between"
            )
            law = to_infix(fit["expr"], fit["consts"], fit["names"], digits=4) if fit["expr"] else "none"
            click.echo(
                f"{row['law']:22s} m={row['points']:<4d} noise={row['noise'] or 0:<5g} unseen {row['unseen']:.2e} true "
                f"{row['unseen_truth']:.2e}  {says:20s} {law[:90]}"
            )
    for group in sorted({row["group"] for row in rows}):
        some = [row for row in rows if row["group"] == group]
        click.echo(f"\n{group}\n")
        for by in ("points", "noise", "law") if group == "textbook" else ("law",):
            click.echo(summary(some, by) + "\n")


def main():
    """The program: wrong data are one line."""
    try:
        commands()
    except DataError as error:
        sys.exit(f"bench-families: {error}")


if __name__ == "__main__":
    main()
