"""The network against torch's own modules, plain loops and struct.pack."""

import json
import math
import struct

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from fansr.network.architecture import DecoderLayer, Model, SetAttention, rope_table, rotate, to_bits
from fansr.network.configuration import EPSILON, ModelConfig
from fansr.network.network_parts import RMSNorm, RMSSetNorm, SetNorm, attend
from fansr.network.weight_shapes import count

SMALL = dict(
    columns=4, width=24, heads=2, feed_forward=40, inducing=5, seeds=6, decoder_layers=2, dropout=0.0, max_length=16
)
VALUES = [0.0, -0.0, 1.0, -1.0, 1.5, 3.14159274, 1e-45, 1e-38, 3.4e38, -2.5e-20, float("inf"), float("nan")]


def small(**changes) -> Model:
    torch.manual_seed(0)
    model = Model(ModelConfig(**{**SMALL, **changes})).eval()
    for p in model.parameters():  # norms start at 1: move them, so that a forgotten weight shows
        if p.dim() == 1:
            nn.init.normal_(p, 0.8, 0.3)
    return model.requires_grad_(False)


# ---- input


def test_bits_are_those_of_struct_pack():
    wanted = [[int(b) for byte in struct.pack(">f", v) for b in f"{byte:08b}"] for v in VALUES]
    assert to_bits(torch.tensor(VALUES)).tolist() == wanted


def test_half_bits_are_those_of_struct_pack_and_large_numbers_stay_finite():
    values = [0.0, -1.0, 0.333251953125, 65504.0, 6e-8]
    wanted = [[int(b) for byte in struct.pack(">e", v) for b in f"{byte:08b}"] for v in values]
    assert to_bits(torch.tensor(values), 16).tolist() == wanted
    assert to_bits(torch.tensor([1e30]), 16).tolist() == to_bits(torch.tensor([65504.0]), 16).tolist()


def test_absent_columns_may_be_cut_off():
    model, rng = small(), torch.Generator().manual_seed(1)
    values = torch.randn(2, 7, 3, generator=rng)
    padded = torch.cat((values, torch.zeros(2, 7, 2)), -1)
    present = torch.tensor([[True, True, True, False, False]] * 2)
    torch.testing.assert_close(model.memory(values), model.memory(padded, present=present))


def test_too_many_columns_and_tokens_are_refused():
    model = small()
    with pytest.raises(ValueError, match="6 columns came; this network takes at most 4"):
        model.memory(torch.zeros(1, 3, 7))
    with pytest.raises(ValueError, match="17 tokens came"):
        model.decode(torch.zeros(1, 17, dtype=torch.long), model.memory(torch.zeros(1, 3, 2)))


# ---- norms


def loop_norm(x, mask, weight):
    """Equations 6 and 7 of the paper, number by number."""
    out = np.empty_like(x)
    for n in range(x.shape[0]):
        total, valid = 0.0, 0
        for m in range(x.shape[1]):
            if mask[n, m]:
                valid += 1
                total += sum(float(v) ** 2 for v in x[n, m])
        nu = math.sqrt(total / max(1, x.shape[2] * valid) + EPSILON)
        for m in range(x.shape[1]):
            for j in range(x.shape[2]):
                out[n, m, j] = x[n, m, j] / nu * weight[j]
    return out


def test_masked_set_norm_against_a_plain_loop():
    rng = np.random.default_rng(0)
    x, mask = rng.normal(0, 3, (4, 6, 5)).astype(np.float32), rng.random((4, 6)) < 0.6
    mask[3] = False  # an empty set must not divide by 0
    norm = RMSSetNorm(5)
    norm.weight.data = torch.tensor(rng.normal(1, 1, 5).astype(np.float32))
    wanted = loop_norm(x, mask, norm.weight.detach().numpy())
    np.testing.assert_allclose(norm(torch.tensor(x), torch.tensor(mask)).detach().numpy()[:3], wanted[:3], rtol=2e-5)
    whole = np.ones((4, 6), bool)
    np.testing.assert_allclose(
        norm(torch.tensor(x)).detach().numpy(), loop_norm(x, whole, norm.weight.detach().numpy()), rtol=2e-5
    )


def test_padding_may_hold_anything_even_nan():
    norm, x = RMSSetNorm(3), torch.randn(1, 4, 3)
    mask = torch.tensor([[True, True, False, False]])
    dirty = x.clone()
    dirty[0, 2:] = float("nan")
    torch.testing.assert_close(norm(dirty, mask)[:, :2], norm(x[:, :2]))


def test_set_norm_is_layer_norm_of_the_flattened_set():
    norm, x = SetNorm(3), torch.randn(2, 5, 3)
    wanted = nn.functional.layer_norm(x.flatten(1), (15,), eps=EPSILON).view_as(x)
    torch.testing.assert_close(norm(x), wanted, rtol=1e-4, atol=1e-5)


def test_rms_norm_formula():
    norm, x = RMSNorm(4), torch.randn(3, 4)
    norm.weight.data = torch.arange(1.0, 5.0)
    torch.testing.assert_close(norm(x), x / (x.square().mean(-1, keepdim=True) + EPSILON).sqrt() * norm.weight)


# ---- attention


def reference_attention(block: SetAttention, queries, points, mask):
    """The block's attention by torch.nn.MultiheadAttention with the same weights."""
    d = block.out.weight.shape[0]
    reference = nn.MultiheadAttention(d, block.heads, batch_first=True)
    query = (torch.eye(d), torch.zeros(d)) if block.query is None else (block.query.weight, block.query.bias)
    reference.in_proj_weight.data = torch.cat((query[0], block.key_value.weight)).detach()
    reference.in_proj_bias.data = torch.cat((query[1], block.key_value.bias)).detach()
    reference.out_proj.weight.data, reference.out_proj.bias.data = block.out.weight.data, block.out.bias.data
    out, _ = reference(queries, points, points, key_padding_mask=None if mask is None else ~mask, need_weights=False)
    return out


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("post_norm", [False, True])
@pytest.mark.parametrize("norm", ["rms", "set", "layer"])
def test_set_attention_block_against_torch(learned, post_norm, norm):
    torch.manual_seed(3)
    block = SetAttention(ModelConfig(**{**SMALL, "norm": norm, "post_norm": post_norm}), learned).eval()
    queries, points = torch.randn(1 if learned else 2, 4, 24), torch.randn(2, 7, 24)
    mask = torch.arange(7) < torch.tensor([[5], [7]])
    wide = queries.expand(2, -1, -1)
    if post_norm:
        x = block.norm_query(wide + reference_attention(block, wide, points, mask))
        wanted = block.norm_inner(x + block.feed_forward(x))
    else:
        x = wide + reference_attention(
            block, block.norm_query(queries).expand(2, -1, -1), block.norm_set(points, mask), mask
        )
        wanted = x + block.feed_forward(block.norm_inner(x))
    torch.testing.assert_close(block(queries, points, mask), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
def test_both_ways_to_attend_agree(causal):
    torch.manual_seed(0)
    q, k, v = torch.randn(2, 3, 5, 8, requires_grad=True), torch.randn(2, 3, 5, 8), torch.randn(2, 3, 5, 8)
    mask = None if causal else torch.rand(2, 1, 1, 5) < 0.7
    with torch.no_grad():
        fused = attend(q, k, v, mask, causal)
    torch.testing.assert_close(attend(q, k, v, mask, causal), fused, rtol=1e-4, atol=1e-5)


def test_rope_depends_on_distance_only():
    cos, sin = rope_table(8, 10)
    q, k = torch.randn(8), torch.randn(8)
    dots = [
        (rotate(q[None], cos[i : i + 1], sin[i : i + 1]) * rotate(k[None], cos[j : j + 1], sin[j : j + 1])).sum()
        for i, j in ((2, 0), (5, 3), (9, 7))
    ]
    torch.testing.assert_close(torch.stack(dots), dots[0].expand(3), rtol=1e-4, atol=1e-5)
    # Two dimensions turn by one radian a step, as complex numbers do.
    c, s = rope_table(2, 3)
    turned = rotate(torch.tensor([[1.0, 0.0]]), c[2:3], s[2:3])[0]
    torch.testing.assert_close(turned, torch.tensor([math.cos(2.0), math.sin(2.0)]))


@pytest.mark.parametrize("post_norm", [False, True])
def test_decoder_layer_against_torch(post_norm):
    """torch's layer with the same weights and RMS norms; the angles are 0, which torch's has none of."""
    config = ModelConfig(**{**SMALL, "post_norm": post_norm})
    layer, d = DecoderLayer(config).eval(), config.width
    reference = nn.TransformerDecoderLayer(
        d, config.heads, config.feed_forward, 0.0, "gelu", batch_first=True, norm_first=not post_norm
    ).eval()
    for name, norm in (("norm1", layer.norm_self), ("norm2", layer.norm_cross), ("norm3", layer.norm_inner)):
        nn.init.normal_(norm.weight, 1.0, 0.3)
        setattr(reference, name, nn.RMSNorm(d, EPSILON))
        getattr(reference, name).weight.data = norm.weight.data
    own, cross = reference.self_attn, reference.multihead_attn
    own.in_proj_weight.data, own.in_proj_bias.data = layer.self_qkv.weight.data, layer.self_qkv.bias.data
    cross.in_proj_weight.data = torch.cat((layer.cross_query.weight, layer.cross_key_value.weight)).detach()
    cross.in_proj_bias.data = torch.cat((layer.cross_query.bias, layer.cross_key_value.bias)).detach()
    for ours, theirs in ((layer.self_out, own.out_proj), (layer.cross_out, cross.out_proj)):
        theirs.weight.data, theirs.bias.data = ours.weight.data, ours.bias.data
    for ours, theirs in ((layer.feed_forward.up, reference.linear1), (layer.feed_forward.down, reference.linear2)):
        theirs.weight.data = ours.weight.data
        nn.init.zeros_(theirs.bias)
    x, memory = torch.randn(2, 7, d), torch.randn(2, 5, d)
    wanted = reference(x, memory, nn.Transformer.generate_square_subsequent_mask(7), tgt_is_causal=True)
    flat = torch.ones(7, d // config.heads), torch.zeros(7, d // config.heads)
    torch.testing.assert_close(layer(x, memory, *flat), wanted, rtol=1e-4, atol=1e-5)


# ---- the whole


@pytest.mark.parametrize("switches", [{}, {"norm": "set"}, {"norm": "layer"}, {"post_norm": True}, {"bits": 16}])
def test_order_of_points_and_padding_do_not_matter(switches):
    model = small(**switches)
    generator = torch.Generator().manual_seed(2)
    values = torch.randn(2, 9, 4, generator=generator)
    memory = model.memory(values)
    turned = values[:, torch.randperm(9, generator=generator)]
    torch.testing.assert_close(model.memory(turned), memory, rtol=1e-4, atol=1e-4)
    padded = torch.cat((values, torch.full((2, 3, 4), float("nan"))), 1)
    mask = (torch.arange(12) < 9).expand(2, -1)
    torch.testing.assert_close(model.memory(padded, mask), memory, rtol=1e-4, atol=1e-4)


def test_later_tokens_do_not_reach_earlier_logits():
    model = small()
    memory = model.memory(torch.randn(1, 6, 3))
    a = torch.randint(3, 59, (1, 8))
    b = a.clone()
    b[0, 5:] = 3
    torch.testing.assert_close(model.decode(a, memory)[:, :5], model.decode(b, memory)[:, :5])


# ---- Table 3


@pytest.mark.parametrize(
    "name, total, encoder, decoder",
    [
        ("3m", "3.2M", "1.6M", "1.6M"),
        ("20m", "23M", "10.4M", "12.4M"),
        ("120m", "122M", "64.4M", "57.5M"),
        ("1b", "955M", "494M", "459M"),
    ],
)
def test_counts_are_table_3(name, total, encoder, decoder):
    from fansr.network.train import train

    result = CliRunner().invoke(train, ["--config", f"configs/{name}.toml", "--dry-run", "--json"])
    assert result.exit_code == 0, result.output
    sizes = json.loads(result.output)
    for key, printed in (("params_total", total), ("params_encoder", encoder), ("params_decoder", decoder)):
        digits = len(printed.split(".")[1]) - 1 if "." in printed else 0
        assert f"{sizes[key] / 1e6:.{digits}f}M" == printed, key


def test_count_is_the_sum_of_the_weights():
    model = small()
    sizes = count(model.config, points=10, tokens=5)
    assert sizes["params_total"] == sum(v.numel() for k, v in model.state_dict().items())
    rest = sizes["params_total"] - sizes["params_encoder"]
    assert sizes["flops_per_sample"] == 6 * (10 * sizes["params_encoder"] + 5 * rest)


def test_config_says_what_is_wrong():
    for wrong, message in (
        ({"norm": "batch"}, "norm is 'batch'"),
        ({"bits": 8}, "bits is 8"),
        ({"width": 25}, "width 25"),
        ({"width": 24.0}, "width is 24.0; it must be int"),
        ({"heads": 0}, "heads is 0; it must be from 1 to 65536"),
        ({"dropout": -0.1}, "dropout is -0.1; it must be from 0 to 1.0"),
        ({"post_norm": 1}, "post_norm is 1; it must be bool"),
    ):
        with pytest.raises(ValueError, match=message):
            ModelConfig(**{**SMALL, **wrong})
