"""Writing streams of records, and going on with one that a killed run left; reader_writer.py has the format."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import zstandard

from fansr.errors import DataError
from fansr.streams.packing import MASK, digest, pack
from fansr.streams.reading import FORMAT, LARGE, is_count, seal

try:
    import fcntl
except ImportError:  # no such locks on Windows
    fcntl = None

LEVEL = 3  # zstd; level 19 is 15 % smaller on skeletons and 20 times slower
FAST = -100  # zstd for what does not shrink: 2 us for a problem of 128 points, against 28 us and 7 % less at level 3
SAMPLE, WORTH = 1 << 14, 0.9  # bytes of a frame that are tried; the ratio below which LEVEL is used


class Writer:
    """Writes one stream; use as a context manager.

    Leaving it normally, or by Ctrl-C, writes the end record and gives the file its name; leaving it
    by an error leaves no file.  While it is written a file is called NAME.part, and NAME.part.state says how much of it
    is whole.  Under `resume` the state stays beside a file that a signal ended, so that the next run goes on with it.
    """

    def __init__(
        self,
        target: str | os.PathLike | io.RawIOBase,
        holds: str,
        history: list[dict] | None = None,
        resume: bool = False,
    ):
        self.target = target
        self.name = "stdout" if target == "-" else str(getattr(target, "name", target))
        self.n = 0
        self.consumed = 0  # input records that the written ones account for; kept for a resume
        self.dropped: Counter = Counter()
        self.checksum = 0
        self.interrupted: dict | None = None  # {"done", "meant"}: set where not everything was done
        self.meant: int | None = None  # how many inputs there are, where that is known
        self._part: Path | None = None
        self._state: Path | None = None
        self._resume = self._kept = False  # asked for; what is not whole stays though an error came
        self._begun = 0  # bytes of the file that its state speaks of
        self._out = None
        header = pack({"kind": "header", "format": FORMAT, "holds": holds, "history": list(history or [])})
        self._header = digest(header)
        self._call = _call(holds, history or [])
        self._compressors = {
            level: zstandard.ZstdCompressor(level=level, write_checksum=True) for level in (LEVEL, FAST)
        }
        self._buffer = bytearray()
        self.resumed = False
        self._mine = not hasattr(target, "write") and target != "-"  # to be closed here
        try:
            with self._named():
                self._open(target, resume)
                if not self.resumed:
                    self._put(header)
                    self.flush()  # a small frame of its own: a reader of a pipe knows at once what comes
        except BaseException:
            self._close_quietly()
            raise

    def _open(self, target, resume: bool):
        if hasattr(target, "write"):
            self._out = target
            return
        if target == "-":
            if sys.stdout is None:
                raise DataError("stdout: is closed; give -o FILE")
            if sys.stdout.isatty():
                raise DataError("will not write a binary stream to a terminal: give -o FILE or pipe it to fansr-cat")
            self._out = sys.stdout.buffer
            return
        path = Path(os.path.realpath(target))  # what a link points to is written, and the link stays
        if path.is_dir():
            raise DataError(f"{target}: is a directory, wanted a file to write")
        if path.exists() and not path.is_file():  # /dev/full, a named pipe: no rename there
            self._out = open(path, "wb")
            return
        self._final = path
        self._part = path.with_name(path.name + ".part")
        self._state = path.with_name(path.name + ".part.state")
        self._resume = resume
        if resume and not self._part.exists() and self._ended_early():
            os.replace(path, self._part)  # its end record is cut off below
        self._out = self._locked()
        if resume and self._part.stat().st_size and self._state.exists():
            self._go_on()
        else:
            self._out.truncate(0)
            self._state.unlink(missing_ok=True)

    def _ended_early(self) -> bool:
        """Whether the final file is one that a signal ended, as its state says."""
        try:
            return json.loads(self._state.read_text())["whole"] == self._final.stat().st_size
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return False

    def _locked(self):
        """The .part file opened, and locked for as long as it is open; DataError where another run writes it."""
        while True:
            file = open(os.open(self._part, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
            try:
                if fcntl is not None:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(file.fileno()), os.stat(self._part)):
                    return file
            except BlockingIOError:
                file.close()
                raise DataError(
                    f"{self.name}: another run is writing it ({self._part.name} is locked); wait for it or give another -o"
                ) from None
            except FileNotFoundError:  # that other run has just finished
                pass
            except OSError:  # a file system without locks
                return file
            file.close()

    def _go_on(self):
        """Take over what a killed run had written; DataError where that was another call."""
        try:
            state = json.loads(self._state.read_text())
            counts = [state[key] for key in ("bytes", "n", "consumed", "checksum", "header")]
            if not all(map(is_count, [*counts, *state["dropped"].values()])):
                raise ValueError("wanted whole numbers")
            call = state["call"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DataError(
                f"{self._state}: not what a killed run of this version leaves ({error}); without --resume it starts anew"
            ) from None
        if (odd := _difference(call, self._call)) is not None:
            raise DataError(
                f"{self.name}: --resume goes on with the same call only, and {odd}; without --resume it starts anew"
            )
        size, self.n, self.consumed, self.checksum, self._header = counts
        self._begun = size
        if self._part.stat().st_size < size:
            raise DataError(f"{self._part}: shorter than its state says; without --resume the run starts anew")
        self._out.truncate(size)
        self._out.seek(0, os.SEEK_END)
        self.dropped = Counter(state["dropped"])
        self.resumed = True

    @contextlib.contextmanager
    def _named(self):
        """An error of the file system (a full disk) is told with the file's name; it leaves nothing behind, or under
        `resume` what a kill leaves."""
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            self._kept = self._resume and self._state.exists()
            self.abandon()
            kept = f"; what is whole stays in {self._part.name}, and --resume goes on with it" if self._kept else ""
            raise DataError(f"{self.name}: {error.strerror or error}{kept}") from None

    def write(self, record: dict) -> None:
        """Append one record."""
        self.write_packed(pack(record))

    def write_packed(self, packed: bytes) -> None:
        """Append one record that is packed already (a worker process may have done it)."""
        self.n += 1
        self.checksum = (self.checksum + digest(packed)) & MASK
        self._put(packed)

    def write_many(self, packed: bytes, n: int, checksum: int, dropped: Any = (), consumed: int = 0) -> None:
        """Append `n` packed records laid one after another, whose digests add up to `checksum`.

        dropped: records left out beside them, by reason; consumed: input records that both account for.  They are told
        here, since what a killed run goes on from is written whenever a frame is.
        """
        self.n += n
        self.checksum = (self.checksum + checksum) & MASK
        self.dropped.update(dropped)
        self.consumed += consumed
        if len(packed) < LARGE:
            self._put(packed)
        else:
            if self._buffer:
                self._frame(self._buffer)
            self._frame(packed)
            self._buffer = bytearray()
            self._handed_on()

    def drop(self, reason: str, n: int = 1) -> None:
        """Count records left out on purpose."""
        self.dropped[reason] += n

    def _put(self, data: bytes):
        self._buffer += data
        if len(self._buffer) > 1 << 22:
            self.flush()

    def flush(self) -> None:
        """End a zstd frame and hand everything on; a resumed run starts after the last flush."""
        if not self._buffer:
            return
        self._frame(self._buffer)
        self._buffer = bytearray()
        self._handed_on()

    def _frame(self, data):
        """Write `data` as one zstd frame."""
        with self._named():
            self._out.write(self._compressors[self._level(data)].compress(data))

    def _level(self, data) -> int:
        """LEVEL, or FAST where a sample shows that the data would hardly shrink, as random float64 do not."""
        middle = max(0, len(data) - SAMPLE) // 2
        sample = memoryview(data)[middle : middle + SAMPLE]
        return LEVEL if len(self._compressors[LEVEL].compress(sample)) < WORTH * len(sample) else FAST

    def _handed_on(self):
        with self._named():
            self._out.flush()
            if self._part is not None:
                self._remember()

    def _remember(self, whole: int | None = None):
        """Write the state; `whole`: the size of the file that a signal ended, whose last frame is its end record."""
        state = {
            "bytes": self._out.tell() if whole is None else self._begun,
            "n": self.n,
            "consumed": self.consumed,
            "checksum": self.checksum,
            "dropped": dict(self.dropped),
            "header": self._header,
            "call": self._call,
            "whole": whole,
        }
        self._begun = state["bytes"]
        scratch = self._state.with_name(self._state.name + ".new")
        scratch.write_text(json.dumps(state))
        os.replace(scratch, self._state)

    def finish(self) -> None:
        """Write the end record and give the file its name."""
        end = {
            "kind": "end",
            "n": self.n,
            "dropped": {k: self.dropped[k] for k in sorted(self.dropped)},
            "checksum": self.checksum,
        }
        if self.interrupted is not None:
            end["interrupted"] = self.interrupted
            self.flush()  # the records apart from the end record: here a resumed run begins
        packed = pack({**end, "seal": bytes(8)})[:-8]
        self._frame(self._buffer + packed + seal(self._header, packed))
        self._buffer = bytearray()
        with self._named():
            self._out.flush()
            if self._part is not None:
                goes_on = self.interrupted is not None and self._resume
                if goes_on:
                    self._remember(whole=self._out.tell())
                os.replace(self._part, self._final)  # before the lock goes
                self._out.close()
                if not goes_on:
                    self._state.unlink(missing_ok=True)
            elif self._mine:
                self._out.close()

    def abandon(self) -> None:
        """Leave no half-written file behind, but for what a resumed run goes on from."""
        if self._part is not None and self._out is not None:
            new = self._state.with_name(self._state.name + ".new")
            for path in (new,) if self._kept else (self._part, self._state, new):
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
        self._close_quietly()

    def _close_quietly(self):
        if self._mine and self._out is not None:
            with contextlib.suppress(OSError):
                self._out.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if kind is None:
            self.finish()
        elif issubclass(kind, KeyboardInterrupt):
            self.interrupted = {"done": self.consumed or self.n, "meant": self.meant}
            self.finish()
        elif not issubclass(kind, BrokenPipeError):
            self.abandon()


def _call(holds: str, history: list[dict]) -> dict:
    """What must be the same for a killed run to be gone on with: a stream's history but for its times and words."""
    bare = [{key: value for key, value in entry.items() if key not in ("argv", "utc")} for entry in history]
    return json.loads(json.dumps({"holds": holds, "history": bare}, default=str))


def _difference(old, new, name: str = "") -> str | None:
    """The first difference of two JSON values in words, None where there is none."""
    if isinstance(old, dict) and isinstance(new, dict):
        parts = [(key, old.get(key), new.get(key)) for key in {**old, **new}]
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        parts = [(None, *pair) for pair in zip(old, new)]
    else:
        return None if old == new else f"{name or 'it'} was {json.dumps(old)[:80]}, now {json.dumps(new)[:80]}"
    return next((odd for key, a, b in parts if (odd := _difference(a, b, key or name)) is not None), None)
