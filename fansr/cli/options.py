"""The options that several commands have, each in one place, so that they are called and mean the same everywhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import click

from fansr.cli import record_filter
from fansr.cli.option_types import Size
from fansr.streams import files, parallel


def max_record_option() -> Callable:
    """For every command that reads streams; the readers made after it take the bound."""
    return click.option(
        "--max-record",
        type=Size(),
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


def where_option() -> Callable:
    """--where as a function of a record, None where it is not given."""
    return click.option(
        "--where",
        multiple=True,
        metavar="CONDITION",
        callback=_parse_where,
        help="Only records for which it holds: \"fvu < 1e-6 and status == 'ok'\", or FIELD=VALUE; len(expr) is a field's length.  "
        "Of several all must hold.",
    )


def _parse_where(ctx, param, texts) -> Callable[[dict], bool] | None:
    try:
        holds = [record_filter.condition(text) for text in texts]
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--where") from None
    return (lambda record: all(one(record) for one in holds)) if holds else None


def resume_option() -> Callable:
    return click.option(
        "--resume",
        is_flag=True,
        help="Go on where a run of the same call was killed, met a full disk or, under --resume, was stopped.",
    )
