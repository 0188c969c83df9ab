"""What a training variation changes: nats a law of several models on the same held-out laws, over tables of several kinds.

    bin/bench-nats train.zst runs/a/model.safetensors runs/b/model.safetensors

The laws are those that training with the default --hold never saw; every model reads the same numbers, each with
its own way of showing columns.  Lower is better; a column "far" spans 1e-8 to 1e8, "noisy" tables hold 0.1 to 10 % noise.
"""

import argparse
import dataclasses
import json

import numpy as np
import torch

from bench.model import held_rows
from fansr.corpus import prior as priors
from fansr.expressions.tokens import PAD_ID
from fansr.network import batches, checkpoints, sample
from fansr.network.configuration import Settings
from fansr.network.skeleton_pool import compact
from fansr.network.training_run import loss_sums
from fansr.streams.seeds import rng_for


def kinds(prior):
    """{name: (prior of the numbers, points)}."""
    far = tuple(kind for kind in prior.columns if kind.high - kind.low > 8)
    near = tuple(kind for kind in prior.columns if kind not in far)
    plain = dataclasses.replace(prior, noisy=0.0, irrelevant=0.0, columns=near)
    return {
        "ordinary": (plain, 20),
        "far columns": (dataclasses.replace(plain, columns=far), 20),
        "noisy": (dataclasses.replace(plain, noisy=1.0), 20),
        "8 points": (plain, 8),
        "16 points": (plain, 16),
        "32 points": (plain, 32),
        "64 points": (plain, 64),
    }


def held_out(path, training, n):
    """Tokens (n, W) of held-out skeletons, as often as the prior draws them."""
    settings = Settings(columns=training["settings"]["columns"], max_length=training["settings"]["max_length"])
    rows = held_rows(path, settings, training["options"]["hold"])
    return rows[rng_for(0, "bench-nats").permutation(len(rows))[:n]]


@torch.inference_mode()
def nats(model, training, rows, prior, points):
    """Mean nats a law, and the share of laws whose every token is the likeliest."""
    settings = Settings(
        columns=model.config.columns,
        max_length=model.config.max_length,
        prior=prior,
        scale_columns=training["settings"]["scale_columns"],
    )
    rows, columns = compact(rows)
    order = np.argsort((rows != PAD_ID).sum(1), kind="stable")
    total, whole, n = 0.0, 0, 0
    for i, part in enumerate(np.array_split(order, max(1, len(order) // 256))):
        data = batches.make(
            rows[part], columns[part], points, settings, rng_for(0, "bench-nats.numbers", i), torch.device("cpu")
        )
        loss, _, exact = loss_sums(model(data.values, data.tokens[:, :-1], present=data.present), data.tokens)
        total, whole, n = total + float(loss), whole + int(exact), n + len(data)
    return round(total / n, 3), round(whole / n, 4)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("skeletons", help="the stream the models were trained on")
    parser.add_argument(
        "models", nargs="+", help="model files, or names of shipped ones; the first one's prior draws the numbers"
    )
    parser.add_argument("--laws", type=int, default=4096)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = prior = None
    for name in args.models:
        model, info = checkpoints.load_model(sample.model_path(name))
        training = info["training"]
        if rows is None:
            rows, prior = held_out(args.skeletons, training, args.laws), priors.from_dict(training["prior"])
        told = {kind: nats(model, training, rows, *numbers) for kind, numbers in kinds(prior).items()}
        print(
            json.dumps(
                {
                    "model": name,
                    "laws": len(rows),
                    "samples": training["samples"],
                    "minutes": round(training["seconds"] / 60, 1),
                    "nats": {kind: value for kind, (value, _) in told.items()},
                    "likeliest": {kind: value for kind, (_, value) in told.items()},
                }
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()
