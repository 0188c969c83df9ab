"""Which machine code is thrown away and compiled, where it is kept, what is said of it, and that it is compiled once."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fansr
from fansr.cli import kernels
from fansr.expressions import compilation, kernel_folder

NAMES = {name for kind in kernels.KINDS.values() for name in kind}


def test_every_file_with_kernels_is_watched():
    root = Path(fansr.__file__).parent
    with_kernels = {
        str(path.relative_to(root).with_suffix(""))
        for path in root.rglob("*.py")
        if re.search(r"^@(nb\.(kernel|shared|inner)|njit)\b", path.read_text(), re.M)
    }
    assert with_kernels == NAMES


def test_machine_code_is_stale_when_a_file_it_builds_on_is_newer(tmp_path):
    tag = f"py{sys.version_info[0]}{sys.version_info[1]}"

    def write(name, seconds, text=""):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, (seconds, seconds))

    for name in {*NAMES, *kernel_folder.COMMON}:
        write(f"{name}.py", 100, "@nb.kernel(void(I1))\ndef f(x): ...\n@nb.inner\ndef g(x): ...\n")
        folder, stem = name.rsplit("/", 1)
        write(f"{folder}/__pycache__/{stem}.f-1.{tag}.nbi", 200)
        write(f"{folder}/__pycache__/{stem}.f-1.py12.nbi", 50)  # another Python's

    def stale():
        return {name for kind in kernels.KINDS.values() for name in kernels.missing(kind, tmp_path, tmp_path)}

    assert stale() == set()
    write("corpus/holdout_images.py", 300, "@nb.kernel(void(I1))\ndef f(x): ...\n")
    assert stale() == {"corpus/holdout_guard", "corpus/holdout_images"}
    write("expressions/opcodes.py", 300)
    assert stale() == NAMES
    assert kernels.missing(kernels.BASE, tmp_path, None) == list(kernels.BASE)  # no folder: nothing is kept


def test_a_kernel_that_is_missing_is_waited_for(tmp_path):
    for name in kernel_folder.COMMON:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.py").touch()
    (tmp_path / "expressions/elementary_functions.py").touch()
    (tmp_path / "expressions/program_kernels.py").write_text(
        "@nb.shared(void(I1))\ndef f(x): ...\n@nb.kernel(void(I1))\ndef g(x): ...\n"
    )
    (tmp_path / "expressions/__pycache__").mkdir()
    tag = f"py{sys.version_info[0]}{sys.version_info[1]}"
    for letter, waiting in (("f", ["expressions/program_kernels"]), ("g", [])):
        (tmp_path / f"expressions/__pycache__/program_kernels.{letter}-1.{tag}.nbi").touch()
        assert kernels.missing(kernels.BASE, tmp_path, tmp_path) == waiting


# ---- where ------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def loaded_apart(monkeypatch):
    """Kernels loaded in a test are forgotten after it: no other machine code is older than they are."""
    monkeypatch.setattr(compilation, "_newest", compilation._newest)
    monkeypatch.setattr(compilation, "_sources", set())


def load(path):
    """The module in a file of one small kernel."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(
        "from fansr.expressions.compilation import int64, kernel\n@kernel(int64(int64))\ndef twice(n):\n    return 2 * n\n"
    )
    spec = importlib.util.spec_from_file_location("tiny", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_code_lies_where_it_is_looked_for(tmp_path, monkeypatch):
    source, package = tmp_path / "one" / "tiny.py", tmp_path / "elsewhere"
    for root in (tmp_path / "cache", package):  # the user's folder, beside the source
        monkeypatch.setattr(compilation, "_FOLDER", compilation.PACKAGE if root == package else root)
        assert load(source).twice(3) == 6
        assert sorted(path.suffix for path in kernel_folder.compiled_files(source, root, package)) == [".nbc", ".nbi"]


def test_old_code_is_removed_when_a_file_loaded_before_is_newer(tmp_path, monkeypatch):
    monkeypatch.setattr(compilation, "_FOLDER", tmp_path / "cache")
    source = tmp_path / "three" / "tiny.py"
    load(source)
    written = kernel_folder.compiled_files(source, tmp_path / "cache")
    os.utime(source, (100, 100))
    for path in written:
        os.utime(path, (200, 200))
    for newest, left in ((150, 2), (250, 0)):
        monkeypatch.setattr(compilation, "_newest", newest)
        compilation._drop_stale(source)
        assert len(kernel_folder.compiled_files(source, tmp_path / "cache")) == left


def test_without_a_folder_kernels_work(tmp_path, monkeypatch):
    monkeypatch.setattr(compilation, "_FOLDER", None)
    assert load(tmp_path / "two" / "tiny.py").twice(4) == 8
    assert not list(tmp_path.rglob("*.nb?"))


@pytest.mark.parametrize("locked, wanted", [((), "package"), (("package",), "user"), (("package", "user"), None)])
def test_the_users_folder_stands_in_for_one_that_cannot_be_written(locked, wanted, tmp_path, monkeypatch):
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / "user" / name)
    monkeypatch.setattr(kernel_folder, "_writable", lambda folder: not any(name in folder.parts for name in locked))
    folders = {"package": tmp_path / "package", "user": tmp_path / "user" / "fansr" / "kernels", None: None}
    assert kernel_folder.cache_folder(tmp_path / "package") == folders[wanted]
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "chosen"))
    assert kernel_folder.cache_folder(tmp_path / "package") == tmp_path / "chosen"


# ---- what is said -----------------------------------------------------------------------------


@pytest.mark.parametrize("root, words", [(Path("somewhere"), "once"), (None, "in every run")])
def test_one_line_says_what_happens(root, words, monkeypatch, capsys):
    loaded = []
    monkeypatch.setattr(kernel_folder, "cache_folder", lambda: root)
    monkeypatch.setattr(kernels, "_alone", lambda root: __import__("contextlib").nullcontext())
    monkeypatch.setattr(kernels, "missing_of", lambda kinds, root: list(kernels.KINDS["fitting"]))
    monkeypatch.setattr(kernels.importlib, "import_module", loaded.append)
    assert kernels.ensure("fitting") == len(loaded) == len(kernels.KINDS["fitting"])
    assert loaded[:2] == ["fansr.expressions.elementary_functions", "fansr.expressions.program_kernels"]
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1 and "compiling" in err and words in err
    kernels.ensure("fitting", quiet=True)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(kernels, "missing_of", lambda kinds, root: [])
    assert kernels.ensure("fitting") == 0 and capsys.readouterr().err == ""


def test_asking_loads_no_numba():
    code = (
        "import sys; from fansr.cli import kernels; from fansr.expressions import kernel_folder;"
        "kernels.missing_of(kernels.KINDS, kernel_folder.cache_folder()); assert 'numba' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ---- once -------------------------------------------------------------------------------------

COUNT = """
import importlib, sys
from fansr.cli import kernels
import fansr.expressions.compilation
from numba.core import event

compiled = []

class Listener(event.Listener):
    def on_start(self, event):
        compiled.append(event.data["dispatcher"].py_func.__qualname__)

    def on_end(self, event):
        pass

event.register("numba:compile", Listener())
for kind in kernels.KINDS.values():
    for name in kind:
        importlib.import_module("fansr." + name.replace("/", "."))
if "fit" in sys.argv:
    import numpy as np
    from fansr.fitting import Budget, Problem
    from fansr.proposers.local_search.evolve import propose

    X = np.linspace(1.0, 2.0, 40)[:, None]
    problem = Problem(X, np.exp(-X[:, 0]) / (1.0 + np.sin(3 * X[:, 0]) ** 2), ["x1"])
    list(propose(problem, Budget(work=0.01), np.random.default_rng(0)))
print(*compiled)
"""


def test_the_second_process_compiles_nothing():
    """Neither when its modules are loaded nor when they are used."""
    first = subprocess.run([sys.executable, "-c", COUNT], check=True, capture_output=True, text=True)
    second = subprocess.run([sys.executable, "-c", COUNT, "fit"], check=True, capture_output=True, text=True)
    assert second.stdout.split() == [], first.stdout
