"""Networks that solve differential equations, and the closed forms read out of them.

    bin/distill-heat            # heat and wave equations, the logistic equation, and a network without physics

Each network is trained on its equation (residuals at random points, the initial and boundary values and, where the equation has an
unknown coefficient, ten exact values), then recorded as a whole and fitted.  The law is judged against the exact solution, which
neither the network nor the fit has seen.  The network without physics is given the ten values alone.
"""

from __future__ import annotations

from fansr.cli import single_thread  # noqa: F401  # isort: skip  (before numpy)

import copy
import math
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import click
import numpy as np
import torch
from torch import nn

from bench.distillation.steps import Limit, commit, generator, options, processor_seconds, step, table, train
from fansr.distill import Distiller
from fansr.evaluation import plot_style
from fansr.expressions import evaluate
from fansr.search.selection import largest_drop

STEPS, LBFGS = 3000, 200
COLLOCATION, GIVEN = 512, 10
LAST = 2**32 - 1  # the step whose points the last optimisation is done on
ROWS, SECONDS = 2000, 10.0  # recorded, and of search
PI = math.pi


class Equation(NamedTuple):
    """One problem on the unit square (or interval): columns, the exact solution, and what the network is told of it.

    exact(*columns) works on arrays and tensors alike through `lib`; residual(u, columns, coefficient) is zero for a solution;
    fixed is the points and values of initial and boundary conditions.
    """

    name: str
    columns: tuple[str, ...]
    exact: Callable
    residual: Callable
    conditions: Callable  # (rng) -> loss of a network
    coefficient: float  # the true one, learned with the network
    first: float  # where its learning begins


def grad(u, x):
    """(N, D): derivatives of the sum of u by x, differentiable again."""
    return torch.autograd.grad(u.sum(), x, create_graph=True)[0]


def heat_residual(model, X, alpha):
    """u_t - alpha u_xx at X (N, 2) of x, t."""
    X = X.requires_grad_(True)
    du = grad(model(X), X)
    return du[:, 1] - alpha * grad(du[:, 0], X)[:, 0]


def wave_residual(model, X, c2):
    """u_tt - c^2 u_xx."""
    X = X.requires_grad_(True)
    du = grad(model(X), X)
    return grad(du[:, 1], X)[:, 1] - c2 * grad(du[:, 0], X)[:, 0]


def logistic_residual(model, X, rate):
    """u_t - rate u (1 - u)."""
    X = X.requires_grad_(True)
    u = model(X)
    return grad(u, X)[:, 0] - rate * (u * (1 - u))[:, 0]


def _edges(rng, n=128):
    """Points (n, 2) at x = 0 and x = 1 and n points at t = 0."""
    t = torch.rand(n, 1, generator=rng)
    left, right = torch.cat([torch.zeros_like(t), t], 1), torch.cat([torch.ones_like(t), t], 1)
    x = torch.rand(n, 1, generator=rng)
    return torch.cat([left, right]), torch.cat([x, torch.zeros_like(x)], 1)


def heat_conditions(model, rng):
    """Ends held at 0, a sine at the start."""
    ends, begin = _edges(rng)
    return model(ends).pow(2).mean() + (model(begin)[:, 0] - torch.sin(PI * begin[:, 0])).pow(2).mean()


def wave_conditions(model, rng):
    """Ends held at 0, a sine at rest at the start."""
    ends, begin = _edges(rng)
    begin = begin.requires_grad_(True)
    u = model(begin)
    still = grad(u, begin)[:, 1].pow(2).mean()
    return model(ends).pow(2).mean() + (u[:, 0] - torch.sin(PI * begin[:, 0])).pow(2).mean() + still


def logistic_conditions(model, rng):
    """A tenth of the capacity at the start."""
    return (model(torch.zeros(1, 1)) - 0.1).pow(2).mean()


def _lib(x):
    return torch if isinstance(x, torch.Tensor) else np


def heat(x, t):
    return _lib(x).exp(-(PI**2) * 0.2 * t) * _lib(x).sin(PI * x)


def wave(x, t):
    return _lib(x).sin(PI * x) * _lib(x).cos(PI * math.sqrt(1.5) * t)


def logistic(t):
    return 1 / (1 + 9 * _lib(t).exp(-5 * t))


EQUATIONS = {
    "heat": Equation("heat", ("x", "t"), heat, heat_residual, heat_conditions, 0.2, 1.0),
    "wave": Equation("wave", ("x", "t"), wave, wave_residual, wave_conditions, 1.5, 1.0),
    "logistic": Equation("logistic", ("t",), logistic, logistic_residual, logistic_conditions, 5.0, 1.0),
}


class Solver(nn.Module):
    """u (N, 1) at points (N, D); `coefficient` is the equation's, learned beside the weights."""

    def __init__(self, columns: int, first: float, width: int = 32):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(columns, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(),
            nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1),
        )  # fmt: skip
        self.coefficient = nn.Parameter(torch.tensor(first))

    def forward(self, X):
        return self.net(X)


def given(equation: Equation, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """GIVEN points of the domain (GIVEN, D) and the exact values there (GIVEN,)."""
    X = torch.rand(GIVEN, len(equation.columns), generator=generator(seed, 7), dtype=torch.float64)
    kind = torch.get_default_dtype()
    return X.to(kind), equation.exact(*X.T).to(kind)


def objective(
    equation: Equation, model: Solver, seed: int, k: int, physics: bool, n: int = COLLOCATION
) -> torch.Tensor:
    """What the network is trained on at step k: the ten values, and with physics the equation and its conditions."""
    X, u = given(equation, seed)
    loss = (model(X)[:, 0] - u).pow(2).mean()
    if not physics:
        return loss
    rng = generator(seed, k)
    inside = torch.rand(n, len(equation.columns), generator=rng)
    residual = equation.residual(model, inside, model.coefficient)
    return 10 * loss + residual.pow(2).mean() + 10 * equation.conditions(model, rng)


def trained(equation: Equation, seed: int, physics: bool, folder: pathlib.Path, limit: Limit, steps: int = STEPS):
    """(network, what its training took): Adam, then L-BFGS on one larger set of points."""
    name = f"{equation.name}-{seed}" if physics else f"{equation.name}-{seed}-plain"
    torch.manual_seed(seed)
    model = Solver(len(equation.columns), equation.first)
    took = train(
        model, lambda k: objective(equation, model, seed, k, physics), steps, folder / f"{name}.pt", limit, rate=5e-3
    )
    last = folder / f"{name}-lbfgs.pt"
    if last.exists():
        model.load_state_dict(torch.load(last, weights_only=True))
    elif physics:
        optimizer = torch.optim.LBFGS(
            model.parameters(), max_iter=LBFGS, line_search_fn="strong_wolfe", history_size=50
        )

        def again():
            optimizer.zero_grad()
            loss = objective(equation, model, seed, LAST, physics, n=4 * COLLOCATION)
            loss.backward()
            return loss

        optimizer.step(again)
        torch.save(model.state_dict(), last)
    return model, took


def grid(equation: Equation, n: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """The domain in n steps a column, corners included: X (n^D, D) and the exact solution there."""
    axes = np.meshgrid(*[np.linspace(0, 1, n)] * len(equation.columns), indexing="ij")
    X = np.stack([axis.ravel() for axis in axes], 1)
    return X, equation.exact(*X.T)


# ---- from the network to a closed form --------------------------------------------------------------


def tune(equation: Equation, model: nn.Module, seed: int, steps: int = 60) -> nn.Module:
    """A copy in float64 whose law's constants minimise the network's own objective, by L-BFGS; the coefficient goes with them."""
    model = copy.deepcopy(model).double()
    optimizer = torch.optim.LBFGS(
        model.parameters(), max_iter=steps, line_search_fn="strong_wolfe", tolerance_grad=1e-12, tolerance_change=1e-16
    )
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)

    def again():
        optimizer.zero_grad()
        loss = objective(equation, model, seed, LAST, True, n=4 * COLLOCATION)
        loss.backward()
        return loss

    try:
        optimizer.step(again)
    finally:
        torch.set_default_dtype(before)
    return model


def values(model: nn.Module, X: np.ndarray) -> np.ndarray:
    """(N,) float64: u at points X (N, D), in the model's own precision."""
    kind = next(p.dtype for p in model.parameters())
    with torch.no_grad():
        return model(torch.tensor(X, dtype=kind)).double().numpy()[:, 0]


def coefficient_of(equation: Equation, model: nn.Module) -> float:
    """The equation's coefficient that a function u satisfies best: the least-squares one of its residual over the domain."""
    model = copy.deepcopy(model).double()
    X = torch.rand(2000, len(equation.columns), generator=generator(0, 11), dtype=torch.float64)
    none, one = (equation.residual(model, X.clone(), c).detach() for c in (0.0, 1.0))
    shape = none - one  # residual = none - c shape
    return float((none @ shape) / (shape @ shape))


def distilled(equation: Equation, seed: int, physics: bool, model: Solver, took: dict) -> dict:
    """Everything the table says of one network."""
    begun = processor_seconds()
    X = torch.rand(2 * ROWS, len(equation.columns), generator=generator(seed, 13))
    d = Distiller(model, at="net", seed=seed)
    d.record([(part,) for part in X.split(ROWS // 4)], rows=ROWS, names=list(equation.columns))
    d.fit(time=SECONDS, jobs=1)
    status, (steepest, drop) = d.status[0], largest_drop(d.fronts[0])
    law = d.laws[0] or d.choose(0, law=steepest)
    at, u = grid(equation)
    front = []
    for one in d.fronts[0]:
        with np.errstate(all="ignore"):
            miss = evaluate(list(one.expr), at, np.asarray(one.consts)) - u
        front.append({"length": one.length, "fvu": one.fvu, "law": one.infix(5), "mse": float(np.mean(miss**2))})
    found = {
        "equation": equation.name, "physics": physics, "commit": commit(), "seconds": took["seconds"],
        "fit_seconds": round(processor_seconds() - begun, 1), "status": status, "drop": drop, "law": law.infix(6), "length": law.length,
        "fvu": law.fvu, "fvu_held": law.fvu_held, "front": front, "true": equation.coefficient,
        "learned": model.coefficient.item(), "mse_network": float(np.mean((values(model, at) - u) ** 2)),
    }  # fmt: skip
    d.replace(guard="none")
    found["mse_law"] = float(np.mean((values(model, at) - u) ** 2))
    if physics:
        found["coefficient_law"] = coefficient_of(equation, model)
        best = tune(equation, model, seed)
        found["mse_tuned"] = float(np.mean((values(best, at) - u) ** 2))
        found["coefficient_tuned"] = coefficient_of(equation, best)
        found["learned_tuned"] = best.coefficient.item()
        found["constants_tuned"] = best.net.layer.consts.tolist()
    return found


# ---- table and picture --------------------------------------------------------------------------------


def summary(found: list[dict]) -> str:
    rows = []
    for one in found:
        name = one["equation"] + ("" if one["physics"] else " without physics")

        def relative(key, one=one):
            return f"{abs(one[key] / one['true'] - 1):.1e}" if key in one else "-"

        known = one["status"] == "ok"
        rows.append([
            name, f"{one['seconds']:.0f} + {one['fit_seconds']:.0f} s", f"`{one['law']}`" if known else one["status"], f"{one['drop']:.2f}",
            f"{one['mse_network']:.1e}", f"{one['mse_law']:.1e}" if known else "-", f"{one['mse_tuned']:.1e}" if "mse_tuned" in one else "-",
            relative("learned") if one["physics"] else "-", relative("coefficient_law"), relative("coefficient_tuned"),
        ])  # fmt: skip
    return table(rows, ["network", "training + law", "law", "nats a token of its drop", "MSE of the network", "of the law", "tuned",
                        "coefficient off, network", "law", "tuned"])  # fmt: skip


@plot_style.drawn
def draw(found: list[dict]):
    """Each front, on what the network gives and on the exact solution, with the largest drop marked."""
    canvas, axes = plot_style.figure(len(found), width=2.9, height=2.7)
    for axis, one in zip(axes, found):
        lengths = [law["length"] for law in one["front"]]
        scale = one["front"][0]["mse"] / one["front"][0]["fvu"]
        axis.plot(lengths, [law["fvu"] for law in one["front"]], **plot_style.style(0), label="law against network")
        axis.plot(
            lengths,
            [law["mse"] / scale for law in one["front"]],
            **plot_style.style(1),
            label="law against exact solution",
        )
        axis.axhline(
            one["mse_network"] / scale, color=plot_style.MUTED, lw=1, ls=":", label="network against exact solution"
        )
        axis.plot(
            [one["length"]], [one["fvu"]], "o", ms=11, mfc="none", mec=plot_style.CHOSEN, mew=1.8, label="largest drop"
        )
        plot_style.log_axis(axis, "y")
        axis.set_title(one["equation"] + ("" if one["physics"] else " without physics"))
        axis.set_xlabel("length (tokens)")
    axes[0].set_ylabel("error over variance")
    plot_style.legend_outside(canvas, axes)
    return canvas


@click.command()
@options
@click.option("--out", default="out/distill-heat", show_default=True, help="Folder of checkpoints, tables, pictures.")
def main(seed, limit, out):
    """Train, distill and judge; write TABLE.md and fronts.png."""
    folder = pathlib.Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    limit, found = Limit(limit), []
    for name, physics in (("heat", True), ("wave", True), ("logistic", True), ("heat", False)):
        equation = EQUATIONS[name]
        model, took = trained(equation, seed, physics, folder, limit)
        limit.stop_if_over(f"{name} is trained")
        key = f"{name}-{seed}" + ("" if physics else "-plain")
        found.append(step(folder, key, lambda: distilled(equation, seed, physics, model, took)))
    (folder / "TABLE.md").write_text(summary(found) + "\n")
    click.echo(summary(found))
    plot_style.save(draw(found), str(folder / "fronts.png"))
    click.echo(f"{folder}: TABLE.md, fronts.png")


if __name__ == "__main__":
    main()
