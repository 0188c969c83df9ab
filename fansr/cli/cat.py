"""fansr-cat: look into any stream, check it, join several.

    fansr-cat --head 3 train.zst

Knows every kind of record by its name only; it never needs the stage that wrote it.
"""

from __future__ import annotations

import json
import math

import click
import numpy as np

from fansr.cli import command, shard_files
from fansr.expressions import problems, to_infix
from fansr.streams import reader_writer


def plain(value):
    """`value` with arrays as lists and NaN or infinity as strings, ready for strict JSON."""
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)  # 'nan', 'inf', '-inf': JSON has no word for them
    if isinstance(value, bytes):
        return value.hex()
    return value


def infix_line(record: dict) -> str:
    """The record's expression as a formula, or the first thing in it that names one."""
    expr = record.get("expr")
    names, consts = record.get("names"), record.get("consts")
    if expr is None and isinstance(record.get("truth"), dict):
        truth = record["truth"]
        if truth.get("infix"):
            return str(truth["infix"])
        expr, consts = truth.get("expr"), truth.get("consts")
    if not expr:
        return f"({record.get('kind')} without an expression)"
    if problems(expr):
        return " ".join(map(str, expr))
    return to_infix(expr, consts, names)


def tsv_cells(record: dict) -> dict[str, str]:
    """A record's fields as text cells: token lists joined by spaces, arrays by their shape."""
    cells = {}
    for name, value in record.items():
        if isinstance(value, np.ndarray) and value.ndim != 1:
            text = f"{value.dtype.str}{list(value.shape)}"
        elif isinstance(value, (list, np.ndarray)):
            text = " ".join(map(str, plain(value)))
        elif isinstance(value, dict):
            text = json.dumps(plain(value), ensure_ascii=False)
        else:
            text = "" if value is None else str(value)
        cells[name] = text.replace("\t", " ").replace("\n", " ")
    return cells


def _print_tsv(records):
    columns = None
    for record in records:
        cells = tsv_cells(record)
        if columns is None:
            columns = list(cells)
            click.echo("\t".join(columns))
        click.echo("\t".join(cells.get(name, "") for name in columns))


def _heads(inputs):
    """Readers one after another, each with its header seen."""
    for name in inputs or ["-"]:
        with reader_writer.open_reader(name) as reader:
            yield reader


def _print_json(inputs, head):
    left = math.inf if head is None else head
    for reader in _heads(inputs):
        click.echo(json.dumps(plain(reader.header), ensure_ascii=False))
        for record in reader:
            if left <= 0:
                return
            click.echo(json.dumps(plain(record), ensure_ascii=False))
            left -= 1
        click.echo(json.dumps(_end_record(reader), ensure_ascii=False))


def _end_record(reader) -> dict:
    end = {"kind": "end", "n": reader.n, "dropped": dict(sorted(reader.dropped.items())), "checksum": reader.checksum}
    return end if reader.interrupted is None else {**end, "interrupted": reader.interrupted}


@command.command(example="fansr-cat --head 5 --infix train.zst")
@click.argument("inputs", nargs=-1, metavar="[IN ...]")
@click.option("--head", type=click.IntRange(0), default=None, metavar="N", help="Only the first N records.")
@click.option("--count", "mode", flag_value="count", help="Print the number of records.")
@click.option("--check", "mode", flag_value="check", help="Read everything and say whether it is whole.")
@click.option("--merge", "mode", flag_value="merge", help="Write one stream that holds all inputs.")
@click.option(
    "--json", "mode", flag_value="json", default=True, help="One JSON object a line, header and end included."
)
@click.option("--tsv", "mode", flag_value="tsv", help="A table, columns from the first record.")
@click.option("--infix", "mode", flag_value="infix", help="One formula a line.")
@click.option(
    "--shards",
    type=click.Path(exists=True, file_okay=False),
    default=None,
    metavar="DIR",
    help="All *.zst of a folder as inputs; --check and --merge then demand that no shard of the whole is missing.",
)
@command.output_option("Where --merge writes; - is stdout.")
@command.jobs_option()
@command.max_record_option()
@command.quiet_option()
def cat(inputs, head, mode, shards, output, jobs, quiet):
    """Show, count, check or join fansr streams (stdin if no IN is given)."""
    if shards is not None:
        if inputs:
            raise click.UsageError("--shards takes the files of its folder: no IN beside it")
        inputs = shard_files.of_folder(shards)
    if mode == "merge":
        return shard_files.merge(inputs, output, whole=shards is not None)
    if mode == "check":
        return shard_files.check(inputs, jobs, quiet, whole=shards is not None)
    if mode == "json":
        return _print_json(inputs, head)
    if mode == "count":
        click.echo(str(sum(len(batch) for reader in _heads(inputs) for batch in reader.batches(command.CHUNK))))
        return None
    records = reader_writer.chain(inputs)
    if head is not None:
        records = _first(records, head)
    if mode == "tsv":
        return _print_tsv(records)
    for record in records:
        click.echo(infix_line(record))
    return None


def _first(records, n: int):
    for i, record in enumerate(records):
        if i >= n:
            return
        yield record


main = cat
