"""fansr-distill: every step on a script, its files read by the others, and each wrong call in one line."""

import json
import runpy

import networks
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from fansr.distill import Distiller, ShrunkNorm
from fansr.distill_command import distill
from fansr.fit import fit
from fansr.streams import open_reader, reader_writer

SCRIPT = """
import sys
sys.path.insert(0, {here!r})
import networks, torch

def model():
    torch.manual_seed(0)
    net = networks.Net(torch.nn.Sequential(networks.Planted(), torch.nn.Identity()))
    net.hidden = torch.nn.Linear(2, 6)
    net.last = torch.nn.Linear(6, 2)
    return net

def batches(split):
    return networks.batches(8, seed=len(split))

def loss(model, batch):
    return model(*batch).square().mean() + (model.last(model.hidden(model.body(*batch))) - batch[0][:, :2]).square().mean()
"""


def call(tool, *words, code=0):
    done = CliRunner().invoke(tool, [str(word) for word in words])
    assert done.exit_code == code, (words, done.output, done.stderr, done.exception)
    if code:
        assert done.stderr.count("\n") == 1 and "internal" not in done.stderr, done.stderr
    return done.stderr if code else done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory, request):
    """A script, its recorded activations and their laws."""
    place = tmp_path_factory.mktemp("distill")
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(place / "cache"))
    request.addfinalizer(monkeypatch.undo)
    (place / "net.py").write_text(SCRIPT.format(here=str(networks.__file__).rpartition("/")[0]))
    call(
        distill,
        "record",
        place / "net.py",
        "--at",
        "body.0",
        "--rows",
        200,
        "--input",
        "d=x1 - x2",
        "-o",
        place / "acts.zst",
        "-q",
    )
    # not by drop: on a busy machine a unit may then have no law, which switch leaves out
    words = ("--select", "mdl", "--proposers", "power,sums", "-j", 1, "-q", "--max-length", 12)
    call(fit, place / "acts.zst", *words, "-o", place / "laws.zst")
    return place


def test_problems_are_those_of_any_table(folder):
    with open_reader(str(folder / "acts.zst"), holds="problem") as reader:
        problems = list(reader)
    assert [p["unit"] for p in problems] == [0, 1] and problems[0]["names"] == ["x1", "x2", "x3", "d"]
    X = torch.as_tensor(problems[0]["X"])
    truth = networks.Planted()(X[:, :3]).numpy()
    for unit, p in enumerate(problems):
        assert (
            np.allclose(p["y"], truth[:, unit], atol=1e-6) and p["X"].shape == (160, 4) and p["X_val"].shape == (160, 4)
        )
    assert problems[0]["module"] == "body.0" and len(problems[0]["digest"]) == 16


def test_judge_switch_export_speed_and_local(folder, tmp_path):
    script, laws = folder / "net.py", folder / "laws.zst"
    outcome = json.loads(call(distill, "judge", script, laws, "--json", "--repeats", 1))
    assert [row["name"] for row in outcome["rows"]] == ["original", "mean", "linear map", "laws"]
    assert "linear map" in call(distill, "judge", script, laws, "--repeats", 1)
    call(distill, "switch", script, laws, "-o", tmp_path / "net.safetensors")
    model = runpy.run_path(str(script))["model"]()
    d = Distiller.load_switched(str(tmp_path / "net.safetensors"), model)
    assert d.block.is_replaced and d.block.path == "body.0"
    (x,) = networks.batches(1, seed=3)[0]
    switched = model.body(x).detach().numpy()
    for form in ("python", "torch", "numpy", "latex", "sympy", "c"):
        call(distill, "export", laws, "--as", form, "-o", tmp_path / f"laws.{form}")
    made = runpy.run_path(str(tmp_path / "laws.torch"))["Laws"]()
    assert torch.allclose(made(x), torch.tensor(switched), atol=1e-5)
    made(x).sum().backward()
    assert all(p.grad is not None for p in made.parameters())
    source = runpy.run_path(str(tmp_path / "laws.python"))
    assert np.allclose(source["block"](x.numpy()), switched, atol=1e-5)
    assert [
        row["rows"] for row in json.loads(call(distill, "speed", script, laws, "--json", "--repeats", 1))["block"]
    ] == [1, 64, 4096]


def test_bases_stand_beside_the_stream_and_are_found_again(folder, tmp_path):
    script = folder / "net.py"
    how = ("--rows", 200, "--pca-in", 2, "--pca-out", 2, "--linear", "full", "-q")
    call(distill, "record", script, "--at", "body.0", *how, "-o", tmp_path / "acts.zst")
    assert (tmp_path / "acts.basis.safetensors").exists()
    call(
        fit,
        tmp_path / "acts.zst",
        "--proposers",
        "power",
        "--select",
        "mdl",
        "-j",
        1,
        "-q",
        "-o",
        tmp_path / "elsewhere.zst",
    )
    outcome = json.loads(call(distill, "judge", script, tmp_path / "elsewhere.zst", "--json", "--repeats", 1))
    assert "bases alone" in [row["name"] for row in outcome["rows"]]
    call(distill, "export", tmp_path / "elsewhere.zst", "-o", tmp_path / "laws.py")
    call(distill, "export", tmp_path / "elsewhere.zst", "--as", "torch", "-o", tmp_path / "laws_torch.py")
    model = runpy.run_path(str(script))["model"]()
    d = Distiller.load(str(tmp_path / "elsewhere.zst"), model, basis_path=str(tmp_path / "acts.basis.safetensors"))
    d.switch(guard="none")
    (x,) = networks.batches(1, seed=3)[0]
    by_torch = runpy.run_path(str(tmp_path / "laws_torch.py"))["Laws"]()(x).detach().numpy()
    assert np.allclose(by_torch, model.body(x).detach().numpy(), atol=1e-4)
    found = runpy.run_path(str(tmp_path / "laws.py"))["block"](x.numpy())
    assert np.allclose(found, model.body(x).detach().numpy(), atol=1e-4)


def test_a_second_record_is_from_the_cache_and_a_cut_one_goes_on(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    how = ("record", folder / "net.py", "--at", "body.0", "--rows", 150, "--strata", 3)

    def said(name, *more):
        done = CliRunner().invoke(distill, [str(word) for word in (*how, "-o", tmp_path / name, *more)])
        assert done.exit_code in (0, 130), done.stderr
        return done.stderr

    assert "from cache" not in said("one.zst", "--input", "d=x1-x2") and "from cache" in said(
        "two.zst", "--input", "d=x1-x2"
    )
    with open_reader(str(tmp_path / "one.zst")) as first, open_reader(str(tmp_path / "two.zst")) as second:
        for one, two in zip(list(first), list(second), strict=True):
            assert all(np.array_equal(one[key], two[key]) for key in ("X", "y", "X_val", "y_val"))
    assert "from cache" not in said("three.zst", "--fresh")
    write = reader_writer.Writer.write

    def stopped(self, record):
        write(self, record)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(reader_writer.Writer, "write", stopped)
        said("cut.zst", "--resume")
    with open_reader(str(tmp_path / "cut.zst")) as cut:
        assert [record["unit"] for record in cut] == [0]
    said("cut.zst", "--resume")
    said("whole.zst")
    with open_reader(str(tmp_path / "cut.zst")) as cut, open_reader(str(tmp_path / "whole.zst")) as whole:
        for a, b in zip(list(cut), list(whole), strict=True):
            assert a["unit"] == b["unit"] and np.array_equal(a["X"], b["X"]) and np.array_equal(a["y"], b["y"])


@pytest.mark.parametrize("by", ["spread", "loss"])
def test_pruning_writes_a_smaller_network(folder, tmp_path, by):
    from safetensors.torch import load_file

    words = ("--at", "hidden", "--into", "last", "--keep", 2, "--steps", 8, "--by", by, "-o", tmp_path / "small")
    call(distill, "prune", folder / "net.py", *words)
    weights = load_file(str(tmp_path / "small"))
    assert weights["hidden.weight"].shape == (2, 2) and weights["last.weight"].shape == (2, 2)


def test_pruning_through_a_layer_norm_writes_what_the_command_says(folder, tmp_path):
    from safetensors.torch import load_file

    text = (folder / "net.py").read_text()
    text = text.replace("net.last =", "net.norm = torch.nn.LayerNorm(6)\n    net.last =")
    text = text.replace(
        "model.last(model.hidden(model.body(*batch)))", "model.last(model.norm(model.hidden(model.body(*batch))))"
    )
    (tmp_path / "normed.py").write_text(text)
    words = ("--at", "hidden", "--into", "last", "--norm", "norm", "--keep", 2, "--steps", 12, "-o", tmp_path / "small")
    done = CliRunner().invoke(distill, ["prune", *(str(word) for word in (tmp_path / "normed.py", *words))])
    assert done.exit_code == 0 and done.stderr.count("\n") == 1, done.stderr
    script = runpy.run_path(str(tmp_path / "normed.py"))
    model, weights = script["model"](), load_file(str(tmp_path / "small"))
    assert weights["last.weight"].shape == (2, 3)
    model.hidden, model.norm, model.last = (
        torch.nn.Linear(2, 2),
        ShrunkNorm(model.norm, torch.arange(2)),
        torch.nn.Linear(3, 2),
    )
    model.load_state_dict(weights)
    after = float(np.mean([script["loss"](model, batch).item() for batch in script["batches"]("test")]))
    assert after == pytest.approx(float(done.stderr.split("before, ")[1].split(" after")[0]), rel=1e-4)


@pytest.mark.parametrize(
    "words, code, said",
    [
        (("prune", "SCRIPT", "--at", "hidden", "--into", "last", "--norm", "head", "--keep", "2", "--steps", "1", "-o", "x"), 1, "head is a Linear : wanted a LayerNorm over the 6 units"),
        (("prune", "SCRIPT", "--at", "hidden", "--into", "last", "--norm", "nom", "--keep", "2", "--steps", "1", "-o", "x"), 1, "no part 'nom'"),
        (("record", "SCRIPT", "--at", "bdy"), 1, "no part 'bdy'; the nearest are body"),
        (("record", "SCRIPT"), 2, "record wants --at PATH"),
        (("judge", "SCRIPT"), 2, "judge wants SCRIPT LAWS, 1 words came"),
        (("record", "SCRIPT", "--at", "body", "--rank", "2"), 2, "--rank does not go with record"),
        (("record", "none.py", "--at", "body"), 1, "none.py: no such file"),
        (("record", "SCRIPT", "--at", "body", "--pca-in", "9"), 1, "pca_in=9 is above the 3 values"),
        (("record", "SCRIPT", "--at", "body", "--pca-in", "2.5"), 2, "wanted a whole number, or a share below 1"),
        (("record", "SCRIPT", "--at", "body", "--pca-in", "2"), 2, "bases are a file of their own: give --basis FILE"),
        (("record", "SCRIPT", "--at", "body", "--units", "7-3"), 2, "wanted numbers from 0 and ranges"),
        (("record", "SCRIPT", "--at", "body", "--units", "9"), 1, "no unit 9; it has 2"),
        (("record", "SCRIPT", "--at", "body", "--input", "dx"), 2, "wanted NAME=FORMULA"),
        (("record", "SCRIPT", "--at", "body", "--input", "d=x9-x1"), 1, "x9 is no column, the block is given 3"),
        (("record", "SCRIPT", "--at", "body", "--columns", "q"), 1, "no column 'q'"),
        (("record", "SCRIPT", "--at", "body", "--axes", "rows"), 2, "wanted last, channels, or patch:3"),
        (("record", "SCRIPT", "--at", "body", "--argument", "7"), 1, "is given no tensor 7"),
        (("record", "SCRIPT", "--at", "hidden"), 1, "hidden is never called"),
        (("switch", "SCRIPT", "LAWS"), 2, "give -o FILE"),
        (("record", "SCRIPT", "--at", "body", "--device", "cuda:99"), 1, "--device cuda:99"),
        (("judge", "SCRIPT", "ACTS"), 1, "wanted"),
        (("prune", "SCRIPT", "--at", "hidden", "--keep", "2"), 2, "prune wants --keep N and --into PATH"),
        (("prune", "SCRIPT", "--at", "hidden", "--keep", "9", "--into", "last", "-o", "x"), 2, "to=9: wanted 1 to 6 units"),
        (("local", "SCRIPT", "--at", "body", "--row", "999999"), 1, "row 999999"),
    ],
)  # fmt: skip
def test_wrong_calls_are_one_line(folder, words, code, said):
    there = {"SCRIPT": folder / "net.py", "LAWS": folder / "laws.zst", "ACTS": folder / "acts.zst"}
    assert said in call(distill, *(there.get(word, word) for word in words), code=code)


@pytest.mark.parametrize(
    "text, said",
    [
        ("x = ", "it fails with SyntaxError"),
        ("def model(): return 3\ndef batches(split): return []", "model() gives a int, wanted a torch.nn.Module"),
        ("def model(): return 3", "no function batches()"),
        ("raise SystemExit('no')", "it fails with SystemExit: no"),
        (
            "import torch\ndef model(): return torch.nn.Tanh()\ndef batches(split): return []",
            "batches('record') gives none",
        ),
        (
            "import torch\ndef model(): return torch.nn.Tanh()\ndef batches(split):\n    return 1 / 0",
            ":4: batches('record') fails with ZeroDivisionError",
        ),
    ],
)
def test_what_is_wrong_with_a_script_is_one_line(tmp_path, text, said):
    script = tmp_path / "own.py"
    script.write_text(text)
    assert said in call(distill, "record", script, "--at", ".", code=1)
