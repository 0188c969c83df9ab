"""fansr-peer's programs that have a trained network: flash-ansr, NeSymReS, E2E.

Each needs its authors' package and weights, which no package index holds; where they lie is said by an environment
variable.  Their draws or beams are doubled as long as a further run is expected to end in time, and the answer is the
best by the program's own score.  See peer.py for what a peer is.
"""

from __future__ import annotations

import inspect
import json
import math
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fansr.expressions import ARITY, evaluate, from_infix

NESYMRES_COLUMNS = 3  # that its released models take


def named(variable: str, what: str) -> Path:
    """The path that an environment variable names; RuntimeError where it names none."""
    path = Path(os.environ.get(variable, ""))
    if not os.environ.get(variable) or not path.exists():
        raise RuntimeError(f"needs {what} in {variable}")
    return path


def doubled(first: int, seconds: float) -> Iterator[int]:
    """first, 2 * first, 4 * first, ... while the next step, at twice the last one's time, would end in `seconds`."""
    start, n = time.monotonic(), first
    while True:
        began = time.monotonic()
        yield n
        n *= 2
        if 2.0 * (time.monotonic() - began) > start + seconds - time.monotonic():
            return


def best_of(runs: Iterator[tuple[float, list[str]]]) -> list[list[str]]:
    """The expression of the least score as the one answer; RuntimeError where there was none."""
    score, answer = min(runs, key=lambda run: run[0], default=(math.inf, None))
    if answer is None or not score < math.inf:
        raise RuntimeError("no expression came out")
    return [answer]


def flash_ansr(X, y, seconds: float, seed: int) -> list[list[str]]:
    """flash-ansr with the model folder named by FLASH_ANSR_MODEL: 32 softmax samples, 8 restarts, one worker, then twice
    as many as long as there is time; best by its own score.  Its version is told by what its sampling takes: `choices`
    (0.4) or `draws` (0.19, whose estimator is loaded once and ranks by description length)."""
    folder = named("FLASH_ANSR_MODEL", "the folder of a flash-ansr model")
    import torch
    from flash_ansr import FlashANSR, SoftmaxSamplingConfig

    torch.manual_seed(seed & 0x7FFFFFFF)
    np.random.seed(seed & 0x7FFFFFFF)
    if "draws" in inspect.signature(SoftmaxSamplingConfig).parameters:
        return best_of(_flash_ansr_by_draws(FlashANSR, SoftmaxSamplingConfig, str(folder), X, y, seconds, seed))
    return best_of(_flash_ansr_by_choices(FlashANSR, SoftmaxSamplingConfig, str(folder), X, y, seconds))


def _flash_ansr_by_choices(FlashANSR, Sampling, folder: str, X, y, seconds: float):
    """(score, expression) of runs of 0.4: an estimator for each number of samples."""
    for choices in doubled(32, seconds):
        model = FlashANSR.load(
            directory=folder, generation_config=Sampling(choices=choices), n_restarts=8, refiner_workers=1
        )
        model.fit(X, y)
        text = model.get_expression(precision=17, map_variables=False)
        yield float(model._results[0]["score"]), from_infix(text)


def _flash_ansr_by_draws(FlashANSR, Sampling, folder: str, X, y, seconds: float, seed: int):
    """(score, expression) of runs of 0.19: one estimator, another seed for each number of draws."""
    model = FlashANSR.load(
        directory=folder,
        generation_config=Sampling(draws=32),
        refine={"n_restarts": 8},
        compute={"device": "cpu", "workers": 0},
    )
    for draws in doubled(32, seconds):
        result = model.fit(X, y, draws=draws, seed=(seed + draws) & 0x7FFFFFFF)
        if result.candidates:  # none where no draw could be fitted
            tokens = result.get_expression(return_prefix=True, map_variables=False)
            yield float(result.candidates[0].score), from_simplipy(tokens)


_SPOKEN = {"np.pi": repr(math.pi), "np.e": repr(math.e)}


def from_simplipy(tokens: list[str]) -> list[str]:
    """Prefix tokens of simplipy's language in ours: whole roots as pow1_n, constants as numbers."""
    out: list[str] = []

    def read(i: int) -> int:
        """Append the expression that begins at tokens[i]; where the next one begins."""
        token = tokens[i]
        if token == "rootn":  # rootn x n
            place = len(out)
            i = read(i + 1)
            index = float(tokens[i].strip("()"))
            if index in (2, 3, 4, 5):
                out.insert(place, f"pow1_{int(index)}")
            else:
                out.insert(place, "pow")
                out.append(repr(1.0 / index))
            return i + 1
        out.append(_SPOKEN.get(token, token.strip("()")))
        i += 1
        for _ in range(ARITY.get(token, 0)):
            i = read(i)
        return i

    if read(0) != len(tokens):
        raise ValueError(f"no prefix expression: {' '.join(tokens)}")
    return out


def nesymres(X, y, seconds: float, seed: int) -> list[list[str]]:
    """NeSymReS (Biggio et al. 2021) with the folder named by NESYMRES_MODEL, which holds config.yaml, eq_setting.json and the
    weights (*.ckpt): beam of 4 with 4 restarts of its optimizer, then twice as wide as long as there is time; best by its
    own loss.  It takes three columns at most."""
    folder = named("NESYMRES_MODEL", "the folder of a NeSymReS model (config.yaml, eq_setting.json, *.ckpt)")
    if X.shape[1] > NESYMRES_COLUMNS:
        raise RuntimeError(f"takes {NESYMRES_COLUMNS} columns at most, here are {X.shape[1]}")
    import torch
    from nesymres.architectures.model import Model
    from nesymres.dclasses import BFGSParams, FitParams
    from omegaconf import OmegaConf

    torch.manual_seed(seed & 0x7FFFFFFF)
    np.random.seed(seed & 0x7FFFFFFF)
    config = OmegaConf.load(folder / "config.yaml")
    told = json.loads((folder / "eq_setting.json").read_text())
    told = {
        **{key: told[key] for key in ("word2id", "una_ops", "bin_ops")},
        "id2word": {int(number): word for number, word in told["id2word"].items()},
        **{key: list(told[key]) for key in ("total_variables", "total_coefficients", "rewrite_functions")},
    }
    how = config.inference.bfgs
    kept = ("activated", "add_coefficients_if_not_existing", "normalization_o", "idx_remove", "normalization_type")
    settings = {**{key: how[key] for key in kept}, "stop_time": how.stop_time, "n_restarts": 4}
    (weights,) = sorted(folder.glob("*.ckpt"))[:1] or [None]
    if weights is None:
        raise RuntimeError(f"needs weights (*.ckpt) in {folder}")
    model = Model.load_from_checkpoint(str(weights), cfg=config.architecture).eval()
    padded = np.zeros((len(y), NESYMRES_COLUMNS))
    padded[:, : X.shape[1]] = X

    def runs():
        for beam in doubled(4, seconds):
            params = FitParams(**told, bfgs=BFGSParams(**settings), beam_size=beam)
            found = model.fitfunc(padded, y, cfg_params=params)
            for text, loss in zip(found["best_bfgs_preds"], found["best_bfgs_loss"]):
                if text is not None:
                    names = [f"x_{j + 1}" for j in range(NESYMRES_COLUMNS)]
                    yield float(loss), from_infix(str(text), names)

    return best_of(runs())


def e2e(X, y, seconds: float, seed: int) -> list[list[str]]:
    """E2E (Kamienny et al. 2022) with the weights named by E2E_MODEL (model1.pt): 10 trees to refine, 100 bags of 200 points, beam
    of 1, then twice as wide as long as there is time; best by the mean square of its errors.  Its weights are a pickle:
    loading them runs what they hold."""
    weights = named("E2E_MODEL", "E2E's weights (model1.pt)")
    import torch
    from symbolicregression.model import SymbolicTransformerRegressor

    torch.manual_seed(seed & 0x7FFFFFFF)
    np.random.seed(seed & 0x7FFFFFFF)
    model = torch.load(weights, map_location="cpu", weights_only=False)

    def runs():
        for beam in doubled(1, seconds):
            model.beam_size = beam
            regressor = SymbolicTransformerRegressor(
                model=model, max_input_points=200, max_number_bags=100, n_trees_to_refine=10, rescale=True
            )
            regressor.fit([X.copy()], [y.copy()])
            tree = regressor.retrieve_tree(with_infos=True)["relabed_predicted_tree"]
            if tree is not None:
                tokens = from_e2e(tree.infix(), X.shape[1])
                with np.errstate(all="ignore"):
                    loss = float(np.mean((evaluate(tokens, X) - y) ** 2))
                yield loss if math.isfinite(loss) else math.inf, tokens

    return best_of(runs())


_WORDS = {"add": "+", "sub": "-", "mul": "*", "div": "/", "pow": "**"}


def from_e2e(text: str, columns: int) -> list[str]:
    """E2E's infix, whose operators are words and whose columns count from 0, as a prefix expression."""
    text = re.sub(r"\b(add|sub|mul|div|pow)\b", lambda word: _WORDS[word[0]], text)
    return from_infix(text, [f"x_{j}" for j in range(columns)])
