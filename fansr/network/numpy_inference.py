"""The network's forward pass without torch, for sampling on a CPU: float32 products by numpy, the rest in decoder_kernels.py.

NumpyNetwork is architecture.Model in eval mode, from the same weights under the same names; tests hold the two to
1e-4 of each other in every logit.  Samplers ask a network for three things (torch_inference.py answers alike):

    config                            ModelConfig
    memory(values)                    what the decoder sees of a table
    sequences(memory, rows, length)   empty sequences over one memory, of which
        step(tokens)                  gives the logits after one more token of each,
        keep(rows)                    drops, repeats and moves some

One step is as few and as large products as it takes:
- a norm's weights are folded into the matrix after it, the scale of attention into that of the queries;
- attention to the memory is two products where S is small: all sequences share one memory of S vectors, so that keys
  times queries is one matrix (H*S, d) of the state, and values times the output matrix another (H*S, d);
- positions, the cache and attention to the past are one compiled loop.

Letters as in architecture.py; N sequences.  Weights are taken when a network is made: it is not for training.
"""

from __future__ import annotations

import numpy as np

from fansr.cli import blas
from fansr.network.configuration import EPSILON, EXPONENTS, ROPE_BASE, ModelConfig
from fansr.network.decoder_kernels import attend_pool, gelu, normed

Weights = dict[str, np.ndarray]


class NumpyNetwork:
    """A network of this config; weights: float32 arrays by name (model_file.read_model).

    threads: of the products.  One for networks of this size: where another process has the other core, threads that wait
    for each other made a step up to 25 times slower.
    """

    def __init__(self, config: ModelConfig, weights: Weights, threads: int = 1):
        self.config, self.threads = config, threads
        encoder = _TableEncoder if config.encoder == "table" else _Encoder
        self.encoder = encoder(config, _part(weights, "encoder"))
        self.memory_scale, self.memory_shift = weights["memory_norm.weight"], weights.get("memory_norm.bias")
        self.embed = weights["decoder.embed.weight"]
        self.layers = [
            _DecoderLayer(config, _part(weights, f"decoder.layers.{i}")) for i in range(config.decoder_layers)
        ]
        self.head, self.head_bias = _folded(weights, "head" if config.plain else "head.0", "decoder.norm")
        if not config.plain:
            self.last, self.last_bias = _matrix(weights, "head.2"), weights["head.2.bias"]
        self.cos, self.sin = rope_table(config.width // config.heads, config.max_length)

    def memory(self, values: np.ndarray, mask=None, present=None) -> np.ndarray:
        """What the decoder sees of the data: (B, M, 1+C) float32 with C <= D, the target first -> (B, S, d).

        mask (B, M) bool: the valid points, present (B, 1+C) bool: the columns that exist; None: all.
        """
        with blas.threads(self.threads):
            out = self.encoder(values, mask, present)
        flat = _normed(out.reshape(-1, out.shape[-1]), self.config.plain) * self.memory_scale
        return (flat if self.memory_shift is None else flat + self.memory_shift).reshape(out.shape)

    def sequences(self, memory: np.ndarray, rows: int = 1, length: int | None = None) -> NumpySequences:
        """`rows` empty sequences of at most `length` tokens over one memory (1, S, d)."""
        return NumpySequences(self, memory, rows, length or self.config.max_length)


class NumpySequences:
    """N growing sequences.  Keys and values lie in a pool that grows by N rows a step, and each sequence knows its places."""

    def __init__(self, network: NumpyNetwork, memory: np.ndarray, rows: int, length: int):
        assert memory.shape[0] == 1, "the sequences of one problem share its memory"
        self.network, self.length = network, length
        self.look = [_MemoryAttention(layer, memory[0]) for layer in network.layers]
        self.ancestors = np.zeros((rows, 0), np.int64)  # rows of the pool, (N, T)
        self.used = 0
        shape = (len(network.layers), max(8192, rows * length), memory.shape[-1])  # memory is touched when used
        self.keys, self.values = np.empty(shape, np.float32), np.empty(shape, np.float32)

    def step(self, tokens: np.ndarray) -> np.ndarray:
        """Logits (N, V) float32 after one more token of each sequence, tokens (N,) int64."""
        t = self.ancestors.shape[1]
        if t >= self.length:
            raise ValueError(f"these sequences hold {self.length} tokens and are full")
        start = self._room(len(tokens))
        with blas.threads(self.network.threads):
            return self._logits(tokens, t, start)

    def _logits(self, tokens, t: int, start: int):
        network, cos, sin = self.network, self.network.cos[t], self.network.sin[t]
        x = network.embed[tokens]  # (N, d)
        out = np.empty_like(x)
        plain = network.config.plain
        for layer, look, keys, values in zip(network.layers, self.look, self.keys, self.values):
            qkv = layer.before(x) @ layer.qkv
            qkv += layer.qkv_bias
            attend_pool(qkv, cos, sin, keys, values, start, self.ancestors, layer.heads, out)
            x += out @ layer.out
            x += layer.out_bias
            x = layer.after(0, x)
            x += look(layer.before(x))
            x += layer.tell_bias
            x = layer.after(1, x)
            inner = layer.before(x) @ layer.up
            if plain:
                inner += layer.up_bias
                x += layer.down_bias
            x += _gelu(inner) @ layer.down
            x = layer.after(2, x)
        x = _normed(x, plain) @ network.head
        x += network.head_bias
        if plain:
            return x
        x = _gelu(x) @ network.last
        return x + network.last_bias

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

    def keep(self, rows: np.ndarray) -> None:
        """Let sequence i be what sequence rows[i] was; rows (N',) int64."""
        self.ancestors = self.ancestors[rows]


# ---------------------------------------------------------------------------------------------- weights


def _part(weights: Weights, prefix: str) -> Weights:
    """The weights below a name, by the rest of their names."""
    return {name[len(prefix) + 1 :]: array for name, array in weights.items() if name.startswith(prefix + ".")}


def _matrix(weights: Weights, name: str) -> np.ndarray:
    """A linear map as (inputs, outputs), contiguous."""
    return np.ascontiguousarray(weights[f"{name}.weight"].T)


def _folded(weights: Weights, name: str, norm: str) -> tuple[np.ndarray, np.ndarray | None]:
    """A linear map after the norm of this name: its matrix (inputs, outputs) with the norm's weights in it, its bias."""
    matrix, bias = weights[f"{name}.weight"], weights.get(f"{name}.bias")
    if f"{norm}.bias" in weights:  # LayerNorm's goes through the map
        bias = matrix @ weights[f"{norm}.bias"] + (0 if bias is None else bias)
    return np.ascontiguousarray((matrix * weights[f"{norm}.weight"]).T), bias


def rope_table(head_width: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines of the rotary angles, each (length, E) float32; as architecture.rope_table."""
    inverse = np.float32(ROPE_BASE) ** (-np.arange(0, head_width, 2, dtype=np.float32) / np.float32(head_width))
    angles = np.outer(np.arange(length, dtype=np.float32), inverse)
    angles = np.concatenate((angles, angles), 1)
    return np.cos(angles), np.sin(angles)


# ---------------------------------------------------------------------------------------------- the decoder


class _DecoderLayer:
    """The weights of one decoder layer; matrices (inputs, outputs), with a norm's weights in the matrix after it.

    Post-norm, nothing can be folded: a norm's output is also what the next part is added to.
    """

    def __init__(self, config: ModelConfig, w: Weights):
        self.heads, self.centred = config.heads, config.plain
        norms = ("norm_self", "norm_cross", "norm_inner")
        self.scales = [w[f"{name}.weight"] for name in norms] if config.post_norm else None
        if config.post_norm:
            w = {**w, **{f"{name}.weight": np.ones(config.width, np.float32) for name in norms}}
        self.qkv, self.qkv_bias = _folded(w, "self_qkv", "norm_self")
        self.out, self.out_bias = _matrix(w, "self_out"), w["self_out.bias"]
        scale = np.float32((config.width // config.heads) ** -0.5)
        query, bias = _folded(w, "cross_query", "norm_cross")
        self.query, self.query_bias = query * scale, bias * scale
        self.key_value, self.key_value_bias = _matrix(w, "cross_key_value"), w["cross_key_value.bias"]
        self.tell, self.tell_bias = _matrix(w, "cross_out"), w["cross_out.bias"]
        self.up, self.up_bias = _folded(w, "feed_forward.up", "norm_inner")
        self.down, self.down_bias = _matrix(w, "feed_forward.down"), w.get("feed_forward.down.bias")

    def before(self, x: np.ndarray) -> np.ndarray:
        """What one of the layer's three parts sees of x (N, d)."""
        return _normed(x, self.centred) if self.scales is None else x

    def after(self, part: int, x: np.ndarray) -> np.ndarray:
        """What is handed on of the sum of x and the first, second or third part."""
        return x if self.scales is None else _normed(x) * self.scales[part]


class _MemoryAttention:
    """A layer's attention to one memory (S, d): states (N, d) as the layer sees them -> (N, d), without the last bias."""

    def __init__(self, layer: _DecoderLayer, memory: np.ndarray):
        (seeds, d), heads = memory.shape, layer.heads
        both = (memory @ layer.key_value + layer.key_value_bias).reshape(seeds, 2, heads, -1)
        k, v = both.transpose(1, 2, 0, 3)  # (H, S, E)
        self.layer, self.heads = layer, heads
        # Multiplications a row: 2 d H S folded, 2 d (d + S) apart.
        self.apart = heads * seeds > seeds + d
        if self.apart:
            self.keys, self.values = np.ascontiguousarray(k.transpose(0, 2, 1)), np.ascontiguousarray(v)
            return
        query = layer.query.reshape(d, heads, -1).transpose(1, 0, 2)  # (H, d, E)
        bias = layer.query_bias.reshape(heads, 1, -1)
        self.ask = (k @ query.transpose(0, 2, 1)).reshape(-1, d)  # (H*S, d)
        self.ask_bias = (k @ bias.transpose(0, 2, 1)).reshape(-1, 1)
        self.tell = (v @ layer.tell.reshape(heads, -1, d)).reshape(-1, d)  # (H*S, d)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        n = len(x)
        if not self.apart:
            scores = self.ask @ x.T  # (H*S, N): sums over S are sums of long rows, not of many short ones
            scores += self.ask_bias
            return _softmax(scores.reshape(self.heads, -1, n), 1).reshape(-1, n).T @ self.tell
        q = x @ self.layer.query
        q += self.layer.query_bias
        q = q.reshape(n, self.heads, -1).transpose(1, 0, 2)  # (H, N, E)
        attended = _softmax(q @ self.keys) @ self.values
        return attended.transpose(1, 0, 2).reshape(n, -1) @ self.layer.tell


# ---------------------------------------------------------------------------------------------- the encoder


def to_bits(values: np.ndarray, bits: int = 32) -> np.ndarray:
    """IEEE-754 bits of each number, sign first: (...,) float32 -> (..., bits) int32, 0 or 1; as architecture.to_bits."""
    values = np.ascontiguousarray(values, np.float32)
    if bits == 16:
        whole = np.clip(values, -65504, 65504).astype(np.float16).view(np.int16).astype(np.int32)
    else:
        whole = values.view(np.int32)
    return (whole[..., None] >> np.arange(bits - 1, -1, -1, dtype=np.int32)) & 1


class _Encoder:
    """Points with their target -> S vectors (architecture.Encoder)."""

    def __init__(self, config: ModelConfig, w: Weights):
        self.config, self.w = config, w
        self.inducing = [w[f"inducing.{i}"] for i in range(config.isab_layers)]
        self.gather, self.spread, self.refine = (
            [_SetAttention(config, _part(w, f"{name}.{i}")) for i in range(layers)]
            for name, layers in (
                ("gather", config.isab_layers),
                ("spread", config.isab_layers),
                ("refine", config.sab_layers),
            )
        )
        self.pool = _SetAttention(config, _part(w, "pool"))

    def __call__(self, values: np.ndarray, mask, present) -> np.ndarray:
        w = self.w
        x = self._embed_points(values, present)
        for inducing, gather, spread in zip(self.inducing, self.gather, self.spread):
            x = spread(x, gather(inducing, x, mask), query_mask=mask)  # (B, M, d)
        x = self.pool(w["seeds"], x, mask)  # (B, S, d)
        for layer in self.refine:
            x = layer(x, x)
        return _linear(w, "out", _set_norm(self.config.norm, w, "norm", x))

    def _embed_points(self, values, present):
        n, bits = values.shape[-1], self.config.bits
        if n > self.config.columns + 1:
            raise ValueError(f"{n - 1} columns came; this network takes at most {self.config.columns}")
        signs = to_bits(values, bits).astype(np.float32) * 2 - 1  # (B, M, 1+C, bits)
        if present is not None:
            signs *= present[:, None, :, None]
        return signs.reshape(*values.shape[:2], -1) @ self.w["embed.weight"][:, : n * bits].T + self.w["embed.bias"]


class _TableEncoder:
    """table_encoder.TableEncoder."""

    def __init__(self, config: ModelConfig, w: Weights):
        self.config, self.w = config, w
        self.layers = [_part(w, f"layers.{i}") for i in range(config.encoder_layers)]

    def __call__(self, values: np.ndarray, mask, present) -> np.ndarray:
        n = values.shape[-1]
        if n > self.config.columns + 1:
            raise ValueError(f"{n - 1} columns came; this network takes at most {self.config.columns}")
        if mask is not None:
            values = np.where(mask[..., None], values, np.float32(0))
        mantissa, exponent = np.frexp(values.astype(np.float32))
        exponent = exponent.astype(np.float32) / np.float32(EXPONENTS)
        x = sum(
            _linear(self.w, f"{name}.2", _gelu(_linear(self.w, f"{name}.0", part[..., None])))
            for name, part in (("mantissa", mantissa), ("exponent", exponent))
        )
        x = x + self.w["column.weight"][:n]  # (B, M, K, d)
        for w in self.layers:
            x = x + self._attention(w, "row", x, present)
            x = x + self._attention(w, "column", x.transpose(0, 2, 1, 3), mask).transpose(0, 2, 1, 3)
            inner = _gelu(_linear(w, "feed_forward.up", _set_norm("layer", w, "norm_inner", x)))
            x = x + _linear(w, "feed_forward.down", inner)
        return np.ascontiguousarray(x[:, :, 0])

    def _attention(self, w: Weights, name: str, x, mask):
        """Attention among the third axis of x (B, G, K, d); mask (B, K) says which of it are there."""
        heads = self.config.heads
        qkv = _linear(w, f"{name}_qkv", _set_norm("layer", w, f"norm_{name}", x))
        q, k, v = (u.reshape(*u.shape[:3], heads, -1).transpose(0, 1, 3, 2, 4) for u in np.split(qkv, 3, -1))
        scores = (q * np.float32(q.shape[-1] ** -0.5)) @ k.swapaxes(-1, -2)  # (B, G, H, K, K)
        if mask is not None:
            scores = np.where(mask[:, None, None, None, :], scores, np.float32(-np.inf))
        attended = (_softmax(scores) @ v).transpose(0, 1, 3, 2, 4)
        return _linear(w, f"{name}_out", attended.reshape(*x.shape))


class _SetAttention:
    """Queries (B, Q, d) look at a set (B, K, d) (architecture.SetAttention)."""

    def __init__(self, config: ModelConfig, w: Weights):
        self.config, self.w = config, w

    def __call__(self, queries, points, mask=None, query_mask=None):
        """`mask` (B, K) says which points are valid, `query_mask` (B, Q) which queries are."""
        w, kind = self.w, self.config.norm
        if self.config.post_norm:
            x = _set_norm(kind, w, "norm_query", queries + self._attention(queries, points, mask), query_mask)
            return _set_norm(kind, w, "norm_inner", x + self._feed_forward(x), query_mask)
        normed_points = _set_norm(kind, w, "norm_set", points, mask)
        x = queries + self._attention(_set_norm(kind, w, "norm_query", queries, query_mask), normed_points, mask)
        return x + self._feed_forward(_set_norm(kind, w, "norm_inner", x, query_mask))

    def _attention(self, queries, points, mask):
        heads = self.config.heads
        q = _linear(self.w, "query", queries) if "query.weight" in self.w else queries
        q = q * np.float32((q.shape[-1] // heads) ** -0.5)
        k, v = np.split(_linear(self.w, "key_value", points), 2, -1)
        q, k, v = (u.reshape(*u.shape[:2], heads, -1).transpose(0, 2, 1, 3) for u in (q, k, v))  # (B, H, ., E)
        scores = q @ k.transpose(0, 1, 3, 2)  # (B, H, Q, K)
        if mask is not None:
            scores = np.where(mask[:, None, None, :], scores, np.float32(-np.inf))
        attended = (_softmax(scores) @ v).transpose(0, 2, 1, 3)
        return _linear(self.w, "out", attended.reshape(*attended.shape[:2], -1))

    def _feed_forward(self, x):
        return _gelu(x @ self.w["feed_forward.up.weight"].T) @ self.w["feed_forward.down.weight"].T


# ---------------------------------------------------------------------------------------------- functions


def _linear(w: Weights, name: str, x: np.ndarray) -> np.ndarray:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def _set_norm(kind: str, w: Weights, name: str, x: np.ndarray, mask=None) -> np.ndarray:
    """One of architecture.SET_NORMS: x (B, M, d), mask (B, M) bool or None -> (B, M, d)."""
    weight, axes = w[f"{name}.weight"], -1 if kind == "layer" else (1, 2)

    def average(values):  # over a point's features, or over those of all valid points of a set
        if mask is None or kind == "layer":
            return values.mean(axes, keepdims=True)
        count = np.maximum(mask.sum(1) * values.shape[-1], 1).astype(np.float32)
        # where, not times: a padded row may hold anything, NaN included.
        return np.where(mask[..., None], values, np.float32(0)).sum(axes, keepdims=True) / count[:, None, None]

    if kind == "rms":
        return x * (weight / np.sqrt(average(np.square(x)) + np.float32(EPSILON)))
    x = x - average(x)
    return x / np.sqrt(average(np.square(x)) + np.float32(EPSILON)) * weight + w[f"{name}.bias"]


def _normed(x: np.ndarray, centred: bool = False) -> np.ndarray:
    """Each row of x (N, d), less its mean where `centred`, over its root mean square; weights are in the matrix after it."""
    if centred:
        x = x - x.mean(-1, keepdims=True)
    out = np.empty_like(x)
    normed(x, np.float32(EPSILON), out)
    return out


def _gelu(x: np.ndarray) -> np.ndarray:
    """x (contiguous) after GELU, in place."""
    gelu(x.reshape(-1))
    return x


def _softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    """x after softmax over an axis, in place."""
    x -= x.max(axis, keepdims=True)
    np.exp(x, out=x)
    x /= x.sum(axis, keepdims=True)
    return x
