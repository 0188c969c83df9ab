"""Oscillations whose frequency no library lists: y = c0 + c1 p(x) + c m(x) cos(k a(x) + phase); a proposer.

A fast wave is found by no descent from a random start, so its frequency k is read off a periodogram: for every k of a grid,
how much of y is explained by cos(k a) and sin(k a), each times a constant or a column (the amplitude may vary).  At its
peaks the amplitude m, the phase (which may be a column too) and the rest p are chosen from lists by least squares, which
yields the phase for nothing; then refiner.py polishes all constants.  A second wave may multiply the first or be added.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from typing import NamedTuple

import numpy as np

from fansr.fitting import Budget, Candidate, Problem
from fansr.proposers.parts.candidates import proposals
from fansr.proposers.parts.expression_assembly import Base, product, scale_of, times
from fansr.proposers.parts.inner_scan import (
    Family,
    Projector,
    arguments,
    coefficients,
    fixed,
    summed,
    table,
    usable,
    values_of,
    wave_power,
    zoomed,
)
from fansr.proposers.parts.monomials import exponent_vectors, factors_of
from fansr.proposers.parts.target_views import views
from fansr.proposers.parts.terms import thinned

ROWS = 384  # points the search looks at
STEPS = 400  # quarter turns over an argument's range that are tried
ARGUMENTS, PEAKS, PEAKS_TRIED = 14, 3, 10
FIRST = 3  # peaks looked at before other views of the target are
MOST_TRIPLED = 5  # columns up to which products of three are arguments
VIEWS = {("inv",): 0, ("exp",): 1}  # of the target, that come first
LEADERS = 10  # amplitudes made into laws at each peak
LEVELS = 3  # amplitudes of a wave on a level
SECOND = 0.3  # share of what one wave leaves that another must explain
RATES = np.array([-2.0, -1.0, -0.5, -0.25, -0.1, 0.1, 0.25, 0.5, 1.0, 2.0])  # per typical size of the argument
EXPONENTIAL = Family("exp * k a", lambda a: RATES / (float(np.median(np.abs(a))) or 1.0))
EXACT = 1e-20


def propose(problem: Problem, budget: Budget, rng: np.random.Generator, pool=None) -> Iterator[list[Candidate]]:
    """Candidates of one wave, then of two; FVUs on the problem's rows (thinned to some thousands).  Bounded by counts."""
    problem = thinned(problem, rng)
    columns = [j for j in range(problem.X.shape[1]) if usable(problem.X[:, j], 0.0)]
    if len(problem.y) < 20 or not columns or not np.ptp(problem.y) > 0 or len(columns) > 8:
        return
    waves = Waves(problem, columns, rng)
    yield from proposals(problem, "waves", _batches(problem, waves, len(columns)), budget, LEADERS, 8.0, EXACT)


def _batches(problem: Problem, waves: Waves, D: int) -> Iterator[list[Base]]:
    """Laws of one wave, then of two, of the strongest peaks of all arguments; [] while periodograms are made.

    A wave inside a quotient, a root or an exponential shows at its frequency too, if not alone: the strongest peak is
    looked at in those views of the target as well.
    """
    peaks: list[Peak] = []
    for argument in waves.arguments:
        peaks += waves.peaks(argument)
        yield []
    peaks = sorted(peaks, key=lambda peak: -peak.explained)[:PEAKS_TRIED]
    for peak in peaks[:FIRST]:
        yield waves.single(peak)
        yield waves.added(peak)
    for outside, target, slope, _ in sorted(views(problem.y)[1:], key=lambda view: VIEWS.get(view[0][-1:], 2)):
        weights = slope**2 if problem.weights is None else slope**2 * problem.weights
        view = waves.of(replace(problem, y=target, weights=weights))
        for peak in peaks[:1]:
            yield [(*outside, *law) for law in view.single(peak)]
    for peak in peaks[FIRST:]:
        yield waves.single(peak)
        yield waves.added(peak)
    for pair in combinations(waves.arguments[:D], 2):
        yield waves.crossed(*pair)


class Peak(NamedTuple):
    """An argument (expression, values on the search's rows), its frequency and the share of y that is explained there."""

    base: Base
    v: np.ndarray
    k: float
    explained: float = 0.0

    def turning(self) -> tuple[np.ndarray, np.ndarray]:
        return np.cos(self.k * self.v), np.sin(self.k * self.v)


class Waves:
    """One problem's rows to look at, and the lists its laws are chosen from."""

    @np.errstate(all="ignore")
    def __init__(self, problem: Problem, columns: list[int], rng):
        self.rows = np.sort(rng.permutation(len(problem.y))[:ROWS])
        self.X, self.columns = problem.X[self.rows], columns
        self.one = np.ones(len(self.rows))
        Z = self.X[:, columns]
        Z = ((Z - Z.mean(axis=0)) / Z.std(axis=0)).T
        self.slow = np.stack([self.one, *Z[:5]])  # amplitudes of the periodogram
        self.products = [Z[i] * Z[j] for i in range(min(len(Z), 4)) for j in range(i + 1)]
        self._look_at(problem)
        self.arguments = arguments(self.X, columns, "* pow2 pow3 - + /")[: max(ARGUMENTS, len(columns))]
        for triple in combinations(columns, 3) if len(columns) <= MOST_TRIPLED else ():
            v = self.X[:, list(triple)].prod(axis=1)
            if usable(v):
                self.arguments.append((("*", "*", *(f"x{j + 1}" for j in triple)), v))
        self.plain, self.amplitudes = self._lists()

    def _look_at(self, problem: Problem):
        """Take this problem's target and weights."""
        self.unit = scale_of(problem.y)
        self.y = problem.y[self.rows] / self.unit
        self.weights = None if problem.weights is None else problem.weights[self.rows]
        self.w = None if self.weights is None else np.sqrt(self.weights)
        self.still = self._projector([self.one])
        self.background = self._projector([*self.slow, *self.products])

    def of(self, problem: Problem) -> Waves:
        """The same rows and lists for another target of the same table."""
        other = copy.copy(self)
        other._look_at(problem)
        return other

    def _projector(self, known) -> Projector:
        return Projector(known, self.y, self.weights)

    @np.errstate(all="ignore")
    def _lists(self):
        """([(expression, values)] of summands, the same of amplitudes): monomials, and those times an exponential."""
        X, D = self.X, self.X.shape[1]
        names = {j: (f"x{j + 1}",) for j in self.columns}
        plain = []
        for e in exponent_vectors(D, 90, 3, [bool((X[:, j] != 0).all()) for j in range(D)]):
            if any(e) and all(n == 0 or j in names for j, n in enumerate(e)):
                plain.append((product(factors_of(e)), values_of(factors_of(e), X)))
        plain += [(("pow1_2", *names[j]), np.sqrt(X[:, j])) for j in self.columns if X[:, j].min() >= 0]
        decays = [table(EXPONENTIAL, base, v) for base, v in self.arguments[: 2 * D + 4]]
        for base, v in self.arguments[D : 2 * D + 4]:
            decays += [fixed(("exp", *base), np.exp(v)), fixed(("exp", "neg", *base), np.exp(-v))]
        few = [((), self.one), *(one for one in plain if len(one[0]) == 1)]
        amplitudes = [((), self.one), *plain]
        for decay in (d.times(*m) for d in decays if d is not None for m in few):
            amplitudes += [(decay.law(constants), v) for constants, v in zip(decay.grid, decay.values)]
        amplitudes += arguments(X, self.columns, "sin cos log")[len(self.columns) :]
        sane = [(base, v) for base, v in amplitudes if np.isfinite(v).all() and 1e-100 < np.abs(v).max() < 1e100]
        return [one for one in plain if usable(one[1])], sane

    # ---- frequencies ----

    @np.errstate(all="ignore")
    def peaks(self, argument) -> list[Peak]:
        """The leading peaks of one argument's periodogram, each moved to its top."""
        base, v = argument
        k = np.arange(2, min(STEPS, 3 * len(v)) + 1) * (np.pi / 2) / float(np.ptp(v))
        look = self.background
        # What waves of fixed amplitudes explain, roughly, shows where to look.
        power = sum(wave_power(k, v, look.t * a / np.sqrt(np.mean(a * a))) for a in self.slow)
        tops = np.flatnonzero((power[1:-1] >= power[:-2]) & (power[1:-1] >= power[2:])) + 1
        tops = tops[np.argsort(-power[tops])][: 4 * PEAKS]
        if not len(tops):
            return []
        shares = look.wave_shares(k[tops], v, self.slow)
        bar = 0.1 + 4.0 * len(self.slow) / len(v)
        best = [
            q for q in np.argsort(shares)[:PEAKS] if 1 - shares[q] / look.open > bar / 2
        ]  # beside its top it explains less
        found = [self._top(look, base, v, k, int(tops[q]), self.slow) for q in best]
        return [peak for peak in found if peak.explained > bar]

    def _tops(self, look: Projector, base: Base, v: np.ndarray, k: np.ndarray, count: int) -> list[Peak]:
        """The `count` highest peaks, by the share that they explain of what the known columns leave."""
        shares = look.wave_shares(k, v)
        inner = shares[1:-1]
        tops = np.flatnonzero((inner <= shares[:-2]) & (inner <= shares[2:])) + 1
        return [self._top(look, base, v, k, int(top)) for top in tops[np.argsort(shares[tops])][:count]]

    def _top(self, look: Projector, base: Base, v: np.ndarray, k: np.ndarray, at: int, amplitudes=None) -> Peak:
        """The peak near k[at]."""
        left, place, _ = zoomed(
            lambda places: look.wave_shares(places[:, 0], v, amplitudes), [k], k[at : at + 1], 2, 17
        )
        return Peak(base, v, float(place[0]), 1 - left / look.open)

    # ---- laws ----

    @np.errstate(all="ignore")
    def single(self, peak: Peak) -> list[Base]:
        """Laws with one wave at a peak: amplitude, phase and one summand by least squares."""
        phases = [((), 0.0 * self.one)]
        for j in self.columns:
            if f"x{j + 1}" not in peak.base and np.ptp(self.X[:, j]) < 4 * np.pi:
                phases += [(("+", f"x{j + 1}"), self.X[:, j]), (("-", f"x{j + 1}"), -self.X[:, j])]
        M = np.array([v / np.sqrt(np.mean(v * v)) for _, v in self.amplitudes])
        scored = []
        for shift, values in phases:
            angle = peak.k * peak.v + values
            C, S = M * np.cos(angle), M * np.sin(angle)
            for look in (self.still, self.background):
                left = look.pair_shares(S, C)[0] / look.open
                scored += [(float(left[i]), i, shift, angle) for i in np.argsort(left)[: LEADERS // 2]]
        scored.sort(key=lambda item: item[0])
        laws: dict[Base, None] = dict.fromkeys(self._on_a_level(peak))
        for _, i, shift, angle in scored[: 2 * LEADERS]:
            laws.update(dict.fromkeys(self._laws(peak, self.amplitudes[i], shift, angle)))
        return list(laws)

    def _on_a_level(self, peak: Peak) -> Iterator[Base]:
        """m * (wave + c) + c', of the amplitudes m that leave least: b/(3 + cos(k a)) in the view 1/y."""
        C, S = peak.turning()
        fits = []
        for m, v in self.amplitudes[1:]:
            c, left = coefficients([v * C, v * S, v, self.one], self.y, self.w)
            if np.isfinite(c).all():
                fits.append((left, m, c))
        for _, m, c in sorted(fits, key=lambda fit: fit[0])[:LEVELS]:
            c = c * self.unit
            law = ("*", *m, "+", *self._wave(peak, (), (), c[0], c[1]), repr(float(c[2]) or 1.0))
            yield from (law, ("+", *law, repr(float(c[3]) or 1.0)))

    def _laws(self, peak: Peak, amplitude, shift: Base, angle: np.ndarray) -> Iterator[Base]:
        """One amplitude's laws: alone, with a constant, with the summand that explains most of what is left."""
        m, v = amplitude
        wave = [v * np.cos(angle), v * np.sin(angle), self.one]
        beside: list[int | None] = [None]
        if self.plain:
            shares = self._projector(wave).shares(np.array([u for _, u in self.plain]), 1e-9)
            beside += [int(q) for q in np.argsort(shares)[:2]]
        for q in beside:
            c, _ = coefficients(wave if q is None else [*wave, self.plain[q][1]], self.y, self.w)
            if not np.isfinite(c).all():
                continue
            c = c * self.unit
            law = self._wave(peak, m, shift, c[0], c[1])
            if q is not None and c[3]:
                law = ("+", *law, *times(float(c[3]), self.plain[q][0]))
            yield from (law, ("+", *law, repr(float(c[2]) or 1.0)))

    def _wave(self, peak: Peak, m: Base, shift: Base, c: float, s: float) -> Base:
        """m * (c cos + s sin) of the argument, as one function; a phase near a quarter turn is taken for it."""
        inside = times(peak.k, peak.base)
        if abs(peak.k - 1) < 0.02 and len(peak.base) > 1:
            inside = peak.base
        if shift:
            inside = (shift[0], *inside, *shift[1:])
        size = math.hypot(c, s)
        if abs(s) < 0.15 * size:
            size, function = math.copysign(size, c), ("cos", *inside)
        elif abs(c) < 0.15 * size:
            size, function = math.copysign(size, s), ("sin", *inside)
        else:
            function = ("cos", "+", *inside, repr(-math.atan2(s, c)))
        size = size if abs(size) not in (0.0, 1.0) else size + 1e-6  # a number to be polished
        return times(size, ("*", *m, *function) if m else function)

    @np.errstate(all="ignore")
    def added(self, peak: Peak) -> list[Base]:
        """Laws with a second wave added to a peak's, of the frequency that explains most of what the first leaves."""
        look = self._projector([self.one, *peak.turning()])
        laws: list[Base] = []
        for base, v in self.arguments[: len(self.columns)] if look.open > 1e-12 else ():
            for other in self._tops(look, base, v, np.arange(1, STEPS) * (np.pi / 2) / float(np.ptp(v)), 1):
                if other.explained > SECOND:
                    c, _ = coefficients([*peak.turning(), *other.turning(), self.one], self.y, self.w)
                    c = c * self.unit
                    both = self._wave(peak, (), (), c[0], c[1]), self._wave(other, (), (), c[2], c[3])
                    laws.append(summed([1.0, 1.0], list(both), float(c[4]) or 1.0))
        return laws

    @np.errstate(all="ignore")
    def crossed(self, one: tuple[Base, np.ndarray], two: tuple[Base, np.ndarray]) -> list[Base]:
        """Laws with the strongest wave in two columns at once: c0 + c cos(k a + p) cos(l b + q), or c0 + c cos(k a + l b + p)."""
        (base_a, a), (base_b, b) = one, two
        k, m = (np.arange(1, STEPS // 2) * (np.pi / 2) / float(np.ptp(v)) for v in (a, b))
        A, B = np.outer(k, a), np.outer(m, b)
        t = self.still.t * self.still.w
        # (K, L), but for a factor the share that is explained: the waves are nearly orthogonal.
        power = sum(((F * t) @ G.T) ** 2 for F in (np.cos(A), np.sin(A)) for G in (np.cos(B), np.sin(B)))
        # Each at least half a turn: slower ones pass for amplitudes.
        i, j = np.unravel_index(int(power[1:, 1:].argmax()), power[1:, 1:].shape)

        def fitted(place) -> tuple[np.ndarray, float]:
            """(coefficients, share left) of the four products of sines and cosines and 1."""
            p, q = Peak(base_a, a, place[0]).turning(), Peak(base_b, b, place[1]).turning()
            return coefficients([*(f * g for f in p for g in q), self.one], self.y - self.y.mean(), self.w)

        start = np.array([k[i + 1], m[j + 1]])
        left, (k_at, m_at), _ = zoomed(lambda places: np.array([fitted(p)[1] for p in places]), (k, m), start, 4, 3)
        if left > 0.5:
            return []
        c = fitted((k_at, m_at))[0] * self.unit
        rest = float(c[4] + self.y.mean() * self.unit) or 1.0
        U, s, Vt = np.linalg.svd(c[:4].reshape(2, 2))
        p, q = Peak(base_a, a, float(k_at)), Peak(base_b, b, float(m_at))
        both = ("*", *_bare(self._wave(p, (), (), *U[:, 0])), *self._wave(q, (), (), *(s[0] * Vt[0])))
        laws = [summed([1.0], [both], rest)]
        # cos(ka + lb + p) has cc = -ss, cs = sc; cos(ka - lb + p) has cc = ss, cs = -sc.
        for sign, token in ((1.0, "+"), (-1.0, "-")):
            x, z = (c[0] - sign * c[3]) / 2, (c[2] + sign * c[1]) / 2
            inside = (token, *times(p.k, base_a), *times(q.k, base_b))
            laws.append(summed([1.0], [self._wave(Peak(inside, a, 1.0), (), (), x, z)], rest))
        return laws


def _bare(law: Base) -> Base:
    """A wave of size 1 without that size."""
    sign = ("neg",) if law[0] == "neg" else ()
    law = law[len(sign) :]
    if law[0] == "*":
        sign = ("neg",) if float(law[1]) < 0 else sign
        law = law[2:]
    return (*sign, *law)
