"""Threads of numpy's products inside and after, by threadpoolctl's own account."""

import sys
import types

import threadpoolctl

from fansr.cli import blas


def counts():
    return {pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"}


def test_threads_are_one_inside_and_as_they_were_afterwards(monkeypatch):
    monkeypatch.delitem(sys.modules, "fansr.cli.single_thread", raising=False)
    with threadpoolctl.threadpool_limits(2, "blas"):
        with blas.threads():
            assert counts() == {1}
        assert counts() == {2}


def test_a_search_asks_for_one(monkeypatch):
    import numpy as np

    from fansr.fitting import Budget, Problem
    from fansr.search import turns

    monkeypatch.delitem(sys.modules, "fansr.cli.single_thread", raising=False)
    seen = []
    x = np.linspace(1, 2, 20)
    watch = types.MethodType(lambda self, progress: seen.append(counts()), object())
    with threadpoolctl.threadpool_limits(2, "blas"):
        turns.search(
            Problem(x[:, None], np.sin(x) + x**2, ["x"]),
            turns.Options(samples=0, proposers=("power", "plain"), watch=watch),
            Budget(0.0),
        )
        assert 2 in counts()  # what was loaded meanwhile, scipy's own, began with one
    assert seen and all(one == {1} for one in seen)


def test_a_command_changes_nothing(monkeypatch):
    monkeypatch.setitem(sys.modules, "fansr.cli.single_thread", types.SimpleNamespace(EARLY=True))
    with threadpoolctl.threadpool_limits(2, "blas"):
        with blas.threads():
            assert counts() == {2}
