"""Laws of a block as text that needs neither torch nor fansr."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fansr.expressions import export, to_infix
from fansr.version import __version__

FORMS = ("python", "numpy", "latex", "sympy")


def lines(records: Sequence[dict], form: str) -> str:
    """A line a unit: `target = law` as numpy source, LaTeX or a sympy string."""
    makers: dict[str, Any] = {"numpy": export.numpy_source, "latex": export.latex, "sympy": export.sympy_source}
    return "".join(
        f"{record['target']} = {makers[form](record['expr'], record['consts'], record['names'])}\n"
        for record in records
    )


def module(distiller: Any, records: Sequence[dict]) -> str:
    """A Python file over numpy: a function for each unit, and block(X) for rows (N, d) of what the block is given.

    It has no guard: beyond the ranges in its comments the laws are as they are.
    """
    columns = distiller.columns
    raw = export.identifiers(columns.raw)
    text = [
        f'"""Laws of {distiller.block.name} (fansr {__version__}): block(X) gives its outputs, unit_K one of them.\n\n'
        f"X (N, {columns.width}) has the columns {', '.join(raw[:12])}{', ...' if len(raw) > 12 else ''}.  Without a guard: "
        'beyond the ranges below the laws are only formulas.\n"""\n',
        "import numpy as np\n",
    ]
    names = export.identifiers([name for record in records for name in record["names"]])
    for record in records:
        names = export.identifiers(record["names"])
        seen = ", ".join(
            f"{name} {low:.4g} to {high:.4g}" for name, low, high in zip(names, record["low"], record["high"])
        )
        unit = record["unit"]
        text.append(
            f"\n\ndef unit_{unit}({', '.join(names)}):\n"
            f'    """{to_infix(record["expr"], record["consts"], names, digits=6)}"""\n'
            f"    # found for {seen}\n"
            f"    return {export.numpy_source(record['expr'], record['consts'], names)}\n"
        )
    for name, value in distiller.arrays().items():
        text.append(f"\n\n{name.upper()} = np.array({np.asarray(value).tolist()!r})\n")
    text.append("\n\ndef block(X):\n    X = np.asarray(X, dtype=float)\n")
    places = {name: j for j, name in enumerate(columns.raw)}
    needed = list(dict.fromkeys(name for record in records for name in record["names"]))
    text.append("    columns = {}\n")
    if columns.components is not None:
        text.append("    Z = (X - IN_MEAN) @ IN_COMPONENTS.T\n")
    for name in needed:
        if name in places:
            value = f"X[:, {places[name]}]"
        elif name in columns.formulas:
            source = export.numpy_source(columns.formulas[name], None, [f"raw_{j}_" for j in range(columns.width)])
            for j in reversed(range(columns.width)):
                source = source.replace(f"raw_{j}_", f"X[:, {j}]")
            value = source
        elif name in columns.made:
            text.append(f"    # {name} was made by a function: put its values here\n")
            value = "None"
        else:
            value = f"Z[:, {int(name[2:]) - 1}]"
        text.append(f"    columns[{name!r}] = {value}\n")
    n = len(distiller.unit_ranges)
    means = [float(seen["mean"]) for _, seen in sorted(distiller.unit_ranges.items())]
    text.append(f"    Y = np.full((len(X), {n}), np.array({means!r}))\n")
    for record in records:
        given = ", ".join(f"columns[{name!r}]" for name in record["names"])
        text.append(f"    Y[:, {record['unit']}] = unit_{record['unit']}({given})\n")
    if distiller.output_basis is not None:
        text.append("    Y = OUT_MEAN + Y @ OUT_COMPONENTS\n")
    if distiller.linear is not None:
        text.append("    Y = Y + X @ LINEAR_WEIGHT + LINEAR_BIAS\n")
    text.append("    return Y\n")
    return "".join(text)
