"""Laws of a block as the source of a torch module, which needs no fansr: constants are its parameters, bases its buffers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fansr.expressions import (
    CONSTANT,
    OPERATOR,
    Expr,
    definitions,
    export,
    literal_value,
    to_infix,
    to_tree,
    variable_index,
)
from fansr.version import __version__

# Where numpy's form and torch's differ by more than the module's name.
TORCH = {
    "pow1_3": "odd_root({a}, 3)", "pow1_5": "odd_root({a}, 5)", "step": "torch.heaviside({a}, {a}.new_zeros(()))",
    "asin": "torch.asin({a})", "acos": "torch.acos({a})", "atan": "torch.atan({a})", "asinh": "torch.asinh({a})",
    "acosh": "torch.acosh({a})", "atanh": "torch.atanh({a})", "mod": "torch.remainder({a}, {b})", "pow": "torch.pow({a}, {b})",
}  # fmt: skip
ODD_ROOT = '''

def odd_root(a, k):
    """The real k-th root; its derivative at 0 is taken as 0."""
    zero = a == 0
    size = torch.where(zero, torch.ones_like(a), a.abs())
    return torch.where(zero, a * 0, a.sign() * size ** (1.0 / k))
'''


def torch_source(expr: Expr, names: Sequence[str], first: int = 0) -> str:
    """Python source over torch tensors `names`; the constants are c[first], c[first + 1], ...; numbers are tensors like X."""
    places = iter(range(first, first + expr.count(CONSTANT)))

    def show(tree) -> str:
        if isinstance(tree, tuple):
            parts = [show(child) for child in tree[1:]]  # in order: constants are taken as they come
            template = TORCH.get(tree[0]) or OPERATOR[tree[0]].numpy.replace("np.power", "torch.pow").replace(
                "np.", "torch."
            )
            return template.format(**dict(zip("ab", parts)))
        column = variable_index(tree)
        if column is not None:
            return names[column]
        return f"c[{next(places)}]" if tree == CONSTANT else f"X.new_tensor({literal_value(tree)!r})"

    return show(to_tree(definitions.expanded(list(expr))))


def module(distiller: Any, records: Sequence[dict]) -> str:
    """A Python file with a module `Laws`, rows X (N, d) of what the block is given to its outputs (N, m), in the dtype of X.

    It has no guard: beyond the ranges in its comments the laws are as they are.
    """
    columns = distiller.columns
    arrays = distiller.arrays()
    means = [float(seen["mean"]) for _, seen in sorted(distiller.unit_ranges.items())]
    consts = [float(c) for record in records for c in record["consts"]]
    init = [f"        self.consts = torch.nn.Parameter(torch.tensor({consts!r}, dtype=torch.float64))\n"]
    for name, value in {"means": means, **arrays}.items():
        init.append(
            f"        self.register_buffer({name!r}, torch.tensor({np.asarray(value).tolist()!r}, dtype=torch.float64))\n"
        )
    body = ["        c = self.consts.to(X.dtype)\n"]
    if columns.components is not None:
        body.append("        Z = (X - self.in_mean.to(X.dtype)) @ self.in_components.to(X.dtype).T\n")
    needed = list(dict.fromkeys(name for record in records for name in record["names"]))
    places = {name: j for j, name in enumerate(columns.raw)}
    spelled = dict(zip(needed, export.identifiers([f"col_{name}" for name in needed])))
    for name in needed:
        if name in places:
            value = f"X[:, {places[name]}]"
        elif name in columns.formulas:
            value = torch_source(columns.formulas[name], [f"X[:, {j}]" for j in range(columns.width)])
        elif name in columns.made:
            value = f"self.{spelled[name]}(X)"
            init.append(f"        self.{spelled[name]} = None  # {name} was made by a function of X: put it here\n")
        else:
            value = f"Z[:, {int(name[2:]) - 1}]"
        body.append(f"        {spelled[name]} = {value}\n")
    body.append("        Y = list(self.means.to(X.dtype)[:, None].expand(-1, len(X)))\n")
    first = 0
    for record in records:
        names = list(record["names"])
        seen = ", ".join(f"{n} {low:.4g} to {high:.4g}" for n, low, high in zip(names, record["low"], record["high"]))
        body.append(f"        # {to_infix(record['expr'], record['consts'], names, digits=6)}   found for {seen}\n")
        source = torch_source(record["expr"], [spelled[name] for name in names], first)
        body.append(f"        Y[{record['unit']}] = ({source}) + X.new_zeros(len(X))\n")
        first += len(record["consts"])
    body.append("        Y = torch.stack(Y, dim=1)\n")
    if "out_mean" in arrays:
        body.append("        Y = self.out_mean.to(X.dtype) + Y @ self.out_components.to(X.dtype)\n")
    if "linear_weight" in arrays:
        body.append("        Y = Y + X @ self.linear_weight.to(X.dtype) + self.linear_bias.to(X.dtype)\n")
    return "".join([
        f'"""Laws of {distiller.block.name} (fansr {__version__}) as a torch module, without a guard: beyond the ranges below they are only '
        'formulas."""\n\nimport torch\n', ODD_ROOT, "\n\nclass Laws(torch.nn.Module):\n",
        f'    """Rows X (N, {columns.width}) to outputs (N, {len(means) if "out_mean" not in arrays else distiller.outputs})."""\n\n',
        "    def __init__(self):\n        super().__init__()\n", *init, "\n    def forward(self, X):\n", *body, "        return Y\n",
    ])  # fmt: skip
