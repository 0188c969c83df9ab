"""turns.py: what a search chooses from what it found."""

import subprocess
import sys

import numpy as np
import pytest
from scipy import constants as codata

from fansr.expressions import evaluate, from_infix
from fansr.fitting.problem import Candidate, Problem
from fansr.fitting.refiner import Refiner
from fansr.search import ending, turns


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
    assert found.best.expr == "* <constant> pow3 pow1_2 x1".split()


def test_a_proposers_overflow_is_not_printed(monkeypatch, recwarn):
    """A generator's decorator holds only while it is made; what numpy has to say in a turn must not reach the user."""

    def proposes(problem, budget, rng, pool=None):
        np.log(np.zeros(2))
        yield [Candidate(["x1"])]

    module = type("module", (), {"propose": staticmethod(proposes)})
    imported = turns.importlib.import_module
    monkeypatch.setattr(
        turns.importlib, "import_module", lambda name: module if name.endswith(".power") else imported(name)
    )
    x = np.linspace(1, 2, 20)
    found = turns.search(Problem(x[:, None].copy(), 2 * x + 1, ["x"]), turns.Options(proposers=("power",)))
    assert found.best is not None and not found.failures
    assert not [warning for warning in recwarn if issubclass(warning.category, RuntimeWarning)]


def test_a_slip_in_rewriting_does_not_cost_the_law(monkeypatch):
    def slips(*args):
        raise TypeError("no such node")

    monkeypatch.setattr(ending.rewriting, "shortest", slips)
    x = np.random.default_rng(5).uniform(1, 9, (60, 2))
    problem = Problem(x, 2.5 * x[:, 0] / x[:, 1], ["a", "b"])
    found = turns.search(problem, turns.Options(proposers=("power",)))
    assert found.best.fvu < 1e-20 and found.failures == {"rewriting": "TypeError: no such node"}
    monkeypatch.setenv("FANSR_DEBUG", "1")
    with pytest.raises(TypeError, match="no such node"):
        turns.search(problem, turns.Options(proposers=("power",)))


def test_loading_is_none_of_the_budget(monkeypatch):
    import time

    load = turns.importlib.import_module

    def slowly(name, *more):
        time.sleep(0.6 if name == "fansr.proposers.library_sums" else 0.0)  # a busy machine
        return load(name, *more)

    x = np.random.default_rng(0).uniform(1, 2, (60, 2))
    problem = Problem(x, np.random.default_rng(1).normal(size=60), ["a", "b"])
    monkeypatch.setattr(turns.importlib, "import_module", slowly)
    found = turns.search(problem, turns.Options(proposers=("library",)), turns.Budget(0.5))
    assert found.loading >= 0.6 and found.yields["library"] > 0  # it had its turn after loading took more than all


@pytest.mark.parametrize("seconds", [0.0, 0.05, 1e-9])
def test_no_clock_takes_the_common_laws_away(seconds):
    """The floor of work goes by counts: a budget that is over before it began gives the same law."""
    rng = np.random.default_rng(5)
    X = rng.uniform(1, 9, (40, 4))
    problem = Problem(X, X[:, 0] * X[:, 1] + X[:, 2] / X[:, 3], ["N", "T", "l", "S"])
    found = turns.search(problem, turns.Options(), turns.Budget(seconds))
    assert found.best.fvu < 1e-28 and found.best.length == 7 and len(found.best.consts) == 0
    x = np.array([5.0, 7.0, 11.0, 12.0, 20.0, 31.0, 44.0])[:, None]
    found = turns.search(Problem(x, 2 * x[:, 0] + 1, ["x"]), turns.Options(), turns.Budget(seconds))
    assert found.best.fvu < 1e-28 and sorted(found.best.expr) == sorted("+ <constant> mult2 x1".split())


def test_proposers_that_had_no_turn_are_named():
    rng = np.random.default_rng(0)
    problem = Problem(rng.uniform(1, 2, (60, 3)), rng.normal(size=60), ["a", "b", "c"])
    found = turns.search(problem, turns.Options(proposers=("power", "library", "evolve")), turns.Budget(0.0))
    assert found.unheard == ("library", "evolve") and found.yields["power"] > 0
    assert turns.search(problem, turns.Options(proposers=("power",)), turns.Budget(5.0)).unheard == ()


def test_a_law_whose_constants_are_undetermined_stands_back():
    """x**40 * c lies at rounding beside the line for these rows; its constant is known to nothing."""
    rng = np.random.default_rng(1)
    x = rng.uniform(1, 2, (12, 1))
    y = 3 * x[:, 0] + 0.02 * rng.normal(size=12)
    fitter = Refiner(x, y)
    pool = []
    for expr, start in (("* <constant> x1", [3.0]), ("* <constant> - x1 exp * <constant> x1", [3.0, -60.0])):
        fvu, consts = fitter.polish(expr.split(), start)
        pool.append(Candidate(expr.split(), consts, fvu))
    pool[1].fvu *= 0.1  # as if it fitted far better
    errors = [turns.Turns(Problem(x, y, ["x"]), turns.Options(), turns.Budget(None))._errors(c) for c in pool]
    assert ending.determined(pool[0], errors[0]) and not ending.determined(pool[1], errors[1])


def test_cancelling_constants_cost_what_they_need_to_be_told():
    from fansr.search.rounding import cancelling_nats

    x = np.random.default_rng(0).uniform(1, 9, (50, 1))
    plain = Candidate("* <constant> x1".split(), np.array([2.0]))
    y = 2 * x[:, 0]
    limit = Candidate("- * <constant> exp * <constant> x1 <constant>".split(), np.array([2e8, 1e-8, 2e8]))
    assert cancelling_nats(plain, x, y) < 2.0  # the mean over the spread
    assert cancelling_nats(limit, x, y) > 2 * np.log(1e6)


def test_torch_is_loaded_on_the_second_core_only():
    """Loading it takes a second, which a fit of three cannot spare; the model's proposals come from the other process."""
    code = (
        "import sys; import numpy as np; from fansr.search import turns; from fansr.fitting.problem import Budget, Problem\n"
        "X = np.random.default_rng(0).uniform(1, 2, (60, 3)); y = np.random.default_rng(1).normal(size=60)\n"
        "turns.search(Problem(X, y, ['a', 'b', 'c']), turns.Options(jobs=2), Budget(4.0)); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_share_counts_in_full_for_a_head_start_only():
    from fansr.search.turns import EQUAL, HEAD_START, _Turn

    quick, plain = _Turn("structure", 6 * EQUAL, None), _Turn("evolve", EQUAL, None)
    quick.seconds = plain.seconds = HEAD_START
    assert quick.due() == pytest.approx(plain.due() / 6)
    before = quick.due(), plain.due()
    quick.seconds, plain.seconds = quick.seconds + 3, plain.seconds + 3
    assert quick.due() - before[0] == pytest.approx(plain.due() - before[1])


def test_who_watches_sees_every_turn_and_may_end_the_search():
    rng = np.random.default_rng(3)
    problem = Problem(rng.uniform(1, 2, (60, 2)), rng.normal(size=60), ["a", "b"])
    seen = []
    turns.search(problem, turns.Options(proposers=("power", "sums", "rational"), watch=seen.append), turns.Budget(None))
    assert {state.proposer for state in seen} == {"power", "sums", "rational"}
    assert all(state.best.fvu <= 1.0 and state.expression and state.front() for state in seen)
    assert [s.candidates for s in seen] == sorted(s.candidates for s in seen)
    few = []
    turns.search(problem, turns.Options(watch=lambda state: few.append(state) or len(few) == 2), turns.Budget(None))
    assert len(few) == 2


def test_a_search_ends_when_the_law_is_as_good_as_was_asked_for():
    rng = np.random.default_rng(3)
    X = rng.uniform(1, 2, (60, 2))
    problem = Problem(X, X[:, 0] * X[:, 1] + 0.1 * rng.normal(size=60), ["a", "b"])
    seen = []
    options = turns.Options(target_fvu=0.2, watch=lambda state: seen.append(state.best.fvu))
    found = turns.search(problem, options, turns.Budget(None))
    assert found.best.fvu <= 0.2 and seen[-1] <= 0.2 and all(fvu > 0.2 for fvu in seen[:-1])


def _made_up(monkeypatch, **proposers):
    """The proposers of these names are these generators of batches."""

    class Module:
        pass

    load = turns.importlib.import_module

    def module(name, *more):
        made = Module()
        known = {turns.PROPOSERS[key][0]: (turns.PROPOSERS[key][1], steps) for key, steps in proposers.items()}
        if name not in known:
            return load(name, *more)
        setattr(made, known[name][0], lambda *args, steps=known[name][1], **extra: steps())
        return made

    monkeypatch.setattr(turns.importlib, "import_module", module)


def _steps(order, name, count, seconds):
    """Turns of so many seconds that put down whose they are."""
    import time

    for _ in range(count):
        order.append(name)
        time.sleep(seconds)
        yield []


def test_who_is_quick_has_several_turns_before_the_next_one_starts(monkeypatch):
    order = []
    _made_up(monkeypatch, **{name: lambda name=name: _steps(order, name, 60, 0.001) for name in ("rational", "pairs")})
    x = np.random.default_rng(0).uniform(1, 2, (60, 2))
    problem = Problem(x, np.random.default_rng(1).normal(size=60), ["a", "b"])
    turns.search(problem, turns.Options(proposers=("rational", "pairs"), tidy=False), turns.Budget(5.0))
    assert order.index("pairs") > 1 and order.count("rational") == order.count("pairs") == 60


def test_who_waits_is_not_asked_all_the_time(monkeypatch):
    order = []

    def waits():
        while True:
            order.append("mend")
            yield []

    _made_up(monkeypatch, evolve=lambda: _steps(order, "evolve", 1000, 0.005), mend=waits)
    monkeypatch.setattr(turns, "KERNELS", {})
    x = np.random.default_rng(0).uniform(1, 2, (60, 4))
    problem = Problem(x, np.random.default_rng(1).normal(size=60), list("abcd"))
    turns.search(problem, turns.Options(proposers=("evolve", "mend"), tidy=False), turns.Budget(0.5))
    assert 0 < order.count("mend") <= 2 * order.count("evolve")


@pytest.mark.parametrize(("columns", "begins"), [(3, False), (4, True)])
def test_mending_begins_before_the_end_where_columns_are_many(monkeypatch, columns, begins):
    """However much is still due to those at work."""
    order = []
    _made_up(
        monkeypatch,
        evolve=lambda: _steps(order, "evolve", 10**6, 0.002),
        mend=lambda: _steps(order, "mend", 10**6, 0.002),
    )
    monkeypatch.setattr(turns, "KERNELS", {})
    monkeypatch.setattr("fansr.search.clocks.Work.pace", lambda self: 1.0)  # who sleeps seems to wait for the processor
    monkeypatch.setitem(turns.PROPOSERS, "evolve", (*turns.PROPOSERS["evolve"][:2], 1e9))
    monkeypatch.setattr(turns, "LASTING_SHARE", {"evolve": 1e9, "mend": 8.0})
    x = np.random.default_rng(0).uniform(1, 2, (60, columns))
    problem = Problem(x, np.random.default_rng(1).normal(size=60), list("abcd"[:columns]))
    turns.search(problem, turns.Options(proposers=("evolve", "mend"), tidy=False), turns.Budget(0.6))
    assert order[0] == "evolve" and ("mend" in order) == begins
    if begins:
        assert order.index("mend") > 0.2 * len(order)


def test_by_the_clock_the_local_search_comes_before_parts_and_waves():
    names = ["rational", "separable", "composite", "waves", "evolve", "mend", "structure", "model"]
    few, many = (turns._by_the_clock(names, mending) for mending in (False, True))
    assert few == ["rational", "evolve", "separable", "composite", "waves", "mend", "structure", "model"]
    assert many == ["rational", "evolve", "mend", "separable", "composite", "waves", "structure", "model"]
    assert turns._by_the_clock(["waves", "structure"], True) == ["waves", "structure"]
    assert turns._by_the_clock(["evolve", "power", "waves"], True) == ["evolve", "power", "waves"]
    assert turns._by_the_clock(["polynomials", "evolve", "pairs"], True) == ["polynomials", "evolve", "pairs"]
    assert turns._by_the_clock(["polynomials", "evolve", "pairs"], True, False) == ["evolve", "pairs", "polynomials"]


@pytest.mark.parametrize("digits, sigma, looks", [(3, 0.0, True), (None, 0.0, False), (None, 0.01, True)])
def test_what_noise_hides_is_looked_for_where_there_may_be_noise(digits, sigma, looks):
    rng = np.random.default_rng(4)
    x = rng.uniform(1, 3, (80, 1))
    y = np.exp(x[:, 0]) / (1 + x[:, 0] ** 3) + sigma * rng.normal(size=80)
    state = turns.Turns(Problem(x, y if digits is None else y.round(digits), ["x"]), turns.Options(), turns.Budget(1))
    state.offer([Candidate(["/", "exp", "x1", "+", "<constant>", "pow3", "x1"])])
    assert state._needless("polynomials") != looks and not state._needless("rational")


def test_mending_waits_for_the_local_search_and_the_others_for_it(monkeypatch):
    """Of many columns: it looks at what the local search has found by then."""
    order = []
    names = ("evolve", "mend", "structure")
    _made_up(monkeypatch, **{name: lambda name=name: _steps(order, name, 10**6, 0.002) for name in names})
    monkeypatch.setattr(turns, "KERNELS", {})
    monkeypatch.setattr(turns, "MENDING", 0.1)
    monkeypatch.setattr("fansr.search.clocks.Work.pace", lambda self: 1.0)
    x = np.random.default_rng(0).uniform(1, 2, (60, 5))
    problem = Problem(x, np.random.default_rng(1).normal(size=60), list("abcde"))
    turns.search(problem, turns.Options(proposers=names, tidy=False), turns.Budget(2.0))
    begun = order.index("mend")
    assert begun > 1 and set(order[:begun]) == {"evolve"} and order.index("structure") > begun


@pytest.mark.parametrize("network", ["model", "control"])
@pytest.mark.parametrize(("columns", "asked"), [(3, True), (4, False)])
def test_the_network_comes_later_where_columns_are_many(monkeypatch, columns, asked, network):
    """And nowhere at once; nor does the control in its place."""
    import time

    order = []

    def steps(name):
        while True:
            order.append(name)
            time.sleep(0.001)
            yield []

    _made_up(monkeypatch, rational=lambda: steps("rational"), **{network: lambda: steps(network)})
    monkeypatch.setattr(turns, "KERNELS", {})
    monkeypatch.setattr(turns, "DEFAULT_PROPOSERS", ("rational", "model"))
    x = np.random.default_rng(0).uniform(1, 2, (60, columns))
    problem = Problem(x, np.random.default_rng(1).normal(size=60), list("abcd"[:columns]))
    found = turns.search(problem, turns.Options(proposers=("rational", network), tidy=False), turns.Budget(0.5))
    assert network not in order and not found.unheard
    monkeypatch.setattr(turns, "NETWORK_SECONDS", (0.1, 5.0))
    turns.search(problem, turns.Options(proposers=("rational", network), tidy=False), turns.Budget(0.5))
    assert (network in order) == asked and order[0] == "rational"
    order.clear()
    monkeypatch.setattr(turns, "NETWORK_SECONDS", (0.1, 0.1))
    turns.search(problem, turns.Options(proposers=("rational", network), tidy=False), turns.Budget(0.5))
    assert network in order and order[0] == "rational"
    order.clear()
    monkeypatch.setattr(turns, "NETWORK_SECONDS", (100.0, 100.0))
    monkeypatch.setattr(turns, "DEFAULT_PROPOSERS", ("rational", "model", "evolve"))  # who names it has it at once
    turns.search(problem, turns.Options(proposers=("rational", network), tidy=False), turns.Budget(0.5))
    assert network in order
    order.clear()
    monkeypatch.setattr(turns, "DEFAULT_PROPOSERS", ("rational", "model"))  # and who names a file of weights
    named = turns.Options(proposers=("rational", network), tidy=False, model="tiny")
    turns.search(problem, named, turns.Budget(0.5))
    assert network in order


def test_an_exact_law_of_many_constants_is_searched_on(monkeypatch):
    """Seven constants fit exp on a narrow column to rounding; who says exp later is still heard."""
    import time

    x = np.linspace(1, 1.1, 40)[:, None]
    y = np.exp(x[:, 0])
    poly = np.polyfit(x[:, 0], y, 6)
    expr = ["<constant>"]
    for _ in poly[1:]:
        expr = ["+", "*", "x1", *expr, "<constant>"]

    def first():
        time.sleep(0.1)
        yield [Candidate(expr, poly, 1e-26, "rational", 0.0, 0)]

    def later():
        for _ in range(40):
            time.sleep(0.01)  # four times what the first took
            yield []
        yield [Candidate(["exp", "x1"], np.zeros(0), 0.0, "pairs", 0.0, 0)]

    _made_up(monkeypatch, rational=first, pairs=later)
    options = turns.Options(proposers=("rational", "pairs"))
    found = turns.search(Problem(x, y, ["x"]), options, turns.Budget(20.0))
    assert found.best.expr == ["exp", "x1"]


@pytest.mark.parametrize(("columns", "before"), [(3, 30), (4, 2)])
def test_of_many_columns_a_first_answer_goes_on_in_turns(monkeypatch, columns, before):
    """Its first turns run before all others; the rest of them is not lost."""
    order = []
    _made_up(monkeypatch, **{name: lambda name=name: _steps(order, name, 30, 0.002) for name in ("sums", "rational")})
    x = np.random.default_rng(0).uniform(1, 2, (60, columns))
    problem = Problem(x, np.random.default_rng(1).normal(size=60), list("abcd"[:columns]))
    options = turns.Options(proposers=("sums", "rational"), tidy=False)
    turns.search(problem, options, turns.Budget(5.0))
    assert order.count("sums") == order.count("rational") == 30
    assert order[:before] == ["sums"] * before and "rational" in order[before : before + 25]
    if columns > 3:
        assert "sums" in order[order.index("rational") :]
    order.clear()
    turns.search(problem, options, turns.Budget(None))  # by counts it is whole
    assert order == ["sums"] * 30 + ["rational"] * 30


def _fitted(state, *laws):
    """Laws as text, each with where its constants start, fitted by a search's own fitter."""
    found = []
    for text, start in laws:
        expr = from_infix(text)
        fvu, consts = state.fitter.polish(expr, np.array(start))
        found.append(Candidate(expr, np.asarray(consts), float(fvu)))
    return found


@pytest.mark.parametrize("name", ["months", "n"])
def test_a_column_of_months_may_be_what_interest_is_compounded_over(name):
    """A name that states a period takes no law but its own wave out of what is looked at again."""
    rng = np.random.default_rng(2)
    loan, rate = np.round(rng.uniform(1e4, 5e5, 60), -2), np.round(rng.uniform(0.002, 0.01, 60), 4)
    months = np.round(rng.uniform(12, 360, 60))
    problem = Problem(
        np.column_stack([loan, rate, months]), loan * rate / (1 - (1 + rate) ** -months), ["loan", "rate", name]
    )
    state = turns.Turns(problem, turns.Options(), turns.Budget(None))
    assert (state.calendar is not None) is (name == "months")
    (law,) = _fitted(state, ("x1*x2/(1 - exp(C*x2*x3))", [-0.99]))
    assert 1e-9 < law.fvu < 1e-5
    finals = state._finals([law], lambda: False)
    assert [c.fvu < 1e-24 for c in finals] == [False, True] and "pow" in finals[1].expr
    best = turns.choose(problem, turns.Options(), [law]).best
    X = np.array([[1e5, 0.005, 100.0], [2e4, 0.01, 400.0]])
    assert evaluate(best.expr, X, best.consts) == pytest.approx(
        [1e5 * 0.005 / (1 - 1.005**-100), 200 / (1 - 1.01**-400)], rel=1e-12
    )


def test_a_law_with_the_wave_that_a_name_states_is_left_as_it_is():
    """Beside it stands 2680 exp(u/10000), which has another form: to the rows it is a line."""
    rng = np.random.default_rng(4)
    month, u = np.arange(36.0), rng.uniform(1, 2, 36)
    y = 2.13 * np.sin(np.pi / 6 * month + 1) + 0.268 * u + 5.37 + 0.02 * rng.normal(size=36)
    state = turns.Turns(Problem(np.column_stack([month, u]), y, ["month", "u"]), turns.Options(), turns.Budget(None))
    expr, consts = from_infix(f"C*sin({np.pi / 6!r}*x1 + C) + C*exp(C*x2) + C"), [2.13, 1.0, 2680.0, 1e-4, -2674.63]
    law = Candidate(expr, np.array(consts), float(state.fitter.fvu(expr, consts)))
    (line,) = ending.alternative_forms.limits(law, state.problem.X, state.fitter)
    assert "exp" not in line.expr and state.calendar(law) > 0
    assert state._finals([law], lambda: False) == [law]


def _line_and_wave(seed, size, noise, shuffled=False, **told):
    """A search of rows that are a line and a small wave on it, and both laws; shuffled: the wave's values in no order."""
    x = np.linspace(0, 6, 40)[:, None]
    rng = np.random.default_rng(seed)
    wave = size * np.sin(2.3 * x[:, 0])
    y = 2 * x[:, 0] + noise * rng.normal(size=40) + (rng.permutation(wave) if shuffled else wave)
    state = turns.Turns(Problem(x, y, ["x"], **told), turns.Options(), turns.Budget(None))
    state.noise = 0.0  # as where columns are many, whose rows have no neighbours to tell it
    return state, *_fitted(state, ("C*x1 + C", [2.0, 0.001]), ("C*x1 + C*sin(C*x1)", [2.0, size, 2.3]))


@pytest.mark.parametrize("seed", range(3))
def test_a_close_fit_that_leaves_a_shape_stands_back_behind_one_that_leaves_none(seed):
    """The line is so much shorter that it leads, with its errors in long runs; where they are in no order it is the law."""
    state, line, both = _line_and_wave(seed, 0.02, 0.002)
    finals = [line, both]
    assert state._final_value(line) < state._final_value(both) and state._soundest(finals, lambda: False) is line
    assert state._choice(finals, lambda: False) is both
    assert state._choice([line], lambda: False) is line
    state, line, both = _line_and_wave(seed, 0.02, 0.002, shuffled=True)
    both.fvu = 0.01 * line.fvu  # as if it fitted as much better
    assert state._final_value(both) < state._final_value(line) + ending.SHAPELESS
    assert state._choice([line, both], lambda: False) is line


def test_one_without_a_shape_that_is_far_behind_is_not_chosen():
    state, line, both = _line_and_wave(0, 0.004, 0.006)
    assert state._leaves_shape(line) and not state._leaves_shape(both) and both.fvu < 0.5 * line.fvu
    assert state._final_value(both) > state._final_value(line) + ending.SHAPELESS
    assert state._choice([line, both], lambda: False) is line


def test_where_errors_are_stated_no_shape_is_looked_for():
    for told, shape in (({}, True), ({"weights": np.full(40, 0.01**-2), "known": True}, False)):
        state, line, _ = _line_and_wave(0, 0.02, 0.002, **told)
        assert state._leaves_shape(line) is shape


def test_one_without_a_shape_is_looked_for_behind_the_leaders(monkeypatch):
    state, line, both = _line_and_wave(0, 0.02, 0.002)
    monkeypatch.setattr(ending, "FINISHERS", 0)
    state.pool.add(both)
    assert "sin" in state._choice([line], lambda: False).expr


@pytest.mark.parametrize("seed", [1, 5])
def test_a_law_exact_to_the_printed_digits_has_round_constants(seed):
    """Nine values of 220 x printed without decimals tell 220 to 0.06; such errors with digits of their own may be of any number."""
    x = np.round(np.random.default_rng(seed).uniform(1, 2.5, 9), 2)[:, None]
    printed = np.round(220 * x[:, 0])
    for y, told in ((printed, True), (printed + 1e-3 * np.sin(1e3 * x[:, 0]), False)):
        problem = Problem(x, y, ["x"])
        pool = _fitted(turns.Turns(problem, turns.Options(), turns.Budget(None)), ("C*x1", [220.0]))
        best = turns.choose(problem, turns.Options(), pool).best
        assert best.consts.tolist() == pytest.approx([220], abs=0.3) and (best.consts.tolist() == [220.0]) is told
