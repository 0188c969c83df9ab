"""What the whole run says of itself: kernels that tests had to compile, which `make venv` should have done once for all."""

import contextlib
import signal
from pathlib import Path

import fansr

FOLDER = Path(fansr.__file__).parent


def compiled() -> dict[Path, float]:
    """Every kernel's machine code in the package's caches, with the time it was written."""
    found = {}
    for path in FOLDER.rglob("__pycache__/*.nbc"):
        with contextlib.suppress(FileNotFoundError):  # another worker compiles the file again
            found[path] = path.stat().st_mtime
    return found


def pytest_sessionstart(session):
    if (
        signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    ):  # a run in the background: what it starts would not hear Ctrl-C
        signal.signal(signal.SIGINT, signal.default_int_handler)
    session.config.compiled_before = compiled()


def pytest_terminal_summary(terminalreporter, config):
    new = [path for path, time in compiled().items() if config.compiled_before.get(path) != time]
    if new:
        terminalreporter.write_line(
            f"{len(new)} kernels were compiled by tests: a file of them has changed since `python -m fansr.warm`, or "
            f"it does not know {', '.join(sorted({path.name.split('.')[0] for path in new}))}"
        )
