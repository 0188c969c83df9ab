"""A graph network that learns how bodies move, and the law of force read out of its messages.

    bin/distill-gnn                     # spring, gravity, charge and inverse, one network each
    bin/distill-gnn gravity --seeds 5          # networks of seeds 0 to 4
    bin/distill-gnn --seeds 5 --together       # the networks trained side by side, in half the time
    bin/distill-gnn gravity --messages 100     # messages of 100 numbers, pruned to 2 while it trains

Four bodies in a plane (particles.py); the network sees places, speeds, charges and masses and learns accelerations: an edge
network makes a message of each pair, a node network two numbers of the messages that a body receives, which are divided by the
body's mass.  That division is all that it is told of mechanics: without it a factor of the receiver's own charge and mass may stand
in either network, and what a message means is left open.  Laws are fitted to the messages and to the node network, put in their
places, tuned on the network's own loss, and the whole is taken to times and numbers of bodies that were never trained on, beside
the network.
"""

from __future__ import annotations

from fansr.cli import single_thread  # noqa: F401  # isort: skip  (before numpy)

import copy
import pathlib

import click
import numpy as np
import torch
from scipy.optimize import brentq, least_squares
from torch import nn

from bench.distillation import gnn_report, particles
from bench.distillation.steps import Limit, commit, options, processor_seconds, r2, step, train
from fansr.distill import Distiller, Pruner
from fansr.evaluation import plot_style
from fansr.search.selection import largest_drop

BODIES, WIDTH, MESSAGE = 4, 64, 2
STATES, SYSTEMS = 20_000, 2_500
LEAST = 0.25  # a system is kept until two of its bodies come nearer than this
STEPS, BATCH, RATE = 40_000, 64, 1e-2
PRUNED = 0.5  # share of the steps over which messages of more numbers are pruned to MESSAGE
ROWS, SECONDS, NODE_SECONDS = (
    3000,
    10.0,
    4.0,
)  # recorded, and of search for each message and for each output of the node network
GAUGE = 1e-3  # weight of the messages' mean square: without it any constant may travel in them


def mlp(ins: int, outs: int, width: int = WIDTH) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(ins, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, outs)
    )  # fmt: skip


class GraphNetwork(nn.Module):
    """(B, n, 6) states to (B, n, 2) accelerations, for any number of bodies n."""

    def __init__(self, message: int = MESSAGE):
        super().__init__()
        self.edge, self.node = mlp(12, message), mlp(message, 2, 32)

    def forward(self, state):
        B, n, _ = state.shape
        i, j = (torch.as_tensor(index) for index in particles.pairs(n))
        messages = self.edge(torch.cat([state[:, i], state[:, j]], -1))  # (B, n (n - 1), message)
        received = messages.view(B, n, n - 1, -1).sum(2)
        return self.node(received) / state[..., 5:6]


def states(law: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(STATES, n, 6) and their true accelerations (STATES, n, 2), systems in random order, the states of one beside each other."""
    rng = np.random.default_rng([seed, particles.LAWS.index(law)])
    kept, count = [], 0
    while count < STATES:
        first = particles.start(SYSTEMS, BODIES, rng)
        first = first[particles.nearest(first) >= LEAST]
        path, least = particles.move(first, lambda s: particles.accelerations(law, s), 1.0, 0.1)
        kept.append(path.swapaxes(0, 1)[least.T >= LEAST])
        count += len(kept[-1])
    kept = np.concatenate(kept)[:STATES]
    return kept, particles.accelerations(law, kept)


def kept_states(law: str, seed: int, folder: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    """states(), from a file where they were made before."""
    file = folder / f"{law}-{seed}-states.npy"
    if not file.exists():
        with file.with_suffix(".part").open("wb") as part:
            np.save(part, states(law, seed)[0])
        file.with_suffix(".part").replace(file)
    X = np.load(file)
    return X, particles.accelerations(law, X)


def trained(law: str, seed: int, folder: pathlib.Path, limit: Limit, steps: int = STEPS, width: int = MESSAGE):
    """(network, what its training took, states, accelerations); the last tenth of the states is not trained on.

    width: numbers of a message at first; those beyond MESSAGE are masked one after another while it trains, then cut out.
    """
    X, A = kept_states(law, seed, folder)
    x, a = torch.tensor(X, dtype=torch.float32), torch.tensor(A, dtype=torch.float32)
    n = int(0.9 * len(x))
    torch.manual_seed(seed)
    model = GraphNetwork(width)
    pruner = Pruner(model, "edge.4", to=MESSAGE, steps=int(PRUNED * steps)) if width > MESSAGE else None
    seen = []
    hook = model.edge.register_forward_hook(lambda module, args, out: seen.append(out))

    def loss_of_step(k):
        rows = np.random.default_rng([seed, k]).integers(n, size=BATCH)
        seen.clear()
        miss = (model(x[rows]) - a[rows]).abs().mean()
        return miss + GAUGE * seen[0].pow(2).mean()

    file = folder / f"{name_of(law, seed, width)}.pt"
    after = None if pruner is None else lambda k: pruner.step()
    took = train(model, loss_of_step, steps, file, limit, rate=RATE, after_step=after, beside=pruner)
    hook.remove()
    if pruner is not None:
        pruner.shrink(into="node.0")
    return model, took, X, A


def name_of(law: str, seed: int, width: int) -> str:
    """What the files of one network are called."""
    return f"{law}-{seed}" if width == MESSAGE else f"{law}-{seed}-{width}"


def in_plain_gauge(network: GraphNetwork, X: np.ndarray, A: np.ndarray) -> GraphNetwork:
    """The same network with its messages unmixed: what training leaves open is settled, and no acceleration of BODIES bodies changes.

    Any invertible matrix may stand between the two networks, and any constant in the messages.  The matrix taken is the one by
    which accelerations (N, n, 2) times mass depend on what is received (least squares); the constant, that nothing received does
    nothing.  Both go into the last layer of the edge network and, inverted, into the first of the node network.  Messages then
    are forces as far as the network has learned them.
    """
    network = copy.deepcopy(network)
    others = X.shape[1] - 1
    received = messages(network, X).reshape(*X.shape[:2], others, -1).sum(2).reshape(-1, MESSAGE)
    design = np.column_stack([received, np.ones(len(received))])
    forces = (A * X[..., 5:6]).reshape(-1, 2)
    found = np.linalg.lstsq(design, forces, rcond=None)[0]
    mix, constant = torch.tensor(found[:MESSAGE].T), torch.tensor(found[MESSAGE])  # F = mix @ received + constant
    last, first = network.edge[-1], network.node[0]
    with torch.no_grad():
        read = first.weight.double() @ torch.linalg.inv(mix)
        last.weight.copy_(mix @ last.weight.double())
        last.bias.copy_(mix @ last.bias.double() + constant / others)
        first.weight.copy_(read)
        first.bias.copy_(first.bias.double() - read @ constant)
    return network


# ---- what the messages say ---------------------------------------------------------------------


def batches(X: np.ndarray, size: int = 100) -> list[tuple[torch.Tensor]]:
    """States (N, n, 6) as arguments of the network."""
    return [(part,) for part in torch.tensor(X, dtype=torch.float32).split(size)]


def messages(model: nn.Module, X: np.ndarray) -> np.ndarray:
    """(N n (n - 1), message): the messages of all pairs of states X, in the order of particles.pairs."""
    i, j = particles.pairs(X.shape[1])
    rows = np.concatenate([X[:, i], X[:, j]], axis=-1).reshape(-1, 12)
    with torch.no_grad():
        return model.edge(torch.tensor(rows, dtype=_dtype(model))).double().numpy()


def _dtype(model: nn.Module) -> torch.dtype:
    return next(p.dtype for p in model.parameters())


def spans(law: str, M: np.ndarray, X: np.ndarray) -> dict[str, float]:
    """R2 of the true pair forces of states X, the worse of both components: by an affine map of messages M, and by M as they are."""
    F = particles.pair_forces(law, X).reshape(-1, 2)
    return {"mapped": r2(F, M), "as they are": float(1 - (((F - M) ** 2).mean(0) / F.var(0)).max())}


def odd_part(model: nn.Module, rows: np.ndarray) -> np.ndarray:
    """(N, message): half the change of the messages when the sender is put on the receiver's other side: what is left of a force
    when constants and all else that does not turn round are taken off."""
    other = rows.copy()
    other[:, 6:8] = 2 * rows[:, :2] - rows[:, 6:8]
    with torch.no_grad():
        both = [model.edge(torch.tensor(r, dtype=_dtype(model))).double().numpy() for r in (rows, other)]
    return 0.5 * (both[0] - both[1])


def ring(r: float, n: int = 24) -> np.ndarray:
    """(n, 12): pairs of unlike charges and unit masses at rest, the senders on a circle of radius r around the receiver."""
    angle = 2 * np.pi * (np.arange(n) + 0.5) / n
    rows = np.tile([0, 0, 0, 0, 1, 1, 0, 0, 0, 0, -1.0, 1], (n, 1))
    rows[:, 6], rows[:, 7] = r * np.cos(angle), r * np.sin(angle)
    return rows


def exponent(model: nn.Module) -> float:
    """The power of r that the messages' odd part follows between r = 0.3 and 3, their common slope on logarithms."""
    radii = np.geomspace(0.3, 3, 12)
    size = [np.log(np.sqrt((odd_part(model, ring(r)) ** 2).mean())) for r in radii]
    return float(np.polyfit(np.log(radii), size, 1)[0])


def rest_length(model: nn.Module) -> float:
    """Where between 0.5 and 2 the messages' odd part turns round; nan where it does not."""
    far = odd_part(model, ring(2.0))

    def along(r):
        return float((odd_part(model, ring(r)) * far).sum())

    return float(brentq(along, 0.5, 2.0)) if along(0.5) * along(2.0) < 0 else float("nan")


def freed_exponent(model: nn.Module, rows: np.ndarray, M: np.ndarray) -> tuple[float, float]:
    """(exponent, standard error): the laws' odd part times r**delta, fitted to the network's messages M (N, message) on rows (N, 12)
    with a scale and a constant for each message; delta is added to the laws' own exponent."""
    odd, r = odd_part(model, rows), np.hypot(*(rows[:, 6:8] - rows[:, :2]).T)
    sizes = M.std(0)

    def miss(p):
        shape = odd * r[:, None] ** p[0]
        return ((p[1:3] * shape + p[3:5] - M) / sizes).ravel()

    found = least_squares(miss, [0.0, 1, 1, 0, 0], loss="soft_l1", f_scale=0.05)
    error = np.sqrt(np.linalg.inv(found.jac.T @ found.jac)[0, 0] * 2 * found.cost / found.fun.size)
    return exponent(model) + float(found.x[0]), float(error)


# ---- laws in the network's place -----------------------------------------------------------------

RAW = [f"{name}_{k}" for k in (1, 2) for name in ("x", "y", "vx", "vy", "q", "m")]
MADE = {"dx": "x_2 - x_1", "dy": "y_2 - y_1", "r": "sqrt((x_2 - x_1)**2 + (y_2 - y_1)**2)"}
OFFERED = [*MADE, *(name for name in RAW if name[0] not in "xy")]


def fitted(
    model: nn.Module, at: str, X: np.ndarray, seconds: float, seed: int, **frame
) -> tuple[Distiller, list[dict]]:
    """(distiller with a law for every unit, what it found).  A unit without a clear law takes the steepest step of its front."""
    d = Distiller(model, at=at, seed=seed).record(batches(X), rows=ROWS, **frame)
    d.fit(time=seconds, jobs=1)
    found = []
    for unit in d.units:
        status, step = d.status[unit], largest_drop(d.fronts[unit])
        law = d.laws[unit] or d.choose(unit, law=step[0])
        front = [{"length": one.length, "fvu": one.fvu, "law": one.infix(4)} for one in d.fronts[unit]]
        found.append({"unit": unit, "status": status, "step": step[1], "law": law.infix(5), "length": law.length,
                      "fvu": law.fvu, "fvu_held": law.fvu_held, "front": front})  # fmt: skip
    return d, found


def tuned(model: nn.Module, X: np.ndarray, A: np.ndarray, steps: int = 300) -> nn.Module:
    """A copy in float64 whose laws' constants are fitted to accelerations by L-BFGS, forms as they are; laws may have none."""
    model = copy.deepcopy(model).double()
    if not sum(p.numel() for p in model.parameters()):
        return model
    x, a = torch.tensor(X, dtype=torch.float64), torch.tensor(A, dtype=torch.float64)
    optimizer = torch.optim.LBFGS(
        model.parameters(), max_iter=steps, line_search_fn="strong_wolfe", history_size=30,
        tolerance_grad=1e-12, tolerance_change=1e-15,
    )  # fmt: skip

    def loss():
        optimizer.zero_grad()
        miss = ((1 + ((model(x) - a) / 0.1) ** 2).sqrt() - 1).mean()
        miss.backward()
        return miss

    optimizer.step(loss)
    return model


def acceleration_of(model: nn.Module):
    """The network as particles.move wants it."""

    def acceleration(state):
        with torch.no_grad():
            return model(torch.tensor(state, dtype=_dtype(model))).double().numpy()

    return acceleration


def relative_error(law: str, model: nn.Module, X: np.ndarray) -> float:
    """Mean absolute error of accelerations over their mean size."""
    true = particles.accelerations(law, X)
    return float(np.abs(acceleration_of(model)(X) - true).mean() / np.abs(true).mean())


def paths(law: str, models: dict, n: int, seconds: float, seed: int, systems: int = 30) -> dict[str, np.ndarray]:
    """{"true", name of each model: (T, systems kept, n, 6)} for n bodies from one start, every 0.1 s, where none come too near."""
    first = particles.start(40 * systems, n, np.random.default_rng([seed, 99, n]))
    first = first[particles.nearest(first) >= LEAST]
    kept = []
    while len(first) and sum(path.shape[1] for path in kept) < systems:
        some, first = first[: 5 * systems], first[5 * systems :]
        path, least = particles.move(some, lambda s: particles.accelerations(law, s), seconds, 0.1)
        kept.append(path[:, least[-1] >= LEAST])
    found = {"true": np.concatenate(kept, axis=1)[:, :systems]}
    for name, model in models.items():
        found[name] = particles.move(found["true"][0], acceleration_of(model), seconds, 0.1, dt=2.5e-3)[0]
    return found


def strayed(found: dict[str, np.ndarray]) -> dict[str, float]:
    """Median over systems of the distance between a body and where it truly is at the end, root of the mean square over bodies."""
    end = found["true"][-1, ..., :2]
    return {
        name: float(np.median(np.sqrt(((path[-1, ..., :2] - end) ** 2).sum(-1).mean(-1))))
        for name, path in found.items()
        if name != "true"
    }


def distilled(
    law: str, seed: int, network: GraphNetwork, took: dict, X: np.ndarray, A: np.ndarray, file: pathlib.Path
) -> dict:
    """Everything the table says of one network; arrays for the pictures go to a file (.npz)."""
    begun = processor_seconds()
    n = int(0.9 * len(X))
    rng = np.random.default_rng([seed, 5])
    held = X[n:][rng.permutation(len(X) - n)[:500]]
    plain = in_plain_gauge(network, X[:4000], A[:4000])
    part = copy.deepcopy(plain)  # laws for messages, the node network as it is
    edge, edge_laws = fitted(part, "edge", X[:n], SECONDS, seed, names=RAW, inputs=MADE, columns=OFFERED)
    whole = copy.deepcopy(plain)
    node, node_laws = fitted(whole, "node", X[:n], NODE_SECONDS, seed, names=["M1", "M2"])
    edge.replace(guard="none")
    whole.edge = copy.deepcopy(part.edge)
    node.replace(guard="none")
    fit_seconds = processor_seconds() - begun
    best = tuned(whole, X[:4000], A[:4000])
    models = {
        "network": network,
        "network, plain gauge": plain,
        "laws for messages": part,
        "laws": whole,
        "laws, tuned": best,
    }
    M = messages(plain, held)
    i, j = particles.pairs(BODIES)
    rows = np.concatenate([held[:, i], held[:, j]], axis=-1).reshape(-1, 12)
    freed, freed_error = freed_exponent(part, rows, M) if law != "spring" else (None, None)
    five = particles.start(2000, 5, np.random.default_rng([seed, 6]))
    five = five[particles.nearest(five) >= LEAST][:500]
    routes = {"4 bodies, 3 s": paths(law, models, 4, 3.0, seed), "5 bodies, 2 s": paths(law, models, 5, 2.0, seed)}
    F = particles.pair_forces(law, held).reshape(-1, 2)
    np.savez_compressed(
        file,
        M=M[:1500].astype(np.float32), L=messages(part, held)[:1500].astype(np.float32), F=F[:1500].astype(np.float32),
        **{name.replace(" ", "_").replace(",", ""): path[:, :3].astype(np.float32) for name, path in routes["5 bodies, 2 s"].items()},
    )  # fmt: skip
    return {
        "law": law, "seed": seed, "name": file.stem.replace("-", " "), "commit": commit(), "steps": took["steps"], "train_seconds": took["seconds"],
        "fit_seconds": round(fit_seconds, 1),
        "edge": edge_laws, "node": node_laws,
        "spans": {name: spans(law, messages(model, held), held) for name, model in models.items()},
        "rest_length": {name: rest_length(model) for name, model in models.items()} if law == "spring" else None,
        "exponent": {name: exponent(model) for name, model in models.items()} if law != "spring" else None,
        "freed_exponent": freed, "freed_error": freed_error,
        "error": {name: {"4 bodies": relative_error(law, model, held), "5 bodies": relative_error(law, model, five)}
                  for name, model in models.items()},
        "strayed": {what: strayed(found) for what, found in routes.items()},
        "systems": {what: found["true"].shape[1] for what, found in routes.items()},
    }  # fmt: skip


@click.command()
@click.argument("laws", nargs=-1, type=click.Choice(particles.LAWS))
@click.option("--seeds", default=1, show_default=True, help="Networks of each law.")
@click.option("--out", default="out/distill-gnn", show_default=True, help="Folder of checkpoints, tables, pictures.")
@click.option("--steps", default=STEPS, show_default=True, help="Steps of training.")
@click.option("--messages", default=MESSAGE, show_default=True, help="Numbers of a message at first; pruned to 2.")
@click.option("--together", is_flag=True, help="Train networks side by side: half the time.")
@options
def main(laws, seeds, seed, limit, out, steps, messages, together):
    """Train, distill and extrapolate; write TABLE.md and pictures."""
    folder = pathlib.Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    from bench.distillation import gnn_together  # which knows this module

    limit, found = Limit(limit), []
    if together and messages != MESSAGE:
        raise click.UsageError("--together is for messages that are not pruned: leave out --messages")
    wanted = [(law, s) for s in range(seed, seed + seeds) for law in laws or particles.LAWS]
    for k, (law, s) in enumerate(wanted):
        name = name_of(law, s, messages)

        def make():
            if together:
                gnn_together.trained(wanted[k:], folder, limit, steps)
            network, took, X, A = trained(law, s, folder, limit, steps, messages)
            limit.stop_if_over(f"{name} is trained")
            return distilled(law, s, network, took, X, A, folder / f"{name}.npz")

        found.append(step(folder, name, make))
        click.echo(gnn_report.summary(found[-1:]) + "\n")
        (folder / "TABLE.md").write_text(gnn_report.summary(found) + "\n")
    shown = [one for one in found if one["seed"] == seed]
    plot_style.save(gnn_report.draw_messages(shown, folder), str(folder / "messages.png"))
    plot_style.save(gnn_report.draw_fronts(shown), str(folder / "fronts.png"))
    plot_style.save(gnn_report.draw_paths(shown, folder), str(folder / "paths.png"))
    click.echo(f"{folder}: TABLE.md, messages.png, fronts.png, paths.png")


if __name__ == "__main__":
    main()
