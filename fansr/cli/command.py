"""What all commands share: options, the --config file, errors to exit codes, progress, and the filter loop.

Exit status: 0 done; 1 the data are wrong; 2 the call is wrong; 3 ran but found no answer; 130 interrupted.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import signal
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import click

from fansr.errors import DataError, NoAnswer
from fansr.streams import packing, parallel, reader_writer
from fansr.version import __version__

__all__ = ["DataError", "NoAnswer", "command", "filter_stream", "history_entry", "progress", "write_stream"]

CHUNK = 2048  # records a worker gets at once; part of no result


# ---- options ----------------------------------------------------------------------------------


def output_option(help: str = "Where to write; - is stdout.") -> Callable:
    return click.option("-o", "--output", default="-", show_default=True, metavar="FILE", help=help)


def jobs_option() -> Callable:
    return click.option(
        "-j",
        "--jobs",
        type=click.IntRange(1, 1024),
        default=None,
        metavar="N",
        help="Worker processes.  [default: the cores this process may use]",
        callback=lambda ctx, param, value: value or parallel.available_cores(),
    )


def number_option(help: str, default: int | None = None) -> Callable:
    return click.option(
        "-n",
        "--number",
        type=click.IntRange(0),
        default=default,
        show_default=default is not None,
        metavar="N",
        help=help,
    )


def quiet_option() -> Callable:
    return click.option("-q", "--quiet", is_flag=True, help="No progress and no remarks on stderr.")


def seed_option() -> Callable:
    return click.option(
        "--seed", type=click.IntRange(0), default=0, show_default=True, help="The same seed gives the same result."
    )


def resume_option() -> Callable:
    return click.option("--resume", is_flag=True, help="Go on with the FILE.part of a killed run of the same command.")


def config_option() -> Callable:
    """--config FILE.toml: defaults for the command's own options; a flag wins over the file."""
    return click.option(
        "--config",
        type=click.Path(dir_okay=False),
        default=None,
        is_eager=True,
        expose_value=True,
        metavar="FILE",
        callback=_load_config,
        help="TOML file with defaults for these options.",
    )


def read_toml(path: str | os.PathLike) -> dict:
    """A TOML file as a dict; DataError says what is wrong with it.  A bare name is also looked for among the
    configs that come with fansr ("configs/3m.toml", "3m.toml" and "3m" all find the shipped file)."""
    from fansr.cli import resources

    places = [str(path)]
    if not os.path.exists(path):
        base = os.path.basename(str(path))
        places.append(str(resources.path("configs", base if base.endswith(".toml") else base + ".toml")))
    for place in places:
        try:
            with open(place, "rb") as file:
                return tomllib.load(file)
        except FileNotFoundError:
            continue
        except IsADirectoryError:
            raise DataError(f"{path}: is a directory, wanted a TOML file") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: not a TOML file: {error}") from None
        except OSError as error:
            raise DataError(f"{path}: {error.strerror or error}") from None
    raise DataError(f"{path}: no such file")


def _load_config(context: click.Context, _param, value):
    if value is None:
        return None
    table = read_toml(value)
    names = {p.name: p for p in context.command.params if isinstance(p, click.Option) and p.name != "config"}
    # Sections of a config that belong to the stage itself (e.g. [prior]) are declared by the command.
    sections = getattr(context.command, "config_sections", ())
    for key in table:
        name = key.replace("-", "_")
        if name not in names and key not in sections:
            wanted = ", ".join(sorted([*names, *sections]))
            raise click.UsageError(f"{value}: unknown key {key!r}; known are {wanted}", context)
    defaults = {key.replace("-", "_"): v for key, v in table.items() if key not in sections}
    context.default_map = {**(context.default_map or {}), **defaults}
    context.meta["config_sections"] = {key: table[key] for key in table if key in sections}
    return value


# ---- the command wrapper ----------------------------------------------------------------------


def command(
    example: str, config_sections: tuple[str, ...] = (), **settings: Any
) -> Callable[[Callable], click.Command]:
    """Like click.command, with --version, an example in --help, and errors mapped to exit codes.

    `example` is one runnable shell line.  `config_sections` names top-level keys of a --config file
    that the command reads itself, from ``click.get_current_context().meta["config_sections"]``.
    """

    def wrap(function):
        settings.setdefault("epilog", f"\b\nExample:\n  {example}")
        settings.setdefault("context_settings", {"help_option_names": ["-h", "--help"], "max_content_width": 100})
        wrapped = click.version_option(__version__, prog_name=f"fansr-{function.__name__}")(function)
        inner = click.command(cls=_Command, **settings)(wrapped)
        inner.config_sections = config_sections
        return inner

    return wrap


class _ReaderGone(Exception):
    """Whoever read our output closed the pipe."""


class _Command(click.Command):
    def main(self, args=None, prog_name=None, complete_var=None, standalone_mode=True, **extra):
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        try:
            code = self._run(args, prog_name, extra)
        except SystemExit as request:
            code = request.code
        _close_stdout(said=code != 0)
        sys.exit(code)

    def invoke(self, context):
        try:
            return super().invoke(context)
        except BrokenPipeError:  # click would make it exit status 1
            raise _ReaderGone from None

    def _run(self, args, prog_name, extra) -> int:
        try:
            with _one_interrupt():
                result = super().main(args, prog_name, standalone_mode=False, **extra)
            # With standalone_mode off click returns the status of --help and --version.
            return result if isinstance(result, int) else 0
        except click.exceptions.Exit as request:
            return request.exit_code
        except (click.Abort, KeyboardInterrupt):
            return 130
        except _ReaderGone:
            return 0  # whoever read us has had enough
        except click.UsageError as error:
            return self._say(f"{error.format_message()} (see {self._name()} --help)", 2)
        except click.ClickException as error:
            return self._say(error.format_message(), 1)
        except DataError as error:
            return self._say(str(error), 1, error)
        except NoAnswer as error:
            return self._say(str(error), 3, error)
        except MemoryError as error:
            return self._say("not enough memory for these data", 1, error)
        except OSError as error:
            name = f"{error.filename}: " if error.filename else ""
            return self._say(f"{name}{error.strerror or error}", 1, error)
        except Exception as error:  # our slip: say so in one line, with the way to see where
            return self._say(
                f"internal error: {type(error).__name__}: {error} (set FANSR_DEBUG=1 to see where)", 1, error
            )

    def _say(self, message: str, code: int, error: BaseException | None = None) -> int:
        if error is not None and os.environ.get("FANSR_DEBUG") == "1":
            raise error
        line = " ".join(str(message).split())
        click.echo(f"{self._name()}: {line}", err=True)
        return code

    def _name(self) -> str:
        return os.path.basename(sys.argv[0]) if sys.argv and sys.argv[0] else (self.name or "fansr")


@contextlib.contextmanager
def _one_interrupt():
    """SIGTERM behaves like Ctrl-C, so that a scheduler's stop also closes the streams properly."""

    def interrupt(signum, frame):
        raise KeyboardInterrupt

    try:
        old = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not in the main thread: a test runs the command in-process
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, old)


def _close_stdout(said: bool):
    """Flush stdout here, so that a pipe closed by the reader does not print a complaint at exit."""
    try:
        sys.stdout.flush()
    except (BrokenPipeError, ValueError):
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    except OSError as error:
        if not said:
            click.echo(f"stdout: {error.strerror or error}", err=True)
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(1)


def history_entry(seed: int | None = None, config: dict | str | None = None, rules: str | None = None) -> dict:
    """What this command adds to a stream's history; only `argv` and `utc` differ between equal runs."""
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    name = os.path.basename(sys.argv[0]) if sys.argv and sys.argv[0] else "python"
    return {
        "cmd": name.removesuffix(".py"),
        "argv": sys.argv[1:],
        "seed": seed,
        "version": __version__,
        "config": config,
        "rules": rules,
        "utc": now.isoformat().replace("+00:00", "Z"),
    }


def remark(message: str, quiet: bool = False) -> None:
    """A note for the user on stderr."""
    if not quiet:
        click.echo(message, err=True)


def progress(
    iterable: Iterable | None = None, total: int | None = None, quiet: bool = False, unit: str = "rec", **extra: Any
) -> Any:
    """A tqdm bar on stderr, shown only on a terminal and never with -q."""
    from tqdm import tqdm

    return tqdm(
        iterable,
        total=total,
        unit=unit,
        disable=quiet or not sys.stderr.isatty(),
        dynamic_ncols=True,
        unit_scale=True,
        **extra,
    )


# ---- the filter loop --------------------------------------------------------------------------


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

    def items(consumed):
        return batches(first, inputs[1:], reads, chunk, consumed)

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
    )


def batches(
    first: reader_writer.Reader, rest: Iterable[str], reads: str | tuple[str, ...], size: int = CHUNK, skip: int = 0
) -> Iterator[packing.Batch]:
    """The records of several inputs in turn as Batches of up to `size`; `first` is open already, `skip` records
    are left out."""
    for name in (None, *rest):
        with first if name is None else reader_writer.open_reader(name, holds=reads) as reader:
            for batch in reader.batches(size):
                left = min(skip, len(batch))
                skip -= left
                if left < len(batch):
                    yield batch.cut(left, len(batch)) if left else batch


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
) -> reader_writer.Writer:
    """The writing half of filter_stream, for stages that make records from no input too.

    items: called with the count of inputs that a resumed file already accounts for; gives the chunks to do.
    function: chunk -> (packed records laid one after another, their number, sum of their digests, drops,
        inputs consumed), in a worker process.
    Returns the Writer.  Ctrl-C writes what is finished, closes the stream and raises.
    """
    with _guarded() as guard, reader_writer.open_writer(output, holds, history, resume=resume) as writer:
        last = time.monotonic()
        results = parallel.ordered_map(function, items(writer.consumed), jobs, initializer, initargs)
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
        guard.closing = True
    return writer


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
