"""Where a part of a network is, and how a batch goes through the whole."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from typing import Any

import torch

from fansr.errors import DataError


def call(model: Any, batch: Any) -> Any:
    """model(*batch) for a tuple or list, model(**batch) for a dict, model(batch) for anything else."""
    if isinstance(batch, dict):
        return model(**batch)
    return model(*batch) if isinstance(batch, (tuple, list)) else model(batch)


def moved(value: Any, device: Any) -> Any:
    """A batch with its tensors on a device; as it is for None."""
    if device is None:
        return value
    if isinstance(value, dict):
        return {key: moved(part, device) for key, part in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(moved(part, device) for part in value)
    return value.to(device) if hasattr(value, "to") else value


def argument_names(function: Callable) -> list[str]:
    """How a forward names the arguments that it takes by position."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


def layout_of(text: str) -> tuple[str, int]:
    kind, _, size = text.partition(":")
    if kind == "patch" and size.isdigit() and int(size) % 2 and 1 <= int(size) <= 15:
        return "patch", int(size)
    if kind in ("last", "channels") and not size:
        return kind, 0
    raise ValueError(f"layout={text!r}: wanted last, channels, or patch:3 (an odd number up to 15)")


def find(model: Any, at: Any) -> tuple[str, torch.nn.Module | None, Callable | None]:
    """(path, module, function) of what `at` names; DataError lists the nearest paths."""
    if isinstance(at, torch.nn.Module):
        if isinstance(model, torch.nn.Module):
            for path, module in model.named_modules():
                if module is at:
                    return path, at, None
        raise DataError(f"the module {type(at).__name__} is no part of the model")
    if not isinstance(at, str):
        if callable(at):
            return getattr(at, "__name__", "function"), None, at
        raise ValueError(f"at={at!r}: wanted a dotted path, a module or a function")
    if not isinstance(model, torch.nn.Module):
        raise DataError(f"the model is a {type(model).__name__}: wanted a torch.nn.Module with a part {at!r}")
    modules = dict(model.named_modules())
    if at in ("", "."):
        return "", model, None
    if at in modules:
        return at, modules[at], None
    paths = [path for path in modules if path]
    near = difflib.get_close_matches(at, paths, 4, 0.3) or paths[:8]
    raise DataError(
        f"the model has no part {at!r}; {'the nearest are' if near else 'it has no parts at all'} {', '.join(near)}"
    )
