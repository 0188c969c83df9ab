"""Laws in files: what is read is what was written, by another process too, and anything else is an error."""

import subprocess
import sys
from pathlib import Path

import networks
import numpy as np
import pytest
import torch
from test_distiller import told

from fansr.distill import Distiller
from fansr.distillation import saving
from fansr.errors import DataError

HERE = Path(__file__).parent


@pytest.fixture
def net():
    torch.manual_seed(0)
    return networks.Net()


def based(net, **how):
    """A distiller with bases on both sides and a linear map."""
    d = Distiller(net, "body").record(networks.batches(), rows=200, pca_in=2, pca_out=2, linear="full", **how)
    d.choose(0, law=_law(0, ["pow2", "pc1"], d))
    return d


def _law(unit, expr, d):
    from fansr.distill import UnitLaw

    tokens = tuple(f"x{d.offered.index(t) + 1}" if t in d.offered else t for t in expr)
    return UnitLaw(unit, tokens, (), tuple(d.offered), 0.5)


@pytest.mark.parametrize("make", [told, based])
def test_what_was_saved_switches_alike(net, tmp_path, make):
    d = make(net)
    path = str(tmp_path / "laws.zst")
    d.save(path)
    again = Distiller.load(path, net)
    assert again.laws == d.laws or make is based
    (batch,) = networks.batches(1, seed=4)
    outputs = []
    for one in (d, again):
        one.switch()
        outputs.append(net(*batch).detach())
        one.restore()
    assert torch.allclose(*outputs, atol=1e-6)
    assert (tmp_path / "laws.basis.safetensors").exists() == (make is based)
    again.observe(networks.batches(), rows=200)
    rows = again.judge(networks.square_loss, networks.batches(2), repeats=1)["rows"]
    names = [row["name"] for row in rows]
    assert names == (
        ["original", "mean", "linear map", "bases alone", "laws"]
        if make is based
        else ["original", "mean", "linear map", "laws"]
    )


def test_another_process_gives_the_same_numbers(net, tmp_path):
    d = told(net)
    d.save_switched(str(tmp_path / "net.safetensors"))
    (batch,) = networks.batches(1, seed=4)
    d.switch()
    torch.manual_seed(9)  # other weights, which the file replaces
    code = (
        f"import sys; sys.path[:0] = [{str(HERE)!r}]; import networks, torch; from fansr.distill import Distiller\n"
        f"net = networks.Net(); d = Distiller.load_switched({str(tmp_path / 'net.safetensors')!r}, net)\n"
        "(batch,) = networks.batches(1, seed=4)\n"
        "print(net(*batch).detach().flatten().tolist()); d.restore(); print(net(*batch).detach().flatten().tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    switched, own = (np.array(eval(line)) for line in done.stdout.splitlines())
    assert np.allclose(switched, net(*batch).detach().flatten(), atol=1e-6)
    d.restore()
    assert np.array_equal(own.astype(np.float32), net(*batch).detach().flatten().numpy())


def test_laws_of_other_weights_are_an_error(net, tmp_path):
    class Scaled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(2))

        def forward(self, x):
            return networks.Planted()(x) * self.scale

    net = networks.Net(Scaled())
    path = str(tmp_path / "laws.zst")
    told(net).save(path)
    with torch.no_grad():
        net.body.scale[0] = 2
    with pytest.raises(DataError, match="laws of another body: its weights have digest"):
        Distiller.load(path, net)
    assert Distiller.load(path, net, force=True).laws[1].length == 5


def test_damaged_and_foreign_files_are_one_line(net, tmp_path):
    path = tmp_path / "laws.zst"
    d = based(net)
    d.save(str(path))
    whole = path.read_bytes()
    (tmp_path / "cut.zst").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError):
        Distiller.load(str(tmp_path / "cut.zst"), net, basis_path=saving.basis_path(str(path)))
    with pytest.raises(DataError, match="no such file; it holds the bases"):
        Distiller.load(str(path), net, basis_path=str(tmp_path / "none"))
    other = based(net, held=0.3)
    saving.write_arrays(str(tmp_path / "other"), {**other.arrays(), "in_mean": other.arrays()["in_mean"] + 1})
    with pytest.raises(DataError, match="other bases than those"):
        Distiller.load(str(path), net, basis_path=str(tmp_path / "other"))
    d.save_switched(str(tmp_path / "net"))
    with pytest.raises(DataError, match="do not fit this model"):
        Distiller.load_switched(str(tmp_path / "net"), torch.nn.Linear(2, 2))
    (tmp_path / "junk").write_bytes(b"junk")
    with pytest.raises(DataError, match="not a safetensors file"):
        Distiller.load_switched(str(tmp_path / "junk"), net)
    with pytest.raises(DataError, match="weights without laws"):
        saving.write_arrays(str(tmp_path / "plain"), {"in_mean": np.zeros(2)})
        Distiller.load_switched(str(tmp_path / "plain"), net)


def test_functions_among_the_columns_are_given_again(net, tmp_path):
    path = str(tmp_path / "laws.zst")
    inputs = {"d": "x1 - x2", "norm": lambda X: X.norm(dim=1)}
    d = Distiller(net, "body").record(networks.batches(), rows=200, inputs=inputs)
    d.choose(0, law=_law(0, ["+", "d", "norm"], d))
    d.save(path)
    with pytest.raises(DataError, match="norm were made by functions"):
        Distiller.load(path, net)
    again = Distiller.load(path, net, inputs=inputs)
    again.switch(guard="none")
    x = torch.rand(5, 3)
    assert torch.allclose(net.body(x)[:, 0], x[:, 0] - x[:, 1] + x.norm(dim=1), atol=1e-6)
