"""Where compiled kernels are kept: beside their sources, or in the user's cache folder, or nowhere.

Does not load numba, so that a command can ask what is compiled before it pays for that.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
# Files without kernels that all kernels build on.
COMMON = ("expressions/tokens", "expressions/opcodes", "expressions/compilation")


def _writable(folder: Path) -> bool:
    """Whether files can be made in a folder, or in the nearest one above it that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def cache_folder(package: Path = PACKAGE) -> Path | None:
    """The package's folder (numba then writes into each __pycache__), another root, or None where none can be written.

    NUMBA_CACHE_DIR, numba's own setting, comes first; a package that cannot be written (a system's site-packages, a
    read-only container) has its kernels in the user's cache folder.
    """
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    if chosen:
        return Path(chosen) if _writable(Path(chosen)) else None
    kernels = package / "expressions"
    if _writable(kernels) and _writable(kernels / "__pycache__"):
        return package
    from platformdirs import user_cache_path

    folder = user_cache_path("fansr") / "kernels"
    return folder if _writable(folder) else None


def compiled_files(source: Path, root: Path | None, package: Path = PACKAGE) -> list[Path]:
    """The files of machine code that stand for a source file, for this Python: numba's index (.nbi) and code (.nbc)."""
    if root is None:
        return []
    folder = source.parent / "__pycache__"
    if root != package:  # numba.core.caching._CacheLocator.get_suitable_cache_subpath
        parent = str(source.parent)
        folder = root / f"{source.parent.name}_{hashlib.sha1(parent.encode()).hexdigest()}"
    tag = f".py{sys.version_info[0]}{sys.version_info[1]}"
    files = folder.glob(f"{source.stem}.*{tag}*") if folder.is_dir() else ()
    return [path for path in files if path.suffix in (".nbi", ".nbc")]
