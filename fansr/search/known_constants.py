"""Numbers worth recognising, and what each costs to tell: whole numbers, fractions, multiples of pi, CODATA values.

A fitted constant c +- error may be a round number v.  Both are given a code length in nats, minus the logarithm of a
prior probability: `real_nats` for "some real number, known to its error", `simple_values` for the round ones near c.
Their difference, less 0.5 z^2 for the misfit z = (v - c) / error, is the logarithm of the odds that the constant is v.
The prior probabilities sum to at most about one (Kraft), so however many round numbers there are, a random constant is
taken for one of them with odds of about exp(-margin).  This module knows nothing of expressions and data.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache

import numpy as np

NAMED = {"pi": math.pi, "e": math.e, "sqrt(2)": math.sqrt(2.0), "sqrt(3)": math.sqrt(3.0)}
# Multiples that laws carry besides plain numbers: 4 pi from solid angles, 2 pi from angles, sqrt(pi)
# and sqrt(2 pi) from Gaussian integrals, pi^2 from standing waves.  Code length in nats.
_FACTORS = [(1.0, 0.0)] + [
    (value, cost)
    for base, cost in (
        (math.pi, 1.5),
        (math.pi**2, 2.5),
        (math.sqrt(2.0), 2.0),
        (math.sqrt(3.0), 3.0),
        (math.sqrt(math.pi), 3.0),
        (math.sqrt(2 * math.pi), 3.0),
        (math.e, 3.0),
        (math.log(2.0), 3.5),
    )
    for value in (base, 1 / base)
]
# Of an angle in degrees in radians, and twice it, and back; of logarithms of base 10: themselves, decibels, magnitudes.
_UNITS = (
    (math.pi / 180, 6.0), (math.pi / 90, 7.0), (180 / math.pi, 6.0),
    (1 / math.log(10), 4.0), (10 / math.log(10), 5.0), (20 / math.log(10), 6.0), (2.5 / math.log(10), 6.0), (5 / math.log(10), 6.0),
    (math.log(10), 5.0),
)  # fmt: skip
DECADES = (
    4.0  # the size of a constant is off 1 by a few powers of ten: Laplace's distribution of log10 |c| with this scale
)
MOST_NATS = 36.0  # a float64 holds no more
FRACTION_NATS = 15.0  # of a fraction with its factor; dearer ones are no rounder than a decimal
ROOT_NATS = 3.0  # that a square root is taken
# That one divides by a short decimal, as by 3600, 1.609 or 273.15, and the digits that it may have.
DIVIDED_NATS, DIVIDED_DIGITS = 1.5, 5
DECIMAL_NATS = 0.7  # that a number is round in tens, not a fraction
_REAL_NATS = math.log(math.log(10.0) * 2 * DECADES / math.sqrt(2 * math.pi))

# ---- fitted numbers ---------------------------------------------------------------------------


def real_nats(c: float, error: float) -> float:
    """Code length of a real constant known to its standard error: log(|c| / error) and its power of ten.

    It is -log of (prior density at c) * sqrt(2 pi) * error, the evidence of a free constant relative to its best fit, with
    log10 |c| distributed by Laplace's law.  The sign is left out, here as for round values.
    """
    if not error < math.inf or error <= 0:
        return MOST_NATS
    if c == 0:
        return _REAL_NATS
    size = abs(math.log10(abs(c))) / DECADES
    return min(MOST_NATS, max(0.0, math.log(abs(c) / error) + size + _REAL_NATS))


# Share of a constant that its tolerance, four standard errors, may be for a product of physics: beyond it every number is near one.
VAGUE = 0.12

# ---- round numbers ----------------------------------------------------------------------------


def integer_nats(n: int) -> float:
    """Code length of a whole number: 2 log2 n + 1 bits, the Elias gamma code."""
    return (2 * math.log2(max(1, abs(n))) + 1) * math.log(2.0)


def simple_values(c: float, tolerance: float, physics: bool = False, most: int = 12) -> list[tuple[float, float]]:
    """Up to `most` (value, nats) of round numbers within `tolerance` of c, cheapest first.

    Whole numbers, fractions, short decimals, roots of fractions, and those times a few constants of
    mathematics; with `physics` also products of CODATA values.  0 costs one nat.
    """
    found: dict[float, float] = {}

    def offer(value: float, nats: float):
        if abs(value - c) <= tolerance and nats < found.get(value, math.inf):
            found[value] = nats

    if abs(c) <= tolerance:
        offer(0.0, 1.0)
    sign, size = math.copysign(1.0, c), abs(c)
    values, nats = _fractions()
    first, last = np.searchsorted(values, size - tolerance), np.searchsorted(values, size + tolerance, side="right")
    for k in first + np.argsort(nats[first:last], kind="stable")[:most]:
        offer(sign * float(values[k]), float(nats[k]))
    for value, cost in _UNITS:
        offer(sign * value, cost)
    if 100 < size < 1e7 and round(size) > 0:
        offer(sign * float(round(size)), integer_nats(round(size)) + integer_nats(1))
    for value, cost in _decimals(size, tolerance):
        offer(sign * value, cost)
    for below, cost in _decimals(1 / size, tolerance / size**2, DIVIDED_DIGITS) if 1e-100 < size < 1 else ():
        offer(sign / below, cost + DIVIDED_NATS)
    if physics and tolerance <= VAGUE * size:
        for value, cost, _name in physical_values(size, tolerance):
            offer(sign * value, cost)
    return sorted(found.items(), key=lambda item: item[1])[:most]


@lru_cache(4096)
def is_rational(value: float) -> bool:
    """Whether a number is a fraction of small whole numbers, or a short decimal."""
    return (
        abs(value - float(Fraction(value).limit_denominator(10000))) <= 1e-12 * abs(value)
        or float(f"{value:.7g}") == value
    )


@lru_cache(1)
def _fractions():
    """Fractions, their square roots, and both times the constants of mathematics: sorted values (N,) and nats (N,)."""
    p, q = np.meshgrid(np.arange(1, 1001), np.arange(1, 65))
    nats = np.log(2.0) * (2 * np.log2(p) + 2 * np.log2(q) + 2)
    keep = (np.gcd(p, q) == 1) & (nats <= FRACTION_NATS)
    p, q, nats = p[keep], q[keep], nats[keep]
    factors = [*((p / q * factor, nats + cost) for factor, cost in _FACTORS), (np.sqrt(p / q), nats + ROOT_NATS)]
    values, nats = np.concatenate([v for v, _ in factors]), np.concatenate([n for _, n in factors])
    order = np.lexsort((nats, values))
    values, nats = values[order], nats[order]
    first = np.concatenate([[True], values[1:] > values[:-1]]) & (nats <= FRACTION_NATS)  # the cheapest way to a value
    return values[first], nats[first]


def _decimals(value: float, tolerance: float, most: int = 12):
    if value <= 0 or not math.isfinite(value):
        return
    exponent = math.floor(math.log10(value))
    for digits in range(1, most + 1):
        rounded = float(f"{value:.{digits - 1}e}")
        if abs(rounded - value) <= tolerance:
            # The power of ten is told as for a real constant; each digit is one of ten.
            yield rounded, digits * math.log(10.0) + abs(exponent) / DECADES + math.log(2 * DECADES) + DECIMAL_NATS
            if digits > 6:
                return


# ---- constants of physics ---------------------------------------------------------------------

# Symbol: (CODATA's name, its value in SI units, its relative uncertainty, a factor).  The first eight are in most products, the
# others less often.  CODATA 2022 (Mohr et al. 2024), written out so that no library need be loaded for them; tests/ compares.
_CODATA = {
    "c": ("speed of light in vacuum", 299792458.0, 0, 1.0),
    "h": ("Planck constant", 6.62607015e-34, 0, 1.0),
    "hbar": ("Planck constant", 6.62607015e-34, 0, 0.5 / math.pi),
    "k": ("Boltzmann constant", 1.380649e-23, 0, 1.0),
    "e": ("elementary charge", 1.602176634e-19, 0, 1.0),
    "G": ("Newtonian constant of gravitation", 6.6743e-11, 2.2e-05, 1.0),
    "eps0": ("vacuum electric permittivity", 8.8541878188e-12, 1.6e-10, 1.0),
    "4pi*eps0": ("vacuum electric permittivity", 8.8541878188e-12, 1.6e-10, 4 * math.pi),
    "m_e": ("electron mass", 9.1093837139e-31, 3.1e-10, 1.0),
    "g": ("standard acceleration of gravity", 9.80665, 0, 1.0),
    "N_A": ("Avogadro constant", 6.02214076e23, 0, 1.0),
    "R": ("molar gas constant", 8.31446261815324, 0, 1.0),
    "mu0": ("vacuum mag. permeability", 1.25663706127e-06, 1.6e-10, 1.0),
    "sigma": ("Stefan-Boltzmann constant", 5.6703744191844314e-08, 0, 1.0),
    "m_p": ("proton mass", 1.67262192595e-27, 3.1e-10, 1.0),
    "mu_B": ("Bohr magneton", 9.2740100657e-24, 3.1e-10, 1.0),
    "alpha": ("fine-structure constant", 0.0072973525643, 1.5e-10, 1.0),
    "R_inf": ("Rydberg constant", 10973731.568157, 1.1e-12, 1.0),
    "a0": ("Bohr radius", 5.29177210544e-11, 1.5e-10, 1.0),
    "F": ("Faraday constant", 96485.33212331001, 0, 1.0),
    "u": ("atomic mass constant", 1.66053906892e-27, 3.1e-10, 1.0),
    "m_n": ("neutron mass", 1.67492750056e-27, 5.1e-10, 1.0),
    "b": ("Wien wavelength displacement law constant", 0.0028977719551851727, 0, 1.0),
}
_COMMON = 9  # leading entries of the table that cost less and enter products of three
_SYMBOL_NATS = (2.5, 4.0)
_COUNT_NATS = (0.7, 1.4, 2.1)  # one, two or three constants in the product
_PHYSICS_NATS = 1.0  # physics at all
_EXPONENTS = {
    1.0: 1.0,
    -1.0: 1.0,
    2.0: 2.5,
    -2.0: 2.5,
    0.5: 3.5,
    -0.5: 3.5,
    3.0: 4.0,
    -3.0: 4.0,
    4.0: 4.5,
    -4.0: 4.5,
    1.5: 4.5,
    -1.5: 4.5,
    5.0: 5.5,
    -5.0: 5.5,
}


class _Names:
    """Names of products by number, put together when asked for: parts (N, 3) are places in `powers`, -1 for none."""

    def __init__(self, powers: list[str], parts: np.ndarray, is_root: np.ndarray):
        self.powers, self.parts, self.is_root = powers, parts, is_root

    def __getitem__(self, k: int) -> str:
        name = "*".join(self.powers[i] for i in self.parts[k] if i >= 0)
        return f"sqrt({name})" if self.is_root[k] else name


@lru_cache(1)
def _products():
    """Products of up to three constants: sorted logarithms (N,), nats (N,), relative uncertainties (N,), names."""
    symbols, exponents = list(_CODATA), list(_EXPONENTS)
    S, E = len(symbols), len(exponents)
    base = np.array([math.log(value * factor) for _name, value, _vague, factor in _CODATA.values()])
    vague = np.array([vague for _name, _value, vague, _factor in _CODATA.values()])
    price = np.array([_SYMBOL_NATS[i >= _COMMON] for i in range(S)])
    # Powers in the order of symbol, then exponent: place i * E + e; the last place is none.
    e = np.array(exponents)
    log = np.append(np.outer(base, e).ravel(), 0.0)
    nats = np.append((price[:, None] + np.array(list(_EXPONENTS.values()))).ravel(), 0.0)
    width = np.append(np.outer(vague, np.abs(e)).ravel(), 0.0)
    symbol, exponent = np.repeat(np.arange(S), E), np.tile(e, S)
    words = [s + ("" if p == 1 else f"^{p:g}") for s in symbols for p in exponents]
    plain = np.flatnonzero(np.isin(np.abs(exponent), (1.0, 2.0)))
    a, b = (v.ravel() for v in np.meshgrid(plain, plain, indexing="ij"))
    pairs = np.column_stack([a, b])[symbol[a] < symbol[b]]
    common = np.flatnonzero(symbol < _COMMON)
    a, b = (v.ravel() for v in np.meshgrid(common, common, indexing="ij"))
    steep = (
        (symbol[a] != symbol[b])
        & np.isin(np.abs(exponent[a]), (3.0, 4.0))
        & np.isin(np.abs(exponent[b]), (1.0, 2.0, 3.0, 5.0))
    )
    pairs = np.vstack([pairs, np.column_stack([a, b])[steep]])
    roots = pairs[(np.abs(exponent[pairs]) == 1.0).all(axis=1)]  # the square root of a product
    few = plain[symbol[plain] < _COMMON]
    a, b, c = (v.ravel() for v in np.meshgrid(few, few, few, indexing="ij"))
    triples = np.column_stack([a, b, c])[(symbol[a] < symbol[b]) & (symbol[b] < symbol[c])]
    singles = np.arange(S * E)[:, None]
    groups = [np.pad(g, ((0, 0), (0, 3 - g.shape[1])), constant_values=-1) for g in (singles, pairs, roots, triples)]
    parts = np.vstack(groups)
    is_root = np.repeat([False, False, True, False], [len(g) for g in groups])
    count = np.repeat([0, 1, 1, 2], [len(g) for g in groups])
    half = np.where(is_root, 0.5, 1.0)
    logs = half * log[parts].sum(axis=1)
    cost = nats[parts].sum(axis=1) + 2.5 * is_root + np.array(_COUNT_NATS)[count] + _PHYSICS_NATS
    order = np.argsort(logs, kind="stable")
    names = _Names(words, parts[order], is_root[order])
    return logs[order], cost[order], (half * width[parts].sum(axis=1))[order], names


@lru_cache(1)
def _multiples():
    """Factors before products of constants: small fractions times powers of pi; logs (N,), nats (N,), names."""
    found: dict[float, tuple] = {}
    whole = (1, 2, 3, 4, 5, 6, 8, 9, 10, 12, 15, 16, 32)
    for p in whole:
        for q in whole:
            if math.gcd(p, q) > 1 or min(p, q) > 6:
                continue
            for power, cost in ((0, 0.0), (1, 1.5), (-1, 1.5), (2, 2.5), (-2, 2.5)):
                nats = integer_nats(p) + integer_nats(q) + cost
                if nats <= 9.0:
                    name = (f"{p}" if q == 1 else f"{p}/{q}") + {0: "", 1: "*pi", -1: "/pi", 2: "*pi^2", -2: "/pi^2"}[
                        power
                    ]
                    found[math.log(p / q) + power * math.log(math.pi)] = (nats, name)
    logs, nats = np.array(list(found)), np.array([nats for nats, _name in found.values()])
    return logs, nats, [name for _nats, name in found.values()]


def physical_values(size: float, tolerance: float, most: int = 6) -> list[tuple[float, float, str]]:
    """Up to `most` products of CODATA values, times simple factors, within `tolerance` of size > 0: (value, nats, name), cheapest first."""
    if not (size > 0 and math.isfinite(size)):
        return []
    reach = min(0.3, tolerance / size)
    logs, nats, vague, names = _products()
    multiple_logs, multiple_nats, multiple_names = _multiples()
    at = math.log(size) - multiple_logs
    first, last = np.searchsorted(logs, (at - reach - 1e-4, at + reach + 1e-4))
    counts = last - first
    which = np.repeat(np.arange(len(multiple_logs)), counts)
    k = np.arange(counts.sum()) + np.repeat(first - np.cumsum(counts) + counts, counts)
    with np.errstate(all="ignore"):
        values = np.exp(logs[k] + multiple_logs[which])
        near = np.isfinite(values) & (values > 0) & (np.abs(values - size) <= tolerance + vague[k] * values)
    cost = nats[k] + multiple_nats[which]
    found = []
    for i in np.flatnonzero(near)[np.argsort(cost[near], kind="stable")[:most]]:
        name = multiple_names[which[i]]
        found.append((float(values[i]), float(cost[i]), names[k[i]] if name == "1" else f"{name}*{names[k[i]]}"))
    return found
