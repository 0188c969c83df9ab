"""law_files.py: what cannot be used is named, with file and law, before anything is drawn."""

import gzip
import json

import numpy as np
import pytest
import zstandard
from click.testing import CliRunner

from fansr.corpus import law_files
from fansr.corpus.render import render
from fansr.errors import DataError


def entry(**change):
    return {"id": "a", "infix": "2*x", "variables": [{"name": "x", "low": 1, "high": 5}], **change}


def variable(**change):
    return entry(variables=[{"name": "x", "low": 1, "high": 5, **change}])


TEXTS = [
    ("1e999*x", "line 1.* holds a number beyond what float64 has"),
    ("1e308*10*x", "line 1.*beyond what float64 has"),
    ("9" * 400 + "*x", "line 1.*beyond what float64 has"),
    ("9" * 5000 + "*x", "line 1: cannot read the formula"),
    ("x\n3", "law laws:2: '3' names no variable"),
    ("C*x", "law laws:1: .* has a free constant C"),
    ("x ; x -1e308 1e308", "line 1: range of x"),
    ("x ; x 1 1e400", "line 1: range of x"),
    ("x ; x 1 nan", "line 1: range of x"),
    ("x ; x 2 1", "line 1: range of x"),
    ("x ; x 1 2, x 3 4", "line 1: its variables are called"),
    ("(" * 3000 + "x" + ")" * 3000, "line 1: "),
    ("+".join(["x"] * 5000), "line 1: "),
    ("sin(" * 800 + "x" + ")" * 800, "line 1: "),
]
ENTRIES = [
    (variable(low=-(10**400), high=10**400), "law a: range of x"),
    (variable(low="0", high="inf"), "law a: range of x"),
    (variable(low=[1], high=2), "law a: range of x"),
    (variable(dist=[1]), "law a: x is drawn"),
    (variable(sign=5), "law a: x is drawn"),
    (variable(name=""), "law a: its variables are called"),
    (entry(infix="3", variables=[]), "law a: '3' names no variable"),
    (entry(infix="C*x"), "law a: .* free constant C"),
    (entry(infix=5), "law 1: wanted a map"),
    (entry(variables={"x": 1}), "law a: variables must be"),
    (entry(difficulty=["easy"]), "law a: difficulty is"),
    (entry(target={"y": 1}), "law a: target is"),
    (entry(id=[1]), "id is"),
    (entry(infix="x*\ud800"), "surrogate"),
    (entry(difficulty="\udfff"), "surrogate"),
    (5, "law 1: wanted a map"),
]


@pytest.mark.parametrize(("text", "said"), TEXTS)
def test_a_line_that_cannot_be_drawn_is_named(tmp_path, text, said):
    path = tmp_path / "laws.txt"
    path.write_text(text)
    refused(path, said)


@pytest.mark.parametrize(("law", "said"), ENTRIES)
def test_an_entry_that_cannot_be_drawn_is_named(tmp_path, law, said):
    path = tmp_path / "laws.json"
    path.write_text(json.dumps({"name": "n", "laws": [law]}))
    refused(path, said)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b'{"laws": ' + b"[" * 200_000, "nested too deeply"),
        (b'{"laws": 5}', "no laws in it"),
        (b"[]", "no laws in it"),
        (b"{", "not JSON"),
        (b'[{"infix": ' + b"9" * 9999 + b"}]", "not JSON"),
        (b"x*\xff", "neither a stream nor text"),
        (b"\0", "line 1|no laws|cannot read"),
        (b"", "no laws in it"),
        (b"x" * (65 << 20), "at most 67108864"),
        (zstandard.compress(bytes(65 << 20)), "at most 67108864"),
        (gzip.compress(b"2*x", mtime=0)[:-3], "cut"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, raw, said):
    path = tmp_path / "laws"
    path.write_bytes(raw)
    refused(path, said)


def refused(path, said):
    with pytest.raises(DataError, match=said) as error:
        law_files.read(str(path), to_draw=True)
    assert str(path) in str(error.value)
    done = CliRunner().invoke(render, [str(path), "-j", "1", "-o", str(path.with_name("out"))])
    assert done.exit_code == 1 and done.stderr.count("\n") == 1 and "internal" not in done.stderr, done.stderr
    assert not path.with_name("out").exists()


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
def test_laws_at_the_edge_are_drawn(tmp_path, pack):
    """Packed or not: the widest range, numbers near the largest, a constant law with a column."""
    laws = [variable(low=-1e300, high=1e300), entry(infix="1e290*x"), entry(infix="3 + 0*x")]
    path = tmp_path / "laws"
    path.write_bytes(pack(json.dumps(laws).encode()))
    assert not law_files.is_stream(str(path))
    for law in law_files.read(str(path), to_draw=True).laws:
        X, y = law.draw(50, np.random.default_rng(0))
        assert X.shape == (50, 1) and np.isfinite(X).all() and np.isfinite(y).all()


def test_a_free_constant_may_be_held_out(tmp_path):
    (tmp_path / "laws.txt").write_text("C*sin(x1)")
    assert law_files.read(str(tmp_path / "laws.txt")).laws[0].expr == ["*", "<constant>", "sin", "x1"]
