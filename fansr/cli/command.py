"""What makes a function a command: --version, help in groups with an example, errors as exit statuses, closed streams and Ctrl-C.

Exit status: 0 done; 1 the data are wrong; 2 the call is wrong; 3 ran but found no answer; 130 interrupted.
All that the module of a command needs is reached through this one: options, the --config file, messages and the filter loop.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import gc
import os
import sys
from collections.abc import Callable
from typing import Any

import click

from fansr.cli import interrupts
from fansr.cli.config_files import config_option, read_toml
from fansr.cli.filter_loop import CHUNK, Lost, batches, filter_stream, write_stream
from fansr.cli.messages import history_entry, program, progress, remark
from fansr.cli.option_types import StrictNumber, strict
from fansr.cli.options import (
    drawing_options,
    jobs_option,
    max_record_option,
    number_option,
    output_option,
    quiet_option,
    resume_option,
    seed_option,
    shard_option,
    shard_range,
    where_option,
)
from fansr.errors import DataError, NoAnswer, did_you_mean
from fansr.version import __version__

__all__ = [
    "CHUNK",
    "DataError",
    "Lost",
    "NoAnswer",
    "batches",
    "command",
    "config_option",
    "drawing_options",
    "filter_stream",
    "history_entry",
    "jobs_option",
    "max_record_option",
    "number_option",
    "output_option",
    "progress",
    "quiet_option",
    "read_toml",
    "remark",
    "resume_option",
    "seed_option",
    "shard_option",
    "shard_range",
    "where_option",
    "write_stream",
]


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


class _ReaderGone(Exception):
    """Whoever read our output closed the pipe."""


class _Command(click.Command):
    def __init__(self, *args, **settings):
        super().__init__(*args, **settings)
        self.groups: dict[str, str] = {}
        for param in self.params:
            param.type = strict(param.type)
            if param.metavar is None and isinstance(param.type, StrictNumber):
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
        # A process that ends looks through all that it imported for garbage, which takes longer than many a fit.
        atexit.unregister(gc.freeze)
        atexit.register(gc.freeze)
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
            with interrupts.patient(term=True):
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
            meant = did_you_mean(error.option_name, self._options())
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
        return program(self.name or "fansr")


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
            click.echo(f"{program()}: stdout: {reason}", err=True)
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(1)
