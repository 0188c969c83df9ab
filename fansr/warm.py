"""Compile every numba kernel into its on-disk cache, so that no user waits for it: `python -m fansr.warm`.

numba keeps a kernel's machine code beside the source file and notices a change of that file, but not of another
one whose kernels are inlined into it.  So caches older than any kernel file are thrown away first.
"""

from __future__ import annotations

import time
from pathlib import Path

# Files with kernels, in the order they build on each other: the search's and the corpus's.  Importing one compiles what is
# not cached.
KERNEL_FILES = (
    (
        "expressions/programs", "fitting/linear_constants", "fitting/variable_projection", "fitting/levenberg_marquardt",
        *(f"proposers/local_search/{name}" for name in
          ("genomes", "canonical_rules", "canonical_form", "genome_programs", "random_changes", "aimed_changes")),
    ),
    (
        "expressions/programs",
        *(f"corpus/{name}" for name in
          ("draw_kernels", "skeleton_rows", "digest_kernels", "problem_bytes", "holdout_images", "holdout_guard")),
        "network/decoder_kernels",
    ),
)  # fmt: skip


def stale_caches(folder: Path) -> list[Path]:
    """Cache files of kernel files below `folder` that are older than a kernel file they build on."""
    stale = {}
    for chain in KERNEL_FILES:
        newest = 0.0
        for name in chain:
            source = folder / f"{name}.py"
            newest = max(newest, source.stat().st_mtime)
            index = [
                f for f in (source.parent / "__pycache__").glob(f"{source.stem}.*") if f.suffix in (".nbi", ".nbc")
            ]
            stale |= {f: None for f in index if f.stat().st_mtime < newest}
    return list(stale)


def main() -> None:
    """Remove stale caches, compile, and run each kernel once on a small fit."""
    begin = time.perf_counter()
    root = Path(__file__).parent
    for path in stale_caches(root):
        path.unlink(missing_ok=True)
    import importlib

    import numpy as np

    from fansr.fitting import Budget, Problem
    from fansr.search import turns

    for name in dict.fromkeys(name for chain in KERNEL_FILES for name in chain):
        importlib.import_module("fansr." + name.replace("/", "."))
    # What is compiled at its first call only: a whole small search calls all of it.
    X = np.linspace(1.0, 2.0, 40)[:, None]
    y = np.exp(-X[:, 0]) / (1.0 + np.sin(3 * X[:, 0]) ** 2)
    turns.search(Problem(X, y, ["x"]), turns.Options(samples=64), Budget(4.0))
    print(f"kernels ready in {time.perf_counter() - begin:.1f} s")


if __name__ == "__main__":
    main()
