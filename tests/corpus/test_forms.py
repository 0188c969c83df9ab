"""fansr-forms: against an enumeration with high-precision values, and what is dropped, chosen and held."""

import itertools

import mpmath
import numpy as np
import pytest
from click.testing import CliRunner

from fansr.corpus import forms
from fansr.expressions import evaluate
from fansr.streams import open_reader

UNARY, BINARY = ["exp", "sin", "neg", "sqrt"], ["+", "-", "*", "/"]
MP = {
    "exp": mpmath.exp, "sin": mpmath.sin, "neg": lambda a: -a, "pow1_2": mpmath.sqrt, "+": lambda a, b: a + b,
    "-": lambda a, b: a - b, "*": lambda a, b: a * b, "/": lambda a, b: a / b,
}  # fmt: skip


def precise(expr, point):
    """Value at 40 digits, None where it is no real number."""
    stack = []
    for token in reversed(expr):
        if token[0] == "x" and token[1:].isdigit():
            stack.append(mpmath.mpf(float(point[int(token[1:]) - 1])))
            continue
        operands = [stack.pop() for _ in range(1 if token in ("exp", "sin", "neg", "pow1_2") else 2)]
        if any(a is None for a in operands):
            stack.append(None)
            continue
        try:
            value = MP[token](*operands)
        except ZeroDivisionError:
            value = None
        stack.append(None if value is None or isinstance(value, mpmath.mpc) else value)
    return stack[0]


@pytest.fixture(scope="module")
def levels():
    return forms.enumerate_forms(2, 10**6, 2, UNARY, BINARY)[0]


def test_depth_two_is_what_brute_force_finds(levels):
    """All 1,000-odd raw expressions to depth 2, their values at 40 digits on 24 points: as many functions, none twice."""
    X = np.concatenate([forms.points(2)[k * forms.POINTS : k * forms.POINTS + 6] for k in range(4)])
    raw = [["x1"], ["x2"]]
    for _ in range(2):
        known = [tuple(e) for e in raw]
        deeper = [[{"sqrt": "pow1_2"}.get(u, u), *e] for u in UNARY for e in known]
        deeper += [[b, *p, *q] for b in BINARY for p, q in itertools.product(known, repeat=2)]
        raw = [list(e) for e in dict.fromkeys([*known, *map(tuple, deeper)])]
        if len(raw) < 100:  # of depth 1: functions, so that the next level stays small
            once = {}
            for e in raw:
                once.setdefault(key_of(e, X), e)
            raw = [e for k, e in once.items() if k is not None]
    with mpmath.workdps(40):
        wanted = {key_of(e, X) for e in raw} - {None}
        found = [key_of(e, X) for level in levels for e in level.exprs]
    assert len(set(found)) == len(found)
    assert set(found) <= wanted
    # Six points of each domain say of a function that it exists nearly nowhere less surely than 64 do.
    assert len(wanted - set(found)) <= 3
    assert [len(level.exprs) for level in levels] == [2, 18, 914]


def key_of(expr, X):
    """The function's values to 12 digits; None for constants and for what exists at under a twentieth of the points."""
    values = [precise(expr, point) for point in X]
    there = [v for v in values if v is not None and abs(v) < 3e38]
    if len(there) < 2 or max(there) - min(there) < 1e-9 * max(abs(max(there)), abs(min(there))):
        return None
    return tuple(None if v is None or abs(v) >= 3e38 else mpmath.nstr(v, 12) for v in values)


def test_simplified_forms_are_the_same_functions(levels):
    X = np.random.default_rng(0).uniform(0.3, 2.0, (30, 2))
    for short, expr in zip(forms.simplified(levels[2], forms.points(2)), levels[2].exprs):
        with np.errstate(all="ignore"):
            np.testing.assert_allclose(evaluate(short, X), evaluate(expr, X), rtol=1e-9)
        assert len(short) <= len(expr)


def test_rounding_does_not_part_equal_functions():
    rng = np.random.default_rng(1)
    values = rng.normal(size=(200, 256)) * 10.0 ** rng.uniform(-3, 3, (200, 256))
    noisy = values * (1 + 1e-15 * rng.normal(size=values.shape))
    one, other = forms.keys_of(values), forms.keys_of(noisy)
    assert (one == other).any(axis=1).all()
    assert not (forms.keys_of(values * (1 + 1e-6)) == one).any()
    assert len({*one[:, 0].tolist()}) == 200


def test_a_cut_level_is_an_even_choice_the_same_for_any_n(levels):
    """Of depth 2 the smallest hashes: a smaller n is a part of a larger one, and lengths are those of all on average."""
    few, more = (forms.enumerate_forms(2, n, 2, UNARY, BINARY)[0][2].exprs for n in (220, 420))
    assert len(few) == 200 and set(map(tuple, few)) <= set(map(tuple, more))
    mean = np.mean([len(e) for e in levels[2].exprs])
    assert abs(np.mean([len(e) for e in more]) - mean) < 0.3
    short = forms.enumerate_forms(2, 220, 2, UNARY, BINARY, shortest=True)[0][2].exprs
    assert max(map(len, short)) <= sorted(len(e) for e in levels[2].exprs)[199]


def test_workers_change_nothing(tmp_path):
    """Depth 3 of few operators, cut: 41 operands in three blocks, and functions that several blocks make."""
    told = []
    for jobs in ("1", "2"):
        out = tmp_path / jobs
        words = ["--depth", "3", "--unary", "exp", "--binary", "+,-", "-n", "500", "-j", jobs, "-o", str(out), "-q"]
        assert CliRunner().invoke(forms.forms, words).exit_code == 0
        with open_reader(str(out), holds="skeleton") as reader:
            told.append((list(reader), reader.checksum, reader.dropped))
    assert told[0] == told[1]
    records, _, dropped = told[0]
    assert len(records) == 500 and {record["depth"] for record in records} == {0, 1, 2, 3}
    assert dropped["equal_values"] > 100 and dropped["not_chosen"] > 100
    # The smallest hashes of all that depth 3 holds, whatever block they come from.
    levels, _ = forms.enumerate_forms(3, 10**6, 2, ["exp"], ["+", "-"])
    left = 500 - sum(len(level.exprs) for level in levels[:3])
    wanted = np.sort(levels[3].keys[:, 0])[:left]
    chosen, _ = forms.enumerate_forms(3, 500, 2, ["exp"], ["+", "-"])
    assert np.isin(chosen[3].keys[:, 0], wanted).mean() > 0.99


def test_the_command_writes_skeletons_with_their_marks(tmp_path):
    out = tmp_path / "forms.zst"
    shown = CliRunner().invoke(forms.forms, ["--depth", "2", "--hold", "0.1", "-o", str(out), "-q"])
    assert shown.exit_code == 0, shown.output
    with open_reader(str(out), holds="skeleton") as reader:
        records = list(reader)
        dropped = reader.dropped
    assert len(records) == 934 and len({tuple(r["expr"]) for r in records}) == 934
    assert 60 < sum(r["held"] for r in records) < 130
    assert dropped["constant"] > 0 and dropped["equal_values"] > 0
    assert {r["depth"] for r in records} == {0, 1, 2}
    wrong = CliRunner().invoke(forms.forms, ["--depth", "4"])
    assert wrong.exit_code == 2 and "1e13 pairs" in wrong.output
    assert "unknown operator cosh2" in CliRunner().invoke(forms.forms, ["--unary", "cosh2"]).output
