"""Tables and pictures of the graph network's showcase, from what gnn.distilled() found of each network.

Knows nothing of torch: everything comes from the showcase's JSON and .npz files, so that tables are made again without a training.
"""

from __future__ import annotations

import pathlib
import re
from collections import Counter

import numpy as np

from bench.distillation.steps import table
from fansr.evaluation import plot_style

PLAIN = "network, plain gauge"


def summary(found: list[dict]) -> str:
    """The tables, in Markdown: where a law has several networks, what they have in common; then every network."""
    several = len({one["law"] for one in found}) < len(found)
    parts = [by_law(found), forms(found), medians(found)] if several else []
    parts += [by_network(found)] if several else [by_network(found), laws(found), medians(found)]
    return "\n\n".join(parts)


def _by_law(found: list[dict]) -> dict[str, list[dict]]:
    """The networks of each law, in order."""
    groups: dict[str, list[dict]] = {}
    for one in found:
        groups.setdefault(one["law"], []).append(one)
    return groups


def known(one: dict) -> float:
    """What is known of the law beforehand, as its laws have it: the freed exponent, or the rest length."""
    return one["rest_length"]["laws for messages"] if one["law"] == "spring" else one["freed_exponent"]


def by_law(found: list[dict]) -> str:
    """A row a law: the worst R2 of its networks, the range of exponents or rest lengths, median seconds and the most."""
    rows = []
    for law, some in _by_law(found).items():
        values = [known(one) for one in some]
        seconds = [one["train_seconds"] + one["fit_seconds"] for one in some]
        clear = sum(unit["status"] == "ok" for one in some for unit in one["edge"])
        rows.append([
            law, len(some), f"{np.median(seconds):.0f} s ({max(seconds):.0f})",
            f"{min(one['spans']['network']['mapped'] for one in some):.5f}",
            *(f"{min(one['spans'][model]['as they are'] for one in some):.{digits}f}"
              for model, digits in ((PLAIN, 5), ("laws for messages", 7))),
            f"{'rest length' if law == 'spring' else 'exponent'} {min(values):.4f} to {max(values):.4f}",
            f"{clear} of {2 * len(some)}",
        ])  # fmt: skip
    return table(rows, [
        "force", "networks", "training + laws, median (most)", "worst R2 of forces, messages mapped", "as they are", "laws",
        "of the laws", "messages with a clear law",
    ])  # fmt: skip


def form(law: str) -> str:
    """A law with its constants to two digits, so that the laws of several networks may be one."""
    return re.sub(r"\d+\.\d+(e[-+]?\d+)?", lambda m: f"{float(m[0]):.2g}", law)


def forms(found: list[dict]) -> str:
    """A row a law that came out, constants to two digits: of how many networks, and its worst FVU on held-out rows."""
    rows = []
    for law, some in _by_law(found).items():
        for part, place in (("edge", 0), ("edge", 1), ("node", 0), ("node", 1)):
            units = [one[part][place] for one in some]
            for text, count in Counter(form(unit["law"]) for unit in units).most_common():
                same = [unit for unit in units if form(unit["law"]) == text]
                rows.append([law, f"{part} {place + 1}", f"{count} of {len(some)}", same[0]["length"],
                             f"{max(unit['fvu_held'] for unit in same):.2g}", f"`{text}`"])  # fmt: skip
    return table(rows, ["force", "unit", "networks", "length", "worst FVU held out", "law"])


def medians(found: list[dict]) -> str:
    """A row a law and model: errors of accelerations and of places, medians over the law's networks."""
    rows = []
    for law, some in _by_law(found).items():
        for model in some[0]["error"]:
            errors = [np.median([one["error"][model][what] for one in some]) for what in some[0]["error"][model]]
            errors += [np.median([one["strayed"][what][model] for one in some]) for what in some[0]["strayed"]]
            row = [
                law,
                model.replace("plain gauge", "constant and matrix settled"),
                *(f"{error:.2g}" for error in errors),
            ]
            if not (model == "laws, tuned" and row[2:] == rows[-1][2:]):  # laws without constants
                rows.append(row)
    counts = [[one["systems"][what] for one in found] for what in found[0]["systems"]]
    ways = ", ".join(f"{what}: {min(n)} to {max(n)}" for what, n in zip(found[0]["systems"], counts))
    return (
        table(rows, ["force", "model", "error, 4 bodies", "error, 5 bodies", *found[0]["strayed"]])
        + f"\n\nSystems followed: {ways}."
    )


def by_network(found: list[dict]) -> str:
    """A row a network."""
    rows = []
    for one in (one for some in _by_law(found).values() for one in some):
        span, error = one["spans"], one["freed_error"]
        rows.append([
            one["name"], f"{one['train_seconds']:.0f} + {one['fit_seconds']:.0f} s", f"{span['network']['mapped']:.5f}",
            f"{span[PLAIN]['as they are']:.5f}", f"{span['laws for messages']['as they are']:.7f}",
            f"rest length {known(one):.4f}" if error is None else f"exponent {known(one):.4f} +- {error:.4f}",
            " / ".join(unit["status"] for unit in one["edge"]), one["commit"],
        ])  # fmt: skip
    return table(rows, [
        "network", "training + laws", "R2 of forces, messages mapped", "as they are", "laws", "of the law", "status", "commit",
    ])  # fmt: skip


def laws(found: list[dict]) -> str:
    """A row a unit of each network."""
    rows = [
        [one["name"], f"{part} {unit['unit'] + 1}", unit["length"], f"{unit['fvu_held']:.2g}", f"`{unit['law']}`"]
        for one in found
        for part in ("edge", "node")
        for unit in one[part]
    ]
    return table(rows, ["network", "unit", "length", "FVU held out", "law"])


@plot_style.drawn
def draw_messages(found: list[dict], folder: pathlib.Path):
    """The first message against the true force in x: the network's, its constant and matrix settled, and its law's."""
    canvas, axes = plot_style.figure(len(found), width=2.9, height=2.9)
    for axis, one in zip(axes, found):
        held = np.load(folder / f"{one['name'].replace(' ', '-')}.npz")
        x = held["F"][:, 0]
        axis.plot(x, held["M"][:, 0], ".", color=plot_style.DATA, ms=2.5, label="network")
        axis.plot(x, held["L"][:, 0], ".", color=plot_style.LAW, ms=1.2, label="law")
        axis.set_title(one["law"])
        axis.set_xlabel("true force in x")
    axes[0].set_ylabel("message 1")
    plot_style.legend_outside(canvas, axes)
    return canvas


@plot_style.drawn
def draw_fronts(found: list[dict]):
    """The front of each network's first message, the law that the drop picks marked."""
    canvas, axes = plot_style.figure(len(found), width=2.9, height=2.7)
    for axis, one in zip(axes, found):
        for k, unit in enumerate(one["edge"]):
            lengths, fvus = [law["length"] for law in unit["front"]], [law["fvu"] for law in unit["front"]]
            axis.plot(lengths, fvus, **{**plot_style.style(k), "label": f"message {k + 1}"})
            axis.plot([unit["length"]], [unit["fvu"]], "o", ms=11, mfc="none", mec=plot_style.CHOSEN, mew=1.8,
                      label="largest drop")  # fmt: skip
        plot_style.log_axis(axis, "y")
        axis.set_title(one["law"])
        axis.set_xlabel("length (tokens)")
    axes[0].set_ylabel("unexplained variance")
    plot_style.legend_outside(canvas, axes)
    return canvas


@plot_style.drawn
def draw_paths(found: list[dict], folder: pathlib.Path):
    """Five bodies, where training had four: true paths, the network's and the tuned laws'."""
    canvas, axes = plot_style.figure(len(found), width=2.9, height=2.9)
    for axis, one in zip(axes, found):
        kept = np.load(folder / f"{one['name'].replace(' ', '-')}.npz")
        for name, label, look in (
            ("true", "true", {"color": plot_style.MUTED, "lw": 3.5, "alpha": 0.5}),
            ("network", "network", {"color": plot_style.DATA, "ls": "--"}),
            ("laws_tuned", "laws, tuned", {"color": plot_style.LAW, "lw": 1.0}),
        ):
            for body in range(5):
                path = kept[name][:, 0, body]
                axis.plot(path[:, 0], path[:, 1], **look, label=label)
                if name == "true":
                    axis.plot(*path[0, :2], "o", color=plot_style.MUTED, ms=3.5)
        axis.set_aspect("equal", "datalim")
        axis.set_title(f"{one['law']}, 2 s")
        axis.set_xlabel("x")
    axes[0].set_ylabel("y")
    plot_style.legend_outside(canvas, axes)
    return canvas
