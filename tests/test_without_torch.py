"""The commands and the regressor that need no torch work where it cannot be imported."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# An import of torch fails as where it is not installed.
BLOCKED = """
import importlib.abc, sys
class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
sys.meta_path.insert(0, Blocked())
"""
WORK = """
import importlib, io, sys, numpy as np
from fansr import SymbolicRegressor
x = np.linspace(1, 5, 20)
model = SymbolicRegressor(samples=16, proposers=("power", "model")).fit(x[:, None], 3 * x**1.5)
assert "**1.5" in model.expression_, model.expression_
def command(module, *words):
    sys.argv = [module, *map(str, words)]
    try:
        importlib.import_module(module).main()
    except SystemExit as end:
        assert not end.code, (words, end.code)
folder = sys.argv[1]
command("fansr.corpus.gen", "-n", 50, "-q", "-j", 1, "-o", folder + "/a.zst")
command("fansr.simplification.simplify", "-q", "-j", 1, "-o", folder + "/b.zst", folder + "/a.zst")
command("fansr.corpus.decontam", "-q", "-j", 1, "--test", "data/fastsrb.json", "-o", folder + "/c.zst", folder + "/b.zst")
command("fansr.corpus.render", "-q", "-j", 1, "--points", 20, "--val", "-o", folder + "/d.zst", folder + "/c.zst")
command("fansr.cli.cat", "--head", 3, folder + "/d.zst", "--merge", "-o", folder + "/e.zst")
command("fansr.network.sample", "-q", "--samples", 8, "-o", folder + "/f.zst", folder + "/e.zst")
command("fansr.fit", "-q", "-j", 1, "--samples", 0, "--proposers", "power", "-o", folder + "/g.zst", folder + "/f.zst")
command("fansr.evaluation.score", "-q", "--bootstrap", 0, folder + "/g.zst")
assert "torch" not in sys.modules
"""


def test_everything_but_training_works_without_torch(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED + WORK, tmp_path], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_training_says_what_to_install(tmp_path):
    words = ["fansr-train", "--config", "configs/tiny.toml", "--steps", "1", "--out", str(tmp_path / "run"), "-q"]
    code = f"import sys; sys.argv = {words!r}; from fansr.network.train import main; main()"
    done = subprocess.run([sys.executable, "-c", BLOCKED + code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode in (1, 2) and "Traceback" not in done.stderr, done.stderr[-1500:]
    assert "pip install torch" in done.stderr and len(done.stderr.strip().splitlines()) == 1
