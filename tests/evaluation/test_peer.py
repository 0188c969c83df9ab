"""fansr-peer: what every peer gets from us, its records, and that a failing peer is a record.

The searches themselves run where their packages are installed; a stand-in peer covers the rest.
"""

import itertools
import os
import time
import types

import numpy as np
import pytest
import scipy.optimize
from click.testing import CliRunner

from fansr.evaluation import peer, peer_searches, peer_support
from fansr.evaluation.metrics import fvu
from fansr.expressions.infix import from_infix
from fansr.expressions.programs import evaluate
from fansr.expressions.tokens import CONSTANT
from fansr.streams.reader_writer import open_reader, open_writer

pytestmark = pytest.mark.filterwarnings("ignore")  # the peers' own


def problem(law="x1*x2", scale=1.0, m=60, seed=0, **more):
    rng = np.random.default_rng(seed)
    X = rng.uniform(1.0, 3.0, (2 * m, 2)) * [scale, 1.0]
    y = evaluate(from_infix(law), X)
    return {
        "kind": "problem",
        "id": 7,
        "X": X[:m].copy(),
        "y": y[:m].copy(),
        "X_val": X[m:].copy(),
        "y_val": y[m:].copy(),
        "names": ["x1", "x2"],
        "target": "y",
        "group": "easy",
        "law": law,
        "noise": 0.0,
        "truth": {"expr": from_infix(law), "consts": np.zeros(0), "infix": law},
        **more,
    }


def stand_in(monkeypatch, function):
    monkeypatch.setitem(peer.PEERS, "prior", peer.Peer(function, "fansr"))


# ---- scaling, polish, pruning -----------------------------------------------------------------


def test_powers_of_ten():
    assert peer_support.power_of_ten(np.array([3e-20, -4e-20])) == pytest.approx(
        1e-19 if np.hypot(3, 4) / 2**0.5 > 10**0.5 else 1e-20
    )
    assert peer_support.power_of_ten(np.array([1.0, -1.0])) == 1.0
    assert peer_support.power_of_ten(np.zeros(3)) == 1.0
    assert peer_support.power_of_ten(np.array([1e200, 1e200])) == pytest.approx(1e200)


def test_unscaling_gives_the_same_function():
    rng = np.random.default_rng(1)
    X = rng.uniform(1, 2, (20, 2)) * [1e6, 1.0]
    form = ["+", "*", CONSTANT, "x1", "sin", "x2"]
    expr, consts = peer_support.unscaled(form, np.array([2.5]), [1e6, 1.0], 1e-3)
    wanted = 1e-3 * (2.5 * X[:, 0] / 1e6 + np.sin(X[:, 1]))
    assert np.allclose(evaluate(expr, X, consts), wanted, rtol=1e-14)


def test_polish_reaches_scipys_optimum():
    rng = np.random.default_rng(2)
    X = rng.uniform(0, 2, (80, 1))
    y = 1.7 * np.exp(-0.6 * X[:, 0]) + 0.2 + rng.normal(0, 0.01, 80)
    form = ["+", CONSTANT, "*", CONSTANT, "exp", "*", CONSTANT, "x1"]
    reached, consts = peer_support.polish(form, [0.0, 1.0, -1.0], X, y)
    theirs, _ = scipy.optimize.curve_fit(lambda x, a, b, c: a + b * np.exp(c * x), X[:, 0], y, p0=[0.0, 1.0, -1.0])
    assert consts == pytest.approx(theirs, rel=1e-4)
    assert reached == pytest.approx(fvu(y, theirs[0] + theirs[1] * np.exp(theirs[2] * X[:, 0])), rel=1e-6)


def test_every_reduction_is_a_smaller_expression():
    forms = peer_support.shorter(["+", "*", CONSTANT, "x1", "sin", "x2"], [2.0])
    shapes = [" ".join(form) for form, _ in forms]
    assert "x1" not in shapes  # two steps away
    assert {"* <constant> x1", "sin x2", "+ x1 sin x2", "+ * <constant> x1 x2", "<constant>"} <= set(shapes)
    assert all(len(form) <= 6 for form, _ in forms)


def test_pruning_drops_what_the_data_do_not_need():
    record = problem("2*x1*x2")
    bloated = ["+", CONSTANT, "*", "*", CONSTANT, "*", CONSTANT, "x1", "+", "x2", "*", CONSTANT, "sin", "x1"]
    expr, consts, reached = peer_support.prune(bloated, [0.0, 1.1, 1.8, 1e-9], record["X"], record["y"], lambda: False)
    assert len(expr) == 5 and reached < 1e-28
    assert np.prod(consts) == pytest.approx(2.0)


# ---- records ----------------------------------------------------------------------------------


def test_a_peers_answer_is_a_full_fit_record(monkeypatch):
    stand_in(monkeypatch, lambda X, y, seconds, seed: [from_infix("0.9*x1*x2 + 1e-9")])
    fit = peer.isolated(problem("x1*x2", scale=1e-9), "prior", (1.0,), 0)[0]
    assert fit["status"] == "ok" and fit["fvu"] < 1e-28 and fit["fvu_val"] < 1e-28
    assert fit["problem"] == 7 and fit["group"] == "easy" and fit["method"] == "prior" and fit["budget"] == 1.0
    assert fit["points"] == 60 and list(fit["low"]) == list(problem(scale=1e-9)["X"].min(axis=0))
    assert fit["length"] == len(fit["scaled_expr"]) <= 5 < len(fit["expr"])
    value = evaluate(fit["expr"], problem(scale=1e-9)["X"], fit["consts"])
    assert np.allclose(value, problem(scale=1e-9)["y"], rtol=1e-12)


def _raises(X, y, seconds, seed):
    raise ArithmeticError("no luck")


def _crashes(X, y, seconds, seed):
    os._exit(9)


def _prints(X, y, seconds, seed):
    os.write(1, b"noise on stdout")
    return [["x1"]]


@pytest.mark.parametrize("function, words", [(_raises, "ArithmeticError: no luck"), (_crashes, "ended with 9")])
def test_a_failing_peer_is_a_record(monkeypatch, function, words):
    stand_in(monkeypatch, function)
    fit = peer.isolated(problem(), "prior", (0.5,), 0)[0]
    assert fit["status"].startswith("failed") and words in fit["status"]
    assert fit["expr"] == [] and fit["fvu"] == np.inf and fit["law"] == "x1*x2"


def _improves(X, y, marks, seed):
    """A peer whose best is longer and better at each mark."""
    for law in ("x1", "0.2*x1", "0.1*x1*x2"):  # of y in tens
        yield [from_infix(law)]


def _breaks_off(X, y, marks, seed):
    yield [from_infix("0.1*x1*x2")]
    raise ArithmeticError("no luck later")


def _is_done_early(X, y, marks, seed):
    yield [from_infix("x1 + x2")]
    yield [from_infix("0.1*x1*x2")]


def test_marks_are_what_a_peer_had_then(monkeypatch):
    stand_in(monkeypatch, _improves)
    fits = peer.isolated(problem(), "prior", (0.5, 1.0, 2.0), 0)
    assert [fit["budget"] for fit in fits] == [0.5, 1.0, 2.0]
    assert [fit["length"] for fit in fits] == [1, 3, 5] and fits[1]["fvu"] > 1e-6 > 1e-28 > fits[2]["fvu"]
    for fit, form in zip(fits, ("x1", "0.2*x1", "0.1*x1*x2")):  # the record of each mark is that of a run so long
        stand_in(monkeypatch, lambda X, y, seconds, seed, form=form: [from_infix(form)])
        (alone,) = peer.isolated(problem(), "prior", (fit["budget"],), 0)
        assert fit["expr"] == alone["expr"] and fit["fvu_val"] == alone["fvu_val"] and fit.keys() == alone.keys()


def test_what_was_answered_before_a_failure_stays(monkeypatch):
    stand_in(monkeypatch, _breaks_off)
    fits = peer.isolated(problem(), "prior", (0.5, 1.0, 2.0), 0)
    assert fits[0]["status"] == "ok" and fits[0]["fvu"] < 1e-28
    assert all("no luck later" in fit["status"] and fit["expr"] == [] for fit in fits[1:])


def test_a_search_that_ends_early_answers_the_later_marks_too(monkeypatch):
    stand_in(monkeypatch, _is_done_early)
    fits = peer.isolated(problem(), "prior", (0.5, 1.0, 2.0, 4.0), 0)
    assert [fit["fvu"] < 1e-28 for fit in fits] == [False, True, True, True]
    assert fits[3]["seconds"] == fits[1]["seconds"] < 1.0 and fits[3]["budget"] == 4.0


def test_a_peer_that_gives_one_answer_runs_anew_for_each_mark(monkeypatch):
    asked = []
    found = peer.searched(lambda X, y, seconds, seed: asked.append(seconds) or [["x1"]], None, None, [1.0, 3.0], 0)
    assert [answer for answer, _seconds in found] == [[["x1"]], [["x1"]]] and asked == [1.0, 3.0]


@pytest.mark.parametrize("method, package", [("operon", "pyoperon"), ("gplearn", "gplearn")])
def test_the_polish_of_an_answer_is_not_the_searchs_time(method, package):
    pytest.importorskip(package)
    rng = np.random.default_rng(0)
    X = rng.uniform(1, 2, (64, 2))
    y = rng.normal(size=64)  # nothing to find, so that the search goes on to its last mark
    began, clock = time.process_time(), []
    with pytest.MonkeyPatch.context() as patch:
        held = [0.0]
        for module in (peer, peer_searches):
            patch.setattr(module, "time", types.SimpleNamespace(monotonic=lambda: time.process_time() + held[0]))
        for _found, seconds in peer.searched(peer.PEERS[method].run, X, y, [0.3, 0.6, 0.9], 1):
            clock.append(seconds)
            held[0] += 100.0  # a long polish
    assert len(clock) == 3 and clock[2] < 50 and time.process_time() - began > 0.4


def test_a_hanging_peer_is_ended(monkeypatch):
    monkeypatch.setattr(peer, "GRACE", 0.3)
    stand_in(monkeypatch, lambda X, y, seconds, seed: time.sleep(60))
    fit = peer.isolated(problem(), "prior", (0.1,), 0)[0]
    assert "still running" in fit["status"]


def test_the_command_passes_fields_on_and_survives_failures(monkeypatch, tmp_path, capfd):
    path, out = str(tmp_path / "p.zst"), str(tmp_path / "f.zst")
    with open_writer(path, "problem") as writer:
        writer.write(problem())
        writer.write(problem(id=8, weights=np.ones(60)))
    stand_in(monkeypatch, _prints)
    result = CliRunner().invoke(peer.main, [path, "--method", "prior", "--time", "0.5", "-o", out, "-j", "1"])
    assert result.exit_code == 0, result.output
    with open_reader(out, holds="fit") as reader:
        fits = list(reader)
        assert reader.history[-1]["config"]["method"] == "prior"
    assert [fit["problem"] for fit in fits] == [7, 8] and "X" not in fits[0] and "weights" not in fits[1]
    assert "noise" not in capfd.readouterr().out


def test_a_missing_package_is_a_wrong_call(monkeypatch, tmp_path):
    monkeypatch.setitem(peer.PEERS, "pysr", peer.Peer(peer_searches.pysr, "no_such_package"))
    result = CliRunner().invoke(peer.main, ["--method", "pysr"])
    assert result.exit_code == 2 and "needs the package" in result.stderr
    for marks in ("3,1", "1,fast", "0,1"):
        result = CliRunner().invoke(peer.main, ["--method", "prior", "--marks", marks])
        assert result.exit_code == 2 and "ascending seconds" in result.stderr


def test_pysr_brings_its_own_julia_or_says_what_it_lacks(monkeypatch):
    """The failure is that of its import, which fetches Julia; nothing is asked of PATH."""

    def offline(name):
        assert name == "pysr"
        raise OSError("could not download\n https://julialang-s3")

    monkeypatch.setattr(peer.importlib, "import_module", offline)
    status = peer.isolated(problem(), "pysr", (0.1,), 0)[0]["status"]
    assert "could not download https://julialang-s3" in status and "PYTHON_JULIAPKG_EXE" in status


@pytest.mark.parametrize(
    "method, told",
    [("nesymres", "NeuralSymbolicRegressionThatScales"), ("e2e", "facebookresearch/symbolicregression"),
     ("flash-ansr", "pip install flash-ansr"), ("pysr", "fansr[pysr]")],
)  # fmt: skip
def test_what_to_install_is_one_line(method, told, monkeypatch):
    monkeypatch.setattr(peer.importlib.util, "find_spec", lambda name: None)
    result = CliRunner().invoke(peer.main, ["--method", method])
    assert result.exit_code == 2 and told in " ".join(result.stderr.split())


# ---- the searches -----------------------------------------------------------------------------


@pytest.mark.parametrize("method, package", [("operon", "pyoperon"), ("gplearn", "gplearn"), ("prior", "fansr")])
def test_each_peer_finds_a_quotient(method, package, monkeypatch):
    pytest.importorskip(package)
    for module in (peer, peer_searches):  # other work must not matter
        monkeypatch.setattr(module, "time", types.SimpleNamespace(monotonic=time.process_time))
    monkeypatch.setattr(peer, "PATIENCE", 40.0)
    peer.warm(method)
    fit = peer.isolated(problem("x1/x2", scale=1e-5), method, (6.0,), 0)[0]  # each stops when it has the law
    assert fit["status"] == "ok", fit["status"]
    assert fit["fvu_val"] < 1e-20
    assert fit["length"] <= (20 if method == "prior" else 5)  # the control may find the law in odd clothes


def test_gplearns_best_of_all_generations_is_kept(monkeypatch):
    """Its own answer is the last generation's best, which may be worse than an earlier one."""
    pytest.importorskip("gplearn")
    import gplearn.genetic

    fitness = itertools.chain([0.5, 0.1], itertools.repeat(0.4))

    class Regressor:
        def __init__(self, **settings):
            self.generations = settings["generations"]

        def fit(self, X, y):
            self._program = types.SimpleNamespace(
                raw_fitness_=next(fitness), program=[0 if self.generations == 2 else 1]
            )

    monkeypatch.setattr(gplearn.genetic, "SymbolicRegressor", Regressor)
    ticks = iter(np.arange(0.0, 100.0, 0.5))
    for module in (peer, peer_searches):
        monkeypatch.setattr(module, "time", types.SimpleNamespace(monotonic=lambda: next(ticks)))
    record = problem()
    assert next(peer.searched(peer_searches.gplearn, record["X"], record["y"], [6.0], 0))[0] == [["x1"]]


def test_operons_trees_are_read_in_order():
    """A hand-made tree with every asymmetric operator against its own evaluator."""
    pytest.importorskip("pyoperon")
    from pyoperon.sklearn import SymbolicRegressor

    rng = np.random.default_rng(3)
    X = rng.uniform(1, 2, (50, 2))
    y = (X[:, 0] - 3 * X[:, 1]) / (X[:, 0] ** 2 + 1)
    model = SymbolicRegressor(
        allowed_symbols="add,sub,mul,div,constant,variable,square,sqrt,exp",
        population_size=200,
        generations=3,
        optimizer_iterations=3,
        random_state=1,
        max_evaluations=10**6,
    )
    model.fit(X, y)
    assert np.allclose(evaluate(peer_searches._operon_tokens(model), X), model.predict(X), rtol=1e-3, atol=1e-4)


# ---- PySR, which is not installed everywhere: the calls we make, against a stand-in with its interface ------------


def test_pysr_is_called_with_its_own_clock(monkeypatch):
    import sys

    seen = {}

    class PySRRegressor:
        def __init__(self, **settings):
            seen.update(settings)

        def fit(self, X, y, variable_names):
            self.names = variable_names

        def sympy(self):
            return f"{self.names[0]}**2 + 0.5"

    monkeypatch.setitem(sys.modules, "pysr", types.SimpleNamespace(PySRRegressor=PySRRegressor))
    record = problem()
    assert peer_searches.pysr(record["X"], record["y"], 3.0, 5) == [["+", "pow2", "x1", "0.5"]]
    assert seen["timeout_in_seconds"] == 3.0 and seen["random_state"] == 5
