"""Compiled kernels, asked for before they are used: what is not on disk yet is compiled once, and stderr says so.

Knows which files hold kernels and what they are for, by name only, and looks at files before it loads anything, so that a
command that finds its kernels on disk pays nothing.  Machine code is kept where expressions/kernel_folder.py says;
what is older than a file it builds on counts as not there, and expressions/compilation.py removes it.
"""

from __future__ import annotations

import contextlib
import importlib
import re
from collections.abc import Iterable
from pathlib import Path

from fansr.cli.messages import progress, remark
from fansr.expressions import kernel_folder

# Files with kernels, in the order they build on each other, by what they are for; the number is about how many seconds of
# one core each takes to compile (measured on a 2-core virtual machine).
BASE = {"expressions/elementary_functions": 1, "expressions/program_kernels": 4}
FITTING = {f"fitting/{name}": seconds for name, seconds in (
    ("linear_constants", 2), ("variable_projection", 1), ("levenberg_marquardt", 5), ("quick_fits", 1))}  # fmt: skip
FITTING["proposers/parts/subset_kernels"] = 2
LOCAL_SEARCH = {f"proposers/local_search/{name}": seconds for name, seconds in (
    ("genomes", 1), ("genome_canonical_rules", 2), ("genome_canonical_form", 2), ("nearest_terms", 3), ("aimed_mutations", 3),
    ("genome_compiler", 1), ("random_mutations", 2), ("quotient_spelling", 1))}  # fmt: skip
DRAWING = {"corpus/random_columns": 1, "corpus/draw_kernels": 2, "corpus/insertion": 1}
ROWS = {"corpus/skeleton_rows": 1}
KINDS = {
    "fitting": BASE | FITTING,
    "local search": BASE | FITTING | LOCAL_SEARCH,
    "drawing": BASE | DRAWING,
    "guarding": BASE | DRAWING | ROWS | {"corpus/holdout_images": 3, "corpus/holdout_guard": 1},
    "rendering": BASE | DRAWING | ROWS | {"corpus/formula_text": 1, "corpus/problem_bytes": 3},
    "sampling": {"network/decoder_kernels": 3},
    "distilling": BASE | {"distillation/law_kernel": 1},
}


def _time(path: Path) -> float:
    """When a file was written; long ago where another process has just removed it."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def missing(names: Iterable[str], package: Path = kernel_folder.PACKAGE, root: Path | None = None) -> list[str]:
    """Which of these files have kernels that are not on disk; the names in the order of a kind."""
    waiting = []
    newest = max((package / f"{name}.py").stat().st_mtime for name in kernel_folder.COMMON)
    for name in names:
        source = package / f"{name}.py"
        newest = max(newest, source.stat().st_mtime)
        found = [path for path in kernel_folder.compiled_files(source, root, package) if _time(path) >= newest]
        kernels = len(re.findall(r"^@(?:nb\.kernel|nb\.shared|njit)\(", source.read_text(), re.MULTILINE))
        if sum(path.suffix == ".nbi" for path in found) < kernels:
            waiting.append(name)
    return waiting


@contextlib.contextmanager
def _alone(root: Path | None):
    """One process of a pipe compiles, the others wait for it and then read what it wrote."""
    try:
        import fcntl

        folder = root / "expressions" / "__pycache__" if root == kernel_folder.PACKAGE else root
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "kernels.lock").open("w")
    except (ImportError, OSError, TypeError):  # no such locks here, or no folder
        yield
        return
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def ensure(*kinds: str, quiet: bool = False) -> int:
    """See that the kernels of these kinds (keys of KINDS) are compiled and loaded if any was not; how many files were not.

    Says on stderr what happens and that it happens once, with a bar on a terminal.
    """
    root = kernel_folder.cache_folder()
    if not missing_of(kinds, root):
        return 0
    with _alone(root):
        waiting = missing_of(kinds, root)
        if not waiting:
            return 0
        seconds = {name: s for kind in kinds for name, s in KINDS[kind].items() if name in waiting}
        often = (
            "once" if root else "in every run, since no folder for them can be written (NUMBA_CACHE_DIR names another)"
        )
        remark(f"compiling numerical kernels, {often}, about {sum(seconds.values())} s", quiet)
        with progress(total=sum(seconds.values()), quiet=quiet, unit="s") as bar:
            for name in seconds:
                importlib.import_module("fansr." + name.replace("/", "."))
                bar.update(seconds[name])
    return len(waiting)


def missing_of(kinds: Iterable[str], root: Path | None) -> list[str]:
    """missing() of several kinds together, each file once."""
    return list(dict.fromkeys(name for kind in kinds for name in missing(KINDS[kind], kernel_folder.PACKAGE, root)))
