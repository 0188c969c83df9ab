"""Peers with a trained network, which cannot be installed everywhere: the calls we make, against stand-ins with their interface.

The interfaces are those of flash_ansr 0.4.5 and 0.19.1 (the packages on the index), of NeSymReS and of E2E (their public
repositories).
"""

import sys
import types

import numpy as np
import pytest

from fansr.evaluation import peer_networks
from fansr.expressions.infix import from_infix
from fansr.expressions.programs import evaluate

RNG = np.random.default_rng(0)
X = RNG.uniform(1.0, 3.0, (60, 2))
Y = X[:, 0] * X[:, 1]


@pytest.fixture(autouse=True)
def slow_clock(monkeypatch):
    """A tenth of a second goes by from one look at the clock to the next."""
    ticks = iter(np.arange(0.0, 100.0, 0.1))
    monkeypatch.setattr(peer_networks, "time", types.SimpleNamespace(monotonic=lambda: next(ticks)))


def stand_in(monkeypatch, name, **members):
    module = types.ModuleType(name)
    for key, value in members.items():
        setattr(module, key, value)
    monkeypatch.setitem(sys.modules, name, module)
    return module


def torch_stand_in(monkeypatch, **members):
    stand_in(monkeypatch, "torch", manual_seed=lambda seed: None, **members)


def test_doubling_ends_when_the_next_step_would_be_late():
    assert list(peer_networks.doubled(32, 1.0)) == [32, 64, 128]  # each takes 0.3 s by this clock


@pytest.mark.parametrize("name", ["flash_ansr", "nesymres", "e2e"])
def test_what_is_not_there_is_said(name, monkeypatch, tmp_path):
    variable = {"flash_ansr": "FLASH_ANSR_MODEL", "nesymres": "NESYMRES_MODEL", "e2e": "E2E_MODEL"}[name]
    monkeypatch.delenv(variable, raising=False)
    with pytest.raises(RuntimeError, match=variable):
        getattr(peer_networks, name)(X, Y, 1.0, 0)
    monkeypatch.setenv(variable, str(tmp_path / "nowhere"))
    with pytest.raises(RuntimeError, match=variable):
        getattr(peer_networks, name)(X, Y, 1.0, 0)


class _FlashANSR04:
    """The methods of 0.4's estimator that are used, with a law that gets better with more samples."""

    made: list[int] = []

    @classmethod
    def load(cls, directory, generation_config, n_restarts, refiner_workers):
        model = cls()
        model.choices = generation_config["choices"]
        cls.made.append(model.choices)
        return model

    def fit(self, X, y):
        self._results = [{"score": -1.0 * self.choices}]

    def get_expression(self, precision, map_variables):
        return "x1 * x2" if self.choices >= 64 else "x1"


def test_flash_ansr_0_4(monkeypatch, tmp_path):
    torch_stand_in(monkeypatch)
    stand_in(
        monkeypatch, "flash_ansr", FlashANSR=_FlashANSR04, SoftmaxSamplingConfig=lambda choices: {"choices": choices}
    )
    monkeypatch.setenv("FLASH_ANSR_MODEL", str(tmp_path))
    assert peer_networks.flash_ansr(X, Y, 2.0, 0) == [["*", "x1", "x2"]]
    assert _FlashANSR04.made[:3] == [32, 64, 128] and len(_FlashANSR04.made) < 12


class _FlashANSR19:
    """0.19's: loaded once, draws and seed given to fit, whose result holds candidates; the first has none."""

    asked: list[tuple[int, int]] = []

    @classmethod
    def load(cls, directory, *, generation_config=None, refine=None, ranking=None, compute=None):
        assert refine == {"n_restarts": 8} and compute == {"device": "cpu", "workers": 0} and not cls.asked
        return cls()

    def fit(self, X, y, variable_names="auto", *, draws=None, seed=None, on_empty="return"):
        self.asked.append((draws, seed))
        better = types.SimpleNamespace(score=-1.0 * draws)
        tokens = ["*", "x1", "rootn", "pow", "x2", "(-2)", "(-2)"] if draws >= 64 else []

        def get_expression(rank=0, *, return_prefix=False, precision=None, map_variables=True):
            assert return_prefix and not map_variables
            return tokens

        return types.SimpleNamespace(candidates=[better] if tokens else [], get_expression=get_expression)


def test_flash_ansr_0_19(monkeypatch, tmp_path):
    torch_stand_in(monkeypatch)
    stand_in(monkeypatch, "flash_ansr", FlashANSR=_FlashANSR19, SoftmaxSamplingConfig=lambda *, draws=1024: draws)
    monkeypatch.setenv("FLASH_ANSR_MODEL", str(tmp_path))
    (found,) = peer_networks.flash_ansr(X, Y, 2.0, 5)
    np.testing.assert_allclose(evaluate(found, X), Y)
    draws, seeds = zip(*_FlashANSR19.asked)
    assert draws[:3] == (32, 64, 128) and len(set(seeds)) == len(seeds)


def test_flash_ansr_without_any_fit_says_so(monkeypatch, tmp_path):
    torch_stand_in(monkeypatch)
    monkeypatch.setattr(_FlashANSR19, "asked", [])
    stand_in(monkeypatch, "flash_ansr", FlashANSR=_FlashANSR19, SoftmaxSamplingConfig=lambda *, draws=1024: draws)
    monkeypatch.setenv("FLASH_ANSR_MODEL", str(tmp_path))
    with pytest.raises(RuntimeError, match="no expression"):
        peer_networks.flash_ansr(X, Y, 0.1, 5)


@pytest.mark.parametrize(
    "tokens, infix",
    [
        (["rootn", "x1", "3"], "cbrt(x1)"),
        (["+", "rootn", "*", "x1", "x2", "2", "(-1)"], "sqrt(x1*x2) - 1"),
        (["*", "np.pi", "pow", "x1", "0.5"], "3.141592653589793*x1**0.5"),
        (["-", "neg", "x1", "inv", "mult2", "x2"], "-x1 - 1/(2*x2)"),
    ],
)
def test_simplipys_tokens_are_read(tokens, infix):
    np.testing.assert_allclose(evaluate(peer_networks.from_simplipy(tokens), X), evaluate(from_infix(infix), X))


def test_e2es_words_are_read():
    text = "((0.5 mul x_1) add (sqrt((3.0 sub x_0)) div inv(pow(x_1,2))))"
    text = text.replace("pow(x_1,2)", "(x_1 pow 2)")
    wanted = from_infix("0.5*x2 + sqrt(3 - x1)/(1/x2**2)")
    np.testing.assert_allclose(evaluate(peer_networks.from_e2e(text, 2), X), evaluate(wanted, X))


def test_e2e_is_called_with_wider_beams(monkeypatch, tmp_path):
    beams = []

    class Regressor:
        def __init__(self, model, max_input_points, max_number_bags, n_trees_to_refine, rescale):
            assert (max_input_points, max_number_bags, n_trees_to_refine, rescale) == (200, 100, 10, True)
            self.beam = model.beam_size
            beams.append(self.beam)

        def fit(self, X, Y):
            X[0][:] = np.nan  # it scales in place: what it is given must be its own

        def retrieve_tree(self, with_infos):
            text = "(x_0 mul x_1)" if self.beam >= 4 else "log((0.0 mul x_0))"
            return {"relabed_predicted_tree": types.SimpleNamespace(infix=lambda: text)}

    torch_stand_in(monkeypatch, load=lambda *_, **how: types.SimpleNamespace())
    stand_in(monkeypatch, "symbolicregression")
    stand_in(monkeypatch, "symbolicregression.model", SymbolicTransformerRegressor=Regressor)
    (tmp_path / "model1.pt").touch()
    monkeypatch.setenv("E2E_MODEL", str(tmp_path / "model1.pt"))
    assert peer_networks.e2e(X, Y, 2.0, 0) == [["*", "x1", "x2"]]
    assert beams[:3] == [1, 2, 4] and np.isfinite(X).all()


def test_nesymres_is_called_with_wider_beams(monkeypatch, tmp_path):
    seen = []

    class Model:
        @classmethod
        def load_from_checkpoint(cls, path, cfg):
            assert path.endswith("weights.ckpt") and cfg == "architecture"
            return cls()

        def eval(self):
            return self

        def fitfunc(self, X, y, cfg_params):
            assert X.shape == (60, 3) and not X[:, 2].any() and cfg_params.id2word == {4: "x_1"}
            assert cfg_params.bfgs["n_restarts"] == 4
            seen.append(cfg_params.beam_size)
            good = cfg_params.beam_size >= 8
            return {
                "best_bfgs_preds": ["(x_1*x_2)" if good else "x_1", None],
                "best_bfgs_loss": [0.0 if good else 9.0, 1.0],
            }

    bfgs = {
        "activated": True,
        "add_coefficients_if_not_existing": False,
        "normalization_o": False,
        "idx_remove": True,
        "normalization_type": "MSE",
    }

    class Settings(dict):
        stop_time = 1e9

    config = types.SimpleNamespace(architecture="architecture", inference=types.SimpleNamespace(bfgs=Settings(bfgs)))
    torch_stand_in(monkeypatch)
    for name in ("nesymres", "nesymres.architectures"):
        stand_in(monkeypatch, name)
    stand_in(monkeypatch, "nesymres.architectures.model", Model=Model)
    stand_in(
        monkeypatch,
        "nesymres.dclasses",
        BFGSParams=lambda **how: how,
        FitParams=lambda **how: types.SimpleNamespace(**how),
    )
    stand_in(monkeypatch, "omegaconf", OmegaConf=types.SimpleNamespace(load=lambda path: config))
    (tmp_path / "weights.ckpt").touch()
    (tmp_path / "eq_setting.json").write_text(
        '{"word2id": {"x_1": 4}, "id2word": {"4": "x_1"}, "una_ops": [], "bin_ops": [], "total_variables": ["x_1"], '
        '"total_coefficients": [], "rewrite_functions": []}'
    )
    monkeypatch.setenv("NESYMRES_MODEL", str(tmp_path))
    assert peer_networks.nesymres(X, Y, 2.0, 0) == [["*", "x1", "x2"]]
    assert seen[:3] == [4, 8, 16]
    with pytest.raises(RuntimeError, match="takes 3 columns at most, here are 4"):
        peer_networks.nesymres(np.ones((5, 4)), np.ones(5), 1.0, 0)
