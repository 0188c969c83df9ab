"""The network as a sampler asks it, by torch: on a GPU, or on a CPU where torch is asked for.

TorchNetwork answers as numpy_inference.NumpyNetwork does, with tensors kept on their device in between.
Letters as in architecture.py; N sequences, T positions.
"""

from __future__ import annotations

import os

import numpy as np
import torch
from torch import Tensor

from fansr.network import checkpoints, device
from fansr.network.architecture import DecoderLayer, Model, rotate


def load(path: str | os.PathLike, name: str, threads: int = 1) -> tuple[TorchNetwork, dict]:
    """The network of a model file on a device ("cuda", "cuda:1", "torch-cpu"), and what the file says of its making."""
    torch.set_num_threads(threads)
    where = device.choose(name.removeprefix("torch-"), "float32").device
    model, info = checkpoints.load_model(path, where)
    return TorchNetwork(model), info


class TorchNetwork:
    """config, memory(values) and sequences(memory, rows, length) over architecture.Model in eval mode."""

    def __init__(self, model: Model):
        self.model, self.config = model, model.config

    @torch.inference_mode()
    def memory(self, values: np.ndarray) -> Tensor:
        """What the decoder sees of a table: (1, M, 1+C) float32, the target first -> (1, S, d)."""
        return self.model.memory(torch.as_tensor(values, device=self.model.cos.device))

    def sequences(self, memory: Tensor, rows: int = 1, length: int | None = None) -> TorchSequences:
        """`rows` empty sequences of at most `length` tokens over one memory."""
        return TorchSequences(self.model, memory, rows, length or self.config.max_length)


class TorchSequences:
    """N growing sequences over one memory; keys and values (T, N, d) a layer, gathered anew when sequences branch or end."""

    @torch.inference_mode()
    def __init__(self, model: Model, memory: Tensor, rows: int, length: int):
        assert memory.shape[0] == 1, "the sequences of one problem share its memory"
        self.model, self.length, self.t = model, length, 0
        self.memory = [
            tuple(kv[0].contiguous() for kv in layer.memory_key_value(memory)) for layer in model.decoder.layers
        ]
        shape = (length, rows, model.config.width)
        self.past = [(memory.new_empty(shape), memory.new_empty(shape)) for _ in model.decoder.layers]

    @torch.inference_mode()
    def step(self, tokens: np.ndarray) -> np.ndarray:
        """Logits (N, V) float32 after one more token of each sequence, tokens (N,) int64."""
        model, t = self.model, self.t
        if t >= self.length:
            raise ValueError(f"these sequences hold {self.length} tokens and are full")
        x = model.decoder.embed(torch.as_tensor(tokens, device=model.cos.device))
        for layer, memory, past in zip(model.decoder.layers, self.memory, self.past):
            x = _layer_step(layer, x, memory, past, t, model.cos[t], model.sin[t])
        self.t = t + 1
        return model.head(model.decoder.norm(x)).float().cpu().numpy()

    @torch.inference_mode()
    def keep(self, rows: np.ndarray) -> None:
        """Let sequence i be what sequence rows[i] was; rows (N',) int64."""
        rows = torch.as_tensor(rows, device=self.model.cos.device)
        self.past = [tuple(self._gathered(old, rows) for old in past) for past in self.past]

    def _gathered(self, old: Tensor, rows: Tensor) -> Tensor:
        new = old.new_empty(old.shape[0], len(rows), old.shape[2])
        torch.index_select(old[: self.t], 1, rows, out=new[: self.t])
        return new


def _layer_step(layer: DecoderLayer, x: Tensor, memory, past, t: int, cos: Tensor, sin: Tensor) -> Tensor:
    """DecoderLayer.forward at position t alone: x (N, d) -> (N, d); the new keys and values go into `past`.

    memory: keys and values (H, S, E); all N rows share them, so that a head's attention is one matrix product.
    """
    (n, d), heads = x.shape, layer.heads
    q, k, v = layer.self_qkv(layer.before(layer.norm_self, x)).chunk(3, -1)
    q, k = (rotate(u.view(n, heads, -1), cos, sin) for u in (q, k))
    keys, values = past
    keys[t], values[t] = k.reshape(n, d), v
    k, v = (u[: t + 1].unflatten(-1, (heads, -1)) for u in past)  # (T, N, H, E)
    weights = torch.softmax(torch.einsum("nhe,tnhe->tnh", q * q.shape[-1] ** -0.5, k), 0)
    x = layer.after(layer.norm_self, x + layer.self_out(torch.einsum("tnh,tnhe->nhe", weights, v).reshape(n, d)))
    q = layer.cross_query(layer.before(layer.norm_cross, x)).view(n, heads, -1).transpose(0, 1)  # (H, N, E)
    k, v = memory
    weights = torch.softmax((q * q.shape[-1] ** -0.5) @ k.transpose(1, 2), -1)
    x = layer.after(layer.norm_cross, x + layer.cross_out((weights @ v).transpose(0, 1).reshape(n, d)))
    return layer.after(layer.norm_inner, x + layer.feed_forward(layer.before(layer.norm_inner, x)))
