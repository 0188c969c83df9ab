"""Several streams as one: each checked, all of them proven to be the whole of what was meant, and joined.

A file that fansr-gen --shard began says in its header which ids it holds, and of which whole (config ids, of); its end record
says how many records there are, their checksum, and whether its writer was stopped.  So the headers prove that no shard is
missing or twice, and reading each proves that it is what was written.  One file is open at a time.
"""

from __future__ import annotations

import glob
import json
import os
from dataclasses import dataclass

import click

from fansr.cli import command
from fansr.errors import DataError
from fansr.streams import parallel, reader_writer


@dataclass
class Seen:
    """What a stream says of itself; n, checksum, dropped and interrupted only when it was read to its end."""

    name: str
    holds: str
    history: list[dict]
    n: int = 0
    checksum: int = 0
    dropped: dict | None = None
    interrupted: dict | None = None

    @property
    def config(self) -> dict:
        """Of the command that began it."""
        config = self.history[0].get("config") if self.history else None
        return config if isinstance(config, dict) else {}

    @property
    def shard(self) -> tuple[list[int], list[int]] | None:
        """([first id, behind the last], the same of the whole), None for what is no shard."""
        ids, of = self.config.get("ids"), self.config.get("of")
        return (ids, of) if _is_range(ids) and _is_range(of) else None


def _is_range(ids) -> bool:
    return isinstance(ids, list) and len(ids) == 2 and all(type(i) is int for i in ids) and 0 <= ids[0] <= ids[1]


def of_folder(folder: str) -> list[str]:
    """The streams of a folder by name; DataError when there are none, or some that were not finished."""
    names = sorted(glob.glob(os.path.join(glob.escape(folder), "*.zst")))
    unfinished = sorted(glob.glob(os.path.join(glob.escape(folder), "*.part")))
    if unfinished:
        raise DataError(
            f"{unfinished[0]}: not finished{f', and {len(unfinished) - 1} more' if len(unfinished) > 1 else ''}; "
            "run its task again, which goes on where it stopped"
        )
    if not names:
        raise DataError(f"{folder}: holds no *.zst")
    return names


def look(name: str) -> Seen:
    """A stream's header."""
    with reader_writer.open_reader(name) as reader:
        return Seen(reader.name, str(reader.header.get("holds")), reader.history)


def read(name: str) -> Seen:
    """Everything of a stream read and checked; DataError where it is damaged, or a shard holds ids that are not its own."""
    with reader_writer.open_reader(name) as reader:
        seen = Seen(reader.name, str(reader.header.get("holds")), reader.history)
        own, last = (seen.shard or (None, None))[0], -1
        for batch in reader.batches(command.CHUNK):
            for record in batch.records():  # that every one can be read
                if own and seen.holds == "skeleton":
                    id = record.get("id")
                    if not (type(id) is int and own[0] <= id < own[1] and id > last):
                        raise DataError(
                            f"{seen.name}: id {str(id)[:40]} after {last} in a shard of ids {own[0]} to {own[1] - 1}; "
                            "wanted rising ones of these"
                        )
                    last = id
        seen.n, seen.checksum, seen.interrupted = reader.n, reader.checksum, reader.interrupted
        seen.dropped = dict(sorted(reader.dropped.items()))
        return seen


def check(inputs, jobs: int = 1, quiet: bool = False, whole: bool = False) -> None:
    """Read all and say of each that it is whole; `whole`: DataError unless together they are all shards of one making."""
    inputs = list(inputs) or ["-"]
    results = parallel.ordered_map(read, inputs, min(jobs, len(inputs)))
    total = checksum = 0
    all_seen = []
    for seen in results:
        total += seen.n
        checksum = (checksum + seen.checksum) % 2**64
        if not quiet:
            dropped = ", ".join(f"{reason} {n}" for reason, n in seen.dropped.items()) or "none"
            stages = " | ".join(str(entry.get("cmd")) for entry in seen.history) or "unknown"
            click.echo(
                f"{seen.name}: ok, {seen.n} {seen.holds} records, dropped: {dropped}, "
                f"checksum {seen.checksum:016x}, made by {stages}{_interrupted(seen)}"
            )
        all_seen.append(seen)
    ids = joined(all_seen, whole)
    if (len(inputs) > 1 or whole) and not quiet:
        told = f", all shards of ids {ids[0]} to {ids[1] - 1}" if ids else ""
        click.echo(f"together: {total} records, checksum {checksum:016x}{told}")


def _interrupted(seen: Seen) -> str:
    if seen.interrupted is None:
        return ""
    done, meant = seen.interrupted["done"], seen.interrupted.get("meant")
    return f", INTERRUPTED after {done}" + ("" if meant is None else f" of {meant}")


def joined(streams: list[Seen], whole: bool = False) -> list[int] | None:
    """[start, stop] of the ids that several shards of one making hold together.

    None when they are no shards of one whole (DataError if `whole` wants them to be).  DataError when they are, but some
    ids are missing or twice, or one was interrupted.
    """
    shards = [seen.shard for seen in streams]
    made = [_making(seen, whole) for seen in streams]
    if None in shards or len(set(made)) != 1:
        if whole:
            odd = next((i for i in range(len(streams)) if shards[i] is None or made[i] != made[0]), 0)
            why = (
                "says of no ids that it holds them"
                if shards[odd] is None
                else f"was made otherwise than {streams[0].name}"
            )
            raise DataError(f"shards: {streams[odd].name} {why}: these files are not the shards of one whole")
        return None
    if not whole and (len(streams) < 2 or all(ids == of for ids, of in shards)):
        return None
    start, stop = shards[0][1]
    for seen, ((low, high), _) in zip(streams, shards):
        if seen.interrupted:
            raise DataError(
                f"shards: {seen.name} was to hold ids {low} to {high - 1}{_interrupted(seen)}: the last of them are "
                "missing; go on with it or make it again"
            )
    reached = start
    for low, high in sorted(ids for ids, _ in shards):
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


def _making(seen: Seen, stages: bool) -> str:
    """What shards of one whole have in common: how they were begun but for the ids, and with `stages` all that came after."""
    first = {key: value for key, value in seen.config.items() if key != "ids"}
    kept = ("cmd", "seed", "version", "rules") if stages else ()
    told = [{key: entry.get(key) for key in kept} for entry in seen.history]
    later = [entry.get("config") for entry in seen.history[1:]] if stages else []
    seed = seen.history[0].get("seed") if seen.history else None
    return json.dumps([seen.holds, seed, first, told, later], sort_keys=True, default=str)


def merge(inputs, output: str, whole: bool = False) -> None:
    """One stream from several, in the order given: counts and drops added up.  All are looked at before anything is written."""
    inputs = list(inputs) or ["-"]
    from_stdin = "-" in inputs
    seen: list[Seen] = []
    if not from_stdin:
        seen = [look(name) for name in inputs]
        for other in seen[1:]:
            if other.holds != seen[0].holds:
                raise DataError(f"{other.name}: holds {other.holds[:40]} records, wanted {seen[0].holds[:40]}")
    ids = joined(seen, whole) if seen else None
    first = reader_writer.open_reader(inputs[0])
    holds, history = first.header["holds"], first.history
    if ids:
        history[0] = {**history[0], "config": {**history[0]["config"], "ids": ids}}
    with reader_writer.open_writer(output, holds, [*history, command.history_entry()]) as writer:
        for i, name in enumerate(inputs):
            with first if i == 0 else reader_writer.open_reader(name, holds=holds) as reader:
                for batch in reader.batches(command.CHUNK):
                    batch.records()  # that every one can be read
                    writer.write_many(batch.data, len(batch), batch.checksum)
                writer.dropped.update(reader.dropped)
                writer.interrupted = writer.interrupted or reader.interrupted
                if seen:
                    seen[i].interrupted = reader.interrupted
        if ids:
            joined(seen, whole)  # again: that one was interrupted is seen at its end
