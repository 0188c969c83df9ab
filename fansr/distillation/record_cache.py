"""Rows that were recorded before: kept under all that they depend on, so that another basis or another formula runs no network.

A file's name is a digest of the weights and the code of all modules, of the batches, of which part and how many rows were asked
for, and of the versions of torch and fansr.  What is not made of tensors, arrays, numbers and text is not kept: nothing tells
whether it has changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fansr.distillation.recording import Recorded
from fansr.version import __version__

if TYPE_CHECKING:
    from fansr.distillation.block import Block

MOST_FILES = 32  # the oldest go
COUNTS = ("seen", "not_finite", "by_rows", "calls")
TENSORS = ("X", "Y", "X_held", "Y_held")


def recorded(
    block: Block, batches: list, how: dict[str, Any], about: str, folder: Path, record: Callable[[], Recorded]
) -> tuple[Recorded, bool]:
    """(the rows of record(), whether they are from a file of the folder).  about: whatever else they depend on."""
    key = _key(block, batches, how, about)
    file = None if key is None else folder / f"{key}.safetensors"
    if file is not None and file.exists():
        with contextlib.suppress(Exception):  # a file that is none any more is written anew
            return _read(block, file), True
    taken = record()
    if file is not None:
        with contextlib.suppress(OSError):  # no room or no right to write: there is no cache then
            _write(block, taken, file)
    return taken, False


def _key(block: Block, batches: list, how: dict[str, Any], about: str) -> str | None:
    seen = hashlib.sha256()
    place = (block.path, block.argument, block.output, block.layout_text, block.call)
    seen.update(json.dumps([__version__, torch.__version__, place, sorted(how.items()), about], default=str).encode())
    if block.module is None or not isinstance(block.model, torch.nn.Module):
        return None
    for file in sorted({_source(type(module)) for module in block.model.modules()} - {""}):
        with contextlib.suppress(OSError):
            seen.update(Path(file).read_bytes())
    if not _add(seen, dict(block.model.state_dict())):
        return None
    return seen.hexdigest()[:32] if _add(seen, batches) else None


def _source(kind: type) -> str:
    """The file that a class is written in; "" where there is none."""
    try:
        return inspect.getsourcefile(kind) or ""
    except TypeError:  # of an interactive session
        return ""


def _add(seen: Any, value: Any) -> bool:
    """A value's digest; whether it has one."""
    if isinstance(value, torch.Tensor):
        if value.layout != torch.strided:
            return False
        seen.update(f"tensor {tuple(value.shape)} {value.dtype}".encode())
        seen.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return True
    if isinstance(value, np.ndarray):
        seen.update(f"array {value.shape} {value.dtype}".encode())
        seen.update(np.ascontiguousarray(value).tobytes())
        return value.dtype != object
    if isinstance(value, dict):
        seen.update(f"dict {len(value)}".encode())
        return all(_add(seen, key) and _add(seen, part) for key, part in value.items())
    if isinstance(value, (tuple, list)):
        seen.update(f"list {len(value)}".encode())
        return all(_add(seen, part) for part in value)
    if value is None or isinstance(value, (str, bytes, int, float, complex)):
        seen.update(f"{type(value).__name__} {value!r}".encode())
        return True
    return False


def _write(block: Block, taken: Recorded, file: Path) -> None:
    from safetensors.torch import save_file

    file.parent.mkdir(parents=True, exist_ok=True)
    told = {name: getattr(taken, name) for name in COUNTS} | {"squeezed": block.squeezed, "plain": block.plain}
    part = file.with_suffix(".part")
    save_file({name: getattr(taken, name).contiguous() for name in TENSORS}, part, {"fansr": json.dumps(told)})
    part.replace(file)
    files = sorted(file.parent.glob("*.safetensors"), key=lambda one: one.stat().st_mtime, reverse=True)
    for old in files[MOST_FILES:]:
        old.unlink(missing_ok=True)


def _read(block: Block, file: Path) -> Recorded:
    from safetensors import safe_open

    with safe_open(file, framework="pt") as data:
        told = json.loads(data.metadata()["fansr"])
        taken = Recorded(**{name: data.get_tensor(name) for name in TENSORS}, **{name: told[name] for name in COUNTS})
    block.squeezed, block.plain = told["squeezed"], told["plain"]
    return taken
