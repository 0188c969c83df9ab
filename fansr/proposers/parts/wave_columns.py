"""A fast wave as a column of its own: the problem in the other columns and C = cos(k a + phase); a reduction for composites.py.

Whatever its amplitude, what stands beside it and around it, b cos(k a)/(c + 0.4), b/(3 + cos(k a)), log(2 + sin(k a)), a wave of
many turns shows in a periodogram of y, log|y| or 1/y.  Its frequency is narrowed with an amplitude that is a polynomial in all
columns, whose sine and cosine parts give the phase.  Frequency and phase are constants of the law that is put back, and polished
with it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from fansr.expressions import evaluate
from fansr.fitting import Problem
from fansr.proposers.parts import reductions as cut
from fansr.proposers.parts.expression_assembly import Base, scale_of, times
from fansr.proposers.parts.inner_scan import Projector, arguments, usable, wave_power, zoomed
from fansr.proposers.parts.monomials import monomials, values
from fansr.proposers.parts.plain_parts import Sample
from fansr.proposers.parts.reductions import Reduction

TURNS, FEW_TURNS = 200, 100  # of a column, of other arguments, at most
MOST_ARGUMENTS = 24
LEAST_TURNS = 6  # over the table: slower waves are for polynomials, and for the other proposers
AMPLITUDES, PER_AMPLITUDE = 15, 10  # of the amplitude's polynomial; rows for each at least
EXPLAINED = 0.5  # share of what slow columns leave that a wave must explain, besides what chance explains
KEPT = 2
ONE_PHASE = 0.15  # size of the amplitude's other phase up to which there is one
NEAR = 0.02  # of a turn: a phase so near a quarter turn is taken for it


class Wave(NamedTuple):
    """An argument (expression, values of it on the sample's rows), its frequency, and the share of y it explains."""

    explained: float
    base: Base
    v: np.ndarray
    k: float
    look: Projector


def wave_columns(problem: Problem, sample: Sample) -> Iterator[Reduction | None]:
    """The problem with the columns of a fast wave's argument replaced by the wave, and with the wave beside them."""
    if sample.n < 30:
        return
    found: list[Wave] = []
    few = [j for j in sample.varying if j < 8]
    Z = sample.Z.T
    slow = [np.ones(sample.n), *Z[few], *(Z[i] * Z[j] for n, i in enumerate(few[:5]) for j in few[: n + 1])]
    for name, t in _targets(sample.y):
        look = Projector(slow, t)
        if not look.open > 1e-10:
            continue
        tried = arguments(sample.X, few, "* pow2 pow3 - + / inv")[:MOST_ARGUMENTS]
        for base, v in tried if name == "y" else tried[: len(few)]:
            found += _peaks(base, v, look, Z[few], TURNS if len(base) == 1 else FEW_TURNS)
            yield None
    found.sort(key=lambda wave: -wave.explained)
    kept: list[Wave] = []
    for wave in found:
        if all(wave.base != other.base or abs(wave.k / other.k - 1) > 0.01 for other in kept) and len(kept) < KEPT:
            kept.append(wave)
    for wave in kept:
        yield from _with_wave(problem, sample, wave)
        yield None


def _targets(y: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """What a wave may show in: y, log|y| and 1/y where they are defined and no outlier takes all of the variance."""
    yield "y", y / scale_of(y)
    if (y > 0).all() or (y < 0).all():
        yield "log", np.log(np.abs(y))
        yield "1/y", 1 / y / scale_of(1 / y)


def _peaks(base: Base, v: np.ndarray, look: Projector, Z: np.ndarray, turns: int) -> list[Wave]:
    """The highest peak of a periodogram, where it is no accident."""
    n, span = len(v), float(np.ptp(v))
    quarter = np.arange(4 * LEAST_TURNS, min(4 * turns, 3 * n) + 1) * (np.pi / 2) / span
    amplitudes = np.stack([np.ones(n), *Z[:3]])
    power = sum(wave_power(quarter, v, look.t * a / np.sqrt(np.mean(a * a))) for a in amplitudes)
    top = quarter[int(np.argmax(power))][None]
    explained = 1 - float(look.wave_shares(top, v, amplitudes)[0]) / max(look.open, 1e-300)
    chance = (2 * len(amplitudes) + 2 * math.log(len(quarter))) / n
    if not explained > EXPLAINED + chance:
        return []
    _, at, _ = zoomed(lambda places: look.wave_shares(places[:, 0], v, amplitudes), [quarter], top, 3, 17)
    return [Wave(explained, base, v, float(at[0]), look)]


def _with_wave(problem: Problem, sample: Sample, wave: Wave) -> Iterator[Reduction]:
    """Problems in the columns that are not in the wave's argument and the wave, then in all columns and the wave."""
    d = 1
    while math.comb(sample.D + d + 1, d + 1) <= min(AMPLITUDES, sample.n // PER_AMPLITUDE):
        d += 1
    A = values(sample.Z, monomials(sample.D, d)).T  # (T, n)
    step = 0.25 * np.pi / float(np.ptp(wave.v))
    axis = np.array([wave.k - step, wave.k, wave.k + step])
    _, at, _ = zoomed(lambda places: wave.look.wave_shares(places[:, 0], wave.v, A), [axis], axis[1:2], 5, 13)
    k = float(at[0])
    F = np.concatenate([np.cos(k * wave.v) * A, np.sin(k * wave.v) * A])
    F = wave.look.rest(F)
    c = np.linalg.lstsq(F.T, wave.look.t, rcond=1e-10)[0].reshape(2, -1)
    weight = np.sqrt((A * A).mean(axis=1))
    U, s, _ = np.linalg.svd(c * weight)
    if s[0] == 0 or s[1] > ONE_PHASE * s[0]:
        return
    phase = math.atan2(U[1, 0], U[0, 0])  # c cos + s sin = cos(k v - phase)
    quarters = phase / (np.pi / 2)
    inside = times(k, wave.base)
    v = evaluate(wave.base, problem.X)
    if abs(quarters - round(quarters)) < 4 * NEAR:
        sine = round(quarters) % 2 == 1
        base, C = (("sin", *inside), np.sin(k * v)) if sine else (("cos", *inside), np.cos(k * v))
    else:
        base, C = ("cos", "+", *inside, repr(-phase)), np.cos(k * v - phase)
    own = {f"x{j + 1}" for j in range(sample.D)} & set(wave.base)
    others = [j for j in sample.varying if f"x{j + 1}" not in own]
    error = 1 - wave.explained
    if usable(C):
        yield cut.in_columns(problem, [*cut.columns_of(problem, others), (base, C)])._replace(error=0.01 * error)
        yield cut.in_columns(problem, [*cut.columns_of(problem, sample.varying), (base, C)])._replace(
            error=0.01 * error
        )
