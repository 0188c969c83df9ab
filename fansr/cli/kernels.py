"""Compiled kernels, asked for before they are used: what is not on disk yet is compiled once, and stderr says so.

Knows which files hold kernels and what they are for, by name only, and looks at files before it loads anything, so that a
command that finds its kernels on disk pays nothing.  numba keeps a kernel's machine code (expressions/kernel_folder.py
says where) and notices a change of its source file, but not of another whose functions are compiled into it; so code
older than any file it builds on is thrown away first.
"""

from __future__ import annotations

import contextlib
import importlib
import re
from pathlib import Path

from fansr.cli.command import progress, remark
from fansr.expressions import kernel_folder

# Files without kernels that all kernels build on.
COMMON = ("expressions/tokens", "expressions/opcodes", "expressions/compilation")
# Files with kernels, in the order they build on each other, by what they are for; the number is about how many seconds of
# one core each takes to compile (measured on a 2-core virtual machine).
BASE = {"expressions/programs": 4}
FITTING = {f"fitting/{name}": seconds for name, seconds in (
    ("linear_constants", 2), ("variable_projection", 1), ("levenberg_marquardt", 5))}  # fmt: skip
LOCAL_SEARCH = {f"proposers/local_search/{name}": seconds for name, seconds in (
    ("genomes", 1), ("canonical_rules", 2), ("canonical_form", 2), ("genome_programs", 1), ("random_changes", 2),
    ("aimed_changes", 3))}  # fmt: skip
DRAWING = {"corpus/draw_kernels": 3}
ROWS = {"corpus/skeleton_rows": 1}
KINDS = {
    "fitting": BASE | FITTING,
    "local search": BASE | FITTING | LOCAL_SEARCH,
    "drawing": BASE | DRAWING,
    "guarding": BASE | DRAWING | ROWS | {"corpus/holdout_images": 3, "corpus/holdout_guard": 1},
    "rendering": BASE | DRAWING | ROWS | {"corpus/problem_bytes": 4},
    "sampling": {"network/decoder_kernels": 3},
}


def state(names, package: Path = kernel_folder.PACKAGE, root: Path | None = None) -> tuple[list[str], list[Path]]:
    """(files of these whose kernels are not all on disk, stale files of machine code); the names in the order of a kind."""
    waiting, stale = [], []
    newest = max((package / f"{name}.py").stat().st_mtime for name in COMMON)
    for name in names:
        source = package / f"{name}.py"
        newest = max(newest, source.stat().st_mtime)
        found = kernel_folder.compiled_files(source, root, package)
        old = [path for path in found if path.stat().st_mtime < newest]
        kernels = len(re.findall(r"^@(?:nb\.kernel|nb\.shared|njit)\(", source.read_text(), re.MULTILINE))
        if sum(path.suffix == ".nbi" for path in set(found) - set(old)) < kernels:
            waiting.append(name)
        stale += old
    return waiting, stale


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
    waiting = state_of(kinds, root)[0]
    if not waiting:
        return 0
    with _alone(root):
        waiting, stale = state_of(kinds, root)
        for path in stale:
            path.unlink(missing_ok=True)
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


def state_of(kinds, root: Path | None) -> tuple[list[str], list[Path]]:
    """state() of several kinds together, each file once."""
    waiting, stale = {}, {}
    for kind in kinds:
        names, files = state(KINDS[kind], kernel_folder.PACKAGE, root)
        waiting |= dict.fromkeys(names)
        stale |= dict.fromkeys(files)
    return list(waiting), list(stale)
