"""The table encoder: its published sizes, its attention against plain loops, and what it must not see."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fansr.cli.command import read_toml
from fansr.network.architecture import Model
from fansr.network.configuration import ModelConfig
from fansr.network.table_encoder import split_cells
from fansr.network.weight_shapes import count, input_tokens, weight_shapes

SMALL = ModelConfig(
    columns=2, width=24, heads=2, feed_forward=96, encoder="table", encoder_layers=2, decoder_layers=2, dropout=0.0,
    vocabulary=70, max_length=16,
)  # fmt: skip


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    made = Model(SMALL).eval()
    for p in made.parameters():
        if p.dim() == 1:
            torch.nn.init.normal_(p, 0.6, 0.3)
    return made.requires_grad_(False)


@pytest.fixture
def values():
    return torch.randn(3, 7, 3, generator=torch.Generator().manual_seed(1)) * 5


@pytest.mark.parametrize(("size", "printed"), [("xs", 6.48), ("s", 13.40), ("m", 24.01), ("l", 45.53), ("xl", 93.08)])
def test_sizes_are_the_published_ones_to_the_printed_digit(size, printed):
    config = ModelConfig(vocabulary=56, **read_toml(f"configs/scale/{size}.toml")["model"])
    assert round(count(config)["params_total"] / 1e6, 2) == printed


def test_weights_have_the_names_and_shapes_that_files_are_checked_by(model):
    assert {name: tuple(p.shape) for name, p in model.named_parameters()} == weight_shapes(SMALL)


def test_operations_are_those_torch_counts_for_wide_layers():
    """6 N D against three times a forward pass, by torch's own counter; the rest is attention's scores and the vocabulary."""
    from torch.utils.flop_counter import FlopCounterMode

    config = ModelConfig(
        columns=2, width=256, heads=4, feed_forward=1024, encoder="table", encoder_layers=3, decoder_layers=3, vocabulary=56,
        dropout=0.0, max_length=64,
    )  # fmt: skip
    with torch.device("meta"):
        wide = Model(config)
        values, tokens = torch.zeros(1, 64, 3), torch.zeros(1, 31, dtype=torch.int64)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        wide.decode(tokens, torch.zeros(1, 64, 256, device="meta"))
        for layer in wide.encoder.layers:
            layer(torch.zeros(1, 64, 3, 256, device="meta"), None, None)
    sizes = count(config, 64, 31)
    assert sizes["flops_per_sample"] / (3 * counter.get_total_flops()) == pytest.approx(1.0, abs=0.1)
    assert input_tokens(config, 64) == 192 and values.shape[2] == 3


def test_attention_is_along_rows_and_along_columns(model, values):
    """Two nested loops over sequences with torch's own multi-head attention."""
    layer = model.encoder.layers[0]
    x = torch.randn(2, 5, 3, 24, generator=torch.Generator().manual_seed(2))

    def attended(sequence, qkv, out):  # (L, d)
        return F.multi_head_attention_forward(
            sequence[:, None], sequence[:, None], sequence[:, None], 24, 2, qkv.weight, qkv.bias, None, None, False, 0.0,
            out.weight, out.bias, need_weights=False,
        )[0][:, 0]  # fmt: skip

    wanted = x.clone()
    for b in range(2):
        for m in range(5):
            wanted[b, m] += attended(layer.norm_row(x[b, m]), layer.row_qkv, layer.row_out)
    after = wanted.clone()
    for b in range(2):
        for k in range(3):
            after[b, :, k] += attended(layer.norm_column(wanted[b, :, k]), layer.column_qkv, layer.column_out)
    inner = layer.norm_inner(after)
    after = after + layer.feed_forward.down(F.gelu(layer.feed_forward.up(inner)))
    torch.testing.assert_close(layer(x, None, None), after, rtol=1e-5, atol=1e-5)


def test_permuted_rows_permute_the_memory(model, values):
    order = torch.tensor([3, 1, 6, 0, 5, 2, 4])
    torch.testing.assert_close(model.memory(values[:, order]), model.memory(values)[:, order], rtol=1e-4, atol=1e-5)


def test_swapped_columns_with_their_embeddings_change_nothing(model, values):
    wanted = model.memory(values)
    weight = model.encoder.column.weight
    before = weight.clone()
    try:
        weight[1], weight[2] = before[2], before[1]
        torch.testing.assert_close(model.memory(values[:, :, [0, 2, 1]]), wanted, rtol=1e-4, atol=1e-5)
    finally:
        weight.copy_(before)
    assert not torch.allclose(model.memory(values[:, :, [0, 2, 1]]), wanted, atol=1e-3)


def test_padded_rows_and_absent_columns_are_not_seen(model, values):
    mask = torch.arange(7) < torch.tensor([[7], [4], [1]])
    padded = values.clone()
    padded[~mask] = math.nan
    whole = model.memory(padded, mask)
    for b, m in enumerate((7, 4, 1)):
        torch.testing.assert_close(whole[b, :m], model.memory(values[b : b + 1, :m])[0], rtol=1e-4, atol=1e-5)
    present = torch.tensor([[True, True, False]] * 3)
    narrow = model.memory(values[:, :, :2])
    torch.testing.assert_close(model.memory(values, present=present), narrow, rtol=1e-4, atol=1e-5)


def test_cells_are_split_as_frexp_does():
    numbers = [0.0, 1.0, -1.0, 0.5, 3.14, -1e-30, 1e38, -1e38, 1e-45, 2.0**-126]
    mantissa, exponent = split_cells(torch.tensor(numbers))
    for x, m, e in zip(np.float32(numbers).tolist(), mantissa.tolist(), exponent.tolist()):
        assert (m, e * 16) == math.frexp(x)
