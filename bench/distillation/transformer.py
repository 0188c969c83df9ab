"""A byte-level transformer trained on English, its MLP blocks replaced by laws, and by everything simpler than laws.

    bin/distill-transformer            # trains (minutes), records, fits, judges; again: goes on where it stopped
    bin/distill-transformer --limit 240

The text is the language reference that every CPython carries (`pydoc_data.topics`); the last tenth is held out.  What replaces a
block is judged by the perplexity of the whole network on that tenth and by its speed: the block's mean, a linear map (full and of
low rank), principal components around the block itself, laws over principal components, and a linear map plus laws of what it
leaves.
"""

from __future__ import annotations

from fansr.cli import single_thread  # noqa: F401  # isort: skip  (before numpy)

import contextlib
import copy
import pathlib
import pydoc_data.topics
import time

import click
import numpy as np
import torch
from torch import nn

from bench.distillation.steps import Limit, commit, generator, options, step, table, train
from fansr.distill import Distiller, UnitLaw
from fansr.distillation import judging
from fansr.evaluation import plot_style
from fansr.search.selection import largest_drop

CONTEXT, WIDTH, HEADS, LAYERS = 64, 128, 4, 4
HELD = 0.1
STEPS, BATCH = 2000, 32
IN, OUT = 32, 8  # principal components of a block's inputs and outputs
ROWS, SECONDS, MOST_TOKENS = 3000, 5.0, 20  # recorded; of search for each unit; of a law
TUNING = 100  # steps


class Block(nn.Module):
    """Attention and MLP, each after a norm and added to its input."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x):  # (B, L, width)
        B, L, width = x.shape
        q, k, v = (
            part.view(B, L, self.heads, -1).transpose(1, 2) for part in self.qkv(self.norm1(x)).split(width, dim=-1)
        )
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(B, L, width))
        return x + self.mlp(self.norm2(x))


class ByteModel(nn.Module):
    """A decoder over symbols: (B, L) int64 to logits (B, L, symbols)."""

    def __init__(
        self, symbols: int, width: int = WIDTH, layers: int = LAYERS, heads: int = HEADS, context: int = CONTEXT
    ):
        super().__init__()
        self.context = context
        self.symbol, self.place = nn.Embedding(symbols, width), nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, symbols, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
        self.head.weight = self.symbol.weight

    def forward(self, ids):
        x = self.symbol(ids) + self.place.weight[: ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def corpus() -> tuple[torch.Tensor, torch.Tensor, str]:
    """(train, held) as int64 ids, and the alphabet: the text is cut once, so that nothing is on both sides."""
    text = "\n\n".join(topic for _, topic in sorted(pydoc_data.topics.topics.items()))
    alphabet = "".join(sorted(set(text)))
    place = {letter: i for i, letter in enumerate(alphabet)}
    ids = torch.tensor([place[letter] for letter in text])
    cut = int(len(ids) * (1 - HELD))
    return ids[:cut], ids[cut:], alphabet


def windows(
    ids: torch.Tensor, n: int, rng: torch.Generator, context: int = CONTEXT
) -> tuple[torch.Tensor, torch.Tensor]:
    """n random windows and what follows each symbol, both (n, context)."""
    starts = torch.randint(len(ids) - context - 1, (n, 1), generator=rng)
    at = starts + torch.arange(context)
    return ids[at], ids[at + 1]


def in_order(ids: torch.Tensor, n: int, context: int = CONTEXT) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """All of ids as windows side by side, in batches of n."""
    count = (len(ids) - 1) // context
    x, y = ids[: count * context].view(count, context), ids[1 : count * context + 1].view(count, context)
    return list(zip(x.split(n), y.split(n), strict=True))


def loss(model: nn.Module, batch) -> torch.Tensor:
    """Nats a symbol."""
    ids, following = batch
    return nn.functional.cross_entropy(model(ids).flatten(0, 1), following.flatten())


def perplexity(model: nn.Module, batches) -> float:
    """exp of the mean loss over batches of unequal sizes."""
    with torch.no_grad():
        total = sum(loss(model, batch).item() * batch[0].numel() for batch in batches)
    return float(np.exp(total / sum(batch[0].numel() for batch in batches)))


def trained(folder: pathlib.Path, seed: int, limit: Limit, steps: int = STEPS) -> tuple[ByteModel, dict]:
    """The model, trained to the end, and what that took."""
    ids, _, alphabet = corpus()
    torch.manual_seed(seed)
    model = ByteModel(len(alphabet))
    took = train(
        model,
        lambda k: loss(model, windows(ids, BATCH, generator(seed, k))),
        steps,
        folder / "model.pt",
        limit,
        rate=2e-3,
        weight_decay=0.1,
    )
    return model, took


# ---- what may stand for a block -----------------------------------------------------------------------

KINDS = {  # of recording: as the seed of all this does it, and with a linear map taken off first
    "pca": {"pca_in": IN, "pca_out": OUT},
    "linear": {"pca_in": IN, "pca_out": OUT, "linear": "full"},
}


def record_batches(ids: torch.Tensor, seed: int) -> list[tuple[torch.Tensor]]:
    """Windows of the training text, as arguments of the network."""
    return [(windows(ids, 16, generator(seed, 17, k))[0],) for k in range(16)]


def fitted(
    model: ByteModel, layer: int, kind: str, ids: torch.Tensor, seed: int, kept: dict | None = None
) -> Distiller:
    """A distiller of one MLP, its laws the steepest of each front; those of `kept` (what laws_of gave) instead of a search."""
    d = Distiller(model, at=f"blocks.{layer}.mlp", seed=seed).record(
        record_batches(ids, seed), rows=ROWS, **KINDS[kind]
    )
    if kept is None:
        d.fit(time=SECONDS, jobs=1, max_length=MOST_TOKENS)
    else:
        for unit, front in kept["fronts"].items():
            d.fronts[int(unit)] = [UnitLaw(int(unit), tuple(e), tuple(c), tuple(n), f, h) for e, c, n, f, h in front]
            d.status[int(unit)] = kept["status"][unit]
    return d


def laws_of(d: Distiller) -> dict:
    """What fitted() can go on from."""
    fronts = {
        unit: [[law.expr, law.consts, law.names, law.fvu, law.fvu_held] for law in front]
        for unit, front in d.fronts.items()
    }
    return {"status": {unit: d.status[unit] for unit in d.units}, "fronts": fronts}


def choose(d: Distiller, how: str) -> None:
    """The law of every unit: "drop", the steepest step of its front, or "best", the one of least error on held-out rows."""
    for unit in d.units:
        front = d.fronts[unit]
        d.choose(unit, law=largest_drop(front)[0] if how == "drop" else min(front, key=lambda law: law.fvu_held))


def tuned(model: ByteModel, d: Distiller, ids: torch.Tensor, seed: int) -> torch.nn.Module:
    """The laws of d, their constants fitted to the loss of the whole network on training text (Adam), as a module of rows."""
    other = copy.deepcopy(model)
    parent = other.get_submodule(d.block.path.rpartition(".")[0])
    parent.mlp = d.make_layer()
    other.requires_grad_(False)
    parent.mlp.consts.requires_grad_(True)
    optimizer = torch.optim.Adam([parent.mlp.consts], lr=3e-3)
    for k in range(TUNING):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * (1 - k / TUNING)
        optimizer.zero_grad()
        loss(other, windows(ids, 16, generator(seed, 19, k))).backward()
        optimizer.step()
    return parent.mlp.requires_grad_(False)


def stand_ins(
    model: ByteModel, layer: int, ids: torch.Tensor, kept: dict[str, dict], seed: int
) -> tuple[Distiller, dict]:
    """(a distiller that can put them in place, {name: (rows function or None, numbers it is made of, tokens)})."""
    pca, linear = (fitted(model, layer, kind, ids, seed, kept[kind]) for kind in ("pca", "linear"))
    choose(pca, "best")
    found, layers = {}, {}
    for one in judging.surrogates(
        pca.block,
        pca.recorded,
        pca.make_layer(),
        None,
        0,
        (pca.columns.mean, pca.columns.components),
        pca.output_basis,
        OUT,
    ):
        if one.name != "laws":
            found[one.name] = (None if one.name == "original" else one.rows, one.parameters, 0)
    for name, d, how in (
        ("laws by drop", pca, "drop"), ("laws", pca, "best"), ("laws, tuned", pca, "tuned"), ("linear map + laws", linear, "best"),
        ("linear map + laws, tuned", linear, "tuned"),
    ):  # fmt: skip
        choose(d, "drop" if how == "drop" else "best")
        layers[name] = tuned(model, d, ids, seed) if how == "tuned" else d.make_layer()
        numbers = sum(t.numel() for t in [*layers[name].parameters(), *layers[name].buffers()])
        length = sum(law.length for law in d.laws.values())
        found[name] = (lambda X, _, module=layers[name]: module(X), numbers, length)
    return pca, found


def speeds(model: ByteModel, d: Distiller, rows: list, batch: int, rounds: int = 7) -> list[float]:
    """Tokens a second of processor time of the whole network with each of rows in the block's place, medians of rounds in turns."""
    ids = torch.zeros(batch, CONTEXT, dtype=torch.int64)
    calls = max(1, 64 // batch // 2)
    took = [[] for _ in rows]
    with torch.no_grad():
        for _ in range(rounds + 1):  # the first is not counted
            for place, one in enumerate(rows):
                with contextlib.nullcontext() if one is None else d.block.replaced(one):
                    model(ids)
                    begun = time.process_time()
                    for _ in range(calls):
                        model(ids)
                    took[place].append((time.process_time() - begun) / calls)
    return [batch * CONTEXT / float(np.median(seconds[1:])) for seconds in took]


def judged(
    model: ByteModel, layer: int, ids: torch.Tensor, held: torch.Tensor, kept: dict[str, dict], seed: int
) -> dict:
    """The table of one block."""
    d, found = stand_ins(model, layer, ids, kept, seed)
    batches = [batch for batch in in_order(held, 64) if len(batch[0]) == 64]
    X, Y = d.recorded.X_held, d.recorded.Y_held.double().numpy()
    rows = []
    for name, (replacement, numbers, tokens) in found.items():
        with contextlib.nullcontext() if replacement is None else d.block.replaced(replacement), torch.no_grad():
            nats = np.array([loss(model, batch).item() for batch in batches])
        with torch.no_grad():
            made = d.block.module(X) if replacement is None else replacement(
                X, lambda changed=None: d.block.run_rows(d.block.own_forward(), X if changed is None else changed)
            )  # fmt: skip
        r2s = 1 - ((made.double().numpy() - Y) ** 2).mean(0) / Y.var(0)
        base = nats if name == "original" else base  # noqa: F821
        rows.append({
            "name": name, "perplexity": float(np.exp(nats.mean())), "change": float(np.expm1((nats - base).mean())),
            "error": float(np.exp(nats.mean()) * (nats - base).std(ddof=1) / np.sqrt(len(nats))),
            "r2": float(1 - ((made.double().numpy() - Y) ** 2).sum() / ((Y - Y.mean(0)) ** 2).sum()), "r2_worst": float(r2s.min()),
            "numbers": numbers, "tokens": tokens,
        })  # fmt: skip
    for batch in (1, 64):
        for row, speed in zip(rows, speeds(model, d, [replacement for replacement, *_ in found.values()], batch)):
            row[f"tokens/s at {batch}"] = speed
    statuses = list(kept["pca"]["status"].values()) + list(kept["linear"]["status"].values())
    return {
        "layer": layer,
        "commit": commit(),
        "rows": rows,
        "no law": statuses.count("no law"),
        "units": len(statuses),
    }


def judged_together(
    model: ByteModel, pair: tuple[int, int], ids, held, kept: dict[int, dict[str, dict]], seed: int
) -> dict:
    """Perplexity with two blocks replaced at once, each by what stands for it alone."""
    batches = [batch for batch in in_order(held, 64) if len(batch[0]) == 64]
    (one, first), (two, second) = (stand_ins(model, layer, ids, kept[layer], seed) for layer in pair)
    rows = []
    for name in first:
        with contextlib.ExitStack() as stack:
            for d, found in ((one, first), (two, second)):
                if found[name][0] is not None:
                    stack.enter_context(d.block.replaced(found[name][0]))
            rows.append({"name": name, "perplexity": perplexity(model, batches)})
    return {"layers": list(pair), "rows": rows}


# ---- tables and the picture ---------------------------------------------------------------------------


def summary(found: list[dict], together: dict | None) -> str:
    """A table for each block, and one for two of them."""
    texts = []
    for one in found:
        base = one["rows"][0]
        rows = [
            [row["name"], f"{row['perplexity']:.3f}", "" if row is base else f"+-{row['error']:.3f}", f"{row['change']:+.2%}", f"{row['r2']:.3f}",
             *(f"{row[key]:,.0f} ({row[key] / base[key]:.2f})" for key in ("tokens/s at 1", "tokens/s at 64")),
             f"{row['numbers']:,}", row["tokens"] or ""]
            for row in one["rows"]
        ]  # fmt: skip
        heads = [
            "block",
            "perplexity",
            "error of the change",
            "change",
            "R2 of the block",
            "tokens/s, batch 1",
            "batch 64",
            "numbers",
            "tokens of laws",
        ]
        texts.append(
            f"MLP {one['layer'] + 1} of {LAYERS} ({one['no law']} of {one['units']} units without a clear law)\n\n"
            + table(rows, heads)
        )
    if together:
        names = " and ".join(str(layer + 1) for layer in together["layers"])
        rows = [[row["name"], f"{row['perplexity']:.3f}"] for row in together["rows"]]
        texts.append(f"MLPs {names} together\n\n" + table(rows, ["blocks", "perplexity"]))
    return "\n\n".join([*texts, *(sentence(one) for one in found)])


def sentence(one: dict) -> str:
    """Whether laws are worth more than a linear map for this block, whichever way it falls."""
    rows = {row["name"]: row for row in one["rows"]}
    linear, laws = rows["linear map"], min((rows["laws"], rows["laws, tuned"]), key=lambda row: row["perplexity"])
    both = min((rows["linear map + laws"], rows["linear map + laws, tuned"]), key=lambda row: row["perplexity"])
    apart = np.hypot(linear["error"], both["error"])
    gain = linear["perplexity"] - both["perplexity"]
    word = "better than" if gain > 2 * apart else "worse than" if gain < -2 * apart else "no better than"
    return (
        f"MLP {one['layer'] + 1}: a linear map gives perplexity {linear['perplexity']:.3f} (original {rows['original']['perplexity']:.3f}), "
        f"laws over principal components {laws['perplexity']:.3f}, a linear map and laws {both['perplexity']:.3f}, which is {word} the map alone."
    )


@plot_style.drawn
def draw(found: list[dict]):
    """Perplexity against speed, a panel for each block; up and to the left is worse."""
    canvas, axes = plot_style.figure(len(found), width=max(3.3, 6.4 / len(found)), height=3.8)
    for axis, one in zip(axes, found):
        for k, row in enumerate(one["rows"]):
            look = plot_style.style(k)
            hollow = {"mfc": "none"} if k >= len(plot_style.COLOURS) else {}
            axis.plot([row["tokens/s at 64"] / one["rows"][0]["tokens/s at 64"]], [row["perplexity"]], **{**look, "linestyle": "none", **hollow},
                      ms=7, label=row["name"])  # fmt: skip
        plot_style.log_axis(axis, "y")
        axis.set_title(f"MLP {one['layer'] + 1} of {LAYERS}")
        axis.set_xlabel("tokens a second, original = 1")
    axes[0].set_ylabel("held-out perplexity")
    plot_style.legend_outside(canvas, axes)
    return canvas


@click.command()
@options
@click.option(
    "--out", default="out/distill-transformer", show_default=True, help="Folder of checkpoints, tables, pictures."
)
@click.option("--steps", default=STEPS, show_default=True, help="Steps of training.")
@click.option(
    "--layers", default="0,1,2,3", show_default=True, help="MLPs replaced, one at a time; the first two also together."
)
def main(seed, limit, out, steps, layers):
    """Train, record, fit and judge; write TABLE.md and speed.png."""
    folder = pathlib.Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    limit = Limit(limit)
    model, took = trained(folder, seed, limit, steps)
    limit.stop_if_over("the network is trained")
    ids, held, _ = corpus()
    lines = [
        f"{sum(p.numel() for p in model.parameters()):,} parameters, {took['steps']:,} steps, {took['seconds']:.0f} s of training; "
        f"held-out perplexity {perplexity(model, in_order(held, 64)):.3f} a symbol"
    ]
    click.echo(lines[0])
    wanted, kept, found = [int(layer) for layer in layers.split(",")], {}, []
    for layer in wanted:
        kept[layer] = {}
        for kind in KINDS:
            kept[layer][kind] = step(
                folder, f"laws-{layer}-{kind}", lambda: laws_of(fitted(model, layer, kind, ids, seed))
            )
            limit.stop_if_over(f"laws of MLP {layer + 1} ({kind})")
        found.append(step(folder, f"judge-{layer}", lambda: judged(model, layer, ids, held, kept[layer], seed)))
        click.echo(summary(found[-1:], None) + "\n")
        limit.stop_if_over(f"MLP {layer + 1} is judged")
    together = None
    if len(wanted) > 1:
        pair = (wanted[0], wanted[1])
        together = step(
            folder, f"together-{pair[0]}-{pair[1]}", lambda: judged_together(model, pair, ids, held, kept, seed)
        )
    (folder / "TABLE.md").write_text(lines[0] + "\n\n" + summary(found, together) + "\n")
    plot_style.save(draw(found), str(folder / "speed.png"))
    click.echo(f"{folder}: TABLE.md, speed.png")


if __name__ == "__main__":
    main()
