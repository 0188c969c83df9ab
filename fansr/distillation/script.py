"""A user's script that brings a network: a Python file with model() and batches(split), run as such because its user named it.

def model(): ...                # a torch.nn.Module with its weights
def batches(split): ...         # for "record", "held" and "test": what model(*batch) takes
def loss(model, batch): ...     # for judge, tune and prune
def run(model, batch): ...      # only where model(*batch) is not how a batch goes through
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fansr.errors import DataError


@dataclass
class Script:
    """What a script brings; `loss` and `run` are None where it has none."""

    path: str
    model: Any
    batches: Callable[[str], Any]
    loss: Callable[[Any, Any], Any] | None
    run: Callable[[Any, Any], Any] | None
    digest: str = ""  # of its text

    def of(self, split: str) -> list:
        """The batches of a split, as a list; DataError where there are none."""
        try:
            found = list(self.batches(split))
        except Exception as error:
            raise failed(self.path, f"batches({split!r})", error) from None
        if not found:
            raise DataError(f"{self.path}: batches({split!r}) gives none")
        return found

    def wanted_loss(self) -> Callable[[Any, Any], Any]:
        """The loss; DataError where the script has none."""
        if self.loss is None:
            raise DataError(f"{self.path}: no loss(model, batch), which says what the network is for")
        return self.loss


def load(path: str, device: str | None = None) -> Script:
    """Run a script and take its parts; its errors are one line that names it."""
    import torch

    if not os.path.isfile(path):
        raise DataError(f"{path}: no such file; wanted a Python file with model() and batches(split)")
    folder = str(Path(path).resolve().parent)
    spec = importlib.util.spec_from_file_location("fansr_distill_script", path)
    if spec is None or spec.loader is None:
        raise DataError(f"{path}: no Python file (its name must end in .py)")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, folder)  # as python PATH does, for modules beside it
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise failed(path, "it", error) from None
    for name in ("model", "batches"):
        if not callable(getattr(module, name, None)):
            raise DataError(f"{path}: no function {name}(); wanted model() and batches(split)")
    try:
        model = module.model()
    except Exception as error:
        raise failed(path, "model()", error) from None
    if not isinstance(model, torch.nn.Module):
        raise DataError(f"{path}: model() gives a {type(model).__name__}, wanted a torch.nn.Module")
    if device is not None:
        try:
            model = model.to(device)
        except (RuntimeError, AssertionError) as error:
            raise DataError(f"--device {device}: {str(error).splitlines()[0]}") from None
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    return Script(path, model, module.batches, getattr(module, "loss", None), getattr(module, "run", None), digest)


def failed(path: str, what: str, error: BaseException) -> BaseException:
    """DataError in a line for an error of the user's code; the error itself under FANSR_DEBUG=1."""
    if os.environ.get("FANSR_DEBUG") == "1":
        return error
    trace, line = error.__traceback__, None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == path:
            line = trace.tb_lineno
        trace = trace.tb_next
    where = f"{path}:{line}" if line else path
    text = " ".join(str(error).split())
    return DataError(f"{where}: {what} fails with {type(error).__name__}: {text[:300]} (FANSR_DEBUG=1 shows where)")
