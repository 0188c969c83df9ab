"""The order in which modules may import each other, and what each may import at its top."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import fansr

ROOT = Path(fansr.__file__).parent
# A module may import only modules named before it in this list.
ORDER = [
    "version", "onethread", "bare", "errors", "tokens", "resources", "seeds", "records", "packed", "stream", "parallel", "command", "problem",
    "expr", "evaluate", "export",
    "spell", "powers", "respell", "simplify", "equivalent", "mine",
    "prior", "bulk", "rows", "sums", "lay", "laws", "images", "guard", "gen", "decontam", "render", "table",
    "affine", "project", "descend", "refine",
    "device", "history", "stepper", "model", "render_torch", "checkpoint", "batch", "optimizer", "steps", "feed", "loop", "train",
    "draws", "view", "walk", "sample",
    "golden", "build", "terms", "sparse", "power", "products", "outers", "library", "rational", "peel", "pairs", "radicals", "waves", "bells", "scan", "curves",
    "separable", "structure",
    "genes", "merge", "canonical", "whole", "breed", "aim", "genome", "stock", "island", "quotient", "evolve",
    "metrics", "rank", "constants", "tidy", "snap", "focus", "partner", "search", "robust", "score", "plot", "fit", "regressor",
    "leveled", "peers", "bench", "cat", "warm",
]
TORCH = {"device", "stepper", "model", "batch", "checkpoint", "optimizer", "steps", "loop", "train",
         "draws", "view", "walk", "sample", "render_torch"}
# Commands that look at streams must start fast: none of these at their top, nor at the top of what they import.
HEAVY = {"torch", "numba", "scipy", "pandas", "simplipy", "matplotlib", "sympy"}
LIGHT = ["cat", "gen", "score", "simplify", "decontam", "render", "fit"]


def modules():
    return sorted(path.stem for path in ROOT.glob("*.py") if path.stem != "__init__")


def imported(name: str, top_only: bool = False) -> set[str]:
    """Full dotted names imported by a module: everywhere in it, or only when it is loaded."""
    tree = ast.parse((ROOT / f"{name}.py").read_text())
    nodes = tree.body if top_only else ast.walk(tree)
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "fansr":
            found |= {f"fansr.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module)
    return found


def ours(names):
    return {name.split(".")[1] for name in names if name.startswith("fansr.")}


def test_every_module_has_its_place():
    assert set(modules()) <= set(ORDER), set(modules()) - set(ORDER)


@pytest.mark.parametrize("name", modules())
def test_imports_point_one_way(name):
    allowed = set(ORDER[:ORDER.index(name)])
    wrong = ours(imported(name)) & set(ORDER) - allowed
    assert not wrong, f"{name} imports {sorted(wrong)}, which come after it"


@pytest.mark.parametrize("name", modules())
def test_torch_stays_where_it_is_needed(name):
    if name not in TORCH:
        assert not any(module.split(".")[0] == "torch" for module in imported(name, top_only=True))


def heavy_at_top(name, seen=None):
    seen = set() if seen is None else seen
    if name in seen or not (ROOT / f"{name}.py").exists():
        return set()
    seen.add(name)
    top = imported(name, top_only=True)
    found = {module.split(".")[0] for module in top} & HEAVY
    for other in ours(top):
        found |= heavy_at_top(other, seen)
    return found


@pytest.mark.parametrize("name", [n for n in LIGHT if n in modules()])
def test_light_commands_load_nothing_heavy(name):
    assert not heavy_at_top(name)


def test_simplipy_has_one_door():
    users = [name for name in modules() if any(m.split(".")[0] == "simplipy" for m in imported(name))]
    assert set(users) <= {"simplify", "mine"}


def test_numba_is_loaded_without_scipy_and_scipy_works_afterwards():
    code = ("import sys, fansr.evaluate; assert 'numba' in sys.modules and 'scipy' not in sys.modules, 'before'; import scipy.linalg, numpy;"
            "assert abs(scipy.linalg.det(numpy.eye(2)) - 1) < 1e-12")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
