"""The loop of every command that turns one stream into another: read, work in processes, write in order, count what is dropped."""

from __future__ import annotations

import contextlib
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from fansr.cli.messages import history_entry, progress
from fansr.errors import DataError
from fansr.streams import packing, parallel, reader_writer

CHUNK = 2048  # records a worker gets at once; part of no result


class _Packed:
    """A stage's function, run in a worker: a Batch in, packed bytes, their count, sum and the drops out."""

    def __init__(self, function):
        self.function = function

    def __call__(self, batch):
        with packing.no_collection():
            kept, dropped = self.function(batch.records())
            return *packing.pack_many(kept), Counter(dropped), len(batch)


class _Whole:
    """A stage's function that takes a Batch as it is, run in a worker; `away`: its result goes to another process."""

    def __init__(self, function, away):
        self.function, self.away = function, away

    def __call__(self, batch):
        with packing.no_collection():
            data, *rest = self.function(batch)
        return bytes(data) if self.away else data, *rest, len(batch)


def filter_stream(
    inputs: Iterable[str],
    output: str,
    stage_function: Callable,
    *,
    reads: str | tuple[str, ...],
    holds: str | None = None,
    jobs: int = 1,
    entry: dict | None = None,
    quiet: bool = False,
    chunk: int = CHUNK,
    resume: bool = False,
    packs: bool = False,
    initializer: Callable | None = None,
    initargs: tuple = (),
) -> reader_writer.Writer:
    """The loop of every filter command: read, map chunks over workers in order, write, count drops.

    inputs: file names ("-" or none is stdin), read one after another as `cat` would.
    stage_function: list of records -> (list of records, mapping of drop reason to count); a module-level
        function or a picklable callable, since it runs in worker processes.
    reads: kind or tuple of kinds the input must hold; holds: kind written (default: what was read).
    entry: this command's history entry.  Drops of earlier stages stay in the history.
    resume: skip the input records that FILE.part already accounts for.
    packs: the stage function takes a Batch and gives (records packed one after another, their number, sum of their
        digests, drops): for stages that need not take every record apart.  It may use the memory of the bytes it gave
        again when it is called again.
    Returns the Writer.  Ctrl-C writes what is finished, closes the stream and raises.
    """
    inputs = list(inputs) or ["-"]
    first = reader_writer.open_reader(inputs[0], holds=reads)
    history = [*first.history, entry or history_entry()]
    cut: list[dict] = []

    def items(consumed):
        return batches(first, inputs[1:], reads, chunk, consumed, cut)

    function = _Whole(stage_function, jobs > 1) if packs else _Packed(stage_function)
    return write_stream(
        output,
        items,
        function,
        holds=holds or first.header["holds"],
        history=history,
        jobs=jobs,
        quiet=quiet,
        resume=resume,
        initializer=initializer,
        initargs=initargs,
        cut=cut,
    )


def batches(
    first: reader_writer.Reader,
    rest: Iterable[str],
    reads: str | tuple[str, ...],
    size: int = CHUNK,
    skip: int = 0,
    cut: list | None = None,
) -> Iterator[packing.Batch]:
    """The records of several inputs in turn as Batches of up to `size`; `first` is open already, `skip` records
    are left out.  What their end records say of an interruption is added to `cut`."""
    for name in (None, *rest):
        with first if name is None else reader_writer.open_reader(name, holds=reads) as reader:
            for batch in reader.batches(size):
                left = min(skip, len(batch))
                skip -= left
                if left < len(batch):
                    yield batch.cut(left, len(batch)) if left else batch
            if cut is not None and reader.interrupted:
                cut.append(reader.interrupted)


def write_stream(
    output: str,
    items: Callable[[int], Iterable],
    function: Callable,
    *,
    holds: str,
    history: list[dict],
    jobs: int = 1,
    quiet: bool = False,
    resume: bool = False,
    total: int | None = None,
    initializer: Callable | None = None,
    initargs: tuple = (),
    cut: Iterable = (),
    named: Callable | None = None,
) -> reader_writer.Writer:
    """The writing half of filter_stream, for stages that make records from no input too.

    items: called with the count of inputs that a resumed file already accounts for; gives the chunks to do.
    function: chunk -> (packed records laid one after another, their number, sum of their digests, drops,
        inputs consumed), in a worker process.
    cut: filled by the time the items end: how the inputs were interrupted, which the output's end record repeats.
    named: chunk -> (its number of inputs, what to call it), for chunks over which workers are killed again and again;
        those are dropped as worker_died, the others go on, and in the end that is a DataError.
    Returns the Writer.  Ctrl-C writes what is finished, closes the stream and raises.
    """
    lost = Lost(named or _name_of)

    def left_out(item):
        n = lost.add(item)
        return b"", 0, 0, {"worker_died": n}, n

    with _guarded() as guard, reader_writer.open_writer(output, holds, history, resume=resume) as writer:
        writer.meant = total
        last = time.monotonic()
        results = parallel.ordered_map(function, items(writer.consumed), jobs, initializer, initargs, left_out)
        with progress(quiet=quiet, total=total, initial=writer.consumed) as bar, contextlib.closing(results):
            for data, n, checksum, dropped, consumed in results:
                with guard.whole():
                    writer.write_many(data, n, checksum, dropped, consumed)
                    # A flush ends a zstd frame: often enough to lose little and to feed the next
                    # stage, seldom enough to compress well.
                    if time.monotonic() - last > 1.0:
                        writer.flush()
                        last = time.monotonic()
                bar.update(consumed)
        writer.interrupted = next(iter(cut), None)
        guard.closing = True
    lost.complain(writer.name)
    return writer


class Lost:
    """Chunks that are left out since workers were killed over them."""

    def __init__(self, named: Callable | None = None):
        self.named = named or _name_of
        self.names: list[str] = []

    def add(self, item: Any) -> int:
        """Note a chunk; how many inputs it has."""
        n, name = self.named(item)
        self.names.append(name)
        return n

    def complain(self, output: str) -> None:
        """DataError when there are any, to be called when all else is written."""
        if self.names:
            more = f" and {len(self.names) - 3} more" if len(self.names) > 3 else ""
            raise DataError(
                f"{output}: whole but for {', '.join(self.names[:3])}{more}, over which {parallel.TRIES} workers each "
                "were killed from outside (out of memory?): counted as worker_died"
            )


def _name_of(item) -> tuple[int, str]:
    """How many inputs a chunk has, and what to call it."""
    if isinstance(item, packing.Batch):
        return len(item), f"records {item.first + 1} to {item.first + len(item)} of {item.name}"
    if isinstance(item, range):
        return len(item), f"ids {item.start} to {item.stop - 1}"
    return len(item), f"{len(item)} inputs"


class _Guard:
    """Ctrl-C and SIGTERM raise KeyboardInterrupt, but never inside ``with guard.whole()``: what is
    being written is written whole, then the interrupt is raised."""

    def __init__(self):
        self.busy = False
        self.pending = False
        self.closing = False

    def note(self, signum, frame):
        if self.busy or self.closing or self.pending:
            self.pending = True
            return
        self.pending = True
        raise KeyboardInterrupt

    @contextlib.contextmanager
    def whole(self):
        self.busy = True
        try:
            yield
        finally:
            self.busy = False
        if self.pending:
            raise KeyboardInterrupt


@contextlib.contextmanager
def _guarded():
    guard = _Guard()
    try:
        old = {s: signal.signal(s, guard.note) for s in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread
        yield guard
        return
    try:
        yield guard
    finally:
        for s, handler in old.items():
            signal.signal(s, handler)
