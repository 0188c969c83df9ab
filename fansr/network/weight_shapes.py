"""The names and shapes of a network's weights, as model files hold them; from these its size and what training it costs."""

from __future__ import annotations

import math

from fansr.network.configuration import ModelConfig


def weight_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """{name: shape} of every weight of architecture.Model(config); matrices are (outputs, inputs)."""
    d = config.width
    shapes: dict[str, tuple[int, ...]] = {}

    def linear(name: str, inputs: int, outputs: int, bias: bool = True):
        shapes[f"{name}.weight"] = (outputs, inputs)
        if bias:
            shapes[f"{name}.bias"] = (outputs,)

    def norms(prefix: str, *names: str, kind: str = config.norm):
        for name in names:
            shapes[f"{prefix}.{name}.weight"] = (d,)
            if kind != "rms":
                shapes[f"{prefix}.{name}.bias"] = (d,)

    def feed_forward(prefix: str):
        linear(f"{prefix}.feed_forward.up", d, config.feed_forward, bias=False)
        linear(f"{prefix}.feed_forward.down", config.feed_forward, d, bias=False)

    def set_attention(prefix: str, learned_queries: bool = False):
        norms(prefix, "norm_query", "norm_set", "norm_inner")
        if not learned_queries:
            linear(f"{prefix}.query", d, d)
        linear(f"{prefix}.key_value", d, 2 * d)
        linear(f"{prefix}.out", d, d)
        feed_forward(prefix)

    if config.encoder == "table":
        return _of_table(config)
    linear("encoder.embed", config.bits * (config.columns + 1), d)
    for i in range(config.isab_layers):
        shapes[f"encoder.inducing.{i}"] = (1, config.inducing, d)
        set_attention(f"encoder.gather.{i}", learned_queries=True)
        set_attention(f"encoder.spread.{i}")
    shapes["encoder.seeds"] = (1, config.seeds, d)
    set_attention("encoder.pool", learned_queries=True)
    for i in range(config.sab_layers):
        set_attention(f"encoder.refine.{i}")
    norms("encoder", "norm")
    linear("encoder.out", d, d)
    shapes["memory_norm.weight"] = (d,)
    shapes["decoder.embed.weight"] = (config.vocabulary, d)
    for i in range(config.decoder_layers):
        prefix = f"decoder.layers.{i}"
        norms(prefix, "norm_self", "norm_cross", "norm_inner", kind="rms")
        linear(f"{prefix}.self_qkv", d, 3 * d)
        linear(f"{prefix}.self_out", d, d)
        linear(f"{prefix}.cross_query", d, d)
        linear(f"{prefix}.cross_out", d, d)
        linear(f"{prefix}.cross_key_value", d, 2 * d)
        feed_forward(prefix)
    shapes["decoder.norm.weight"] = (d,)
    linear("head.0", d, d)
    linear("head.2", d, config.vocabulary)
    return shapes


def _of_table(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """The weights of a network with the table encoder: every norm and every linear map has a bias."""
    d, wide = config.width, config.feed_forward
    shapes: dict[str, tuple[int, ...]] = {}

    def linears(prefix: str, **sizes: tuple[int, int]):
        for name, (inputs, outputs) in sizes.items():
            shapes[f"{prefix}.{name}.weight"], shapes[f"{prefix}.{name}.bias"] = (outputs, inputs), (outputs,)

    def norms(prefix: str, *names: str):
        for name in names:
            shapes[f"{prefix}.{name}.weight"] = shapes[f"{prefix}.{name}.bias"] = (d,)

    def feed_forward(prefix: str):
        linears(f"{prefix}.feed_forward", up=(d, wide), down=(wide, d))

    for name in ("mantissa", "exponent"):
        linears(f"encoder.{name}", **{"0": (1, d), "2": (d, d)})
    shapes["encoder.column.weight"] = (config.columns + 1, d)
    for i in range(config.encoder_layers):
        prefix = f"encoder.layers.{i}"
        norms(prefix, "norm_row", "norm_column", "norm_inner")
        linears(prefix, row_qkv=(d, 3 * d), row_out=(d, d), column_qkv=(d, 3 * d), column_out=(d, d))
        feed_forward(prefix)
    shapes["decoder.embed.weight"] = (config.vocabulary, d)
    for i in range(config.decoder_layers):
        prefix = f"decoder.layers.{i}"
        norms(prefix, "norm_self", "norm_cross", "norm_inner")
        linears(
            prefix,
            self_qkv=(d, 3 * d),
            self_out=(d, d),
            cross_query=(d, d),
            cross_out=(d, d),
            cross_key_value=(d, 2 * d),
        )
        feed_forward(prefix)
    for name in ("memory_norm", "decoder.norm"):
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (d,)
    shapes["head.weight"], shapes["head.bias"] = (config.vocabulary, d), (config.vocabulary,)
    return shapes


def input_tokens(config: ModelConfig, points: float, columns: int | None = None) -> float:
    """Vectors that the encoder works on: one a point, or with the table encoder one a cell of the target and the columns."""
    return points * ((config.columns if columns is None else columns) + 1) if config.encoder == "table" else points


def count(config: ModelConfig, points: int = 512, tokens: int = 26) -> dict:
    """Parameters and training cost of one sample, for --dry-run.

    Floating-point operations by the paper's rule (appendix K), 6 * parameters * tokens, once for the encoder
    over the points and once for decoder and head over the tokens.
    """
    sizes = {name: math.prod(shape) for name, shape in weight_shapes(config).items()}
    total = sum(sizes.values())
    encoder, decoder = (
        sum(n for name, n in sizes.items() if name.startswith(part)) for part in ("encoder.", "decoder.")
    )
    return {
        "params_total": total,
        "params_encoder": encoder,
        "params_decoder": decoder,
        "flops_per_sample": flops_per_sample(encoder, total - encoder, input_tokens(config, points), tokens),
        "points": points,
        "tokens": tokens,
    }


PROCESSES = (2, 4, 8, 16, 32, 64)  # for which --dry-run says what the sharded layout takes


def block_of(name: str) -> str:
    """The part of the network that a weight is gathered with in the sharded layout: a layer, or all that is in none."""
    words = name.split(".")
    layer = words[0] in ("encoder", "decoder") and len(words) > 3 and words[2].isdigit()
    return ".".join(words[:3]) if layer else ""


def memory(config: ModelConfig, optimizer: str = "adamw") -> dict:
    """Bytes that weights, gradients and moments take in training, all float32, beside the activations.

    "weights", "gradients", "moments" (two of AdamW's, one of Muon's for the matrices it turns); "replicated": their
    sum, what each process holds; "sharded": {processes: bytes}, each process's share and, gathered for the time of its
    use, the two largest blocks (one in use, the next on its way) with the gradients of one.
    """
    sizes = {name: 4 * math.prod(shape) for name, shape in weight_shapes(config).items()}
    weights = sum(sizes.values())
    inner = sum(size for name, size in sizes.items() if optimizer == "muon" and turned_by_muon(name, config))
    state = {"weights": weights, "gradients": weights, "moments": 2 * weights - inner}
    blocks: dict[str, int] = {}
    for name, size in sizes.items():
        blocks[block_of(name)] = blocks.get(block_of(name), 0) + size
    largest = sorted(blocks.values())[-2:]
    whole = sum(state.values())
    sharded = {n: whole // n + sum(largest) + largest[-1] for n in PROCESSES}
    return {**state, "replicated": whole, "sharded": sharded}


def turned_by_muon(name: str, config: ModelConfig) -> bool:
    """Whether Muon takes orthogonal steps for this weight: an inner matrix."""
    return len(weight_shapes(config)[name]) == 2 and not name.endswith(
        ("embed.weight", "head.2.weight", "head.weight", "column.weight")
    )


def flops_per_sample(encoder: int, rest: int, points: float, tokens: float) -> float:
    """6 N D of Kaplan et al. (2020), encoder and the rest apart."""
    return 6.0 * (encoder * points + rest * tokens)
