"""Checkpoints: safetensors and JSON, written whole or not at all; nothing in them is ever executed.

A model is one file, described in model_file.py, which reads it.  A training run is a folder with one folder per checkpoint and a pointer to the newest whole one:

    latest                 one line: the name of the newest whole checkpoint
    step-00001200/
      model.safetensors    as above, float32
      state.json           step, samples, seconds, schedule, settings: see train.py
      optimizer-0000.safetensors ...   AdamW's moments, in files of at most `part_bytes`; may be absent

A folder gets its name only when all in it is written, and `latest` moves only after that: a run killed at
any moment leaves the checkpoint before it in force.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from fansr.errors import DataError
from fansr.network import layout
from fansr.network.architecture import Model
from fansr.network.configuration import ModelConfig
from fansr.network.model_file import FORMAT, read_model, read_tensors

READS = 5  # of `latest`, while a run moves it on
SINGLE = ("bound", "multiplier")  # AdamCPR's, one number a matrix
PART_BYTES = 16 * 1024 * 1024
_HEADER_ROOM = 64 * 1024  # of a part, for names and offsets


# --------------------------------------------------------------------------------------- one model file


def whole_weights(model: Model, keep: bool = True) -> dict[str, torch.Tensor]:
    """{name: weight} on the CPU.  Of a sharded network all processes must call it; where not `keep` it is empty."""
    gathered = ((name, layout.whole(t.detach())) for name, t in model.state_dict().items())
    return {name: t.to("cpu") for name, t in gathered if keep}


def save_model(
    path: str | os.PathLike,
    model: Model,
    training: dict | None = None,
    history: list | None = None,
    dtype: torch.dtype | None = None,
    writes: bool = True,
) -> None:
    """Write the weights and what they are, atomically; `dtype` (torch.float16, ...) packs them smaller.

    A sharded network is gathered for it: all processes call it, and one of them `writes`.
    """
    _write_model(path, model.config, whole_weights(model, writes), training, history, dtype, writes)


def _write_model(path, config: ModelConfig, weights: dict, training, history, dtype=None, writes=True):
    if not writes:
        return
    tensors = {name: t.to(dtype or t.dtype).contiguous() for name, t in weights.items()}
    metadata = {
        "format": FORMAT,
        "config": json.dumps(config.to_dict()),
        "training": json.dumps(training or {}),
        "history": json.dumps(history or []),
    }
    _save_atomically(Path(path), tensors, metadata)


def load_model(path: str | os.PathLike, device: str | torch.device = "cpu") -> tuple[Model, dict]:
    """The network of a model file in float32 and eval mode, and {"training": dict, "history": list}."""
    config, weights, info = read_model(path)
    model = Model(config)  # not on the meta device: its first use alone imports for a second
    model.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()}, assign=True)
    return model.to(device).eval().requires_grad_(False), info


def _save_atomically(path: Path, tensors: dict, metadata: dict | None = None) -> None:
    scratch = path.with_name(path.name + ".part")
    try:
        save_file(tensors, scratch, metadata)
        scratch.chmod(0o644)  # the library writes 0600
        with open(scratch, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(scratch, path)
    except (OSError, SafetensorError) as error:
        scratch.unlink(missing_ok=True)
        raise DataError(
            f"{path}: could not be written: {getattr(error, 'strerror', None) or error}; "
            "an earlier file of this name is untouched"
        ) from None


# ----------------------------------------------------------------------------------- one training state


def save_state(
    folder: str | os.PathLike,
    model: Model,
    state: dict,
    optimizer: torch.optim.Optimizer | None = None,
    training: dict | None = None,
    history: list | None = None,
    keep: int = 2,
    part_bytes: int = PART_BYTES,
    writes: bool = True,
) -> Path:
    """Write the checkpoint step-NNNNNNNN of a run and let `latest` point to it.

    state: JSON values with at least "step".  optimizer None leaves its moments out: a smaller checkpoint from
    which training can go on, but not exactly.  Saved again at the step that `latest` names, only the state is written
    anew: the weights are the same, and a folder cannot be put in the place of another in one move.  Only the newest `keep` checkpoints stay, and every one whose
    state says "pinned".  Returns the checkpoint's folder.  In a joint run all processes call it, and one of them `writes`.
    """
    folder = Path(folder)
    final = folder / f"step-{state['step']:08d}"
    scratch = final.with_name(final.name + ".part")
    weights = whole_weights(model, writes)
    moments = optimizer_tensors(model, optimizer, writes) if optimizer is not None else {}
    if not writes:
        return final
    again = load_state(folder) if final.exists() else None
    try:
        shutil.rmtree(scratch, ignore_errors=True)
        if again and again[0] == final:
            parts = again[1].get("optimizer_parts", 0)
            _write_text(final / "state.json", json.dumps({**state, "optimizer_parts": parts}, indent=1))
            return final
        scratch.mkdir(parents=True)
        _write_model(scratch / "model.safetensors", model.config, weights, training, history)
        parts = 0
        for part in split(moments, part_bytes - _HEADER_ROOM):
            _save_atomically(scratch / f"optimizer-{parts:04d}.safetensors", part)
            parts += 1
        _write_text(scratch / "state.json", json.dumps({**state, "optimizer_parts": parts}, indent=1))
        shutil.rmtree(final, ignore_errors=True)
        os.replace(scratch, final)
        _write_text(folder / "latest", final.name + "\n")
    except OSError as error:
        shutil.rmtree(scratch, ignore_errors=True)
        raise DataError(
            f"{final}: checkpoint not written: {error.strerror or error}; the one before it stands"
        ) from None
    except DataError:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    _prune(folder, keep)
    return final


def load_state(folder: str | os.PathLike) -> tuple[Path, dict] | None:
    """The newest whole checkpoint of a run: its folder and its state; None when the run has none."""
    folder = Path(folder)
    try:
        for last in range(READS):
            name = (folder / "latest").read_text()[:80].strip()
            if not re.fullmatch("step-[0-9]{8,20}", name):
                raise ValueError(f"latest names {name!r}, wanted step-NNNNNNNN")
            try:
                state = json.loads((folder / name / "state.json").read_text())
                break
            except FileNotFoundError:  # a run in another process has gone on and removed it, or somebody else did
                if last == READS - 1:
                    raise ValueError(f"latest names {name}, which is not there") from None
        for key, most in (("step", 1 << 53), ("optimizer_parts", 1 << 16)):
            if not isinstance(state, dict) or type(state.get(key, 0)) is not int or not 0 <= state.get(key, 0) <= most:
                raise ValueError(f"state.json: {key} is no whole number from 0 to {most}")
        return folder / name, {"step": 0, **state}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{folder}: unreadable checkpoint: {error}") from None


def load_optimizer(checkpoint: Path, state: dict, model: Model, optimizer: torch.optim.Optimizer) -> bool:
    """Fill the optimizer's moments from a checkpoint; False when it holds none."""
    if not state.get("optimizer_parts"):
        return False
    pieces: dict = {}
    for i in range(state["optimizer_parts"]):
        arrays, _ = read_tensors(checkpoint / f"optimizer-{i:04d}.safetensors")
        pieces.update((name, torch.from_numpy(array)) for name, array in arrays.items())
    tensors = join(pieces)
    try:
        for name, parameter in model.named_parameters():
            found = {
                key: tensors[f"{name}/{key}"]
                for key in ("step", "exp_avg", "exp_avg_sq", *SINGLE)
                if f"{name}/{key}" in tensors
            }
            if found:  # a matrix under Muon has no step and no second moment
                optimizer.state[parameter] = {
                    key: value.reshape(()).to(parameter.device)
                    if key in SINGLE
                    else value.reshape(())
                    if key == "step"
                    else layout.like(value.view(parameter.shape), parameter)
                    for key, value in found.items()
                }
    except (KeyError, RuntimeError) as error:
        raise DataError(f"{checkpoint}: optimizer state does not fit the model: {error}") from None
    if next(model.parameters()).device.type == "cuda":  # the fused step counts on the device
        for entry in (entry for entry in optimizer.state.values() if "step" in entry):
            entry["step"] = entry["step"].to(next(model.parameters()).device)
    return True


def optimizer_tensors(model: Model, optimizer: torch.optim.Optimizer, keep: bool = True) -> dict:
    """The optimizer's state by parameter name: {"NAME/exp_avg": flat tensor, "NAME/exp_avg_sq": ..., "NAME/step": (1,)}.

    Of a sharded network all processes must call it; where not `keep` it is empty.
    """
    gathered = (
        (f"{name}/{key}", layout.whole(value.detach()))
        for name, parameter in model.named_parameters()
        for key, value in sorted(optimizer.state.get(parameter, {}).items())
    )
    return {name: value.reshape(-1).cpu() for name, value in gathered if keep}


def split(tensors: dict, part_bytes: int):
    """Yield dicts of flat tensors of at most `part_bytes` each; a tensor cut in pieces is named NAME#0, NAME#1, ..."""
    part, used = {}, 0
    for name, tensor in tensors.items():
        start, piece = 0, 0
        while start < len(tensor) or piece == 0:
            room = (part_bytes - used) // tensor.element_size()
            if room <= 0:
                yield part
                part, used = {}, 0
                continue
            chunk = tensor[start : start + room]
            part[f"{name}#{piece}"] = chunk.clone()
            used += chunk.numel() * chunk.element_size()
            start, piece = start + room, piece + 1
    if part:
        yield part


def join(pieces: dict) -> dict:
    """The reverse of split, over all its parts together."""
    groups: dict = {}
    for name, tensor in pieces.items():
        base, _, index = name.rpartition("#")
        groups.setdefault(base, {})[int(index)] = tensor
    return {base: torch.cat([group[i] for i in sorted(group)]) for base, group in groups.items()}


def _write_text(path: Path, text: str) -> None:
    scratch = path.with_name(path.name + ".part")
    with open(scratch, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(scratch, path)


def _prune(folder: Path, keep: int) -> None:
    """Remove all but the newest `keep` checkpoints and the pinned ones."""
    whole = sorted(p for p in folder.glob("step-*") if p.is_dir() and not p.name.endswith(".part"))
    for old in whole[:-keep] if keep else []:
        try:
            pinned = json.loads((old / "state.json").read_text()).get("pinned", False)
        except (OSError, ValueError):
            pinned = False
        if not pinned:
            shutil.rmtree(old, ignore_errors=True)
