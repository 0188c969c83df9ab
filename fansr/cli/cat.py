"""fansr-cat: look into any stream, check it, join several.

    fansr-cat --head 3 train.zst

Knows every kind of record by its name only; it never needs the stage that wrote it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

import click
import numpy as np

from fansr.cli import command, shard_files, stream_views
from fansr.expressions import problems, to_infix
from fansr.streams import files, reader_writer


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


def _tsv_lines(records) -> Iterator[str]:
    columns = None
    for record in records:
        cells = tsv_cells(record)
        if columns is None:
            columns = list(cells)
            yield "\t".join(columns)
        yield "\t".join(cells.get(name, "") for name in columns)


def _heads(inputs):
    """Readers one after another, each with its header seen."""
    for name in inputs or ["-"]:
        with reader_writer.open_reader(name) as reader:
            yield reader


def _json_lines(inputs, head, holds=None) -> Iterator[str]:
    left = math.inf if head is None else head
    for reader in _heads(inputs):
        yield json.dumps(plain(reader.header), ensure_ascii=False)
        for record in reader:
            if holds is not None and not holds(record):
                continue
            if left <= 0:
                return
            yield json.dumps(plain(record), ensure_ascii=False)
            left -= 1
        yield json.dumps(_end_record(reader), ensure_ascii=False)


def _end_record(reader) -> dict:
    end = {"kind": "end", "n": reader.n, "dropped": dict(sorted(reader.dropped.items())), "checksum": reader.checksum}
    return end if reader.interrupted is None else {**end, "interrupted": reader.interrupted}


@command.command(
    example="fansr-cat --head 5 --infix train.zst",
    groups={
        "What to show": "--json --tsv --infix --count --stats --history",
        "What to do": "--check --merge --to --output --jobs",
        "Which records": "--head --where --shards",
    },
)
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
    "--stats", "mode", flag_value="stats", help="Of every field: how many records have it, its range, its commonest."
)
@click.option("--history", "mode", flag_value="history", help="The commands that made the stream, as they were called.")
@click.option(
    "--to", "form", type=click.Choice(stream_views.FORMATS), default=None, help="A flat table of the records."
)
@command.where_option()
@click.option(
    "--shards",
    type=click.Path(exists=True, file_okay=False),
    default=None,
    metavar="DIR",
    help="All *.zst of a folder as inputs; --check and --merge then demand that no shard of the whole is missing.",
)
@command.output_option("Where what is shown, or the stream of --merge, goes; - is stdout.")
@command.jobs_option()
@command.max_record_option()
@command.quiet_option()
def cat(inputs, head, mode, form, where, shards, output, jobs, quiet):
    """Show, count, check or join fansr streams (stdin if no IN is given)."""
    if shards is not None:
        if inputs:
            raise click.UsageError("--shards takes the files of its folder: no IN beside it")
        inputs = shard_files.of_folder(shards)
    if where is not None and mode in ("check", "history"):
        raise click.UsageError(f"--where chooses among records, and --{mode} is about whole streams")
    if head is not None and mode in ("check", "history"):
        raise click.UsageError(f"--head shows the first records, and --{mode} is about whole streams")
    if form == "parquet" and output == "-":
        raise click.UsageError("--to parquet wants -o FILE.parquet")
    if mode == "merge" and (where is not None or head is not None):
        return _merge_some(inputs, output, where, head)
    if mode == "merge":
        return shard_files.merge(inputs, output, whole=shards is not None)
    if mode == "check":
        return shard_files.check(inputs, jobs, quiet, whole=shards is not None)
    if form is not None and mode != "history":
        return stream_views.write_table(_chosen(inputs, head, where), form, output)
    lines = _lines(inputs, mode, head, where)
    if output != "-":
        return files.write_text(output, (f"{line}\n" for line in lines))
    for line in lines:
        click.echo(line)
    return None


def _lines(inputs, mode, head, holds) -> Iterator[str]:
    """What is shown of streams, line by line."""
    if mode == "history":
        for reader in _heads(inputs):
            yield f"{reader.name}:"
            yield from stream_views.made_by(reader.history)
    elif mode == "json":
        yield from _json_lines(inputs, head, holds)
    elif mode == "count" and holds is None and head is None:
        yield str(sum(len(batch) for reader in _heads(inputs) for batch in reader.batches(command.CHUNK)))
    elif mode == "count":
        yield str(sum(1 for _ in _chosen(inputs, head, holds)))
    elif mode == "stats":
        yield from stream_views.statistics(_chosen(inputs, head, holds))
    elif mode == "tsv":
        yield from _tsv_lines(_chosen(inputs, head, holds))
    else:
        yield from map(infix_line, _chosen(inputs, head, holds))


def _chosen(inputs, head, holds):
    """The records of all inputs for which a condition holds, the first `head` of them."""
    records = reader_writer.chain(inputs)
    if holds is not None:
        records = filter(holds, records)
    return records if head is None else _first(records, head)


def _merge_some(inputs, output, holds, head):
    """One stream of the records for which a condition holds, the first `head` of them; the others are counted as `where` and `head`."""
    inputs = inputs or ["-"]
    first = reader_writer.open_reader(inputs[0])
    kind = first.header["holds"]
    left = math.inf if head is None else head
    with reader_writer.open_writer(output, kind, [*first.history, command.history_entry()]) as writer:
        for i, name in enumerate(inputs):
            with first if i == 0 else reader_writer.open_reader(name, holds=kind) as reader:
                for record in reader:
                    if holds is not None and not holds(record):
                        writer.dropped["where"] += 1
                    elif left <= 0:
                        writer.dropped["head"] += 1
                    else:
                        writer.write(record)
                        left -= 1


def _first(records, n: int):
    for i, record in enumerate(records):
        if i >= n:
            return
        yield record


main = cat
