"""The networks that samplers ask, numpy's and torch's, against architecture.Model; and what is loaded for them."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.special import erf

from fansr.cli.command import read_toml
from fansr.errors import DataError
from fansr.network import architecture, checkpoints, decoders, model_file, numpy_inference, sample, tree_search
from fansr.network.architecture import Model
from fansr.network.configuration import NORMS, ModelConfig
from fansr.network.decoder_kernels import gelu
from fansr.network.numpy_inference import NumpyNetwork
from fansr.network.torch_inference import TorchNetwork
from fansr.network.weight_shapes import weight_shapes

SMALL = ModelConfig(
    columns=4, width=24, heads=2, feed_forward=40, inducing=5, seeds=6, decoder_layers=2, dropout=0.1, max_length=16
)
VARIANTS = {
    f"{norm}{' post-norm' if post_norm else ''} {bits} bits": dataclasses.replace(
        SMALL, norm=norm, post_norm=post_norm, bits=bits
    )
    for norm in NORMS
    for post_norm in (False, True)
    for bits in (16, 32)
}
VARIANTS["many seeds"] = dataclasses.replace(SMALL, seeds=64)  # attention to the memory takes its other way
VARIANTS["many heads"] = dataclasses.replace(SMALL, heads=12)
VARIANTS["deep"] = dataclasses.replace(SMALL, isab_layers=3, sab_layers=0, decoder_layers=4)
VARIANTS["no set layers"] = dataclasses.replace(SMALL, isab_layers=0, sab_layers=2)
for _name, _norm in (("table", "layer"), ("table deep", "rms")):
    VARIANTS[_name] = dataclasses.replace(SMALL, encoder="table", encoder_layers=1 + (_norm == "rms"), norm=_norm)
CONFIGS = ("tiny", "3m", "20m", "120m", "1b")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Products this small gain nothing from a second thread, and wait for it where another process has the core."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def random_model(config: ModelConfig) -> Model:
    torch.manual_seed(0)
    model = Model(config).eval()
    for p in model.parameters():  # norms start at 1 and some biases at 0: move them, so that a forgotten one shows
        if p.dim() == 1:
            torch.nn.init.normal_(p, 0.6, 0.3)
    return model.requires_grad_(False)


def numpy_network(model: Model) -> NumpyNetwork:
    return NumpyNetwork(model.config, {name: weight.numpy() for name, weight in model.state_dict().items()})


def tables(config: ModelConfig, rng, batch: int):
    """values (B, M, 1+C) float32 of all sizes, padded under a mask, some columns absent: with mask and present."""
    M, C = int(rng.integers(1, 40)), int(rng.integers(1, config.columns + 1))
    values = rng.normal(size=(batch, M, 1 + C)) * 10.0 ** rng.uniform(-3, 3, (batch, 1, 1 + C))
    mask, present = rng.random((batch, M)) < 0.7, rng.random((batch, 1 + C)) < 0.8
    mask[:, 0], present[:, :2] = True, True
    values[~mask] = rng.choice([np.nan, np.inf, 0.0, 1e30], size=(int((~mask).sum()), 1))
    return np.where(present[:, None], values, 0.0).astype(np.float32), mask, present


def check_logits(model: Model, rng, rounds: int, networks):
    """Every logit of random prefixes, branching and dropped on the way, over random tables, against torch's uncached pass."""
    config = model.config
    for _ in range(rounds):
        values, mask, present = tables(config, rng, 1)
        values = np.ascontiguousarray(values[:, mask[0]][:, :, present[0]])
        memory = model.memory(torch.from_numpy(values))
        length, n = int(rng.integers(1, config.max_length + 1)), int(rng.integers(1, 40))
        tokens = rng.integers(0, config.vocabulary, (n, length))
        wanted = model.decode(torch.from_numpy(tokens), memory.expand(n, -1, -1)).numpy()
        moves = {t: rng.integers(0, n, n) for t in rng.integers(0, length, 2)}
        for network in networks:
            known = network.memory(values)
            np.testing.assert_allclose(np.asarray(known), memory.numpy(), rtol=0, atol=1e-4)
            sequences, rows = network.sequences(known, n, length), np.arange(n)
            for t in range(length):
                if t in moves:
                    chosen = moves[t][: max(1, n // 2)] % len(rows)  # repeated, dropped and moved
                    sequences.keep(chosen)
                    rows = rows[chosen]
                # A repeated sequence goes on as its original does, a dropped one is not asked for again.
                logits = sequences.step(tokens[rows, t])
                assert logits.dtype == np.float32
                np.testing.assert_allclose(logits, wanted[rows, t], rtol=0, atol=1e-4)
            with pytest.raises(ValueError, match=f"hold {length} tokens and are full"):
                sequences.step(tokens[rows, 0])


# ---- the forward pass


@pytest.mark.parametrize("name", VARIANTS)
@torch.inference_mode()
def test_every_logit_is_torchs(name):
    model, rng = random_model(VARIANTS[name]), np.random.default_rng(0)
    check_logits(model, rng, 8, [numpy_network(model), TorchNetwork(model)])


@pytest.mark.parametrize("name", VARIANTS)
@torch.inference_mode()
def test_padding_and_absent_columns_are_torchs(name):
    model, rng = random_model(VARIANTS[name]), np.random.default_rng(1)
    network = numpy_network(model)
    for _ in range(8):
        values, mask, present = tables(model.config, rng, int(rng.integers(1, 5)))
        wanted = model.memory(*map(torch.from_numpy, (values, mask, present))).numpy()
        np.testing.assert_allclose(network.memory(values, mask, present), wanted, rtol=0, atol=1e-4)


@torch.inference_mode()
def test_the_shipped_network_is_torchs():
    model, _ = checkpoints.load_model(sample.model_path())
    network, _ = sample.load()
    check_logits(model, np.random.default_rng(2), 20, [network, TorchNetwork(model)])


@pytest.mark.parametrize("name", CONFIGS)
@torch.inference_mode()
def test_the_configured_sizes_are_torchs(name):
    """The widths of configs/*.toml; of the deep ones two layers of each kind."""
    given = ModelConfig(**read_toml(name)["model"])
    layers = {key: min(2, getattr(given, key)) for key in ("isab_layers", "sab_layers", "decoder_layers")}
    config = dataclasses.replace(given, **layers, max_length=12)
    model = random_model(config)
    assert {key: tuple(weight.shape) for key, weight in model.state_dict().items()} == weight_shapes(config)
    check_logits(model, np.random.default_rng(3), 2, [numpy_network(model)])


@pytest.mark.parametrize("config", [*VARIANTS.values(), *(ModelConfig(**read_toml(name)["model"]) for name in CONFIGS)])
def test_names_and_shapes_of_weights_are_torchs(config):
    with torch.device("meta"):
        model = Model(config)
    assert weight_shapes(config) == {name: tuple(weight.shape) for name, weight in model.state_dict().items()}


def test_bits_and_angles_are_torchs():
    values = np.array([0.0, -0.0, 1.5, -3e38, 1e-45, 65519.0, 65520.0, -1e6, np.inf, np.nan], np.float32)
    for bits in (16, 32):
        wanted = architecture.to_bits(torch.from_numpy(values), bits).numpy()
        np.testing.assert_array_equal(numpy_inference.to_bits(values, bits), wanted)
    for ours, theirs in zip(numpy_inference.rope_table(64, 100), architecture.rope_table(64, 100)):
        np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-5)


def test_gelu_is_its_formula():
    x = np.concatenate((np.linspace(-20, 20, 400_001), [0.0, 1e-30, -1e-30, 1e30])).astype(np.float32)
    exact = x.astype(np.float64) * (1 + erf(x.astype(np.float64) / np.sqrt(2))) / 2
    ours = x.copy()
    gelu(ours)
    assert (np.abs(ours - exact) <= 3e-7 * np.abs(x)).all()


def test_too_many_columns_are_refused():
    with pytest.raises(ValueError, match="6 columns came; this network takes at most 4"):
        numpy_network(random_model(SMALL)).memory(np.zeros((1, 3, 7), np.float32))


# ---- samplers over either network


@pytest.mark.parametrize("decoder", sample.DECODERS)
@torch.inference_mode()
def test_either_network_gives_the_same_draws(decoder):
    """With these seeds no draw falls between the two networks' roundings, which differ by about 1e-6."""
    model = random_model(dataclasses.replace(SMALL, max_length=14))
    values = np.random.default_rng(0).normal(size=(1, 9, 4)).astype(np.float32)
    drawn = []
    for network in (numpy_network(model), TorchNetwork(model)):
        memory, grammar, rng = network.memory(values), decoders.Grammar(3, 12), np.random.default_rng(1)
        if decoder == "mcts":
            found = tree_search.tree_search(
                network, memory, grammar, 100, rng, lambda rows: [1 / len(row) for row in rows]
            )
        else:
            found = decoders.draw(network, memory, grammar, 200, rng, decoder, temperature=1.2, top_p=0.98)
        drawn.append(found)
    assert drawn[0].ids == drawn[1].ids and len(drawn[0].ids) > 20
    assert drawn[0].n.tolist() == drawn[1].n.tolist()
    np.testing.assert_allclose(drawn[0].logp, drawn[1].logp, atol=1e-3)


# ---- files


def test_a_model_file_in_bfloat16_is_read_as_torch_reads_it(tmp_path):
    model = random_model(SMALL)
    checkpoints.save_model(tmp_path / "m", model, dtype=torch.bfloat16)
    _, weights, _ = model_file.read_model(tmp_path / "m")
    for name, weight in model.state_dict().items():
        np.testing.assert_array_equal(weights[name], weight.bfloat16().float().numpy())


@pytest.mark.parametrize(
    "change, message",
    [
        ({"decoder_layers": 10**12}, "decoder_layers is 1000000000000; it must be from 1 to 65536"),
        ({"decoder_layers": 60000}, "60002 layers"),
        ({"max_length": 10**9}, "max_length is 1000000000"),
        ({"dropout": float("nan")}, "dropout is nan"),
        ({"seeds": 7}, "encoder.seeds"),
        ({"heads": 0}, "heads is 0"),
        ({"width": "24"}, "width is '24'"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_config_that_is_not_the_weights_is_refused(tmp_path, change, message):
    model = random_model(SMALL)
    tensors = {name: weight for name, weight in model.state_dict().items()}
    from safetensors.torch import save_file

    header = {"format": model_file.FORMAT, "training": "{}", "history": "[]"}
    save_file(tensors, tmp_path / "m", {**header, "config": json.dumps({**SMALL.to_dict(), **change})})
    with pytest.raises(DataError, match=message):
        model_file.read_model(tmp_path / "m")


def test_what_cannot_be_sampled_from_is_refused(tmp_path):
    path = tmp_path / "m"
    checkpoints.save_model(path, random_model(dataclasses.replace(SMALL, vocabulary=60)))
    with pytest.raises(DataError, match="a network of 60 tokens"):
        sample.load(str(path))
    checkpoints.save_model(path, random_model(SMALL), {"settings": {"max_points": "many"}})
    with pytest.raises(DataError, match="max_points is 'many'"):
        sample.load(str(path))
    broken = random_model(SMALL)
    broken.head[0].weight[0, 0] = torch.nan
    checkpoints.save_model(path, broken)
    with pytest.raises(DataError, match="not all finite \\(first in head.0.weight"):
        sample.load(str(path))


def test_devices_that_are_not_there_are_told():
    with pytest.raises(DataError, match="gpu"):
        sample.load("tiny", "gpu")
    if not torch.cuda.is_available():
        with pytest.raises(DataError, match="no CUDA"):
            sample.load("tiny", "cuda")


# ---- what is loaded


def loaded(code: str, *arguments: str) -> set[str]:
    """Packages that a fresh process has loaded after this code."""
    code += "\nimport sys; print('loaded:', *{name.split('.')[0] for name in sys.modules})"
    run = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return set(run.stdout.rsplit("loaded:", 1)[1].split())


@pytest.mark.parametrize("proposer", ["model", "control"])
def test_proposing_loads_no_torch(proposer):
    code = f"""
import numpy as np
from fansr.fitting import Budget, Problem
from fansr.search import turns
X = np.random.default_rng(0).uniform(1, 2, (30, 2))
problem = Problem(X, X[:, 0] * np.sin(X[:, 1]), ["a", "b"])
found = turns.search(problem, turns.Options(samples=64, proposers=("{proposer}",)), Budget(None))
"""
    assert "torch" not in loaded(code)


def test_the_sampler_command_loads_no_torch(tmp_path):
    from test_sample import problems_file

    source = problems_file(tmp_path / "p.zst")
    code = "from fansr.network.sample import sample; sample(standalone_mode=False)"
    assert not {"torch", "pandas"} & loaded(code, source, "--samples", "50", "-o", str(tmp_path / "c.zst"))
    assert "torch" in loaded(code, source, "--samples", "50", "-o", str(tmp_path / "t.zst"), "--device", "torch-cpu")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["--lr", "fast"], ["--dry-run"], []])
def test_options_of_training_load_no_torch(arguments):
    code = "from fansr.network.train import main\ntry: main()\nexcept SystemExit: pass"
    assert not {"torch", "numba", "scipy", "safetensors"} & loaded(code, *arguments)


def test_products_take_one_thread_and_leave_the_rest_of_the_process_its_own():
    code = """
import numpy as np, threadpoolctl
from fansr.fitting import Problem
from fansr.network import numpy_inference, sample
def threads(): return [p["num_threads"] for p in threadpoolctl.threadpool_info() if p["user_api"] == "blas"]
threadpoolctl.threadpool_limits(2, "blas")
network, seen = sample.load()[0], []
kernel = numpy_inference.attend_pool
numpy_inference.attend_pool = lambda *args: (seen.append(threads()), kernel(*args))
memory = network.memory(np.ones((1, 5, 2), np.float32))
network.sequences(memory).step(np.array([1]))
assert seen and all(n == 1 for one in seen for n in one), seen
assert all(n == 2 for n in threads()), threads()
"""
    assert "numpy" in loaded(code)
