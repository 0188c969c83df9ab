"""fansr-predict: the values of a saved law on new rows.

    fansr-fit data/planets.csv --save law.json && fansr-predict law.json data/planets.csv

Knows saved laws and tables; no search is needed, so that a law can be used long after it was found.
"""

from __future__ import annotations

from fansr.cli import single_thread  # noqa: F401  # isort: skip  (before numpy)

import csv
import io
import math

import click
import numpy as np

from fansr.cli import command, resources
from fansr.errors import DataError
from fansr.search import saved_law
from fansr.streams import files


def values_csv(columns: dict[str, np.ndarray]) -> str:
    """Columns of numbers (M,) as CSV text, every digit; `nan` where the law is undefined, `inf` for a band without end."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for row in zip(*columns.values()):
        writer.writerow(["nan" if math.isnan(v) else repr(float(v)) for v in row])
    return out.getvalue()


def law_rows(law: saved_law.SavedLaw, path: str, k: int | None = None) -> np.ndarray:
    """The rows (M, D) of a table in the order of a law's columns; what the k-th law of the front does not use is NaN.

    DataError where a column that it needs is not there, or holds no numbers.
    """
    from fansr.tables import loading

    table, needed = loading.read_table(resources.example_table(path), readings=law.conversions), law.needed(k)
    X = loading.input_columns(table, law.columns, needed)
    for name in needed:
        if len(X) and np.isnan(X[:, law.columns.index(name)]).all():
            raise DataError(f"{path}: column {name}, which the law needs, holds no numbers")
    return X


@command.command(example="fansr-fit data/planets.csv --save law.json && fansr-predict law.json data/planets.csv")
@click.argument("law_path", metavar="LAW.json")
@click.argument("new", default="-", metavar="[NEW.csv]")
@click.option(
    "--law",
    "k",
    type=click.IntRange(0),
    default=None,
    help="Which law of the front, from 0 for the shortest.  [default: the one that was chosen]",
)
@click.option(
    "--band",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=None,
    metavar="SHARE",
    help="Two more columns: within them a new row lies with this share, such as 0.95 (of classes and quantiles: the law).",
)
@click.option("--list", "listed", is_flag=True, help="List the laws of the file instead.")
@command.output_option()
@command.quiet_option()
def predict(law_path, new, k, band, listed, output, quiet):
    """Write the values of a law that fansr-fit --save wrote for the rows of a table, as CSV."""
    law = saved_law.load(law_path)
    if k is not None and k >= len(law.laws):
        raise click.UsageError(f"--law {k}: {law_path} holds laws 0 to {len(law.laws) - 1} (--list shows them)")
    if listed:
        marked = law.chosen if k is None else k
        rows = [
            f"{'*' if i == marked else ' '}{i:3d}  {one.length:6d}  {one.fvu:<9.3g}  {law.target} = {one.expression}"
            for i, one in enumerate(law.laws)
        ]
        text = "\n".join([f"{law.verdict}: {law.verdict_text}", "", " law  length  FVU", *rows]) + "\n"
    else:
        X = law_rows(law, new, k)
        outside = law.outside(X, k)
        if outside:
            command.remark(f"note: {outside['text']}", quiet)
        columns = {law.target: law.predict(X, k)}
        if band is not None:
            columns[f"{law.target}_low"], columns[f"{law.target}_high"] = law.bands(X, band, k, law.band)
        text = values_csv(columns)
    files.write_text(output, text)


main = predict
