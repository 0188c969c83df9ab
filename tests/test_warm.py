"""Which caches are thrown away, on a folder of empty files with made-up times."""

import os
import re
from pathlib import Path

import fansr
from fansr.warm import KERNEL_FILES, stale_caches


def test_every_file_with_kernels_is_watched():
    root = Path(fansr.__file__).parent
    with_kernels = {path.stem for path in root.glob("*.py") if re.search(r"^@njit|^@numba", path.read_text(), re.M)}
    assert with_kernels and with_kernels <= {name for chain in KERNEL_FILES for name in chain}


def test_a_cache_is_stale_when_a_file_it_builds_on_is_newer(tmp_path):
    (tmp_path / "__pycache__").mkdir()

    def write(name, seconds):
        path = tmp_path / name
        path.touch()
        os.utime(path, (seconds, seconds))

    for name in {name for chain in KERNEL_FILES for name in chain}:
        write(f"{name}.py", 100)
        write(f"__pycache__/{name}.kernel-1.nbi", 200)
    assert stale_caches(tmp_path) == []
    write("images.py", 300)
    assert sorted(path.name.split(".")[0] for path in stale_caches(tmp_path)) == ["guard", "history", "images"]
    write("evaluate.py", 300)
    assert len(stale_caches(tmp_path)) == len({name for chain in KERNEL_FILES for name in chain})
