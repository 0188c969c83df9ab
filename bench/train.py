"""Training speed: samples a second of one optimizer step, ours and flash-ansr's, in turn in one run on the same cores.

    bin/bench-train                            the 3M model, batch 128, M = 512, one CPU thread
    bin/bench-train --device cuda --points 128 512 --configs 3m 20m --compile
    bin/bench-train --configs tiny --points 24 --tokens 13 --batch 256 --profile step.png      where a step's time goes
    bin/bench-train --peer-python /path/to/venv/bin/python        also flash-ansr 0.4.3 from that environment

CPU seconds are counted on a CPU (other people's work on the machine does not enter), wall seconds on a GPU.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import time

import torch


def peer(size, B, M, L, rounds=2):
    """One training step of flash-ansr's own network at the same size, float32 as it runs on a CPU: samples a second."""
    from flash_ansr.model import FlashANSRModel, Tokenizer

    torch.manual_seed(0)
    d, heads, layers, blocks = {"3m": (192, 3, 3, 1), "20m": (384, 6, 6, 2)}[size]
    vocabulary = [f"t{i}" for i in range(52)]  # with its 7 special tokens: 59, as many as ours
    model = FlashANSRModel(
        None,
        Tokenizer(vocabulary),
        0.0,
        18,
        encoder_dim=d,
        encoder_n_heads=heads,
        encoder_n_isab=blocks,
        encoder_n_sab=blocks,
        encoder_n_inducing_points=128,
        encoder_n_seeds=128,
        encoder_ffn_hidden_dim=3 * d,
        encoder_attn_norm="rms_set",
        encoder_ffn_norm="rms_set",
        encoder_output_norm="rms_set",
        decoder_input_dim=d,
        decoder_model_dim=d,
        decoder_n_layers=layers,
        decoder_n_heads=heads,
        decoder_ffn_hidden_dim=3 * d,
        decoder_use_rope_self_attn=True,
    ).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    values, tokens = torch.randn(B, M, 18), torch.randint(7, 59, (B, L))

    def step():
        logits = model(tokens[:, :-1], values, data_attn_mask=torch.ones(B, M, dtype=torch.bool))
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 2.0)
        optimizer.step()
        optimizer.zero_grad()

    step()
    best = float("inf")
    for _ in range(rounds):
        started = time.process_time()
        step()
        best = min(best, time.process_time() - started)
    total = sum(p.numel() for p in model.parameters())
    print(
        json.dumps(
            {
                "tool": "flash-ansr",
                "config": size,
                "points": M,
                "batch": B,
                "dtype": "float32",
                "params": total,
                "samples_per_second": round(B / best, 1),
            }
        )
    )


if len(sys.argv) > 1 and sys.argv[1] == "--as-peer":  # run by the other environment's python
    torch.set_num_threads(int(sys.argv[6]))
    peer(sys.argv[2], *map(int, sys.argv[3:6]))
    sys.exit()

from fansr.cli.command import read_toml
from fansr.network import batches, device
from fansr.network.configuration import ModelConfig, Options, Settings
from fansr.network.training_run import Run


class Fixed:
    """One prepared batch again and again: what is measured is the step alone."""

    def __init__(self, batch):
        self.prepared = batch

    def batch(self, number):
        return self.prepared


def one_batch(B, M, L, columns, where):
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(B, M, 1 + columns, generator=generator)
    tokens = torch.randint(3, 59, (B, L), generator=generator)
    tokens[:, 0] = 1
    present = torch.ones(B, 1 + columns, dtype=torch.bool, device=where)
    return batches.Batch(values.to(where), present, tokens.to(where))


def prepared(config, B, M, L, where, compiled):
    """A run about to take steps, and the batch it takes them on."""
    model = ModelConfig(**read_toml(config)["model"])
    settings = Settings(batch=B, min_points=M, max_points=M, columns=model.columns)
    name = read_toml(config).get("optimizer", "adamw")
    run = Run(
        Options(model=model, settings=settings, optimizer=name, steps=10**6),
        where,
        pathlib.Path("unused"),
        compiled,
        quiet=True,
    )
    run.begin()
    run.model.train()
    return run, Fixed(one_batch(B, M, L, model.columns, where.device))


def measure(config, B, M, L, where, compiled, rounds):
    """Samples a second: the best of `rounds` rounds of 3 steps, after two steps that warm up."""
    run, loader = prepared(config, B, M, L, where, compiled)
    clock = time.process_time if where.device.type == "cpu" else time.perf_counter
    best = float("inf")
    for i in range(rounds + 1):
        started = clock()
        for _ in range(3 if i else 2):
            run.step(loader)
        if where.device.type == "cuda":
            torch.cuda.synchronize()
        if i:
            best = min(best, (clock() - started) / 3)
    return B / best


# What an operator of torch's profiler belongs to, by the first pattern that its name holds.
GROUPS = (
    ("optimizer", ("adam", "clip", "lerp", "_foreach", "linalg_vector_norm", "baddbmm")),
    ("attention", ("bmm", "softmax", "scaled_dot", "masked_fill", "flash")),
    ("matrix products", ("mm", "linear", "matmul", "gemm")),
    (
        "number formats, copies",
        ("copy", "_to_copy", "empty", "cat", "clone", "contiguous", "stack", "zeros", "fill", "zero_"),
    ),
    ("norms", ("norm", "rsqrt", "mean", "pow")),
    ("gelu", ("gelu",)),
    ("loss", ("nll", "cross_entropy", "argmax")),
    ("bits", ("bitwise", "shift")),
    ("other elementwise", ("mul", "add", "sub", "div", "sum", "neg", "sqrt", "where", "embedding")),
)


def profile(config, B, M, L, where, path, steps=10):
    """Shares of a step's time by kind of work, as a line of JSON and a picture."""
    from torch.profiler import ProfilerActivity, profile as profiler

    run, loader = prepared(config, B, M, L, where, compiled=False)
    for _ in range(3):
        run.step(loader)
    cuda = where.device.type == "cuda"
    with profiler(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]) as found:
        for _ in range(steps):
            run.step(loader)
    shares = dict.fromkeys((name for name, _ in GROUPS), 0.0) | {"the rest": 0.0}
    for event in found.key_averages():
        name = event.key.lower()
        group = next((group for group, parts in GROUPS if any(part in name for part in parts)), "the rest")
        shares[group] += event.self_device_time_total if cuda else event.self_cpu_time_total
    total = sum(shares.values())
    print(
        json.dumps(
            {
                "config": config,
                "points": M,
                "batch": B,
                "dtype": str(where.dtype).removeprefix("torch."),
                "shares": {k: round(v / total, 3) for k, v in shares.items()},
            }
        )
    )
    bars(shares, path)


def bars(shares, path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    total = sum(shares.values())
    names = sorted(shares, key=shares.get)
    figure, axis = pyplot.subplots(figsize=(6, 3), layout="constrained")
    axis.barh(names, [100 * shares[name] / total for name in names])
    axis.set_xlabel("share of a training step (%)")
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configs", nargs="+", default=["3m"])
    parser.add_argument("--points", nargs="+", type=int, default=[512])
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--tokens", type=int, default=26)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--compile", action="store_true", help="also compiled")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profile", type=pathlib.Path, help="instead: where a step's time goes, as a picture")
    parser.add_argument("--peer-python", help="python of an environment with flash-ansr 0.4.3")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.profile:
        where = device.choose(args.device, args.dtypes[-1])
        return profile(args.configs[0], args.batch, args.points[0], args.tokens, where, args.profile)
    for config in args.configs:
        for M in args.points:
            if args.peer_python:
                out = subprocess.run(
                    [
                        args.peer_python,
                        "-m",
                        "bench.train",
                        "--as-peer",
                        config,
                        str(args.batch),
                        str(M),
                        str(args.tokens),
                        str(args.threads),
                    ],
                    capture_output=True,
                    text=True,
                )
                print(out.stdout.strip() or out.stderr.strip().splitlines()[-1], flush=True)
            for dtype in args.dtypes:
                for compiled in (False, True) if args.compile else (False,):
                    rate = measure(
                        config, args.batch, M, args.tokens, device.choose(args.device, dtype), compiled, args.rounds
                    )
                    print(
                        json.dumps(
                            {
                                "tool": "fansr",
                                "config": config,
                                "points": M,
                                "batch": args.batch,
                                "dtype": dtype,
                                "compiled": compiled,
                                "samples_per_second": round(rate, 1),
                            }
                        ),
                        flush=True,
                    )


if __name__ == "__main__":
    main()
