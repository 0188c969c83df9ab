"""Waves of the period that a column's name states."""

import math

import numpy as np
import pytest

from fansr.expressions import bind, evaluate, from_infix, literal_value
from fansr.fitting import Budget, Candidate, Problem
from fansr.proposers import calendar_waves
from fansr.search import turns


@pytest.mark.parametrize(
    "name, period",
    [("month", 12), ("Months", 12), ("hour_of_day", 24), ("dayOfYear", 365.25), ("deg", 360), ("monthly_sales", None), ("x", None), ("hours_worked", None)],
)  # fmt: skip
def test_names(name, period):
    assert calendar_waves.period_of(name) == period


def test_laws_are_regressions_on_sine_and_cosine():
    rng = np.random.default_rng(0)
    month, other = np.arange(24.0), rng.normal(0, 1, 24)
    y = 3 + 2 * np.sin(2 * np.pi * month / 12 + 0.7) + 0.5 * other + rng.normal(0, 0.1, 24)
    problem = Problem(np.column_stack([month, other]), y, ["month", "other"])
    A = np.column_stack([np.sin(2 * np.pi * month / 12), np.cos(2 * np.pi * month / 12), other, np.ones(24)])
    wanted = A @ np.linalg.lstsq(A, y, rcond=None)[0]
    values = [evaluate(law.expr, problem.X, law.consts) for law in calendar_waves.calendar_laws(problem)]
    assert any(np.allclose(v, wanted, atol=1e-9) for v in values)


def test_a_table_that_covers_little_of_a_period_has_none():
    assert calendar_waves.calendar_columns(Problem(np.arange(5.0)[:, None], np.arange(5.0), ["hour"])) == {}
    assert calendar_waves.calendar_columns(Problem(np.arange(12.0)[:, None], np.arange(12.0), ["month"])) == {0: 12.0}


TOLD = [
    ({"kind": "clock", "unit": "seconds"}, 86400.0), ({"kind": "date", "unit": "seconds"}, 86400.0), ({"kind": "date", "unit": "days"}, 365.25),
    ({"kind": "date", "unit": "months"}, 12.0), ({"kind": "words", "unit": "months"}, 12.0), ({"kind": "words", "unit": "weekdays"}, 7.0),
    ({"kind": "words", "unit": "yes"}, None), ({"kind": "number", "unit": "months"}, None), ({"kind": "number"}, None), ({}, None),
]  # fmt: skip


@pytest.mark.parametrize("told, period", TOLD)
def test_cells_that_were_dates_times_or_words_state_a_period(told, period):
    x = np.linspace(0, 1.5 * (period or 12.0), 40)
    problem = Problem(
        np.column_stack([np.ones(40), x]), x, ["z", "t"], extra={"conversions": {"t": told} if told else {}}
    )
    assert calendar_waves.calendar_columns(problem) == ({} if period is None else {1: period})
    problem.X[:, 1] /= 4.0  # too little of a period
    assert calendar_waves.calendar_columns(problem) == {}


def test_what_the_cells_say_comes_before_the_name():
    days = {"conversions": {"month": {"kind": "date", "unit": "days"}}}
    x = np.linspace(0, 400, 50)[:, None]
    assert calendar_waves.calendar_columns(Problem(x, x[:, 0], ["month"], extra=days)) == {0: 365.25}
    assert calendar_waves.calendar_columns(Problem(x, x[:, 0], ["month"])) == {0: 12.0}
    twice = {"conversions": {"when": {"kind": "date", "unit": "seconds"}}}  # at six and at eighteen o'clock
    x = 21_600 + 43_200 * np.arange(40.0)[:, None]
    assert calendar_waves.calendar_columns(Problem(x, x[:, 0], ["when"], extra=twice)) == {}
    x = 21_600 * np.arange(40.0)[:, None]
    assert calendar_waves.calendar_columns(Problem(x, x[:, 0], ["when"], extra=twice)) == {0: 86_400.0}
    x = np.arange(12.0)[:, None]
    clock = {"conversions": {"month": {"kind": "date", "unit": "years"}}}  # of which nothing is known
    assert calendar_waves.calendar_columns(Problem(x, x[:, 0], ["month"], extra=clock)) == {0: 12.0}


YEAR = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
CELLS = {
    "days": ([f"2023-{m:02d}-{d:02d}" for m in range(1, 13) for d in (1, 15)], 365.25),
    "times": ([f"{h:02d}:{m:02d}" for h in range(24) for m in (5, 40)], 86400.0),
    "months of years": ([f"{month} {year}" for year in (2022, 2023) for month in YEAR], 12.0),
    "months": (YEAR * 2, 12.0),
    "weekdays": ("Mon Tue Wed Thu Fri Sat Sun".split() * 3, 7.0),
}


@pytest.mark.parametrize("name", CELLS)
def test_a_file_with_a_calendars_cells_has_its_wave(name):
    """Read as a file is; the noise is such that the wave of the cells' own period is the law."""
    from fansr.tables.loading import parse_table, table_problem

    cells, period = CELLS[name]
    read = parse_table(("when,y\n" + "".join(f"{cell},0\n" for cell in cells)).encode(), "t").values[:, 0]
    y = 8 + 5 * np.sin(2 * np.pi * read / period + 0.7) + 0.3 * np.random.default_rng(2).normal(size=len(read))
    text = "when,y\n" + "".join(f"{cell},{value:.2f}\n" for cell, value in zip(cells, y))
    found = turns.search(table_problem(parse_table(text.encode(), "t"))[0], turns.Options(), Budget(0.0))
    numbers = [abs(v) for v in map(literal_value, bind(found.best.expr, found.best.consts)) if v is not None]
    assert any(abs(v * period / (2 * math.pi) - 1) < 1e-9 for v in numbers)


def test_the_prior_is_for_the_columns_own_period():
    def of(text):
        return Candidate(from_infix(text, ["month"]), np.zeros(0))

    own, columns = f"2*sin({2 * math.pi / 12}*month + 1)", {0: 12.0}
    assert calendar_waves.prior_nats(of(own), columns) == calendar_waves.PRIOR_NATS
    assert calendar_waves.prior_nats(of("2*sin(0.53*month + 1)"), columns) == 0.0
    assert calendar_waves.prior_nats(of(own), {}) == 0.0
    assert calendar_waves.prior_nats(of("2*month + 1"), columns) == 0.0


@pytest.mark.parametrize("seed", range(6))
def test_a_year_of_noisy_months_is_a_yearly_wave(seed):
    rng = np.random.default_rng(seed)
    month = np.arange(1.0, 13.0)
    clean = rng.uniform(5, 30) + rng.uniform(4, 12) * np.sin(2 * np.pi * month / 12 + rng.uniform(0, 6))
    y = np.round(clean + rng.normal(0, 0.1, 12) * np.std(clean), 1)
    found = turns.search(Problem(month[:, None], y, ["month"]), turns.Options(seed=seed), Budget(0.0))
    numbers = [abs(v) for v in map(literal_value, bind(found.best.expr, found.best.consts)) if v is not None]
    assert any(abs(v - 2 * math.pi / 12) < 1e-9 for v in numbers)


def test_a_column_called_month_that_grows_in_a_line_stays_a_line():
    month = np.arange(24.0)
    y = 2.5 * month + 7 + np.random.default_rng(1).normal(0, 0.5, 24)
    found = turns.search(Problem(month[:, None], y, ["month"]), turns.Options(), Budget(0.0))
    assert "sin" not in found.best.expr and "cos" not in found.best.expr
