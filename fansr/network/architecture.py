"""The network: a Set Transformer encoder over the points, a causal decoder over the expression.

    values (B, M, 1+D) float32, the target first -> 32 bits each -> (B, M, 32*(1+D)), +-1
    -> linear -> ISAB x n -> PMA (S seeds) -> SAB x n -> memory (B, S, d)
    tokens (B, L) -> embedding -> n x [causal attention with RoPE, attention to the memory, feed-forward] -> (B, L, V)

Section 3.2 and appendices B, C and D of the paper.  This module knows tokens only as numbers below
`vocabulary`; it knows nothing of streams, expressions or training.  numpy_inference.py is the same function for
sampling on a CPU, torch_inference.py for sampling elsewhere.

Letters: B batch, M points, D columns, S seeds, I inducing points, L tokens, V vocabulary, H heads,
d width, E = d / H width of a head.

Where we depart from the paper, and why:
- A bit enters as -1 or +1, a bit of a column that does not exist as 0 (the paper: 0 or 1).  It is the
  same family of functions, better centred; and a table of two columns costs two columns of work in
  a network for seventeen, because whole absent columns are cut off before the first product.
- The target comes first, so that this cut is one slice.
- With encoder = "table" (table_encoder.py) all of it is the scaling study's instead: LayerNorm, biases everywhere, a plain
  last layer; its memory has a vector for each row, S = M.
- Inducing points and seeds are not projected before they act as queries: the product of two learned
  matrices is one learned matrix.  With it the counts of Table 3 come out to the printed digits.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fansr.network.configuration import ROPE_BASE, ModelConfig
from fansr.network.network_parts import (
    SET_NORMS,
    FeedForward,
    PointNorm,
    RMSNorm,
    attend,
    join_heads,
    split_heads,
)
from fansr.network.table_encoder import TableEncoder

# ---------------------------------------------------------------------------------------------- input


def to_bits(values: Tensor, bits: int = 32) -> Tensor:
    """IEEE-754 bits of each number, sign first: (...,) float32 -> (..., bits) int32, 0 or 1.

    Layout of 32: sign, 8 of exponent, 23 of fraction, most significant first, as struct.pack(">f")
    gives them.  16: half precision; numbers beyond +-65504 are brought to the edge first, because
    infinity would lose the sign of every large number but not its presence.
    """
    if bits == 16:
        whole = values.clamp(-65504, 65504).to(torch.float16).contiguous().view(torch.int16).to(torch.int32)
    else:
        whole = values.to(torch.float32).contiguous().view(torch.int32)
    shifts = torch.arange(bits - 1, -1, -1, dtype=torch.int32, device=values.device)
    return (whole.unsqueeze(-1) >> shifts) & 1


# ------------------------------------------------------------------------------------------ set encoder


class SetAttention(nn.Module):
    """One attention block of the Set Transformer: queries (B, Q, d) look at a set (B, K, d).

    Pre-norm: x = queries + attention(norm(queries), norm(set)); out = x + feed_forward(norm(x)).
    Post-norm (ablation): the norms follow the two sums.  With `learned_queries` (inducing points, seeds)
    the queries are parameters of shape (1, Q, d) and are not projected.
    """

    def __init__(self, config: ModelConfig, learned_queries: bool = False):
        super().__init__()
        d, norm = config.width, SET_NORMS[config.norm]
        self.heads, self.post_norm = config.heads, config.post_norm
        self.norm_query, self.norm_set, self.norm_inner = norm(d), norm(d), norm(d)
        self.query = None if learned_queries else nn.Linear(d, d)
        self.key_value = nn.Linear(d, 2 * d)
        self.out = nn.Linear(d, d)
        self.feed_forward = FeedForward(d, config.feed_forward)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, queries: Tensor, points: Tensor, mask: Tensor | None = None, query_mask: Tensor | None = None
    ) -> Tensor:
        """`mask` (B, K) says which points are valid, `query_mask` (B, Q) which queries are."""
        if self.post_norm:
            x = self.norm_query(queries + self.dropout(self._attention(queries, points, mask)), query_mask)
            return self.norm_inner(x + self.dropout(self.feed_forward(x)), query_mask)
        normed = self.norm_set(points, mask)
        x = queries + self.dropout(self._attention(self.norm_query(queries, query_mask), normed, mask))
        return x + self.dropout(self.feed_forward(self.norm_inner(x, query_mask)))

    def _attention(self, queries: Tensor, points: Tensor, mask: Tensor | None) -> Tensor:
        k, v = self.key_value(points).chunk(2, -1)
        q = queries if self.query is None else self.query(queries)
        q = q.to(k.dtype).expand(len(k), -1, -1)
        q, k, v = (split_heads(t, self.heads) for t in (q, k, v))
        mask = None if mask is None else mask[:, None, None, :]  # (B, 1, 1, K)
        return self.out(join_heads(attend(q, k, v, mask)))


class Encoder(nn.Module):
    """Points with their target -> S vectors, whatever the number and order of the points."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        d = config.width
        self.embed = nn.Linear(config.bits * (config.columns + 1), d)
        self.inducing = nn.ParameterList(
            nn.init.xavier_uniform_(torch.empty(1, config.inducing, d)) for _ in range(config.isab_layers)
        )
        self.gather = nn.ModuleList(SetAttention(config, learned_queries=True) for _ in range(config.isab_layers))
        self.spread = nn.ModuleList(SetAttention(config) for _ in range(config.isab_layers))
        self.seeds = nn.Parameter(nn.init.xavier_uniform_(torch.empty(1, config.seeds, d)))
        self.pool = SetAttention(config, learned_queries=True)
        self.refine = nn.ModuleList(SetAttention(config) for _ in range(config.sab_layers))
        self.norm = SET_NORMS[config.norm](d)
        self.out = nn.Linear(d, d)

    def forward(self, values: Tensor, mask: Tensor | None = None, present: Tensor | None = None) -> Tensor:
        """values (B, M, 1+C) float32 with C <= D, target first; mask (B, M) bool; present (B, 1+C) bool -> (B, S, d)."""
        x = self.embed_points(values, present)
        for inducing, gather, spread in zip(self.inducing, self.gather, self.spread):
            x = spread(x, gather(inducing.to(x.dtype), x, mask), query_mask=mask)  # (B, M, d)
        x = self.pool(self.seeds.to(x.dtype), x, mask)  # (B, S, d)
        for layer in self.refine:
            x = layer(x, x)
        return self.out(self.norm(x))

    def embed_points(self, values: Tensor, present: Tensor | None) -> Tensor:
        """The first linear layer over the bits, on the columns given only -> (B, M, d)."""
        n = values.shape[-1]
        if n > self.config.columns + 1:
            raise ValueError(f"{n - 1} columns came; this network takes at most {self.config.columns}")
        dtype = self.embed.weight.dtype
        if torch.is_autocast_enabled(values.device.type):
            dtype = torch.get_autocast_dtype(values.device.type)
        signs = to_bits(values, self.config.bits).to(dtype) * 2 - 1  # (B, M, 1+C, bits)
        if self.training and self.config.bit_noise:
            signs = signs + self.config.bit_noise * torch.randn_like(signs)
        if present is not None:
            signs = signs * present[:, None, :, None].to(dtype)
        weight = self.embed.weight[:, : n * self.config.bits]
        return F.linear(signs.flatten(2), weight, self.embed.bias)


# ------------------------------------------------------------------------------------------- decoder


def rope_table(head_width: int, length: int, device=None) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the rotary angles, each (length, E) float32 (Su et al. 2023)."""
    inverse = ROPE_BASE ** (-torch.arange(0, head_width, 2, device=device).float() / head_width)
    angles = torch.outer(torch.arange(length, device=device).float(), inverse)
    angles = torch.cat((angles, angles), -1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair (x_i, x_{i+E/2}) by its position's angle; x (..., L, E), cos and sin (L, E)."""
    a, b = x.chunk(2, -1)
    return x * cos.to(x.dtype) + torch.cat((-b, a), -1) * sin.to(x.dtype)


def decoder_norm(config: ModelConfig) -> type[nn.Module]:
    """RMSNorm, or with the table encoder the scaling study's LayerNorm."""
    return PointNorm if config.plain else RMSNorm


class DecoderLayer(nn.Module):
    """Causal self-attention with RoPE, attention to the memory, feed-forward.

    Pre-norm: a norm before each of the three, which is added to what came in.  Post-norm (ablation): the norm of each follows
    that sum instead, as in SetAttention.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        d = config.width
        self.heads, self.post_norm = config.heads, config.post_norm
        norm = decoder_norm(config)
        self.norm_self, self.norm_cross, self.norm_inner = norm(d), norm(d), norm(d)
        self.self_qkv, self.self_out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.cross_query, self.cross_out = nn.Linear(d, d), nn.Linear(d, d)
        self.cross_key_value = nn.Linear(d, 2 * d)
        self.feed_forward = FeedForward(d, config.feed_forward, bias=config.plain)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, memory: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """x (B, L, d), memory (B, S, d), cos and sin (L, E) -> (B, L, d)."""
        q, k, v = (split_heads(t, self.heads) for t in self.self_qkv(self.before(self.norm_self, x)).chunk(3, -1))
        attended = attend(rotate(q, cos, sin), rotate(k, cos, sin), v, causal=True)
        x = self.after(self.norm_self, x + self.dropout(self.self_out(join_heads(attended))))
        q = split_heads(self.cross_query(self.before(self.norm_cross, x)), self.heads)
        attended = attend(q, *self.memory_key_value(memory))
        x = self.after(self.norm_cross, x + self.dropout(self.cross_out(join_heads(attended))))
        told = self.feed_forward(self.before(self.norm_inner, x))
        return self.after(self.norm_inner, x + self.dropout(told))

    def before(self, norm: nn.Module, x: Tensor) -> Tensor:
        """What one of the three parts sees of x."""
        return x if self.post_norm else norm(x)

    def after(self, norm: nn.Module, x: Tensor) -> Tensor:
        """What is handed on of the sum of x and one of the three parts."""
        return norm(x) if self.post_norm else x

    def memory_key_value(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """(B, S, d) -> keys and values, each (B, H, S, E)."""
        k, v = self.cross_key_value(memory).chunk(2, -1)
        return split_heads(k, self.heads), split_heads(v, self.heads)


class Decoder(nn.Module):
    """Embedding, layers and last norm: what Table 3 counts as the decoder."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.embed = nn.Embedding(config.vocabulary, config.width)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder_layers))
        self.norm = decoder_norm(config)(config.width)


class Model(nn.Module):
    """Encoder, decoder, and between and after them a norm of the memory and the head."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        d = config.width
        self.encoder: nn.Module = TableEncoder(config) if config.encoder == "table" else Encoder(config)
        self.memory_norm = decoder_norm(config)(d)
        self.decoder = Decoder(config)
        self.head: nn.Module = nn.Linear(d, config.vocabulary)
        if not config.plain:
            self.head = nn.Sequential(nn.Linear(d, d), nn.GELU(), nn.Linear(d, config.vocabulary))
        # Tables, no weights: they are not part of a checkpoint.
        cos, sin = rope_table(d // config.heads, config.max_length)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def memory(self, values: Tensor, mask: Tensor | None = None, present: Tensor | None = None) -> Tensor:
        """What the decoder sees of the data: (B, M, 1+C) float32 -> (B, S, d)."""
        return self.memory_norm(self.encoder(values, mask, present))

    def decode(self, tokens: Tensor, memory: Tensor) -> Tensor:
        """Logits of every next token, all positions at once: tokens (B, L), memory (B, S, d) -> (B, L, V)."""
        length = tokens.shape[1]
        if length > self.config.max_length:
            raise ValueError(f"{length} tokens came; this network takes at most {self.config.max_length}")
        x = self.decoder.embed(tokens).to(memory.dtype)
        for layer in self.decoder.layers:
            x = layer(x, memory, self.cos[:length], self.sin[:length])
        return self.head(self.decoder.norm(x))

    def forward(
        self, values: Tensor, tokens: Tensor, mask: Tensor | None = None, present: Tensor | None = None
    ) -> Tensor:
        return self.decode(tokens, self.memory(values, mask, present))
