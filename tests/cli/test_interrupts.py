"""When Ctrl-C is heard: at once, except in the midst of an import."""

import importlib
import os
import signal
import sys
import time

import pytest

from fansr.cli import interrupts

HERE = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to import from, where Ctrl-C is Python's own."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield tmp_path
    signal.signal(signal.SIGINT, before)


def spend(seconds=1.0):
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def test_an_import_is_done_before_it_is_heard(folder):
    (folder / "sent_within.py").write_text(HERE + "done = sum(range(3_000_000))\n")
    with pytest.raises(KeyboardInterrupt), interrupts.patient():
        importlib.import_module("sent_within")
        spend()
        pytest.fail("never heard")
    assert sys.modules.pop("sent_within").done > 0
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)


def test_it_is_heard_where_nothing_follows_the_import(folder):
    (folder / "sent_last.py").write_text(HERE)
    with pytest.raises(KeyboardInterrupt), interrupts.patient():
        importlib.import_module("sent_last")
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)
    del sys.modules["sent_last"]


def test_a_second_one_does_not_wait(folder):
    (folder / "sent_twice.py").write_text(HERE + HERE + "done = True\n")
    with pytest.raises(KeyboardInterrupt), interrupts.patient():
        importlib.import_module("sent_twice")
    assert "sent_twice" not in sys.modules


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_outside_of_imports_it_is_heard_at_once(folder, signum):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), interrupts.patient(term=True):
        os.kill(os.getpid(), signum)
        pytest.fail("never heard")
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_search_that_a_module_runs_at_its_import_is_interrupted(folder):
    (folder / "runs.py").write_text(
        "from fansr.cli import interrupts\nheard, late = False, False\ntry:\n    with interrupts.patient():\n"
        "        import os, signal\n        os.kill(os.getpid(), signal.SIGINT)\n        late = True\n"
        "except KeyboardInterrupt:\n    heard = True\n"
    )
    module = importlib.import_module("runs")
    assert (module.heard, module.late) == (True, False)
    del sys.modules["runs"]


@pytest.mark.parametrize("handler", [signal.SIG_IGN, print])
def test_who_handles_it_already_keeps_it(folder, handler):
    signal.signal(signal.SIGINT, handler)
    with interrupts.patient():
        assert signal.getsignal(signal.SIGINT) is handler
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_timer_of_somebody_elses_goes_on(folder):
    before = signal.signal(signal.SIGPROF, print)
    try:
        with interrupts.patient():
            assert signal.getsignal(signal.SIGPROF) is print
        (folder / "sent_once.py").write_text(HERE)
        with pytest.raises(KeyboardInterrupt), interrupts.patient():
            importlib.import_module("sent_once")
        assert signal.getsignal(signal.SIGPROF) is print
    finally:
        signal.signal(signal.SIGPROF, before)
