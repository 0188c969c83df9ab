"""Reading a model file: safetensors and JSON, checked against each other, without torch; nothing in it is ever executed.

The file is one safetensors file: weights, and in its header (all strings, as safetensors wants it)

    format    "fansr-model-1"
    config    ModelConfig as JSON: enough to build the network
    training  what it was trained with, and how far it came
    history   the history of the streams it learned from, then of the training runs

checkpoints.py writes it.
"""

from __future__ import annotations

import json
import os
import struct

import numpy as np
from safetensors import SafetensorError, deserialize, safe_open

from fansr.errors import DataError
from fansr.network.configuration import ModelConfig
from fansr.network.weight_shapes import weight_shapes

FORMAT = "fansr-model-1"
_FLOATS = {"F16", "BF16", "F32", "F64"}


def read_model(path: str | os.PathLike) -> tuple[ModelConfig, dict[str, np.ndarray], dict]:
    """(config, float32 weights by name, {"training": dict, "history": list}) of a model file; DataError for any other file."""
    weights, metadata = read_tensors(path)
    try:
        if metadata.get("format") != FORMAT:
            raise ValueError(f"its format is {metadata.get('format')!r}, wanted {FORMAT!r}")
        config = ModelConfig(**json.loads(metadata["config"]))
        info = {key: json.loads(metadata[key]) for key in ("training", "history")}
        for key, kind in (("training", dict), ("history", list)):
            if not isinstance(info[key], kind):
                raise ValueError(f"its {key} is a {type(info[key]).__name__}, wanted a {kind.__name__}")
        if not all(isinstance(entry, dict) for entry in info["history"]):
            raise ValueError("its history is no list of maps")
        encoder = config.encoder_layers if config.encoder == "table" else config.isab_layers + config.sab_layers
        layers = encoder + config.decoder_layers
        if layers > len(weights):  # before their names are written out
            raise ValueError(f"its config has {layers} layers, but the file has {len(weights)} weights")
        odd = sorted(set(weight_shapes(config).items()) ^ {(name, array.shape) for name, array in weights.items()})
        if odd:
            raise ValueError(f"its weights do not fit its config (first at {odd[0][0]})")
        odd = [name for name, array in weights.items() if not np.isfinite(array).all()]
        if odd:
            raise ValueError(f"its weights are not all finite (first in {odd[0]})")
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a fansr model: {error}") from None
    return config, weights, info


def read_tensors(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The tensors of a safetensors file as float32 arrays, and its metadata; DataError where it is no such file."""
    try:
        with safe_open(path, framework="np") as file:
            kinds = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118 (no mapping)
            if not set(kinds.values()) <= _FLOATS:
                odd = next(name for name, kind in kinds.items() if kind not in _FLOATS)
                raise ValueError(f"{odd} holds {kinds[odd]}, wanted floating-point numbers")
            if "BF16" in kinds.values():  # numpy has no such type
                return _with_bfloat16(path), file.metadata() or {}
            return {name: file.get_tensor(name).astype(np.float32) for name in kinds}, file.metadata() or {}
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    except (SafetensorError, struct.error, ValueError) as error:
        raise DataError(f"{path}: not a whole safetensors file: {error}") from None


def _with_bfloat16(path) -> dict[str, np.ndarray]:
    """All tensors of a file in float32; a bfloat16 is the upper half of a float32."""
    with open(path, "rb") as file:
        found = deserialize(file.read())
    types = {"F16": np.float16, "F32": np.float32, "F64": np.float64}
    arrays = {}
    for name, tensor in found:
        if tensor["dtype"] == "BF16":
            flat = (np.frombuffer(tensor["data"], np.uint16).astype(np.uint32) << 16).view(np.float32)
        else:
            flat = np.frombuffer(tensor["data"], types[tensor["dtype"]]).astype(np.float32)
        arrays[name] = flat.reshape(tensor["shape"])
    return arrays
