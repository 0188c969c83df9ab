"""Compile every numba kernel into its on-disk cache, so that no user waits for it: `python -m fansr.warm`.

numba keeps a kernel's machine code beside the source file and notices a change of that file, but not of another
one whose kernels are inlined into it.  So caches older than any kernel file are thrown away first.
"""

from __future__ import annotations

import time
from pathlib import Path

# Files with kernels, in the order they build on each other: the search's and the corpus's.  Importing one compiles what is not cached.
KERNEL_FILES = (("evaluate", "affine", "project", "descend", "genes", "merge", "canonical", "whole", "breed", "aim"),
                ("evaluate", "bulk", "rows", "sums", "lay", "images", "guard", "history"))


def stale_caches(folder: Path) -> list[Path]:
    """Cache files under `folder`/__pycache__ of a kernel file that is older than a kernel file it builds on."""
    stale = {}
    for chain in KERNEL_FILES:
        newest = 0.0
        for name in chain:
            newest = max(newest, (folder / f"{name}.py").stat().st_mtime)
            index = [f for f in (folder / "__pycache__").glob(f"{name}.*") if f.suffix in (".nbi", ".nbc")]
            stale |= {f: None for f in index if f.stat().st_mtime < newest}
    return list(stale)


def main() -> None:
    """Remove stale caches, compile, and run each kernel once on a small fit."""
    begin = time.perf_counter()
    for path in stale_caches(Path(__file__).parent):
        path.unlink(missing_ok=True)
    import numpy as np

    from fansr import aim, breed, bulk, descend, evaluate, guard, history, lay, search, sums  # noqa: F401  compiled when imported
    from fansr.problem import Budget, Problem

    # What is compiled at its first call only: a whole small search calls all of it.
    X = np.linspace(1.0, 2.0, 40)[:, None]
    y = np.exp(-X[:, 0]) / (1.0 + np.sin(3 * X[:, 0]) ** 2)
    search.search(Problem(X, y, ["x"]), search.Options(samples=64), Budget(4.0))
    print(f"kernels ready in {time.perf_counter() - begin:.1f} s")


if __name__ == "__main__":
    main()
