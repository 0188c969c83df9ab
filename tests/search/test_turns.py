"""turns.py: what a search chooses from what it found."""

import subprocess
import sys

import numpy as np
import pytest
from scipy import constants as codata

from fansr.fitting.problem import Candidate, Problem
from fansr.fitting.refiner import Refiner
from fansr.search import turns


def test_a_twin_with_one_constant_too_many_does_not_hide_the_round_one():
    """c1 * (c2 * x) fits as c * x does; undetermined, it could not be rounded, and stood before the rounded law by a hair."""
    rng = np.random.default_rng(2)
    x = rng.uniform(1, 9, (512, 1))
    clean = codata.hbar * x[:, 0]
    y = clean + 0.1 * clean.std() * rng.normal(size=512)
    fitter = Refiner(x, y)
    pool = []
    for expr, start in (("* x1 <constant>", [codata.hbar]), ("* <constant> * x1 <constant>", [3e-35, 3.3])):
        fvu, consts = fitter.polish(expr.split(), start)
        pool.append(Candidate(expr.split(), consts, fvu))
    found = turns.choose(Problem(x, y, ["x"]), turns.Options(), pool)
    assert found.best.consts / codata.hbar == pytest.approx([1.0], rel=1e-12)
    plain = turns.choose(Problem(x, y, ["x"]), turns.Options(physics=False), pool)
    assert plain.best.consts / codata.hbar != pytest.approx([1.0], rel=1e-6)


def test_the_front_holds_the_chosen_law_and_one_law_a_length():
    rng = np.random.default_rng(3)
    x = rng.uniform(1, 9, (30, 1))
    y = 365.25 * x[:, 0] ** 1.5 * (1 + 1e-4 * rng.normal(size=30))
    fitter = Refiner(x, y)
    pool = []
    for expr, start in (
        ("* <constant> pow x1 <constant>", [365.0, 1.49]),
        ("* <constant> pow1_2 pow3 x1", [365.0]),
        ("* <constant> x1", [500.0]),
        ("+ <constant> * <constant> pow x1 <constant>", [0.1, 365.0, 1.5]),
    ):
        fvu, consts = fitter.polish(expr.split(), start)
        pool.append(Candidate(expr.split(), consts, fvu))
    found = turns.choose(Problem(x, y, ["x"]), turns.Options(), pool)
    lengths = [c.length for c in found.front]
    assert any(c is found.best for c in found.front) and lengths == sorted(set(lengths))
    assert found.best.expr == "* <constant> pow1_2 pow3 x1".split()


def test_a_proposers_overflow_is_not_printed(monkeypatch, recwarn):
    """A generator's decorator holds only while it is made; what numpy has to say in a turn must not reach the user."""

    def proposes(problem, budget, rng, pool=None):
        np.log(np.zeros(2))
        yield [Candidate(["x1"])]

    module = type("module", (), {"propose": staticmethod(proposes)})
    monkeypatch.setattr(turns.importlib, "import_module", lambda name: module)
    x = np.linspace(1, 2, 20)
    found = turns.search(Problem(x[:, None].copy(), 2 * x + 1, ["x"]), turns.Options(proposers=("power",)))
    assert found.best is not None and not found.failures
    assert not [warning for warning in recwarn if issubclass(warning.category, RuntimeWarning)]


def test_a_budget_spent_on_loading_still_hears_the_first_proposer(monkeypatch):
    import time

    load = turns.importlib.import_module

    def slowly(name, *more):
        time.sleep(0.3 if name == "fansr.proposers.power" else 0.0)  # a busy machine
        return load(name, *more)

    x = np.linspace(1, 2, 20)
    problem = Problem(x[:, None].copy(), 3 * x**1.5, ["x"])
    monkeypatch.setattr(turns.importlib, "import_module", slowly)
    found = turns.search(problem, turns.Options(proposers=("power", "evolve")), turns.Budget(0.2))
    assert found.best.fvu < 1e-20


def test_torch_is_loaded_on_the_second_core_only():
    """Loading it takes a second, which a fit of three cannot spare; the model's proposals come from the other process."""
    code = (
        "import sys; import numpy as np; from fansr.search import turns as search; from fansr.fitting.problem import Budget, Problem\n"
        "X = np.random.default_rng(0).uniform(1, 2, (60, 3)); y = np.random.default_rng(1).normal(size=60)\n"
        "search.search(Problem(X, y, ['a', 'b', 'c']), search.Options(jobs=2), Budget(4.0)); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_first_tables_seconds_begin_with_the_process(monkeypatch):
    from fansr import fit

    monkeypatch.setattr(fit.time, "monotonic", lambda: 100.0)
    monkeypatch.setattr(fit, "_begun", [99.4])
    assert fit._budget(10.0).start == 99.4
    assert fit._budget(10.0).start == 100.0  # the second table's own
    monkeypatch.setattr(fit, "_begun", [90.0])
    assert fit._budget(1.0).start == 100.0 - fit.LOADING_SHARE  # a slow start leaves most of a short budget
    monkeypatch.setattr(fit, "_begun", [90.0])
    assert fit._budget(None).start == 100.0


def test_a_share_counts_in_full_for_a_head_start_only():
    from fansr.search.turns import EQUAL, HEAD_START, _Turn

    quick, plain = _Turn("structure", 6 * EQUAL, None), _Turn("evolve", EQUAL, None)
    quick.seconds = plain.seconds = HEAD_START
    assert quick.due() == pytest.approx(plain.due() / 6)
    before = quick.due(), plain.due()
    quick.seconds, plain.seconds = quick.seconds + 3, plain.seconds + 3
    assert quick.due() - before[0] == pytest.approx(plain.due() - before[1])
