"""The seconds kept for a search's ending, by a clock that the test turns itself."""

import types

import numpy as np
import pytest

from fansr.fitting import Budget
from fansr.search import clocks


@pytest.fixture
def clock(monkeypatch):
    """wall and cpu seconds that stand still until the test moves them."""
    clock = types.SimpleNamespace(wall=100.0, cpu=7.0)
    clock.monotonic = lambda: clock.wall
    clock.process_time = clock.thread_time = lambda: clock.cpu
    monkeypatch.setattr(clocks, "time", clock)
    monkeypatch.setattr("fansr.fitting.problem.time", clock)
    return clock


def test_a_tenth_is_kept_on_a_quiet_machine_and_more_on_a_crowded_one(clock):
    work = clocks.Work(Budget(3.0))
    clock.wall, clock.cpu = 101.0, 8.0
    assert work.pace() == 1.0 and work.left() == pytest.approx(3 - 1 - 0.3)
    clock.wall, clock.cpu = 101.0, 7.1  # ten seconds for one
    assert work.pace() == pytest.approx(10.0) and work.left() == pytest.approx(3 - 1 - 9 * clocks.ENDING)
    clock.wall, clock.cpu = 101.0, 7.03
    assert work.left() == pytest.approx(3 - 1 - clocks.LATEST * 3)  # no more than that, however crowded


def test_seconds_of_loading_take_nothing_from_the_last_allowance(clock):
    from fansr.fitting import Problem
    from fansr.search import state

    x = np.linspace(1.0, 2.0, 9)
    search = state.State(Problem(x[:, None], 2 * x, ["x"]), state.Options(), Budget(1.0))
    over = search._allowance(search.budget, 0.2)
    clock.wall, clock.cpu = 110.0, 7.5
    assert over()
    search._loaded(0.4)
    assert not over()


def test_seconds_of_loading_move_the_end_of_a_budget_and_of_what_is_part_of_it(clock):
    budget = Budget(3.0)
    work = clocks.Work(clocks.Work(budget))
    before = work.left()
    work.shift(2.0)
    clock.wall, clock.cpu = 102.0, 9.0
    assert work.left() == pytest.approx(before) and budget.left() == pytest.approx(3.0)
    work.stop()
    assert work.over() and not budget.over()
    assert clocks.Work(Budget(None)).left() == float("inf")


def test_an_allowance_is_processor_time_less_of_it_where_it_is_dear(clock):
    budget = Budget(1.0)
    plain, dear = clocks.Allowance(budget, 0.2), clocks.Allowance(budget, 0.2, pace=8.0)
    clock.wall = 110.0
    assert not plain.over() and not dear.over()
    clock.cpu = 7.11
    assert not plain.over() and dear.over()
    clock.cpu = 7.21
    assert plain.over()
    assert clocks.Allowance(Budget(100.0), 0.2, deadline=109.0).over()
