"""A network that learned to add, distilled as a whole: the law of its answers, its systematic error included.

    bin/distill-addition

Two numbers of three digits go in digit by digit, the digits of the sum come out by classification.  It is trained on pairs whose
sum stays below 1000 and then asked all pairs: what it does beyond is in no training row, and the law says it in one line.
"""

from __future__ import annotations

from fansr.cli import single_thread  # noqa: F401  # isort: skip  (before numpy)

import pathlib

import click
import numpy as np
import torch
from torch import nn

from bench.distillation.steps import Limit, commit, options, step, table, train
from fansr.distill import Distiller
from fansr.expressions import evaluate
from fansr.search.selection import largest_drop

DIGITS, LARGEST = 3, 999
STEPS, BATCH = 3000, 256
SECONDS = 6.0  # of search


def digits(numbers: torch.Tensor, n: int) -> torch.Tensor:
    """(B,) whole numbers to their last n digits (B, n), the highest first."""
    return torch.stack([numbers.long() // 10**k % 10 for k in reversed(range(n))], 1)


class Adder(nn.Module):
    """(B, 2) numbers a, b to logits (B, DIGITS + 1, 10) of their sum's digits."""

    def __init__(self, width: int = 128):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2 * DIGITS * 10, width), nn.ReLU(), nn.Linear(width, (DIGITS + 1) * 10))

    def forward(self, ab):
        seen = torch.cat([digits(ab[:, 0], DIGITS), digits(ab[:, 1], DIGITS)], 1)
        return self.net(nn.functional.one_hot(seen, 10).float().flatten(1)).view(-1, DIGITS + 1, 10)


def answer(model: Adder, ab: torch.Tensor) -> torch.Tensor:
    """(B, 1): the number that the likeliest digits spell."""
    best = model(ab).argmax(-1)
    return (best * 10 ** torch.arange(DIGITS, -1, -1)).sum(1, keepdim=True).float()


def pairs(n: int, rng: np.random.Generator, below: int | None) -> torch.Tensor:
    """(n, 2) pairs of numbers, with a sum below `below`."""
    ab = rng.integers(0, LARGEST + 1, (3 * n + 100, 2))
    if below is not None:
        ab = ab[ab.sum(1) < below]
    return torch.tensor(ab[:n])


def trained(seed: int, folder: pathlib.Path, limit: Limit, steps: int = STEPS) -> tuple[Adder, dict]:
    torch.manual_seed(seed)
    model = Adder()

    def loss_of_step(k):
        ab = pairs(BATCH, np.random.default_rng([seed, k]), LARGEST + 1)
        return nn.functional.cross_entropy(model(ab).flatten(0, 1), digits(ab.sum(1), DIGITS + 1).flatten())

    return model, train(model, loss_of_step, steps, folder / f"addition-{seed}.pt", limit, rate=3e-3)


def asked(model: Adder, seed: int, below: int | None) -> dict:
    """The law of the network's answers on pairs with a sum below `below` (all pairs), and how often answer and law are right."""
    ab = pairs(4000, np.random.default_rng([seed, 1]), below).float()
    d = Distiller(None, at=lambda rows: answer(model, rows.long()), seed=seed)
    d.record([(part,) for part in ab.split(200)], rows=2000, names=["a", "b"])
    d.fit(time=SECONDS, jobs=1)
    law = d.laws[0] or d.choose(0, law=largest_drop(d.fronts[0])[0])
    with torch.no_grad():
        given = answer(model, ab.long())[:, 0].double().numpy()
    true = ab.sum(1).double().numpy()
    values = evaluate(list(law.expr), ab.double().numpy(), np.asarray(law.consts))
    return {
        "below": below, "law": law.infix(5), "status": d.status[0], "fvu": law.fvu_held, "right": float((given == true).mean()),
        "law_is_answer": float((np.abs(values - given) < 0.5).mean()), "off": float(np.abs(given - true).mean()), "commit": commit(),
    }  # fmt: skip


def summary(found: list[dict]) -> str:
    rows = [
        ["sums below 1000" if one["below"] else "all pairs", f"{one['right']:.1%}", f"{one['off']:.3g}", f"`{one['law']}`",
         f"{one['fvu']:.2g}", f"{one['law_is_answer']:.1%}"]
        for one in found
    ]  # fmt: skip
    heads = ["asked", "answers right", "mean error", "law of the answers", "FVU held out", "answers that the law gives"]
    return table(rows, heads)


@click.command()
@options
@click.option("--out", default="out/distill-addition", show_default=True, help="Folder of checkpoints and tables.")
def main(seed, limit, out):
    """Train, ask and fit; write TABLE.md."""
    folder = pathlib.Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    model, _ = trained(seed, folder, Limit(limit))
    found = [
        step(folder, f"law-{seed}-{below or 'all'}", lambda: asked(model, seed, below)) for below in (LARGEST + 1, None)
    ]
    (folder / "TABLE.md").write_text(summary(found) + "\n")
    click.echo(summary(found))


if __name__ == "__main__":
    main()
