"""The messages of the graph network's showcase as a table for others: which law each program reads out of them in the same seconds.

    bin/distill-peers                                   # fansr-fit and Operon on the networks of bin/distill-gnn, seed 0
    bin/distill-peers gravity --seconds 30 --peers operon,gplearn

The networks are those of bin/distill-gnn in the same folder, trained here where they are missing.  Both messages of a network, in
plain gauge, are recorded as a stream of problems, and that stream is given to the commands as they are: fansr-fit --select drop and
fansr-peer.  Seconds are of the processor, so that a run beside other work finds what it would find alone.  What comes out is
measured against the true forces, which no program has seen.
"""

from __future__ import annotations

from fansr.cli import single_thread  # noqa: F401  # isort: skip  (before numpy)

import pathlib

import click
import numpy as np
import torch
from torch import nn

from bench.distillation import gnn, particles
from bench.distillation.steps import Limit, commit, options, step, table
from bench.fastsrb import program, run
from fansr.distill import Distiller, UnitLaw
from fansr.search.selection import largest_drop
from fansr.streams import open_reader, open_writer

SECONDS = gnn.SECONDS  # of search for each message
HELD = 500  # states that laws are measured on


class Edges(nn.Module):
    """A network whose messages are the values of laws."""

    def __init__(self, edge: nn.Module):
        super().__init__()
        self.edge = edge


def recorded(network: gnn.GraphNetwork, X: np.ndarray, A: np.ndarray, seed: int) -> tuple[Distiller, gnn.GraphNetwork]:
    """(distiller of the messages in plain gauge, recorded as the showcase does it; that network)."""
    plain = gnn.in_plain_gauge(network, X[:4000], A[:4000])
    d = Distiller(plain, at="edge", seed=seed)
    train = X[: int(0.9 * len(X))]
    d.record(gnn.batches(train), rows=gnn.ROWS, names=gnn.RAW, inputs=gnn.MADE, columns=gnn.OFFERED)
    return d, plain


def law_of(record: dict) -> UnitLaw:
    """The law that a fit record chooses; where it says that none is clear, the steepest step of its front."""

    def made(law: dict) -> UnitLaw:
        consts = tuple(float(c) for c in law["consts"])
        return UnitLaw(record["problem"], tuple(law["expr"]), consts, tuple(record["names"]), float(law["fvu"]))

    if not record.get("expr") and not record.get("front"):
        raise click.ClickException(
            f"{record.get('method', 'fansr-fit')}, message {record['problem'] + 1}: {record.get('status')}"
        )
    return made(record) if record.get("expr") else largest_drop([made(law) for law in record["front"]])[0]


def searched(method: str, problems: pathlib.Path, answers: pathlib.Path, seconds: float, seed: int) -> list[dict]:
    """The fit records of a stream of problems by one program, called as a user calls it."""
    how = ["--select", "drop", "-j", "1"] if method == "fansr" else ["--method", method]
    words = program("fansr-fit" if method == "fansr" else "fansr-peer", "cpu")
    run([*words, *how, "--time", f"{seconds:g}", "--seed", str(seed), "-q", "-o", str(answers), str(problems)])
    with open_reader(str(answers), holds="fit") as reader:
        return list(reader)


def measured(law: str, d: Distiller, held: np.ndarray, records: list[dict]) -> dict:
    """What the laws of one program are worth, on true forces and on the messages of held-out states."""
    for record in records:
        d.choose(record["problem"], law=law_of(record))
    model = Edges(d.make_layer(guard="none", dtype=torch.float64))
    F, L = particles.pair_forces(law, held).reshape(-1, 2), gnn.messages(model, held)
    M = gnn.messages(d.model, held)
    if not np.isfinite(L).all():
        L = np.where(np.isfinite(L), L, 0.0)
    return {
        "r2": gnn.spans(law, L, held)["as they are"],
        "known": gnn.rest_length(model) if law == "spring" else gnn.exponent(model),
        "forces": [float(1 - ((F - L) ** 2).mean(0)[k] / F.var(0)[k]) for k in range(2)],
        "units": [
            {"law": d.laws[unit].infix(4), "length": d.laws[unit].length, "status": record.get("status") or "ok",
             "fvu": float(((M - L)[:, unit] ** 2).mean() / M[:, unit].var()), "seconds": record["seconds"]}
            for unit, record in enumerate(records)
        ],
    }  # fmt: skip


def compared(law: str, seed: int, folder: pathlib.Path, limit: Limit, methods: list[str], seconds: float) -> dict:
    """{"methods": {method: what measured() says}} for the network of one force."""
    network, _, X, A = gnn.trained(law, seed, folder, limit)
    d, _ = recorded(network, X, A, seed)
    rest = X[int(0.9 * len(X)) :]
    held = rest[np.random.default_rng([seed, 5]).permutation(len(rest))[:HELD]]
    problems = folder / f"{law}-{seed}-messages.zst"
    with open_writer(str(problems), "problem", []) as writer:
        for problem in d.problems():
            writer.write(problem.to_record())
    found = {}
    for method in methods:
        records = searched(method, problems, folder / f"{law}-{seed}-{method}.zst", seconds, seed)
        found[method] = measured(law, d, held, records)
    return {"law": law, "seed": seed, "seconds": seconds, "commit": commit(), "methods": found}


def summary(found: list[dict]) -> str:
    """A row a force and program, then the laws side by side."""
    first, second = [], []
    for one in found:
        for method, worth in one["methods"].items():
            what = "rest length" if one["law"] == "spring" else "exponent"
            first.append([one["law"], method, f"{worth['r2']:.7f}", f"{what} {worth['known']:.4f}",
                          " / ".join(f"{unit['fvu']:.2g}" for unit in worth["units"]),
                          " / ".join(str(unit["length"]) for unit in worth["units"]),
                          " / ".join(f"{unit['seconds']:.0f}" for unit in worth["units"])])  # fmt: skip
        for k in range(gnn.MESSAGE):
            for method, worth in one["methods"].items():
                unit = worth["units"][k]
                second.append([one["law"], k + 1, method, unit["length"], f"`{unit['law']}`"])
    return "\n\n".join([
        table(first, ["force", "program", "R2 of true forces", "of the laws", "FVU of messages held out", "tokens", "seconds"]),
        table(second, ["force", "message", "program", "tokens", "law"]),
    ])  # fmt: skip


@click.command()
@click.argument("laws", nargs=-1, type=click.Choice(particles.LAWS))
@click.option("--peers", default="operon", show_default=True, help="Programs of fansr-peer, with commas.")
@click.option("--seconds", default=SECONDS, show_default=True, help="Of search for each message and program.")
@click.option("--out", default="out/distill-gnn", show_default=True, help="Folder of bin/distill-gnn.")
@options
def main(laws, peers, seconds, seed, limit, out):
    """Give the messages to fansr-fit and to other programs; write PEERS.md."""
    folder = pathlib.Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    limit, found = Limit(limit), []
    methods = ["fansr", *(peer for peer in peers.split(",") if peer)]
    for law in laws or particles.LAWS:
        name = f"{law}-{seed}-peers-{'+'.join(methods)}-{seconds:g}"
        found.append(step(folder, name, lambda: compared(law, seed, folder, limit, methods, seconds)))
        click.echo(summary(found[-1:]) + "\n")
        (folder / "PEERS.md").write_text(summary(found) + "\n")
        limit.stop_if_over(f"{law} is compared")
    click.echo(f"{folder}: PEERS.md")


if __name__ == "__main__":
    main()
