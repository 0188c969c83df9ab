"""One table and one skeleton followed through the packages: the files they enter, in order.

    python -m bench.follow table [data/planets.csv]     fansr-fit of a table
    python -m bench.follow skeleton                     a skeleton drawn, simplified, held against the benchmark, rendered

A file counts when one of its functions runs for the first time (compiled kernels are not seen; their callers are).  A line
in brackets is a call back into a package that was entered before, which the layer test allows through public names only.
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
from pathlib import Path

import fansr

PACKAGE = Path(fansr.__file__).parent


def followed(work) -> list[str]:
    """Files below fansr/, in the order in which a function of each first ran during `work()`."""
    seen: dict[str, None] = {}

    def note(frame, event, argument):
        if event == "call" and frame.f_code.co_name not in ("<module>", "<lambda>", "__getattr__"):
            path = Path(frame.f_code.co_filename)
            if PACKAGE in path.parents and path.name != "__init__.py":
                seen.setdefault(str(path.relative_to(PACKAGE)), None)

    work()  # what runs only while modules are loaded does not count
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return list(seen)


def call(main, *words):
    """Run a click command in this process; its output is thrown away."""
    with contextlib.redirect_stdout(io.StringIO()):
        main([str(word) for word in words], standalone_mode=False)


def table(path="data/planets.csv"):
    from fansr.fit import main

    call(main, path, "--samples", 64, "--time", 3, "-j", 1, "-q")


def skeleton():
    from fansr.corpus.decontam import decontam
    from fansr.corpus.gen import gen
    from fansr.corpus.render import render
    from fansr.simplification.simplify import main as simplify

    with tempfile.TemporaryDirectory() as folder:
        drawn, simple, kept, problems = (Path(folder) / f"{k}.zst" for k in range(4))
        call(gen, "-n", 200, "-j", 1, "-q", "-o", drawn)
        call(simplify, "-j", 1, "-q", "-o", simple, drawn)
        call(decontam, "--test", PACKAGE.parent / "data/fastsrb.json", "-j", 1, "-q", "-o", kept, simple)
        call(render, "--points", 32, "-j", 1, "-q", "-o", problems, kept)


def main():
    what, *more = sys.argv[1:] or ["table"]
    if what not in ("table", "skeleton"):
        sys.exit(f"follow: {what!r}; wanted table or skeleton")
    packages: dict[str, None] = {}
    for file in followed(lambda: {"table": table, "skeleton": skeleton}[what](*more)):
        package = file.split("/")[0]
        again = package in packages and package != list(packages)[-1]
        packages[package] = packages.pop(package, None)
        print(f"({file})" if again else file)


if __name__ == "__main__":
    main()
