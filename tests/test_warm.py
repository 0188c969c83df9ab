"""Which caches are thrown away, on a folder of empty files with made-up times."""

import os
import re
from pathlib import Path

import fansr
from fansr.warm import KERNEL_FILES, stale_caches

NAMES = {name for chain in KERNEL_FILES for name in chain}


def test_every_file_with_kernels_is_watched():
    root = Path(fansr.__file__).parent
    with_kernels = {
        str(path.relative_to(root).with_suffix(""))
        for path in root.rglob("*.py")
        if re.search(r"^@njit|^@numba", path.read_text(), re.M)
    }
    assert with_kernels and with_kernels <= NAMES


def test_a_cache_is_stale_when_a_file_it_builds_on_is_newer(tmp_path):
    def write(name, seconds):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (seconds, seconds))

    for name in NAMES:
        folder, stem = name.rsplit("/", 1)
        write(f"{name}.py", 100)
        write(f"{folder}/__pycache__/{stem}.kernel-1.nbi", 200)
    assert stale_caches(tmp_path) == []
    write("corpus/holdout_images.py", 300)
    later = ["decoder_kernels", "holdout_guard", "holdout_images"]
    assert sorted(path.name.split(".")[0] for path in stale_caches(tmp_path)) == later
    write("expressions/programs.py", 300)
    assert len(stale_caches(tmp_path)) == len(NAMES)
