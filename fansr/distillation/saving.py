"""Laws of a block in files: a stream of fit records, arrays of its bases beside it in safetensors, and a whole switched network.

Nothing is executed or unpickled: records are checked like any stream's, arrays are safetensors', laws are tokens and numbers.

    laws.zst                     fit records, one a unit, with where the block is (field `block`) and its columns
    laws.basis.safetensors       only where there are bases: in_mean, in_components, out_mean, out_components, linear_weight, linear_bias
    heat-symbolic.safetensors    weights of a network, untouched, those arrays as fansr.*, and the records as JSON in its header
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fansr.errors import DataError
from fansr.streams import check, open_reader, open_writer

if TYPE_CHECKING:
    import torch

HEADER = "fansr"  # key of a safetensors header
PREFIX = "fansr."
FORMAT = 1
ARRAYS = ("in_mean", "in_components", "out_mean", "out_components", "out_project", "linear_weight", "linear_bias")


def arrays_id(arrays: dict[str, np.ndarray]) -> str:
    """16 digits that change with any number of the bases; "" where there are none."""
    if not arrays:
        return ""
    seen = hashlib.sha256()
    for name in sorted(arrays):
        seen.update(f"{name} {arrays[name].shape}".encode())
        seen.update(np.ascontiguousarray(arrays[name], dtype="<f8").tobytes())
    return seen.hexdigest()[:16]


def basis_path(path: str) -> str:
    """Where the arrays of a stream's bases stand: beside it."""
    stem = path.removesuffix(".zst")
    return f"{stem}.basis.safetensors"


def write_arrays(path: str, arrays: dict[str, np.ndarray]) -> None:
    """Arrays (float64) of bases as safetensors, by atomic rename."""
    from safetensors.numpy import save

    data = save(
        {name: np.ascontiguousarray(array, dtype=np.float64) for name, array in arrays.items()}, {"format": str(FORMAT)}
    )
    write_bytes(path, data)


def write_bytes(path: str, data: bytes) -> None:
    """A whole file, which appears whole or not at all; DataError where it cannot be written."""
    scratch = f"{path}.{os.getpid()}.part"
    try:
        with open(scratch, "wb") as file:
            file.write(data)
        os.replace(scratch, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(scratch)
        raise DataError(f"{path}: {error.strerror or error}") from None


def read_arrays(path: str, wanted_id: str) -> dict[str, np.ndarray]:
    """The arrays of bases; DataError for a file that is none or another's."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    if not os.path.isfile(path):
        raise DataError(f"{path}: no such file; it holds the bases that the laws stand on (--basis names it)")
    try:
        arrays = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(f"{path}: not a safetensors file: {error}") from None
    unknown = sorted(set(arrays) - set(ARRAYS))
    if unknown or arrays_id(arrays) != wanted_id:
        raise DataError(
            f"{path}: other bases than those the laws were found on (id {arrays_id(arrays)}, wanted {wanted_id})"
        )
    return arrays


def write_records(path: str, records: Iterable[dict], entry: dict) -> None:
    """Fit records as a stream."""
    with open_writer(path, "fit", [entry]) as writer:
        for record in records:
            writer.write(record)


def read_records(path: str) -> list[dict]:
    """The fit records of a block, by unit; DataError where they are of no block or of several."""
    with open_reader(path, holds="fit") as reader:
        records = list(reader)
    if not records:
        raise DataError(f"{path}: no fit records")
    for i, record in enumerate(records):
        check_record(record, f"{path}: record {i + 1}")
    if len({json.dumps(record["block"], sort_keys=True) for record in records}) > 1:
        raise DataError(f"{path}: laws of several blocks: wanted those of one")
    return records


def check_record(record: dict, where: str) -> None:
    """DataError where a fit record does not say which block it is of."""
    check(record, "fit", where)
    block = record.get("block")
    if not isinstance(block, dict) or not isinstance(block.get("at"), str):
        raise DataError(f"{where}: of no block of a network: wanted fits of what fansr-distill record wrote")
    unit = record.get("unit")
    if not isinstance(unit, int) or not 0 <= unit < int(block.get("targets") or 0):
        raise DataError(f"{where}: unit {unit!r} of {block.get('targets')!r}")
    for name in ("unit_mean", "unit_low", "unit_high"):
        if not isinstance(record.get(name), (int, float)):
            raise DataError(f"{where}: {name} is missing")
    if not record.get("names") or record.get("low") is None:
        raise DataError(f"{where}: names or ranges (low, high) of the columns are missing")


# ---- a whole network --------------------------------------------------------------------------


def write_switched(
    path: str, model: torch.nn.Module, records: Sequence[dict], arrays: dict[str, np.ndarray], how: dict
) -> None:
    """The network's weights, untouched, with the laws in the header; how: guard, engine, units."""
    import torch
    from safetensors.torch import save

    tensors = {name: value.detach().cpu().clone().contiguous() for name, value in model.state_dict().items()}
    clash = next((name for name in tensors if name.startswith(PREFIX)), None)
    if clash is not None:
        raise DataError(f"{path}: the network has a weight {clash!r}, and {PREFIX}* are the laws'")
    tensors |= {PREFIX + name: torch.as_tensor(np.asarray(array, dtype=np.float64)) for name, array in arrays.items()}
    header = {"format": FORMAT, "how": how, "laws": [plain(record) for record in records]}
    write_bytes(path, save(tensors, {HEADER: json.dumps(header)}))


def read_switched(path: str) -> tuple[dict[str, torch.Tensor], list[dict], dict[str, np.ndarray], dict]:
    """(weights, fit records, arrays of bases, how) of a file that write_switched wrote; DataError for any other."""
    from safetensors import SafetensorError, safe_open

    if not os.path.isfile(path):
        raise DataError(f"{path}: no such file")
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(HEADER)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dictionary
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(f"{path}: not a safetensors file: {error}") from None
    if text is None:
        raise DataError(f"{path}: weights without laws: wanted what fansr-distill switch wrote")
    try:
        header = json.loads(text)
        version, how = header["format"], dict(header["how"])
        records = [restored(record) for record in header["laws"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{path}: its laws cannot be read: {type(error).__name__}: {error}") from None
    if version != FORMAT:
        raise DataError(f"{path}: format {version} of laws, this version reads {FORMAT}")
    for i, record in enumerate(records):
        check_record(record, f"{path}: law {i + 1}")
    arrays = {name.removeprefix(PREFIX): t.numpy() for name, t in tensors.items() if name.startswith(PREFIX)}
    return {name: t for name, t in tensors.items() if not name.startswith(PREFIX)}, records, arrays, how


_VECTORS = ("consts", "low", "high")
_SAVED = (
    "kind", "problem", "expr", "consts", "fvu", "fvu_val", "length", "status", "source", "names", "target", "front", "low", "high", "block",
    "unit", "unit_mean", "unit_std", "unit_low", "unit_high", "digest", "basis", "points",
)  # fmt: skip


def plain(record: dict) -> dict:
    """A fit record in what JSON knows, without what switching does not need."""

    def bare(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: bare(part) for key, part in value.items()}
        if isinstance(value, (list, tuple)):
            return [bare(part) for part in value]
        if isinstance(value, np.ndarray):
            return [float(part) for part in value]
        return float(value) if isinstance(value, np.floating) else value

    return {key: bare(value) for key, value in record.items() if key in _SAVED}


def restored(record: dict) -> dict:
    """The inverse of plain."""
    found = dict(record)
    for key in _VECTORS:
        if key in found:
            found[key] = np.asarray(found[key], dtype=np.float64).reshape(-1)
    found["front"] = [
        {**law, "consts": np.asarray(law["consts"], dtype=np.float64).reshape(-1)} for law in found.get("front") or ()
    ]
    return found
