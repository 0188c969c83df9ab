"""What all commands share: options, the --config file, errors to exit codes, progress, and the filter loop.

Exit status: 0 done; 1 the data are wrong; 2 the call is wrong; 3 ran but found no answer; 130 interrupted.
"""

from __future__ import annotations

import contextlib
import datetime
import difflib
import errno
import math
import os
import re
import signal
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import click

from fansr.cli import live_lines
from fansr.errors import DataError, NoAnswer
from fansr.streams import files, packing, parallel, reader_writer
from fansr.version import __version__

__all__ = ["DataError", "NoAnswer", "command", "filter_stream", "history_entry", "progress", "write_stream"]

CHUNK = 2048  # records a worker gets at once; part of no result


# ---- options ----------------------------------------------------------------------------------

LARGEST = (1 << 63) - 1  # of a whole number where an option says no more


class _Strict:
    """A type of numbers that takes nothing its own type forgets to refuse: NaN, infinities, whole numbers beyond 64
    bits, and from a config file what is no number or no whole one."""

    def convert(self, value, param, ctx):
        whole = isinstance(self, click.types.IntParamType)
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            self.fail(f"{value!r} is no number", param, ctx)
        if whole and isinstance(value, float) and not value.is_integer():
            self.fail(f"{value!r} is no whole number", param, ctx)
        try:
            number = super().convert(value, param, ctx)
            finite = math.isfinite(number)
        except (OverflowError, ValueError):
            self.fail(f"{str(value)[:40]!r} is no number that can be used", param, ctx)
        if not finite:
            self.fail(f"{value!r}: wanted a finite number", param, ctx)
        if whole and abs(number) > LARGEST:
            low = getattr(self, "min", None)
            self.fail(
                f"{str(value)[:40]} is not in the range {-LARGEST if low is None else low} to {LARGEST}", param, ctx
            )
        return number


class _Int(_Strict, click.types.IntParamType):
    pass


class _Float(_Strict, click.types.FloatParamType):
    pass


class _IntRange(_Strict, click.IntRange):
    pass


class _FloatRange(_Strict, click.FloatRange):
    pass


class _Choice(click.Choice):
    """A choice that says which of its words is the nearest to one it does not have."""

    def convert(self, value, param, ctx):
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            names = [str(choice) for choice in self.choices]
            near = difflib.get_close_matches(str(value), names, 1)
            meant = f"; did you mean {near[0]}?" if near else ""
            self.fail(f"{str(value)[:40]!r} is none of {', '.join(names)}{meant}", param, ctx)


def _strict(type: click.ParamType) -> click.ParamType:
    """The strict type for an option's own; one that is neither numbers nor a choice stays."""
    if isinstance(type, click.Choice):
        return _Choice(type.choices, type.case_sensitive)
    if isinstance(type, click.IntRange):
        return _IntRange(type.min, type.max, type.min_open, type.max_open, type.clamp)
    if isinstance(type, click.FloatRange):
        return _FloatRange(type.min, type.max, type.min_open, type.max_open, type.clamp)
    if isinstance(type, click.types.IntParamType):
        return _Int()
    return _Float() if isinstance(type, click.types.FloatParamType) else type


class _Size(click.ParamType):
    """A number of bytes: 1000000, 256M, 4G."""

    name = "size"

    def convert(self, value, param, ctx):
        match = re.fullmatch(r"([0-9]{1,15})([KMG]?)(i?B)?", str(value).strip(), re.IGNORECASE)
        size = match and int(match[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[match[2].upper()]
        if not size or not 1024 <= size <= 1 << 40:
            self.fail(f"{str(value)[:40]!r} is no size; wanted bytes from 1K to 1024G, such as 256M", param, ctx)
        return size


def max_record_option() -> Callable:
    """For every command that reads streams; the readers made after it take the bound."""
    return click.option(
        "--max-record",
        type=_Size(),
        default="256M",
        show_default=True,
        metavar="SIZE",
        expose_value=False,
        callback=lambda ctx, param, value: files.bound_records(value),
        help="Bytes that one record of a stream may take; a larger one is refused.",
    )


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


def drawing_options(decoders: Sequence[str]) -> Callable:
    """--decoder, --temperature and --top-p: how laws are drawn from the model."""

    def add(function: Callable) -> Callable:
        for option in reversed(
            (
                click.option(
                    "--decoder",
                    type=click.Choice(decoders),
                    default="tree",
                    show_default=True,
                    help="How laws are drawn from the model.",
                ),
                click.option(
                    "--temperature",
                    type=click.FloatRange(0, min_open=True),
                    default=1.0,
                    show_default=True,
                    help="Divides the model's logits: above 1 flattens the distribution.",
                ),
                click.option(
                    "--top-p",
                    type=click.FloatRange(0, 1, min_open=True),
                    default=1.0,
                    show_default=True,
                    help="Keep the likeliest tokens that hold this share.",
                ),
            )
        ):
            function = option(function)
        return function

    return add


def seed_option() -> Callable:
    return click.option(
        "--seed", type=click.IntRange(0), default=0, show_default=True, help="The same seed gives the same result."
    )


def shard_option(help: str) -> Callable:
    """--shard i/n as (i, n), (0, 1) where it is not given; shard_range says which part that is."""
    return click.option("--shard", metavar="i/n", default=None, help=help, callback=_parse_shard)


def _parse_shard(ctx, param, text) -> tuple[int, int]:
    i, _, n = (text or "0/1").partition("/")
    if not (re.fullmatch("[0-9]{1,9}", i) and re.fullmatch("[0-9]{1,9}", n) and int(i) < int(n)):
        raise click.BadParameter(
            f"{text!r} is no shard; wanted i/n with i from 0 to n - 1, such as 0/8", param_hint="--shard"
        )
    return int(i), int(n)


def shard_range(first: int, number: int, shard: tuple[int, int]) -> range:
    """The numbers of one shard: shards in order are the whole in order, and their lengths differ by at most one."""
    i, n = shard
    return range(first + number * i // n, first + number * (i + 1) // n)


def resume_option() -> Callable:
    return click.option(
        "--resume",
        is_flag=True,
        help="Go on where a run of the same call was killed, met a full disk or, under --resume, was stopped.",
    )


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
    place = next((place for place in places if os.path.exists(place)), places[0])
    raw = files.read_file(place, "a TOML file", MAX_TOML, packed=False)
    try:
        text = raw.decode()
        if DEEP_KEY.search(text):  # the library takes a time that grows with the square of a key's parts
            raise ValueError("a key of over 200 parts")
        return tomllib.loads(text)
    except RecursionError:
        raise DataError(f"{path}: not a TOML file: nested too deeply") from None
    except ValueError as error:  # also what is no UTF-8, and whole numbers of thousands of digits
        raise DataError(f"{path}: not a TOML file: {error}") from None


MAX_TOML = 1 << 20  # bytes of a configuration
DEEP_KEY = re.compile(r"""(?<![\w-])(?:(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){200}""")


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
        if name in names and key not in sections:
            table[key] = _as_option(value, key, table[key], names[name].multiple)
    defaults = {key.replace("-", "_"): v for key, v in table.items() if key not in sections}
    context.default_map = {**(context.default_map or {}), **defaults}
    context.meta["config_sections"] = {key: table[key] for key in table if key in sections}
    return value


def _as_option(file, key, value, many: bool):
    """What a config file says of one option, as click takes it."""
    if many and not isinstance(value, list):
        value = [value]
    for part in value if many else [value]:
        if not isinstance(part, (str, int, float)):
            raise DataError(f"{file}: {key} is {str(part)[:40]}, wanted a text, a number, or true or false")
    return value


# ---- the command wrapper ----------------------------------------------------------------------


def command(
    example: str,
    config_sections: tuple[str, ...] = (),
    name: str | None = None,
    groups: dict[str, str] | None = None,
    **settings: Any,
) -> Callable[[Callable], click.Command]:
    """Like click.command, with --version, an example in --help, and errors mapped to exit codes.

    `example` is one runnable shell line, `name` the command's where the function has another.  `config_sections` names
    top-level keys of a --config file that the command reads itself, from ``click.get_current_context().meta["config_sections"]``.
    `groups`: heading of --help -> the options under it, as "--one --other"; those of no group stand last.
    """

    def wrap(function):
        settings.setdefault("epilog", f"\b\nExample:\n  {example}")
        settings.setdefault("context_settings", {"help_option_names": ["-h", "--help"], "max_content_width": 100})
        called = name or function.__name__
        wrapped = click.version_option(__version__, prog_name=f"fansr-{called}")(function)
        inner = click.command(called, cls=_Command, **settings)(wrapped)
        inner.config_sections = config_sections
        inner.groups = groups or {}
        return inner

    return wrap


def _program(otherwise: str = "fansr") -> str:
    return os.path.basename(sys.argv[0]) if sys.argv and sys.argv[0] else otherwise


class _ReaderGone(Exception):
    """Whoever read our output closed the pipe."""


class _Command(click.Command):
    def __init__(self, *args, **settings):
        super().__init__(*args, **settings)
        self.groups: dict[str, str] = {}
        for param in self.params:
            param.type = _strict(param.type)
            if param.metavar is None and isinstance(param.type, _Strict):
                param.metavar = "N" if isinstance(param.type, click.types.IntParamType) else "NUMBER"

    def format_options(self, ctx, formatter):
        """The options under their headings."""
        left = {option: param for param in self.get_params(ctx) for option in param.opts}
        for heading, names in self.groups.items():
            shown = [left[name] for name in names.split()]
            left = {option: param for option, param in left.items() if param not in shown}
            self._section(heading, shown, ctx, formatter)
        rest = list({id(param): param for param in left.values() if isinstance(param, click.Option)}.values())
        self._section("Other options" if self.groups else "Options", rest, ctx, formatter)

    def _section(self, heading, params, ctx, formatter):
        rows = [row for row in (param.get_help_record(ctx) for param in params) if row]
        if rows:
            with formatter.section(heading):
                formatter.write_dl(rows)

    def main(self, args=None, prog_name=None, complete_var=None, standalone_mode=True, **extra):
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        _occupy_streams()
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
        except click.NoSuchOption as error:
            near = difflib.get_close_matches(error.option_name, self._options(), 1)
            meant = f"; did you mean {near[0]}?" if near else ""
            return self._say(f"no option {error.option_name}{meant} (see {self._name()} --help)", 2)
        except click.UsageError as error:
            return self._say(f"{error.format_message()} (see {self._name()} --help)", 2)
        except click.ClickException as error:
            return self._say(error.format_message(), 1)
        except DataError as error:
            return self._say(str(error), 1, error)
        except NoAnswer as error:
            return self._say(str(error), 3, error)
        except RecursionError as error:
            return self._say("the data are nested too deeply", 1, error)
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

    def _options(self) -> list[str]:
        """The names of all options."""
        return [name for param in self.params for name in (*param.opts, *param.secondary_opts) if name[:1] == "-"]

    def _name(self) -> str:
        return _program(self.name or "fansr")


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


def _occupy_streams():
    """Give closed standard streams a place, so that no file that is opened later takes their numbers.

    A closed stdin stays one (files.open_file says so), writing to a closed stdout is an error, and a closed stderr is
    written to no more.
    """
    for number, name, flags in ((0, "stdin", os.O_RDONLY), (1, "stdout", os.O_RDONLY), (2, "stderr", os.O_WRONLY)):
        if getattr(sys, name) is None:
            with contextlib.suppress(OSError):
                null = os.open(os.devnull, flags)
                if null != number:
                    os.dup2(null, number)
                    os.close(null)
                if number:
                    setattr(sys, name, open(number, "w", closefd=False))


def _close_stdout(said: bool):
    """Flush stdout here, so that a pipe closed by the reader does not print a complaint at exit."""
    try:
        sys.stdout.flush()
    except (BrokenPipeError, ValueError):
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    except OSError as error:
        if not said:
            reason = "is closed; give -o FILE or a pipe" if error.errno == errno.EBADF else error.strerror or error
            click.echo(f"{_program()}: stdout: {reason}", err=True)
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(1)


def history_entry(seed: int | None = None, config: dict | str | None = None, rules: str | None = None) -> dict:
    """What this command adds to a stream's history; only `argv` and `utc` differ between equal runs."""
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    return {
        "cmd": _program("python").removesuffix(".py"),
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
        with live_lines.aside():
            click.echo(message, err=True)


def progress(
    iterable: Iterable | None = None, total: int | None = None, quiet: bool = False, unit: str = "rec", **extra: Any
) -> Any:
    """A tqdm bar on stderr, shown only on a terminal, never with -q, and not beside live lines, which tell the time."""
    from tqdm import tqdm

    with live_lines.aside() as busy:
        shown = not (quiet or busy or sys.stderr is None or not sys.stderr.isatty())
    return tqdm(
        iterable,
        total=total,
        unit=unit,
        disable=not shown,
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
