"""Twelve mistakes of a first hour with fansr-fit: each is one line that names what came, and what to do next.

`way` is the part of the message from which its reader can go on; a mistake that is none for fansr is answered, and said.
"""

import os
import subprocess
import sys

import pytest
import terminals

FIT = [sys.executable, "-c", "import sys; sys.argv[0] = 'fansr-fit'; from fansr.fit import main; main()"]
QUICK = ["--proposers", "power,sums", "--time", "0"]
FILES = {
    "good.csv": "height,speed\n1,2.1\n2,4\n3,6\n4,8\n",
    "headless.csv": "1,2\n2,4\n3,6\n4,8\n5,10\n",
    "words.csv": "height,verdict\n1,low\n2,high\n3,low\n4,low\n",
    "semicolons.csv": "height;speed\n1,5;3,0\n2,5;5,0\n3,5;7,0\n4,5;9,0\n",
    "one.csv": "height,speed\n1,2\n",
    "empty.csv": "",
}
# words of the call, exit status, what the message must say of what came, the way on
MISTAKES = {
    "a column that is not there": (["good.csv", "--target", "sped"], 1, "'sped'", "speed"),
    "a file that is not there": (["godo.csv"], 1, "godo.csv: no such file", "did you mean good.csv?"),
    "no line of names": (["headless.csv"], 0, "line 1 holds numbers", "named x1"),
    "a target of words": (
        ["words.csv", "--target", "verdict"],
        1,
        "column verdict is text",
        "columns of numbers are height",
    ),
    "semicolons and decimal commas": (["semicolons.csv"], 0, "speed = 2*height", ""),
    "too few rows": (["one.csv"], 1, "1 usable row", "wanted at least 2"),
    "a mistyped option": (["good.csv", "--tagret", "speed"], 2, "--tagret", "did you mean --target?"),
    "a mistyped choice": (["good.csv", "--select", "bci"], 2, "'bci'", "did you mean bic?"),
    "a folder": (["."], 1, "is a directory", "wanted a table"),
    "an empty file": (["empty.csv"], 1, "the file is empty", "a row of column names"),
    "an address": (["https://example.org/t.csv"], 1, "is an address", "curl -LO https://example.org/t.csv"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("first_hour")
    for name, text in FILES.items():
        (path / name).write_text(text)
    return path


@pytest.mark.parametrize("mistake", MISTAKES)
def test_one_can_go_on(folder, mistake):
    words, status, came, way = MISTAKES[mistake]
    done = subprocess.run([*FIT, *words, *QUICK], cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    said = done.stdout + done.stderr
    assert done.returncode == status and came in said and way in said, said
    assert "Traceback" not in said and "internal error" not in said
    if status:
        assert done.stdout == "" and done.stderr.count("\n") == 1 and done.stderr.startswith("fansr-fit: ")


def test_no_file_and_no_pipe(folder):
    """On a terminal it would wait for somebody to type a table."""
    status, written, _ = terminals.run(FIT)
    assert status == 1 and b"stdin: is the keyboard" in written and b"name a file" in written


def test_an_extra_that_is_not_installed(folder, tmp_path):
    """matplotlib hidden from the command: said before the search, with what installs it."""
    hide = "import sys, importlib.util as u; f = u.find_spec; u.find_spec = lambda n, *a: None if n == 'matplotlib' else f(n, *a); "
    code = FIT[2].replace("import sys; ", hide, 1)
    words = [str(folder / "good.csv"), "--plot", str(tmp_path / "x.png")]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == 1 and "pip install 'fansr[plot]'" in done.stderr and done.stderr.count("\n") == 1
