"""Searches for units by the command: options as its words, what it says handed on, Ctrl-C with what is done."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from fansr.distillation import unit_searches
from fansr.errors import DataError
from fansr.fitting import Problem


def problem(unit=0, rows=40):
    x = np.linspace(1, 2, rows)[:, None]
    return Problem(x, 3 * x[:, 0] ** 2, ["x"], id=unit, extra={"unit": unit})


def test_options_are_the_words_of_the_command():
    words = unit_searches.flags(
        {"max_length": 9, "strict": True, "model": None, "nest": ["sin:0", "exp:1"], "proposers": ("power", "sums")}
    )
    assert words == ["--max-length=9", "--strict", "--nest=sin:0", "--nest=exp:1", "--proposers=power,sums"]


def test_what_the_command_says_is_handed_on():
    with pytest.raises(ValueError, match="fit: .*--proposers powr.*did you mean power"):
        list(unit_searches.search([problem()], {"proposers": "powr"}))
    with pytest.raises(DataError, match="fit: "):
        list(unit_searches.search([Problem(np.zeros((0, 1)), np.zeros(0), ["x"])], {"proposers": "power"}))
    assert list(unit_searches.search([], {})) == []


def test_a_second_pass_is_given_the_laws_of_the_first():
    records = list(
        unit_searches.search([problem(0), problem(1)], {"proposers": "power", "time": 0.3, "select": "drop"}, 1)
    )
    assert [record["unit"] for record in records] == [0, 1]
    assert all(record["status"] == "ok" and record["fvu"] < 1e-20 for record in records)


@pytest.mark.prove
def test_an_interrupt_keeps_what_is_done(tmp_path):
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_unit_searches import problem, unit_searches\n"
        "done = []\n"
        "try:\n"
        "    for record in unit_searches.search([problem(k) for k in range(40)], {'time': 0.5, 'proposers': 'evolve'}, 1, 1):\n"
        "        done.append(record['unit'])\n"
        "except KeyboardInterrupt:\n"
        "    print('kept', len(done))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True)
    time.sleep(12)
    import os

    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    word, number = said.split()
    assert word == "kept" and 1 <= int(number) < 40
