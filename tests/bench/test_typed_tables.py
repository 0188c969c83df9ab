"""The tables of bench/typed_tables.py: what is typed is the truth, rounded and with its noise; a law is judged beyond the rows."""

import numpy as np
import pytest

from bench import typed_tables
from fansr.streams import rng_for

TABLES = [*typed_tables.FIRST, *typed_tables.HELD]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_table_is_its_law_rounded_and_with_noise(table):
    names, target, rows, truth, size = typed_tables.typed(table, rng_for(3, table.name, 0))
    assert rows.shape == (len(truth), len(names) + 1) and target not in names
    assert np.isfinite(rows).all() and np.ptp(rows[:, -1]) > 0
    quantum = 10.0 ** (np.floor(np.log10(np.maximum(np.abs(rows[:, -1]), 1e-300))) + 1 - table.digits)
    assert (np.abs(rows[:, -1] - truth) <= 5 * size + quantum).all()
    assert all(float(f"{v:.{table.digits}g}") == v for v in rows[:, -1])


def test_names_are_told_apart():
    assert len({table.name for table in TABLES}) == len(TABLES)


@pytest.mark.parametrize("wider", [0.0, 0.25])
def test_fresh_rows_lie_in_the_ranges(wider):
    table = typed_tables.Table("t", "a~1:9 b^1:100 c#0:12 d~-3:3", "y = a*b + c*d")
    names, X = typed_tables.drawn(table, np.random.default_rng(0), 2000, wider)
    assert names == ["a", "b", "c", "d"] and (X[:, 2] == np.round(X[:, 2])).all()
    low, high = X.min(axis=0), X.max(axis=0)
    assert (low[:3] >= 0).all() and low[3] == pytest.approx(-3 - 6 * wider, abs=0.1)
    assert high[0] == pytest.approx(9 + 8 * wider, abs=0.1) and bool(low[1] < 1) == (wider > 0)


def test_the_judge_tells_the_law_from_one_that_does_as_well_within(monkeypatch):
    """Beyond the rows a kink at their end is another law."""
    table = typed_tables.Table("t", "x~0:1", "y = 2*x", "0.01", 4)
    said = {}
    for law in ("2.001*x", "2*x + 3*max(x - 1, 0)", "1.5*x"):
        done = type(
            "Done", (), {"returncode": 0, "stdout": f'{{"expression": "{law}", "verdict": "noise"}}', "stderr": ""}
        )
        monkeypatch.setattr(typed_tables.subprocess, "run", lambda *args, done=done, **kwargs: done)
        said[law] = typed_tables.judged(table, 1.0, 0)[:2]
    assert list(said.values()) == [(True, True), (True, False), (False, False)]
