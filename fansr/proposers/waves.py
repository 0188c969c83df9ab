"""Oscillations whose frequency no library lists: y = c0 + c1 p(x) + c m(x) cos(k a(x) + phase); a proposer.

A fast wave is found by no descent from a random start, so its frequency k is read off a periodogram: for every k of a grid,
how much of y is explained by cos(k a) and sin(k a), each times a constant or a column (the amplitude may vary).  At its
peaks the amplitude m, the phase (which may be a column too) and the rest p are chosen from lists by least squares, which
yields the phase for nothing; then refiner.py polishes all constants.  A second wave may multiply the first or be added.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from itertools import combinations
from typing import NamedTuple

import numpy as np

from fansr.fitting import Budget, Candidate, Problem
from fansr.proposers.parts.assembly import Base, Polisher, measured, product, times
from fansr.proposers.parts.terms import exponent_vectors, thinned
from fansr.proposers.power import scale_of

ROWS = 384  # points the search looks at
STEPS = 400  # quarter turns over an argument's range that are tried
ARGUMENTS, PEAKS, PEAKS_TRIED = 14, 3, 6
LEADERS = 10  # amplitudes made into laws at each peak
RATES = (0.1, 0.25, 0.5, 1.0, 2.0)  # of exponential amplitudes, per typical size of their argument (and 1 for products)
EXACT = 1e-20


def propose(problem: Problem, budget: Budget, rng: np.random.Generator, pool=None) -> Iterator[list[Candidate]]:
    """Candidates of one wave, then of two; FVUs on the problem's rows (thinned to some thousands).  Bounded by counts."""
    problem = thinned(problem, rng)
    columns = [j for j in range(problem.X.shape[1]) if np.ptp(problem.X[:, j]) > 0 and _usable(problem.X[:, j])]
    if len(problem.y) < 20 or not columns or not np.ptp(problem.y) > 0 or len(columns) > 8:
        return
    waves = Waves(problem, columns, rng)
    polish = Polisher(problem)
    arguments = waves.arguments()
    pairs = list(combinations(arguments[: len(columns)], 2))
    for some in (arguments[: len(columns)], arguments[len(columns) :]):
        peaks = []
        for argument in some:
            if budget.over():
                return
            peaks += waves.peaks(argument)
            yield []
        peaks.sort(key=lambda peak: -peak.explained)
        for peak in peaks[:PEAKS_TRIED]:
            for laws in (waves.single, waves.added):
                if budget.over():
                    return
                found = polish(measured(problem, laws(peak), "waves"), LEADERS, 8.0)
                yield found
                if any(c.fvu < EXACT for c in found):
                    return
        while pairs and not budget.over():
            found = polish(measured(problem, waves.crossed(*pairs.pop(0)), "waves"), 3, 8.0)
            yield found
            if any(c.fvu < EXACT for c in found):
                return


class Peak(NamedTuple):
    """An argument (expression, values on the search's rows), its frequency and the share of y that is explained there."""

    base: Base
    v: np.ndarray
    k: float
    explained: float


class Waves:
    """One problem's rows to look at, and the lists its laws are chosen from."""

    @np.errstate(all="ignore")
    def __init__(self, problem: Problem, columns: list[int], rng):
        rows = np.sort(rng.permutation(len(problem.y))[:ROWS])
        self.X, self.columns = problem.X[rows], columns
        self.y = problem.y[rows] / scale_of(problem.y)
        self.unit = scale_of(problem.y)
        w = np.ones(len(rows)) if problem.weights is None else np.sqrt(problem.weights[rows])
        self.w = w / w.max()
        Z = self.X[:, columns]
        Z = (Z - Z.mean(axis=0)) / Z.std(axis=0)
        D = len(columns)
        self.slow = np.column_stack([np.ones(len(rows)), Z[:, :5]])  # amplitudes of the periodogram
        crossed = [Z[:, i] * Z[:, j] for i in range(min(D, 4)) for j in range(i + 1)]
        self.background = np.linalg.qr(np.column_stack([self.slow, *crossed]) * self.w[:, None])[0]
        self.one = (self.w / np.linalg.norm(self.w))[:, None]
        self.goal = self._without(self.y * self.w, self.background)
        self.plain, self.amplitudes = self._lists()

    @staticmethod
    def _without(F: np.ndarray, Q: np.ndarray) -> np.ndarray:
        """Rows (or one vector) of F without their parts in the orthonormal columns of Q."""
        return F - (F @ Q) @ Q.T

    @np.errstate(all="ignore")
    def arguments(self) -> list[tuple[Base, np.ndarray]]:
        """What waves run over: columns, then products, powers, differences, sums, ratios of two."""
        X, found = self.X, []
        names = {j: (f"x{j + 1}",) for j in self.columns}
        pairs = [(i, j) for i in self.columns for j in self.columns if i < j]
        found += [(names[j], X[:, j]) for j in self.columns]
        found += [(("*", *names[i], *names[j]), X[:, i] * X[:, j]) for i, j in pairs]
        found += [((f"pow{e}", *names[j]), X[:, j] ** e) for j in self.columns for e in (2, 3)]
        found += [
            ((op, *names[i], *names[j]), X[:, i] - s * X[:, j]) for i, j in pairs for op, s in (("-", 1.0), ("+", -1.0))
        ]
        with np.errstate(all="ignore"):
            found += [
                (("/", *names[i], *names[j]), X[:, i] / X[:, j]) for i in self.columns for j in self.columns if i != j
            ]
        good = [(base, v) for base, v in found if _usable(v) and np.ptp(v) > 1e-9 * np.abs(v).max()]
        return good[: max(ARGUMENTS, len(self.columns))]

    @np.errstate(all="ignore")
    def _lists(self):
        """([(expression, values)] of summands, the same of amplitudes): monomials, and those times an exponential."""
        X, D = self.X, self.X.shape[1]
        signed = [bool((X[:, j] != 0).all()) for j in range(D)]
        plain: list[tuple[Base, np.ndarray]] = []
        for vector in exponent_vectors(D, 90, 3, signed):
            if any(vector) and all(e == 0 or j in self.columns for j, e in enumerate(vector)):
                table = {(f"x{j + 1}",): Fraction(e) for j, e in enumerate(vector) if e}
                plain.append(
                    (product(table), np.prod([X[:, j] ** float(e) for j, e in enumerate(vector) if e], axis=0))
                )
        plain += [(("pow1_2", f"x{j + 1}"), np.sqrt(X[:, j])) for j in self.columns if X[:, j].min() >= 0]
        few = [((), np.ones(len(X))), *((p, v) for p, v in plain if len(p) == 1)]
        exponentials = []
        for base, v in self.arguments()[: 2 * D + 4]:
            size = float(np.median(np.abs(v))) or 1.0
            for rate in (*(r / size for r in RATES), *((1.0,) if len(base) > 1 else ())):
                for s in (-rate, rate):
                    exponentials.append((("exp", *times(s, base)), np.exp(s * v)))
        amplitudes = [((), np.ones(len(X))), *plain]
        amplitudes += [(("*", *m, *e) if m else e, u * v) for e, v in exponentials for m, u in few]
        amplitudes += [
            ((f, f"x{j + 1}"), act(X[:, j]))
            for j in self.columns
            for f, act in (("sin", np.sin), ("cos", np.cos), ("log", np.log))
        ]
        return ([(b, v) for b, v in plain if _usable(v)], [(b, v) for b, v in amplitudes if _usable(v)])

    # ---- frequencies ----

    @np.errstate(all="ignore")
    def peaks(self, argument) -> list[Peak]:
        """The leading peaks of one argument's periodogram, each moved to its top."""
        base, v = argument
        span = float(np.ptp(v))
        k = np.arange(2, min(STEPS, 3 * len(v)) + 1) * (np.pi / 2) / span
        power = self._power(v, k)
        inner = power[1:-1]
        tops = np.flatnonzero((inner >= power[:-2]) & (inner >= power[2:])) + 1
        found = []
        for top in tops[np.argsort(-power[tops])][:PEAKS]:
            fine = np.linspace(k[top - 1], k[top + 1], 17)
            here = self._power(v, fine)
            best = int(np.argmax(here))
            finer = np.linspace(fine[max(0, best - 1)], fine[min(16, best + 1)], 17)
            at = self._power(v, finer)
            found.append(Peak(base, v, float(finer[np.argmax(at)]), float(at.max())))
        return [peak for peak in found if peak.explained > 0.1 + 4.0 * self.slow.shape[1] / len(v)]

    def _power(self, v: np.ndarray, k: np.ndarray, slow=None, goal=None, Q=None) -> np.ndarray:
        """Share of the goal that cos(k v), sin(k v) times the slow functions explain, for every k."""
        slow = self.slow if slow is None else slow
        goal = self.goal if goal is None else goal
        Q = self.background if Q is None else Q
        out = np.empty(len(k))
        total = float(goal @ goal) or 1.0
        A = (slow * self.w[:, None]).T  # (q, n)
        for first in range(0, len(k), 64):
            phase = k[first : first + 64, None] * v  # (K, n)
            F = np.concatenate([np.cos(phase)[:, None] * A, np.sin(phase)[:, None] * A], axis=1)  # (K, 2q, n)
            F = F - (F @ Q) @ Q.T
            G = F @ F.transpose(0, 2, 1)  # (K, 2q, 2q)
            b = F @ goal  # (K, 2q)
            G += 1e-6 * np.trace(G, axis1=1, axis2=2)[:, None, None] * np.eye(G.shape[1]) / G.shape[
                1
            ] + 1e-300 * np.eye(G.shape[1])
            out[first : first + 64] = (b * np.linalg.solve(G, b[:, :, None])[:, :, 0]).sum(axis=1) / total
        return out

    # ---- laws ----

    @np.errstate(all="ignore")
    def single(self, peak: Peak) -> list[Base]:
        """Laws with one wave at a peak: amplitude, phase and one summand by least squares."""
        scored = []
        phases = [((), np.zeros(len(self.y)))]
        for j in self.columns:
            if f"x{j + 1}" not in peak.base and np.ptp(self.X[:, j]) < 4 * np.pi:
                phases += [(("+", f"x{j + 1}"), self.X[:, j]), (("-", f"x{j + 1}"), -self.X[:, j])]
        M = np.array([v for _, v in self.amplitudes])
        M = M / np.sqrt((M * M).mean(axis=1))[:, None] * self.w
        t = self.y * self.w
        for shift, values in phases:
            angle = peak.k * peak.v + values
            C, S = M * np.cos(angle), M * np.sin(angle)
            for Q, goal in ((self.one, self._without(t, self.one)), (self.background, self.goal)):
                left, _ = _pairs_left(self._without(C, Q), self._without(S, Q), goal)
                for i in np.argsort(left)[: LEADERS // 2]:
                    scored.append((float(left[i]), i, shift, angle))
        scored.sort(key=lambda item: item[0])
        laws: dict[Base, None] = {}
        for _, i, shift, angle in scored[: 2 * LEADERS]:
            laws.update(dict.fromkeys(self._laws(peak, self.amplitudes[i], shift, angle, t)))
        return list(laws)

    def _laws(self, peak: Peak, amplitude, shift, angle, t) -> Iterator[Base]:
        """One amplitude's laws: alone, with a constant, with the summand that explains most of what is left."""
        m, v = amplitude
        wave = np.column_stack([v * np.cos(angle), v * np.sin(angle)]) * self.w[:, None]
        one = self.w[:, None]
        P = np.array([u for _, u in self.plain]) * self.w if self.plain else np.zeros((0, len(t)))
        Q = np.linalg.qr(np.column_stack([one, wave]))[0]
        rest = self._without(t, Q)
        P = self._without(P, Q)
        size = (P * P).sum(axis=1)
        gain = np.where(size > 1e-9, (P @ rest) ** 2 / np.maximum(size, 1e-300), 0.0)
        best = [None, *(int(q) for q in np.argsort(-gain)[:2])] if len(gain) else [None]
        for q in best:
            parts = [wave, one] if q is None else [wave, one, (self.plain[q][1] * self.w)[:, None]]
            A = np.column_stack(parts)
            c = np.linalg.lstsq(A / np.abs(A).max(axis=0), t, rcond=1e-12)[0] / np.abs(A).max(axis=0) * self.unit
            if not np.isfinite(c).all():
                continue
            for with_one in (False, True) if q is None else (True, False):
                law = self._wave(peak, m, shift, c[0], c[1])
                if q is not None:
                    law = ("+", *law, *times(float(c[3]), self.plain[q][0])) if c[3] else law
                yield ("+", *law, repr(float(c[2]) or 1.0)) if with_one else law

    def _wave(self, peak: Peak, m: Base, shift: Base, c: float, s: float) -> Base:
        """m * (c cos + s sin) of the argument, as one function; a phase near a quarter turn is taken for it."""
        inside = times(peak.k if peak.k != 1.0 else 1.0, peak.base)
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
        angle = peak.k * peak.v
        t = self.y * self.w
        Q = np.linalg.qr(np.column_stack([np.ones(len(t)), np.cos(angle), np.sin(angle)]) * self.w[:, None])[0]
        goal = self._without(t, Q)
        laws: list[Base] = []
        if not goal @ goal > 1e-12 * (t @ t):
            return laws
        for base, v in self.arguments()[: len(self.columns)]:
            k = np.arange(1, STEPS) * (np.pi / 2) / float(np.ptp(v))
            power = self._power(v, k, np.ones((len(v), 1)), goal, Q)
            top = int(np.argmax(power))
            if power[top] < 0.3:
                continue
            fine = np.linspace(k[max(0, top - 1)], k[min(len(k) - 1, top + 1)], 33)
            other = Peak(base, v, float(fine[np.argmax(self._power(v, fine, np.ones((len(v), 1)), goal, Q))]), 0.0)
            A = np.column_stack(
                [np.cos(angle), np.sin(angle), np.cos(other.k * v), np.sin(other.k * v), np.ones(len(t))]
            )
            c = np.linalg.lstsq(A * self.w[:, None], t, rcond=1e-12)[0] * self.unit
            laws.append(
                (
                    "+",
                    "+",
                    *self._wave(peak, (), (), c[0], c[1]),
                    *self._wave(other, (), (), c[2], c[3]),
                    repr(float(c[4]) or 1.0),
                )
            )
        return laws

    @np.errstate(all="ignore")
    def crossed(self, one: tuple[Base, np.ndarray], two: tuple[Base, np.ndarray]) -> list[Base]:
        """Laws with the strongest wave in two columns at once: c0 + c cos(k a + p) cos(l b + q), or c0 + c cos(k a + l b + p)."""
        (base_a, a), (base_b, b) = one, two
        t = self._without(self.y * self.w, self.one) * self.w
        total = float(t @ t)
        span_a, span_b = float(np.ptp(a)), float(np.ptp(b))
        k, m = np.arange(1, STEPS // 2) * (np.pi / 2) / span_a, np.arange(1, STEPS // 2) * (np.pi / 2) / span_b
        A, B = np.outer(k, a), np.outer(m, b)
        A, B = (np.cos(A), np.sin(A)), (np.cos(B).T, np.sin(B).T)
        power = (
            sum(((F * t) @ G) ** 2 for F in A for G in B) * 4 / len(t) / total
        )  # (K, L): nearly orthogonal, so about the share
        # Each at least half a turn: slower ones pass for amplitudes.
        i, j = np.unravel_index(int(power[1:, 1:].argmax()), power[1:, 1:].shape)
        k, m, step = float(k[i + 1]), float(m[j + 1]), np.array([np.pi / 2 / span_a, np.pi / 2 / span_b])

        def features(k, m):
            ca, sa, cb, sb = np.cos(k * a), np.sin(k * a), np.cos(m * b), np.sin(m * b)
            return np.column_stack([ca * cb, ca * sb, sa * cb, sa * sb, np.ones(len(t))]) * self.w[:, None]

        def left(k, m):
            F = features(k, m)
            r = self.y * self.w - F @ np.linalg.lstsq(F, self.y * self.w, rcond=1e-10)[0]
            return float(r @ r) / total

        best = left(k, m)
        for scale in (0.5, 0.25, 0.12, 0.06):
            tries = [
                (
                    left(k + x * scale * step[0], m + y * scale * step[1]),
                    k + x * scale * step[0],
                    m + y * scale * step[1],
                )
                for x in (-1, 0, 1)
                for y in (-1, 0, 1)
            ]
            best, k, m = min([(best, k, m), *tries])
        if best > 0.5:
            return []
        c = np.linalg.lstsq(features(k, m), self.y * self.w, rcond=1e-10)[0] * self.unit
        rest = repr(float(c[4]) or 1.0)
        U, s, Vt = np.linalg.svd(c[:4].reshape(2, 2))
        p, q = Peak(base_a, a, k, 0.0), Peak(base_b, b, m, 0.0)
        laws = [("+", "*", *_bare(self._wave(p, (), (), *U[:, 0])), *self._wave(q, (), (), *(s[0] * Vt[0])), rest)]
        # cos(ka + lb + p) has cc = -ss, cs = sc; cos(ka - lb + p) has cc = ss, cs = -sc.
        for sign, token in ((1.0, "+"), (-1.0, "-")):
            x, z = (c[0] - sign * c[3]) / 2, (c[2] + sign * c[1]) / 2
            inside = (token, *times(k, base_a), *times(m, base_b))
            laws.append(("+", *self._wave(Peak(inside, a, 1.0, 0.0), (), (), x, z), rest))
        return laws


def _bare(law: Base) -> Base:
    """A wave of size 1 without that size."""
    sign = ("neg",) if law[0] == "neg" else ()
    law = law[len(sign) :]
    if law[0] == "*":
        sign = ("neg",) if float(law[1]) < 0 else sign
        law = law[2:]
    return (*sign, *law)


def _usable(v: np.ndarray) -> bool:
    return bool(np.isfinite(v).all() and 1e-100 < np.abs(v).max() < 1e100)


def _pairs_left(C: np.ndarray, S: np.ndarray, goal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(share of the goal left (T,), Gram determinants (T,)) by each pair of rows C[i], S[i]."""
    cc, ss, cs = (C * C).sum(axis=1), (S * S).sum(axis=1), (C * S).sum(axis=1)
    c, s = C @ goal, S @ goal
    det = cc * ss - cs * cs
    det = np.where(det > 1e-9 * cc * ss, det, np.inf)
    explained = (ss * c * c - 2 * cs * c * s + cc * s * s) / det
    left = 1 - explained / (float(goal @ goal) or 1.0)
    return np.where(np.isfinite(left), left, 2.0), det
