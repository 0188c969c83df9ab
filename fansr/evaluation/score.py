"""Score fits: how many laws were found, how well, how short, how fast, with intervals.

    fansr-render data/fastsrb.json --val | fansr-fit --time 10 | fansr-score --by difficulty

Reads fit records and needs nothing else: each carries what it is judged against.  Prints a table for people (metrics
down, groups across), or JSON, or TSV; -o writes one score record a problem for fansr-plot and for anyone's own sums.
It knows nothing of how the fits were made.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict

import click

from fansr.cli import command, record_filter
from fansr.errors import DataError, NoAnswer
from fansr.evaluation.metrics import METRICS, score_fit, summarise
from fansr.evaluation.paired import as_table as paired_table, compared
from fansr.streams import open_reader, open_writer

INSIDE = ("kind", "fvu", "fvu_val", "length", "logp", "seconds", "expr")  # of a fit record: in `best` or a metric
ORDER = {name: i for i, name in enumerate(("easy", "medium", "hard"))}


def law_of(fit: dict):
    """What repeats of one law have in common: its name, else its formula, else the problem's own id."""
    truth = fit.get("truth") or {}
    return fit.get("law") or truth.get("law") or truth.get("infix") or fit.get("problem")


def score_record(fit: dict, reference_seconds: float | None = None) -> dict:
    """The score record of one fit record: what was found, the front if there is one, and every metric beside them."""
    best = {name: fit.get(name) for name in ("expr", "consts", "fvu", "fvu_val", "length", "source", "logp")}
    record = {"kind": "score", "problem": fit["problem"], "best": best, "front": fit.get("front") or []}
    record.update({name: value for name, value in fit.items() if groupable(name, value)})
    record["law"] = law_of(fit)
    record.update(score_fit(fit, reference_seconds))
    return record


def groupable(name: str, value) -> bool:
    """A field that records can be grouped by: text or a number, and not one that scoring fills."""
    return name not in INSIDE and (value is None or isinstance(value, (str, int, float, bool)))


def grouped(records: list[dict], by: tuple[str, ...]) -> dict[str, list[dict]]:
    """Records by the values of the fields named in `by`; DataError where no record has such a field."""
    fields = [record_filter.ALIASES.get(name, name) for name in by]
    for name, field in zip(by, fields):
        if records and not any(field in record or field in record.get("best", {}) for record in records):
            metrics = {"kind", "seconds", *(metric.name for metric in METRICS)}
            known = sorted(
                {key for record in records for key, value in record.items() if groupable(key, value)} - metrics
            )
            raise DataError(f"--by {name}: no record has that field; there are {', '.join(known)}")
    groups: dict[str, list[dict]] = defaultdict(list)
    for record in records:
        values = [record.get(field, record["best"].get(field)) for field in fields]
        groups[" ".join(_text(value) for value in values)].append(record)
    return dict(sorted(groups.items(), key=lambda item: [_sort_key(word) for word in item[0].split(" ")]))


def _text(value) -> str:
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _sort_key(word: str):
    try:
        return 1, float(word), ""
    except ValueError:
        return (0, ORDER[word], "") if word in ORDER else (2, 0.0, word)


def summary_of(records: list[dict], by: tuple[str, ...], n_bootstrap: int, seed: int) -> dict:
    """summarise() of all records, with "groups" {name: the same without groups} when `by` names fields."""

    def one(some):
        return summarise(some, [record["law"] for record in some], n_bootstrap, seed)

    summary = one(records)
    summary["failures"] = dict(Counter(record.get("status", "ok") for record in records if not record["success"]))
    summary["groups"] = {name: one(members) for name, members in grouped(records, by).items()} if by else {}
    return summary


# ---- printing ---------------------------------------------------------------------------------


def _cell(metric, summary: dict) -> str:
    value = summary[metric.name]
    if value is None:
        return "-"
    factor, form = (100.0, "{:.1f}") if metric.rate else (1.0, "{:.3g}")
    text = form.format(factor * value)
    if metric.name in summary["ci"]:
        low, high = (form.format(factor * bound) for bound in summary["ci"][metric.name])
        text += f" [{low}, {high}]"
    return text


def as_table(summary: dict) -> str:
    """Metrics down, groups across, rates in percent, 95 % intervals in brackets; empty metrics are left out."""
    columns = {"all": summary, **summary["groups"]}
    rows = [["", *columns], ["problems", *(str(column["n"]) for column in columns.values())]]
    rows.append(["laws", *(str(column["laws"]) for column in columns.values())])
    for metric in METRICS:
        if any(column[metric.name] is not None for column in columns.values()):
            label = metric.label + (" %" if metric.rate else "")
            rows.append([label, *(_cell(metric, column) for column in columns.values())])
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    if summary["failures"]:
        lines.append("failed: " + ", ".join(f"{n} {reason}" for reason, n in sorted(summary["failures"].items())))
    return "\n".join(lines)


def as_tsv(summary: dict) -> str:
    """One line per group and metric: group, metric, value, low, high, n.  Rates are shares; missing is empty."""
    lines = ["group\tmetric\tvalue\tlow\thigh\tn"]
    for name, column in {"all": summary, **summary["groups"]}.items():
        for metric in METRICS:
            if column[metric.name] is not None:
                numbers = [column[metric.name], *column["ci"].get(metric.name, ("", ""))]
                lines.append("\t".join([name, metric.name, *map(str, numbers), str(column["n"])]))
    return "\n".join(lines)


def as_json(summary: dict) -> str:
    """One object; what is not a number in JSON (NaN, infinity) becomes null."""

    def clean(value):
        if isinstance(value, dict):
            return {key: clean(inner) for key, inner in value.items()}
        if isinstance(value, (list, tuple)):
            return [clean(inner) for inner in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps(clean(summary))


# ---- the command ------------------------------------------------------------------------------


def reference_times(path: str) -> dict:
    """{problem id: seconds} of another stream of fits."""
    with open_reader(path, holds="fit") as reader:
        return {fit["problem"]: fit["seconds"] for fit in reader if fit.get("seconds")}


@command.command(example="fansr-render data/fastsrb.json --val | fansr-fit --time 1 | fansr-score --by difficulty")
@click.argument("inputs", nargs=-1, metavar="[FITS ...]")
@click.option(
    "--by",
    multiple=True,
    metavar="FIELD",
    help="Group by any field of the records: difficulty, noise, points, source, law, ... Several: every combination.",
)
@click.option(
    "--bootstrap",
    "n_bootstrap",
    default=1000,
    show_default=True,
    type=click.IntRange(0),
    metavar="N",
    help="Resamples of the laws for the 95 % intervals; 0 leaves them out.",
)
@click.option(
    "--paired",
    type=click.Choice([metric.name for metric in METRICS if metric.statistic == "mean"]),
    default=None,
    help="Also compare the groups of --by two by two, problem by problem, by this metric.",
)
@click.option("--json", "form", flag_value="json", help="One JSON object, rates as shares.")
@click.option("--tsv", "form", flag_value="tsv", help="Tab-separated: group, metric, value, low, high, n.")
@click.option("--reference", metavar="FITS", help="Fits of the same problems whose seconds count as 1.")
@click.option(
    "--truth/--no-truth", default=True, help="Compare with the true law where a record carries it.  [default: truth]"
)
@click.option(
    "-o", "--output", metavar="FILE", help="Write the score records here as well; - is stdout, instead of the table."
)
@command.seed_option()
@command.max_record_option()
@command.quiet_option()
@command.config_option()
def score(inputs, by, n_bootstrap, paired, form, reference, truth, output, seed, quiet, config):
    """Score fit records: recovery rates, lengths, times, agreement with the true law, with 95 % intervals."""
    if paired and not by:
        raise click.UsageError(f"--paired {paired} compares the groups of --by, which is missing: --by method")
    seconds = reference_times(reference) if reference else {}
    records, history = [], []
    for name in inputs or ["-"]:
        with open_reader(name, holds="fit") as reader:
            history = history or reader.history
            for k, fit in enumerate(command.progress(reader, quiet=quiet, unit="fit")):
                try:
                    records.append(score_record(fit if truth else {**fit, "truth": None}, seconds.get(fit["problem"])))
                except ValueError as error:  # a law or a truth that is no expression
                    raise DataError(f"{name}: record {k + 1} (problem {fit['problem']!r}): {error}") from None
    if not records:
        raise NoAnswer("no fit records to score")
    if output:
        entry = command.history_entry(seed=seed, config=config)
        with open_writer(output, holds="score", history=[*history, entry]) as writer:
            for record in records:
                writer.write(record)
    if output != "-":
        summary = summary_of(records, by, n_bootstrap, seed)
        if paired:
            summary["paired"] = compared(grouped(records, by), paired, n_bootstrap, seed)
        click.echo({"json": as_json, "tsv": as_tsv}.get(form, as_table)(summary))
        if paired and form is None and summary["paired"]:
            rate = next(metric.rate for metric in METRICS if metric.name == paired)
            click.echo("\n" + paired_table(summary["paired"], paired, rate))


main = score
