"""Sampling speed and worth: tokens a second, decoders side by side, flash-ansr's own loop in the same run.

    bin/bench-sample                                  the shipped model on 20 laws, all decoders; the 3M size, random weights
    bin/bench-sample --device torch-cpu               by torch instead of numpy
    bin/bench-sample --peer-python /path/to/venv/bin/python        also flash-ansr 0.4.3 on 1,024 x 32 tokens

CPU seconds of one thread.  "unique" counts distinct laws after simplification; "invalid" is the share of
sequences that are no expression when the grammar mask is off.
"""

from fansr.cli import single_thread  # noqa: F401  # isort: skip  (before numpy)

import argparse
import json
import subprocess
import sys
import time
import types


def peer(choices, length):
    """flash-ansr's softmax sampling of `choices` sequences of `length` tokens at the 3M size, random weights."""
    import torch
    from flash_ansr.model import FlashANSRModel, Tokenizer

    torch.set_num_threads(1)
    torch.manual_seed(0)
    # Checking and simplifying are left out on both sides: an engine that finds every sequence valid.
    engine = types.SimpleNamespace(is_valid=lambda *_, **__: True)
    model = FlashANSRModel(
        engine,
        Tokenizer([f"t{i}" for i in range(52)]),
        0.0,
        18,
        encoder_dim=192,
        encoder_n_heads=3,
        encoder_n_isab=1,
        encoder_n_sab=1,
        encoder_n_inducing_points=128,
        encoder_n_seeds=128,
        encoder_ffn_hidden_dim=576,
        encoder_attn_norm="rms_set",
        encoder_ffn_norm="rms_set",
        encoder_output_norm="rms_set",
        decoder_input_dim=192,
        decoder_model_dim=192,
        decoder_n_layers=3,
        decoder_n_heads=3,
        decoder_ffn_hidden_dim=576,
        decoder_use_rope_self_attn=True,
    ).eval()
    last = [m for m in model.modules() if isinstance(m, torch.nn.Linear) and m.out_features == 59][-1]
    last.bias.data[2] = -1e9  # no sequence ends early
    started = time.process_time()
    model.sample_top_kp(
        torch.randn(1, 512, 18),
        choices=choices,
        max_len=length + 1,
        valid_only=False,
        simplify=False,
        unique=False,
        initial_tokens=[1],
    )
    print(
        json.dumps(
            {
                "tool": "flash-ansr",
                "draws": choices,
                "tokens": length,
                "seconds": round(time.process_time() - started, 3),
            }
        )
    )


if len(sys.argv) > 1 and sys.argv[1] == "--as-peer":
    peer(1024, 32)
    sys.exit()

import numpy as np

from fansr.cli.command import read_toml
from fansr.expressions.prefix import is_valid
from fansr.expressions.tokens import EOS_ID, decode
from fansr.fitting.problem import Problem
from fansr.network import decoders, sample as sampling, table_encoding as views
from fansr.network.configuration import ModelConfig
from fansr.network.numpy_inference import NumpyNetwork
from fansr.network.weight_shapes import weight_shapes


def random_network(config, device):
    """A network with random weights of the size that training starts from."""
    rng = np.random.default_rng(0)
    weights = {
        name: rng.normal(0, shape[-1] ** -0.5, shape).astype(np.float32)
        if len(shape) > 1
        else np.ones(shape, np.float32)
        for name, shape in weight_shapes(config).items()
    }
    if device == "cpu":
        return NumpyNetwork(config, weights)
    import torch

    from fansr.network.architecture import Model
    from fansr.network.torch_inference import TorchNetwork

    torch.set_num_threads(1)
    model = Model(config)
    model.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    return TorchNetwork(model.to(device.removeprefix("torch-")).eval().requires_grad_(False))


def fixed_length(draws, length, device, rounds=3):
    """CPU seconds for `draws` independent sequences of exactly `length` tokens with the 3M network."""
    network = random_network(ModelConfig(**read_toml("3m")["model"]), device)
    grammar = decoders.Free(length)
    grammar.usable[EOS_ID] = False
    best = float("inf")
    for seed in range(rounds):
        rng = np.random.default_rng(seed)
        values = rng.normal(size=(1, 512, 18)).astype(np.float32)
        started = time.process_time()
        decoders.draw(network, network.memory(values), grammar, draws, rng, "iid")
        best = min(best, time.process_time() - started)
    print(
        json.dumps({"tool": "fansr", "draws": draws, "tokens": length, "decoder": "iid", "seconds": round(best, 3)}),
        flush=True,
    )


def laws(n):
    """Tables of simple laws, for timing only."""
    rng = np.random.default_rng(0)
    for i in range(n):
        X = rng.uniform(0.5, 4.0, (64, 1 + i % 4))
        y = [X[:, 0] ** 2, X[:, 0] * np.sin(X[:, -1]), np.exp(-X[:, 0]) + X[:, -1], X.prod(1) / (1 + X[:, 0])][i % 4]
        yield Problem(X, y, [f"x{j + 1}" for j in range(X.shape[1])], id=i)


def compare(name, device, draws, n):
    """Each decoder on the same tables."""
    network, training = sampling.load(name, device)
    rows = {}
    for problem in laws(n):
        view = views.show(problem, network.config, training.get("settings", {}), np.random.default_rng(0))
        memory = network.memory(view.values)
        grammar = decoders.Grammar(len(view.columns), network.config.max_length - 2)
        for decoder, k in (("tree", draws), ("iid", draws), ("topk", draws), ("beam", min(draws, 512))):
            started = time.process_time()
            drawn = decoders.draw(network, memory, grammar, k, np.random.default_rng(1), decoder)
            seconds = time.process_time() - started
            found, _ = views.finish(drawn, view)
            whole = time.process_time() - started
            rows.setdefault((decoder, k), []).append((seconds, whole, drawn.decoded, len(drawn.ids), len(found)))
        drawn = decoders.draw(
            network, memory, decoders.Free(network.config.max_length - 2), 512, np.random.default_rng(1)
        )
        ids = [tuple(v for v in row if v != EOS_ID) for row in drawn.ids]
        bad = sum(int(c) for row, c in zip(ids, drawn.n) if not is_valid(decode(row), len(view.columns)))
        rows.setdefault(("invalid", 512), []).append((bad / 512,))
    for (decoder, k), values in rows.items():
        mean = np.mean(values, 0)
        if decoder == "invalid":
            print(json.dumps({"without the mask": "tree", "draws": k, "invalid": round(float(mean[0]), 3)}))
            continue
        print(
            json.dumps(
                {
                    "decoder": decoder,
                    "draws": k,
                    "seconds": round(mean[0], 3),
                    "with simplification": round(mean[1], 3),
                    "decoded": int(mean[2]),
                    "distinct": int(mean[3]),
                    "unique": int(mean[4]),
                    "unique per second": int(mean[4] / mean[1]),
                }
            ),
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model")
    parser.add_argument("--draws", type=int, default=4096)
    parser.add_argument("--laws", type=int, default=20)
    parser.add_argument("--peer-python", help="python of an environment with flash-ansr 0.4.3")
    parser.add_argument("--device", default="cpu", help="cpu (numpy), torch-cpu, cuda")
    args = parser.parse_args()
    if args.peer_python:
        out = subprocess.run([args.peer_python, "-m", "bench.sample", "--as-peer"], capture_output=True, text=True)
        print(out.stdout.strip() or out.stderr.strip().splitlines()[-1], flush=True)
    fixed_length(1024, 32, args.device)
    if args.laws:
        compare(args.model, args.device, args.draws, args.laws)


if __name__ == "__main__":
    main()
