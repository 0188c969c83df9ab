"""fansr-law: the laws of many runs: loss or success against compute, with bands, and what each law says far out.

    fansr-sweep collect runs/cpu | fansr-law --x flops --y loss --by size --frontier --plot scaling.png
    fansr-law runs.zst --y solved --form unsolved,power,logistic --predict 0.8
    fansr-law scores.zst --x seconds --y vnrr --by method --free --upto 3600

Reads run records (fansr-sweep collect), score records (the mean of each method and budget) and metric records (the
validation losses of a training).  Every form that the points do not tell apart is printed with its own extrapolation:
which of them is right is not in the data.  curves.py and joint_laws.py fit, bands.py says how surely.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import click
import numpy as np

from fansr.cli import command
from fansr.errors import DataError, NoAnswer
from fansr.streams import open_reader, open_writer

FORMS = ("power", "shifted", "unsolved", "logistic", "chinchilla")
SHARES = ("acc", "solved", "r2_", "valid", "vnrr", "fnrr", "srr", "exact", "success", "equivalent")
FAR = 2.0  # decades beyond the data from which an extrapolation is marked
GRID = 200  # places of a band
FEWEST = 5  # clusters that are resampled whole (bands.py)


# ---- records to points ------------------------------------------------------------------------


def read_points(
    inputs: list[str],
    x: str,
    y: str,
    by: str | None,
    cluster: tuple[str, ...],
    where: Callable[[dict], bool] | None = None,
) -> tuple[dict, Counter, list]:
    """({x, y, by, cluster, record: lists}, records left out by reason, history) of streams of runs, scores or metrics."""
    rows: list[dict] = []
    left_out: Counter = Counter()
    history: list = []
    for name in inputs or ["-"]:
        with open_reader(name, holds=("run", "score", "metric")) as reader:
            history = history or reader.history
            holds = reader.header["holds"]
            records = [{**record, "file": name} for record in reader if where is None or where(record)]
        if holds == "score":
            records = means(records, by or "method", y)
        elif holds == "metric":
            records = [record for record in records if record.get("split") == "val"]
        rows += records
    found: dict[str, list] = {"x": [], "y": [], "by": [], "cluster": [], "record": []}
    for record in rows:
        if record.get("status", "finished") not in ("finished", "ok"):
            left_out[f"status {record['status']}"] += 1
            continue
        values = [record.get(x), record.get(y)]
        if not all(isinstance(v, (int, float)) and math.isfinite(v) for v in values):
            left_out[f"without {x if not isinstance(values[0], (int, float)) else y}"] += 1
            continue
        found["x"].append(float(values[0]))
        found["y"].append(float(values[1]))
        found["by"].append("" if by is None else str(record.get(by)))
        found["cluster"].append(tuple(str(record.get(name)) for name in cluster))
        found["record"].append(record)
    if not found["x"]:
        fields = sorted({key for record in rows for key, value in record.items() if isinstance(value, (int, float))})
        known = f"; there are {', '.join(fields)}" if fields else ""
        raise DataError(f"no record has numbers in both {x} and {y}{known}")
    return found, left_out, history


def means(records: list[dict], by: str, y: str) -> list[dict]:
    """One record for each method and budget: the mean of y and of every other number of its score records."""
    groups: dict[tuple, list[dict]] = defaultdict(list)
    for record in records:
        groups[(record.get(by) or "fansr", record.get("budget"))].append(record)
    found = []
    for (name, budget), members in groups.items():
        keys = {key for record in members for key, value in record.items() if isinstance(value, (bool, int, float))}
        mean = {}
        for key in keys | {y}:
            values = [
                float(r[key]) for r in members if isinstance(r.get(key), (bool, int, float)) and math.isfinite(r[key])
            ]
            if values:
                mean[key] = float(np.mean(values))
        found.append({**mean, by: name, "budget": budget, "n": len(members)})
    return found


def wants_high(y: str) -> bool:
    """Whether more of it is better, by its name."""
    return y.startswith(SHARES)


# ---- one series -------------------------------------------------------------------------------


def laws_of(points: dict, forms: tuple[str, ...], wanted: dict[str, Any]) -> tuple[list[dict], dict[str, str]]:
    """law records of one series, best AICc first, each with its band and what it says far out; and forms refused, why."""
    from fansr.scaling import bands, curves

    x, y = np.array(points["x"]), np.array(points["y"])
    fitted, refused = curves.fit_all(tuple(form for form in forms if form in curves.FORMS), x, y)
    tied = {curve.form for curve in curves.not_told_apart(fitted)}
    top = max(wanted["upto"] or x.max(), x.max())
    grid = np.geomspace(x.min(), top, GRID)
    records = []
    for curve in fitted:
        clusters = bands.resampled_together(points["cluster"])
        low, high, limits = bands.band(curve, x, y, clusters, grid, wanted["bootstrap"], wanted["seed"])

        def again(x, y, form=curve.form):
            return curves.fit(form, x, y)

        without = bands.without_each(points["by"], x, y, again)
        records.append(
            {
                "kind": "law",
                "x": wanted["x"],
                "y": wanted["y"],
                "by": points.get("name", ""),
                "form": curve.form,
                "text": curve.text(),
                "parameters": curve.parameters,
                "errors": curve.errors,
                "intervals": {name: list(pair) for name, pair in limits.items()},
                "aicc": curve.aicc,
                "tied": curve.form in tied,
                "n": curve.n,
                "clusters": len(set(points["cluster"])),
                "range": [curve.low, curve.high],
                "predictions": predictions(curve, curve.where, x, wanted),
                "without": {name: law.parameters for name, law in without.items()},
                "grid": grid,
                "value": curve(grid),
                "low": low,
                "high": high,
            }
        )
    return records, refused


def predictions(value, where, x: np.ndarray, wanted: dict[str, Any]) -> dict:
    """What a law says at --upto, and where it reaches --predict; decades: how far beyond the data."""
    told: dict[str, Any] = {}
    if wanted["upto"]:
        told["upto"] = {
            "x": wanted["upto"],
            "y": float(value(np.array([wanted["upto"]]))[0]),
            "decades": beyond(wanted["upto"], x),
        }
    if wanted["predict"] is not None:
        place = where(wanted["predict"])
        told["predict"] = {"y": wanted["predict"], "x": place, "decades": None if place is None else beyond(place, x)}
    return told


def beyond(place: float, x: np.ndarray) -> float:
    """Decades between a place and the nearest data; 0 among them."""
    return float(max(0.0, math.log10(place / x.max()), math.log10(x.min() / place)))


def free_laws(points: dict, wanted: dict[str, Any]) -> list[dict]:
    """The front that fansr-fit's own search finds for y over x / x0, each law of it with its extrapolation."""
    from fansr.expressions import evaluate, to_infix
    from fansr.fitting import Budget, Problem
    from fansr.search import turns

    x, y = np.array(points["x"]), np.array(points["y"])
    unit = 10.0 ** round(float(np.log10(x).mean()))
    name = f"({wanted['x']}/{unit:.0e})"
    found = turns.search(
        Problem((x / unit)[:, None], y, [name], target=wanted["y"]),
        turns.Options(gamma=wanted["gamma"], seed=wanted["seed"], proposers=FREE, quiet=True),
        Budget(wanted["time"]),
    )
    laws = []
    for candidate in found.front:

        def value(at, c=candidate):
            with np.errstate(all="ignore"):
                return np.broadcast_to(evaluate(c.expr, np.asarray(at)[:, None] / unit, c.consts), np.shape(at))

        told = predictions(value, lambda target, v=value: crossing(v, target, x), x, wanted)
        laws.append(
            {
                "kind": "law",
                "x": wanted["x"],
                "y": wanted["y"],
                "by": points.get("name", ""),
                "form": "free",
                "text": f"{wanted['y']} = {to_infix(candidate.expr, candidate.consts, [name], digits=5)}",
                "parameters": {},
                "errors": {},
                "fvu": float(candidate.fvu),
                "length": candidate.length,
                "chosen": found.best is not None and candidate.expr == found.best.expr,
                "aicc": None,
                "tied": True,
                "n": len(x),
                "clusters": len(set(points["cluster"])),
                "range": [float(x.min()), float(x.max())],
                "predictions": told,
            }
        )
    return laws


FREE = ("power", "sums", "curves", "rational", "scan", "peel", "evolve")  # those that know curves of one column


def crossing(value, target: float, x: np.ndarray) -> float | None:
    """The first place beyond the least x at which a function reaches a value, within 30 decades above the data."""
    grid = np.geomspace(x.min(), x.max() * 1e30, 6000)
    with np.errstate(all="ignore"):
        side = np.sign(value(grid) - target)
    turns = np.flatnonzero((side[1:] != side[:-1]) & np.isfinite(side[1:]) & np.isfinite(side[:-1]))
    return float(math.sqrt(grid[turns[0]] * grid[turns[0] + 1])) if len(turns) else None


# ---- the whole --------------------------------------------------------------------------------


def studied(points: dict, forms: tuple[str, ...], wanted: dict[str, Any]) -> dict:
    """Everything fansr-law says of some points: {laws, refused, frontier, isoflop, valley, chinchilla}."""
    from fansr.scaling import bands, joint_laws

    x, y = np.array(points["x"]), np.array(points["y"])
    result: dict[str, Any] = {
        "laws": [],
        "refused": {},
        "frontier": None,
        "isoflop": [],
        "valley": None,
        "chinchilla": None,
    }
    series = [{**points, "name": ""}]
    if wanted["frontier"]:
        kept = joint_laws.frontier(x, y, wanted["high"])
        result["frontier"] = kept.tolist()
        series = [{**{key: [points[key][i] for i in kept] for key in ("x", "y", "by", "cluster")}, "name": "frontier"}]
    elif wanted["by"] and not wanted["pooled"]:
        series = []
        for name in sorted(set(points["by"])):
            mine = [i for i, by in enumerate(points["by"]) if by == name]
            series.append(
                {**{key: [points[key][i] for i in mine] for key in ("x", "y", "by", "cluster")}, "name": name}
            )
    for one in series:
        records, refused = laws_of(one, forms, wanted)
        if wanted["free"]:
            records += free_laws(one, wanted)
        result["laws"] += records
        result["refused"].update({f"{one['name']} {form}".strip(): why for form, why in refused.items()})
    records = points["record"]
    if wanted["isoflop"] or "chinchilla" in forms:
        if not all(
            isinstance(r.get(k), (int, float)) and r[k] > 0 for r in records for k in ("params", "tokens", "flops")
        ):
            raise DataError(
                "--isoflop and the chinchilla form need params, tokens and flops in every record: give runs"
            )
        N, D, C = (np.array([float(r[k]) for r in records]) for k in ("params", "tokens", "flops"))
        if wanted["isoflop"]:
            sizes = [r.get("size", r["params"]) for r in records]
            result["isoflop"] = joint_laws.isoflop(C, D / N, y, sizes)
            result["valley"] = joint_laws.valley(
                C, D / N, y, bands.resampled_together(points["cluster"]), wanted["bootstrap"], wanted["seed"]
            )
        if "chinchilla" in forms:
            found = joint_laws.chinchilla(N, D, y, seed=wanted["seed"])
            found["intervals"] = joint_laws.chinchilla_bands(
                N, D, y, found, bands.resampled_together(points["cluster"]), seed=wanted["seed"]
            )
            result["chinchilla"] = found
    return result


def told(result: dict, left_out: Counter, wanted: dict[str, Any]) -> str:
    """The study for people."""
    lines = []
    if left_out:
        lines.append("left out: " + ", ".join(f"{n} {why}" for why, n in sorted(left_out.items())))
    name = None
    for law in result["laws"]:
        if law["by"] != name:
            name = law["by"]
            low, high = law["range"]
            few = "" if law["clusters"] >= FEWEST else f", {law['clusters']} clusters: runs are resampled singly"
            lines += ["", f"{name or 'all'}: {law['n']} points, {law['x']} {low:.3g} to {high:.3g}{few}", _HEAD]
        lines.append(_row(law))
    lines += [f"  no {form}: {why}" for form, why in result["refused"].items()]
    if any(law["tied"] for law in result["laws"]):
        lines += [
            "",
            "* forms that these points do not tell apart (AICc within 2); far out their answers are all as likely",
        ]
    if result["valley"]:
        v = result["valley"]
        lines += [
            "",
            f"best ratio {v.ratio:.3g} tokens a parameter [{v.interval[0]:.3g}, {v.interval[1]:.3g}] at {v.middle:.2g} {wanted['x']};"
            f" log10 of it changes by {v.slope:+.3g} [{v.slope_interval[0]:+.3g}, {v.slope_interval[1]:+.3g}] a decade,",
            f"so that parameters grow as compute^{v.size_exponent:.3f} and tokens as compute^{v.data_exponent:.3f}",
        ]
    elif wanted["isoflop"]:
        lines += ["", "no best ratio: over these runs the loss has no valley in the ratio"]
    for level in result["isoflop"]:
        pairs = ", ".join(f"{r:.3g}: {y:.4g}" for r, y in zip(level["ratio"], level["loss"]))
        best = "none" if level["best"] is None else f"{level['best']:.3g}"
        lines.append(f"  at {level['flops']:.2e}: best {best}   ({pairs})")
    if result["chinchilla"]:
        c, limits = result["chinchilla"], result["chinchilla"]["intervals"]
        span = {k: f" [{v[0]:.3g}, {v[1]:.3g}]" for k, v in limits.items()}
        parts = ", ".join(f"{k} {c[k]:.4g}{span.get(k, '')}" for k in ("E", "A", "a", "B", "b"))
        lines += ["", f"{wanted['y']} = E + A N^-a + B D^-b: {parts}"]
    return "\n".join(lines).strip("\n")


_HEAD = "    form      AICc       law"


def _row(law: dict) -> str:
    aicc = f"{law['aicc']:.2f}" if law["aicc"] is not None and math.isfinite(law["aicc"]) else "-"
    mark = "*" if law["tied"] else " "
    exponent = next((name for name in ("a", "s") if name in law["parameters"]), None)
    text = law["text"]
    if exponent:
        low, high = law["intervals"][exponent]
        text += f"   {exponent} {law['parameters'][exponent]:.4g} [{low:.4g}, {high:.4g}]"
    if law["form"] == "free":
        text += f"   FVU {law['fvu']:.3g}, length {law['length']}{', chosen' if law['chosen'] else ''}"
    told = law["predictions"]
    if "upto" in told:
        text += f"   {told['upto']['y']:.4g} at {told['upto']['x']:.3g}{_far(told['upto']['decades'])}"
    if "predict" in told:
        place, decades = told["predict"]["x"], told["predict"]["decades"]
        text += f"   {told['predict']['y']:g} " + ("never" if place is None else f"at {place:.3g}{_far(decades)}")
    return f"  {mark} {law['form']:9} {aicc:>8}   {text}"


def _far(decades: float) -> str:
    return f" ({decades:.1f} decades beyond the data)" if decades > 0 else ""


def plain(value):
    """Values as JSON has them."""
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    if hasattr(value, "__dataclass_fields__"):
        return plain({name: getattr(value, name) for name in value.__dataclass_fields__})
    return value


# ---- the command ------------------------------------------------------------------------------


def _forms(context, param, value: str | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    names = tuple(name.strip() for name in value.split(",") if name.strip())
    unknown = [name for name in names if name not in FORMS]
    if unknown or not names:
        raise click.BadParameter(f"{', '.join(unknown) or '(empty)'}: known forms are {', '.join(FORMS)}")
    return names


def _target(context, param, value: str | None) -> float | None:
    if value is None:
        return None
    text = value.rpartition("=")[2]
    try:
        number = float(text)
        if not math.isfinite(number):
            raise ValueError
    except ValueError:
        raise click.BadParameter(f"{value!r}: wanted a value of y, such as 0.8 or solved=0.8") from None
    return number


@command.command(
    example="fansr-sweep collect runs/cpu | fansr-law --y loss --by size --frontier --isoflop",
    groups={
        "Points": "--x --y --by --pooled --where --better --study",
        "Laws": "--form --frontier --isoflop --free --gamma --time",
        "Bands": "--bootstrap --cluster --seed",
        "Answer": "--upto --predict --plot --json --output --quiet",
    },
)
@click.argument("inputs", nargs=-1, metavar="[RECORDS]...")
@click.option("--x", "x", default="flops", show_default=True, metavar="FIELD", help="Field along which the law runs.")
@click.option("--y", "y", default="loss", show_default=True, metavar="FIELD", help="Field that it gives.")
@click.option(
    "--by", default=None, metavar="FIELD", help="Series: one law for each; with --frontier its colours alone."
)
@click.option("--pooled", is_flag=True, help="With --by: one law over all series.")
@click.option("--form", "forms", default=None, callback=_forms, metavar="LIST",
              help=f"Of {', '.join(FORMS)}.  [default: those that y allows, but chinchilla]")  # fmt: skip
@click.option("--free", is_flag=True, help="Let fansr-fit's search find laws too, and extrapolate its whole front.")
@click.option("--gamma", type=click.FloatRange(0), default=0.05, show_default=True, help="--free: price of a token.")
@click.option("--time", type=click.FloatRange(0), default=None, metavar="SECONDS", help="--free: of the search.  [default: by counts]")  # fmt: skip
@click.option("--frontier", is_flag=True, help="Fit what no run with as little x beats.")
@click.option("--isoflop", is_flag=True, help="The best ratio of tokens to parameters, by compute.")
@click.option(
    "--better", type=click.Choice(("low", "high")), default=None, help="Which y is good.  [default: by its name]"
)
@click.option(
    "--upto",
    type=click.FloatRange(0, min_open=True),
    default=None,
    metavar="X",
    help="Say what the laws give at this x.",
)
@click.option("--predict", default=None, callback=_target, metavar="Y", help="Say where the laws reach this y.")
@click.option(
    "--cluster",
    default="size,seed",
    show_default=True,
    metavar="LIST",
    help="Runs alike in these fields are resampled together.",
)
@click.option(
    "--bootstrap", type=click.IntRange(20, 100_000), default=1000, show_default=True, help="Resamples for the bands."
)
@click.option("--plot", "picture", default=None, metavar="FILE", help="Draw points, laws and bands (png, svg, pdf).")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
@click.option(
    "-o",
    "--output",
    default=None,
    metavar="FILE",
    help="Write the law records here as well; - is stdout, instead of text.",
)
@command.where_option()
@click.option(
    "--study", default=None, metavar="FILE", help="Instead: every picture of a scaling study, of run records, as one."
)
@command.seed_option()
@command.max_record_option()
@command.quiet_option()
@command.config_option()
def law(
    inputs, x, y, by, forms, picture, as_json, output, better, cluster, where, study, seed, quiet, config, **others
):
    """Fit the laws of runs, scores or training curves, and say what they predict and how surely."""
    high = wants_high(y) if better is None else better == "high"
    wanted = {"x": x, "y": y, "by": by, "high": high, "seed": seed, **others}
    if forms is None:
        forms = ("unsolved", "power", "logistic") if wants_high(y) else ("power", "shifted")
    if wants_high(y) and others["predict"] is not None and not 0 < others["predict"] < 1:
        raise click.UsageError(f"--predict {others['predict']:g}: {y} is a share; wanted a value between 0 and 1")
    if study:
        return draw_study(list(inputs), where, study, quiet)
    clusters = tuple(c for c in cluster.split(",") if c)
    points, left_out, history = read_points(list(inputs), x, y, by, clusters, where)
    if len(points["x"]) < 4 or len(set(points["x"])) < 2:
        raise DataError(
            f"{len(points['x'])} points at {len(set(points['x']))} value{'s' * (len(set(points['x'])) != 1)} of {x}; "
            "a law needs at least 4 at several"
        )
    result = studied(points, forms, wanted)
    if not result["laws"] and not result["chinchilla"] and not result["isoflop"]:
        raise NoAnswer("no law: " + "; ".join(f"{form}: {why}" for form, why in result["refused"].items()))
    if picture:
        from fansr.evaluation import plot_style
        from fansr.scaling.law_picture import draw_laws

        plot_style.save(draw_laws(points, result, wanted), picture)
        command.remark(f"{picture}: {len(points['x'])} points", quiet)
    if output:
        entry = command.history_entry(
            seed=seed, config={key: value for key, value in wanted.items() if value is not None}
        )
        with open_writer(output, holds="law", history=[*history, entry]) as writer:
            for record in result["laws"]:
                writer.write(record)
    if output != "-":
        click.echo(
            json.dumps(plain({**result, "left_out": dict(left_out)})) if as_json else told(result, left_out, wanted)
        )


def draw_study(inputs: list[str], where: Callable[[dict], bool] | None, picture: str, quiet: bool) -> None:
    """fansr-law --study: the panels of study_picture.py, of finished runs."""
    from fansr.evaluation import plot_style
    from fansr.scaling.study_picture import draw

    runs: list[dict] = []
    for name in inputs or ["-"]:
        with open_reader(name, holds="run") as reader:
            runs += [r for r in reader if r.get("status") == "finished" and (where is None or where(r))]
    if not runs:
        raise NoAnswer("no finished runs to draw")
    plot_style.save(draw(runs), picture)
    command.remark(f"{picture}: {len(runs)} runs", quiet)


def main():
    """Entry point of fansr-law."""
    law()


if __name__ == "__main__":
    main()
