"""One more token of many sequences over one memory, on a CPU, in as few and as large products as it takes.

The same function as Model.decode at its last position, rearranged:
- a norm's weights are folded into the matrix after it;
- attention to the memory is two products where S is small: all sequences share one memory of S vectors, so that queries
  times keys is one matrix (d, H*S) of the state, and values times the output matrix another (H*S, d);
- positions, the cache and attention to the past are one compiled loop (attention_cache.py).

Weights are taken when it is made: it is for sampling, not for training.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fansr.network.attention_cache import attend_pool, normed


class _Layer:
    """The weights of one decoder layer and one memory, folded; all (inputs, outputs) and contiguous."""

    def __init__(self, layer, memory: Tensor):
        heads, width = layer.heads, memory.shape[-1] // layer.heads
        self.heads = heads
        self.qkv, self.qkv_bias = _folded(layer.self_qkv, layer.norm_self)
        self.out, self.out_bias = layer.self_out.weight.t().contiguous(), layer.self_out.bias
        query, bias = _folded(layer.cross_query, layer.norm_cross)  # (d, d), (d,)
        k, v = (u[0] for u in layer.memory_key_value(memory))  # (H, S, E)
        scale = width**-0.5
        self.tell_bias = layer.cross_out.bias
        self.up = _folded(layer.feed_forward.up, layer.norm_inner)[0]
        self.down = layer.feed_forward.down.weight.t().contiguous()
        # Multiplications a row: 2 d H S folded, 2 d (d + S) apart.
        self.apart = heads * k.shape[1] > k.shape[1] + heads * width
        if self.apart:
            self.query, self.query_bias = query * scale, bias * scale
            self.keys, self.values = k.transpose(1, 2).contiguous(), v.contiguous()  # (H, E, S), (H, S, E)
            self.tell = layer.cross_out.weight.t().contiguous()
            return
        query, bias = query.view(-1, heads, width), bias.view(heads, width)
        self.ask = torch.einsum("dhe,hse->dhs", query * scale, k).flatten(1).contiguous()
        self.ask_bias = torch.einsum("he,hse->hs", bias * scale, k).flatten().contiguous()
        to = layer.cross_out.weight.t().reshape(heads, width, -1)  # (H, E, d)
        self.tell = torch.einsum("hse,hed->hsd", v, to).flatten(0, 1).contiguous()

    def look(self, x: Tensor) -> Tensor:
        """What the memory answers to each normed state, before `tell`: x (N, d) -> (N, H*S), or (N, d) when apart."""
        n = len(x)
        if not self.apart:
            scores = torch.addmm(self.ask_bias, x, self.ask).view(n, self.heads, -1)
            return torch.softmax(scores, -1).flatten(1)
        asked = torch.addmm(self.query_bias, x, self.query).view(n, self.heads, -1).transpose(0, 1)  # (H, N, E)
        return (torch.softmax(asked @ self.keys, -1) @ self.values).transpose(0, 1).reshape(n, -1)


def _folded(linear, norm) -> tuple[Tensor, Tensor | None]:
    return (linear.weight * norm.weight).t().contiguous(), linear.bias


class Stepper:
    """N growing sequences.  Keys and values lie in a pool that grows by N rows a step, and each sequence knows its places."""

    def __init__(self, model, memory: Tensor, rows: int, length: int, epsilon: float):
        self.model, self.epsilon = model, epsilon
        self.layers = [_Layer(layer, memory) for layer in model.decoder.layers]
        self.head, self.head_bias = _folded(model.head[0], model.decoder.norm)
        self.cos, self.sin = model.cos.numpy(), model.sin.numpy()
        self.ancestors = np.zeros((rows, 0), np.int64)
        self.used = 0
        shape = (len(self.layers), max(8192, rows * length), memory.shape[-1])  # memory is touched when used
        self.keys, self.values = np.empty(shape, np.float32), np.empty(shape, np.float32)

    def step(self, tokens: Tensor, t: int) -> Tensor:
        """Logits (N, V) after one more token of each, at position t."""
        start = self._room(len(tokens))
        x = F.embedding(tokens, self.model.decoder.embed.weight)
        out = torch.empty_like(x)
        for i, layer in enumerate(self.layers):
            qkv = torch.addmm(layer.qkv_bias, self._normed(x), layer.qkv)
            attend_pool(
                qkv.numpy(),
                self.cos[t],
                self.sin[t],
                self.keys[i],
                self.values[i],
                start,
                self.ancestors,
                layer.heads,
                out.numpy(),
            )
            x = x.addmm(out, layer.out).add_(layer.out_bias)
            x = x.addmm(layer.look(self._normed(x)), layer.tell).add_(layer.tell_bias)
            x = x.addmm(F.gelu(self._normed(x) @ layer.up), layer.down)
        last = self.model.head[2]
        return F.linear(F.gelu(torch.addmm(self.head_bias, self._normed(x), self.head)), last.weight, last.bias)

    def _normed(self, x: Tensor) -> Tensor:
        out = torch.empty_like(x)
        normed(x.numpy(), self.epsilon, out.numpy())
        return out

    def _room(self, rows: int) -> int:
        """Make room for one more position of each sequence; the pool's first row for them."""
        start = self.used
        if start + rows > self.keys.shape[1]:
            room = 2 * self.keys.shape[1] + rows
            for name in ("keys", "values"):
                old = getattr(self, name)
                new = np.empty((old.shape[0], room, old.shape[2]), np.float32)
                new[:, :start] = old[:, :start]
                setattr(self, name, new)
        self.used += rows
        self.ancestors = np.concatenate((self.ancestors, np.arange(start, self.used, dtype=np.int64)[:, None]), 1)
        return start

    def keep(self, rows: Tensor) -> None:
        """Let sequence i be what sequence rows[i] was."""
        self.ancestors = self.ancestors[rows.numpy()]
