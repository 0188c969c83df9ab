"""parallel.py: a map over workers that is given up ends its process, whatever the workers were doing."""

import subprocess
import sys

import pytest

GIVE_UP = """
from fansr.streams.parallel import ordered_map
def large(n): return bytes(n)
def swallow(b): return len(b)
if __name__ == "__main__":
    function, items = {"results": (large, [1 << 25] * 12), "items": (swallow, [bytes(1 << 25)] * 12)}[%r]
    steps = ordered_map(function, items, jobs=2)
    next(steps)
    steps.close()
    print("closed")
"""


@pytest.mark.parametrize("what", ["results", "items"])
def test_a_worker_stopped_in_the_middle_of_a_message_hangs_nobody(what, tmp_path):
    """A worker killed while it wrote a large result left the parent reading for the rest of it."""
    script = tmp_path / "give_up.py"
    script.write_text(GIVE_UP % what)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, timeout=60)
    assert done.returncode == 0 and done.stdout == b"closed\n" and not done.stderr, done.stderr.decode()
