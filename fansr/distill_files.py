"""Distiller's laws in files: streams and safetensors, nothing that runs when it is read.

A part of distill.Distiller; distillation/saving.py knows the layouts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fansr.cli import command
from fansr.distillation import basis, input_columns, saving
from fansr.errors import DataError

if TYPE_CHECKING:
    import torch

    from fansr.distill import Distiller


class DistillerFiles:
    """save, load and the file of a whole switched network."""

    block: Any
    columns: Any
    laws: dict
    fronts: dict
    status: dict
    records: dict
    units: list[int]
    unit_ranges: dict
    ranges: dict
    outputs: int
    digest: str
    offered: list[str]
    output_basis: Any
    linear: Any
    model: Any

    def block_part(self) -> dict:
        """What a record says of the block and of its columns."""
        place = self.block
        return {
            "at": place.path, "argument": None if place.argument is None else str(place.argument),
            "output": None if place.output is None else str(place.output),
            "layout": f"patch:{place.patch}" if place.patch else place.layout, "call": place.call, "squeezed": bool(place.squeezed),
            "plain": bool(place.plain), "outputs": self.outputs, "targets": len(self.unit_ranges), "raw": self.columns.raw,
            "made": {name: text if isinstance(text, str) else None for name, text in self.columns.made.items()},
            "keep_raw": self.columns.keep_raw,
        }  # fmt: skip

    def arrays(self) -> dict[str, np.ndarray]:
        """The numbers of the bases, float64; empty where laws stand on plain columns."""
        found: dict[str, np.ndarray] = {}
        if self.columns.components is not None:
            found["in_mean"] = self.columns.mean.double().cpu().numpy()
            found["in_components"] = self.columns.components.double().cpu().numpy()
        if self.output_basis is not None:
            found["out_mean"], found["out_components"] = self.output_basis.mean, self.output_basis.rows
            if self.output_basis.project is not None:
                found["out_project"] = self.output_basis.project
        if self.linear is not None:
            found["linear_weight"], found["linear_bias"] = self.linear
        return found

    def _records_now(self) -> list[dict]:
        """Fit records of all units that were fitted, each with the law that is chosen now."""
        part, basis_id = self.block_part(), saving.arrays_id(self.arrays())
        found = []
        for unit in self.units:
            law, record = self.laws.get(unit), self.records.get(unit)
            if law is None and record is None:
                continue
            seen = {f"unit_{key}": value for key, value in self.unit_ranges[unit].items()}
            whole = {
                **(record or {"kind": "fit", "problem": unit, "target": f"{self.block.name}[{unit}]", "front": []})
            }
            if law is not None:
                whole |= {
                    "expr": list(law.expr), "consts": np.array(law.consts, dtype=np.float64), "fvu": law.fvu, "fvu_val": law.fvu_held,
                    "length": law.length, "source": law.source, "names": list(law.names),
                    "low": np.array([self.ranges.get(name, (-np.inf, np.inf))[0] for name in law.names]),
                    "high": np.array([self.ranges.get(name, (-np.inf, np.inf))[1] for name in law.names]),
                }  # fmt: skip
            whole |= {
                "unit": unit,
                **seen,
                "block": part,
                "digest": self.digest,
                "basis": basis_id,
                "status": self.status[unit],
            }
            found.append(whole)
        if not found:
            raise DataError(f"{self.block.name}: no laws to save (fit() first)")
        return found

    def save(self, path: str) -> None:
        """The laws as a stream of fit records (score, plot and cat read it); bases beside it as safetensors."""
        records = self._records_now()
        arrays = self.arrays()
        if arrays:
            saving.write_arrays(saving.basis_path(path), arrays)
        saving.write_records(path, records, command.history_entry())

    @classmethod
    def load(
        cls,
        path: str,
        model: Any,
        inputs: dict[str, input_columns.Made] | None = None,
        force: bool = False,
        basis_path: str | None = None,
    ) -> Distiller:
        """Laws that save() or fansr-fit wrote, for a model with the same block; without a model (None) only to be looked at.

        inputs: the functions among the made columns, which no file holds.  force: take laws of a block with other weights.
        """
        records = saving.read_records(path)
        wanted = records[0].get("basis") or ""
        arrays = saving.read_arrays(basis_path or saving.basis_path(path), wanted) if wanted else {}
        return cls.of_records(records, arrays, model, inputs, force, path)

    @classmethod
    def of_records(
        cls,
        records: list[dict],
        arrays: dict[str, np.ndarray],
        model: Any,
        inputs: dict[str, input_columns.Made] | None = None,
        force: bool = False,
        where: str = "laws",
    ) -> Distiller:
        """A Distiller with the laws of fit records and the arrays of their bases; `where` names them in errors."""
        part = records[0]["block"]
        try:
            at = part["at"] if model is not None else _no_network
            d = cls(model, at, part["argument"], part["output"], part["layout"], part["call"])
            d.block.name = part["at"] or d.block.name
            raw, made, targets = list(part["raw"]), dict(part["made"]), int(part["targets"])
            d.block.squeezed, d.block.plain, d.outputs = (
                bool(part["squeezed"]),
                bool(part["plain"]),
                int(part["outputs"]),
            )
            keep_raw = bool(part["keep_raw"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{where}: what it says of the block cannot be read: {type(error).__name__}: {error}"
            ) from None
        given = {name: text if text is not None else (inputs or {}).get(name) for name, text in made.items()}
        lost = [name for name, text in given.items() if text is None]
        if lost:
            raise DataError(
                f"{where}: {', '.join(lost)} were made by functions, which no file holds: give inputs={{name: function}}"
            )
        digest = d.block.digest()
        d.digest = records[0].get("digest") or ""
        if model is not None and digest != d.digest and not force:
            raise DataError(
                f"{where}: laws of another {d.block.name}: its weights have digest {digest or 'none'}, theirs {d.digest or 'none'} "
                "(--force, force=True, to go on)"
            )
        d.columns = input_columns.InputColumns(raw, given, arrays.get("in_mean"), arrays.get("in_components"), keep_raw)
        if "out_mean" in arrays:
            shares = np.zeros(len(arrays["out_components"]))
            d.output_basis = basis.Components(
                arrays["out_mean"], arrays["out_components"], shares, arrays.get("out_project")
            )
        if "linear_weight" in arrays:
            d.linear = basis.Linear(arrays["linear_weight"], arrays["linear_bias"])
        d.unit_ranges = {u: {"mean": 0.0, "std": 0.0, "low": -np.inf, "high": np.inf} for u in range(targets)}
        for record in records:
            unit = record["unit"]
            d.units.append(unit)
            keys = ("mean", "std", "low", "high")
            d.unit_ranges[unit] = {key: float(record.get(f"unit_{key}") or 0.0) for key in keys}
            for name, low, high in zip(record["names"], record["low"], record["high"]):
                d.ranges[name] = (float(low), float(high))
            d._take({**record, "problem": unit})
        d.offered = [name for name in d.columns.names if name in d.ranges]
        return d

    def save_switched(self, path: str, **how: Any) -> None:
        """The whole network, its weights untouched, with the laws in the header of one safetensors file; how: as switch()."""
        standing = self.block.is_replaced
        if standing:  # an untouched state_dict either way; the layer is no part of the model
            self.restore()
        saving.write_switched(path, self.model, self._records_now(), self.arrays(), how)
        if standing:
            self.switch(**how)

    @classmethod
    def load_switched(
        cls, path: str, model: torch.nn.Module, inputs: dict[str, input_columns.Made] | None = None
    ) -> Distiller:
        """A network that save_switched wrote: its weights go into `model`, which must have their shapes, and the block is switched."""
        weights, records, arrays, how = saving.read_switched(path)
        try:
            model.load_state_dict(weights)
        except RuntimeError as error:
            text = " ".join(str(error).split())
            raise DataError(f"{path}: its weights do not fit this model: {text[:300]}") from None
        d = cls.of_records(records, arrays, model, inputs, False, path)
        d.switch(**how)
        return d


def _no_network(*_: Any) -> Any:
    raise ValueError("these laws were loaded without a network")
