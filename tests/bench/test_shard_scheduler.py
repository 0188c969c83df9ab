"""The shard scheduler against cases with a known answer."""

import math

import numpy as np
import pytest

from bench.shard_scheduler import simulate


@pytest.mark.parametrize("tasks, machines, cores", [(7, 2, 2), (8, 2, 2), (1, 3, 4), (1000, 8, 16)])
def test_without_failures_it_is_waves(tasks, machines, cores):
    out = simulate(tasks, 10.0, machines, cores, start=1.0)
    assert out.seconds == pytest.approx(11.0 * math.ceil(tasks / (machines * cores)))
    assert out.worked == pytest.approx(11.0 * tasks) and out.lost == out.failures == 0


def test_one_failure_by_hand():
    """Two machines of one core, three tasks of 10 s, the second machine gone from 4 to 9 and noticed at 6.

    Going on: machine 0 ends task 0 at 10 and takes task 2; machine 1, back at 9, has 6 + 1 s (its last second is done again)
    of task 1 to do until 16; task 2 ends at 20.  From nothing: task 1 ends at 19.
    """
    more = {"repair": 5.0, "notice": 2.0, "failures": [(4.0, 1)]}
    out = simulate(3, 10.0, 2, 1, lost=1.0, **more)
    assert (out.seconds, out.worked, out.lost) == (20.0, 31.0, 1.0)
    assert simulate(2, 10.0, 2, 1, lost=1.0, **more).seconds == 16.0
    anew = simulate(2, 10.0, 2, 1, resumes=False, **more)
    assert (anew.seconds, anew.lost) == (19.0, 4.0)


@pytest.mark.parametrize("resumes", [True, False])
def test_one_task_on_one_machine_takes_the_expected_time(resumes):
    """From nothing (exp(T / mtbf) - 1) * (mtbf + repair); going on T * (1 + repair / mtbf)."""
    work, mtbf, repair, runs = 10.0, 8.0, 3.0, 4000
    rng = np.random.default_rng(1)
    took = [simulate(1, work, 1, 1, mtbf, repair, resumes=resumes, rng=rng).seconds for _ in range(runs)]
    expected = work * (1 + repair / mtbf) if resumes else (math.exp(work / mtbf) - 1) * (mtbf + repair)
    assert abs(np.mean(took) - expected) < 4 * np.std(took) / math.sqrt(runs)
