"""fansr-cat: look into any stream, check it, join several.

    fansr-cat --head 3 train.zst

Knows every kind of record by its name only; it never needs the stage that wrote it.
"""

from __future__ import annotations

import json
import math

import click
import numpy as np

from fansr.cli import command
from fansr.errors import DataError
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


def _check(inputs, quiet):
    total = checksum = 0
    readers = []
    for reader in _heads(inputs):
        for batch in reader.batches(command.CHUNK):
            batch.records()  # that every one can be read
        total += reader.n
        checksum = (checksum + reader.checksum) % 2**64
        dropped = ", ".join(f"{reason} {n}" for reason, n in sorted(reader.dropped.items())) or "none"
        if not quiet:
            stages = " | ".join(str(entry.get("cmd")) for entry in reader.history) or "unknown"
            click.echo(
                f"{reader.name}: ok, {reader.n} {reader.header.get('holds')} records, dropped: {dropped}, "
                f"checksum {reader.checksum:016x}, made by {stages}{_interrupted(reader)}"
            )
        readers.append(reader)
    whole = joined_shards(readers)
    if len(inputs) > 1 and not quiet:
        shards = f", all shards of ids {whole[0]} to {whole[1] - 1}" if whole else ""
        click.echo(f"together: {total} records, checksum {checksum:016x}{shards}")


def _interrupted(reader) -> str:
    if reader.interrupted is None:
        return ""
    done, meant = reader.interrupted["done"], reader.interrupted.get("meant")
    return f", INTERRUPTED after {done}" + ("" if meant is None else f" of {meant}")


def _is_range(ids) -> bool:
    return isinstance(ids, list) and len(ids) == 2 and all(type(i) is int for i in ids) and 0 <= ids[0] <= ids[1]


def joined_shards(readers) -> list[int] | None:
    """[start, stop] of the ids that several shards of one making (fansr-gen --shard) hold together.

    None when they are no shards of one whole.  DataError when they are, but some ids are missing or twice, or one was
    interrupted.  The readers have read everything.
    """
    firsts = [reader.history[0] if reader.history else {} for reader in readers]
    configs = [entry["config"] if isinstance(entry.get("config"), dict) else {} for entry in firsts]
    parts = [config.get("ids") for config in configs]
    if not all(_is_range(config.get(key)) for config in configs for key in ("ids", "of")):
        return None
    made = {
        json.dumps([entry.get("seed"), {k: v for k, v in config.items() if k != "ids"}], sort_keys=True)
        for entry, config in zip(firsts, configs)
    }
    if len(parts) < 2 or len(made) != 1 or all(config["ids"] == config["of"] for config in configs):
        return None
    start, stop = configs[0]["of"]
    for reader, (low, high) in zip(readers, parts):
        if reader.interrupted:
            raise DataError(
                f"shards: {reader.name} was to hold ids {low} to {high - 1}{_interrupted(reader)}: the last of them are "
                "missing; go on with it or make it again"
            )
    reached = start
    for low, high in sorted(parts):
        if low != reached:
            word = "in none" if low > reached else "in more than one"
            raise DataError(
                f"shards: ids {min(low, reached)} to {max(low, reached) - 1} of {start} to {stop - 1} are {word} "
                "of the files given"
            )
        reached = high
    if reached != stop:
        raise DataError(f"shards: ids {reached} to {stop - 1} of {start} to {stop - 1} are in none of the files given")
    return [start, stop]


def _merge(inputs, output):
    """One stream from several, in the order given: counts and drops added up."""
    inputs = inputs or ["-"]
    first = reader_writer.open_reader(inputs[0])
    holds = first.header["holds"]
    readers = [first, *(reader_writer.open_reader(name, holds=holds) for name in inputs[1:])]
    history = first.history
    whole = joined_shards(readers)
    if whole:
        history[0] = {**history[0], "config": {**history[0]["config"], "ids": whole}}
    with reader_writer.open_writer(output, holds, [*history, command.history_entry()]) as writer:
        for reader in readers:
            with reader:
                for batch in reader.batches(command.CHUNK):
                    batch.records()  # that every one can be read
                    writer.write_many(batch.data, len(batch), batch.checksum)
                writer.dropped.update(reader.dropped)
                writer.interrupted = writer.interrupted or reader.interrupted
        if whole:
            joined_shards(readers)  # again: that one was interrupted is seen at its end


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
@command.output_option("Where --merge writes; - is stdout.")
@command.max_record_option()
@command.quiet_option()
def cat(inputs, head, mode, output, quiet):
    """Show, count, check or join fansr streams (stdin if no IN is given)."""
    if mode == "merge":
        return _merge(inputs, output)
    if mode == "check":
        return _check(inputs, quiet)
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
