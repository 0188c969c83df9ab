"""The gallery's 15 tables: what was published of each is found by the command its page shows."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
QUICK = ("planets", "hydrogen")


def tool(name: str):
    """A program of docs/tools as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs/tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


gallery = tool("gallery")
NAMES = [pytest.param(n, marks=[] if n in QUICK else [pytest.mark.docs]) for n in gallery.EXAMPLES]


@pytest.mark.parametrize("name", NAMES)
def test_the_published_law_is_found(name):
    example = gallery.EXAMPLES[name]
    assert example.check(gallery.answer(example)) == ""


def test_there_are_fifteen_and_every_table_is_shipped():
    assert len(gallery.EXAMPLES) == 15
    shipped = {path.stem for path in (ROOT / "data").glob("*.csv")}
    assert {example.table for example in gallery.EXAMPLES.values()} == shipped - {
        "cmb_firas"
    }  # the same without its errors


def test_a_wrong_answer_is_told():
    check = gallery.EXAMPLES["planets"].check
    assert check("period_days = 365.0*semi_major_axis_au**1.5") == ""
    assert "365.25 within" in check("period_days = 300.0*semi_major_axis_au**1.5")
    assert "no line like" in check("period_days = 365.0*semi_major_axis_au")
