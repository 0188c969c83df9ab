"""A fitted law as one JSON file: what is needed to predict with it, years later and elsewhere, and nothing that runs.

    law = saved_law.of(found, problem, options, judgement)     # after outliers.find and verdict.judge
    saved_law.save(law, "law.json")
    law = saved_law.load("law.json")                           # DataError, one line, for any other or newer file
    X = loading.input_columns(table, law.columns, law.needed())
    law.outside(X), law.predict(X), law.bands(X, 0.95)

The file is an object whose keys are the fields below.  `fansr` ("law") and `format` say what it is; a reader refuses a format
above its own and a file that is anything else.  Numbers are written so that they read back exactly; null stands for infinite.

A law speaks of `columns` by place: x1 is the first.  `conversions` is what the reading of tables did to the cells before the
numbers reached the fit (units, dates, categories): an object that fansr.tables made and alone understands, or null.  Whoever
predicts from a table applies it first; this module only carries it (from ``problem.extra["conversions"]``).

Covariances are those of rounding.law_covariance, so round constants have none.  Bands are the linear ones of least squares.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fansr.errors import DataError
from fansr.expressions import n_constants, problems, to_infix, variables
from fansr.fitting import Candidate, Problem
from fansr.search import loss_search, remarks, rounding, selection, unit_rules, verdict
from fansr.streams import files
from fansr.version import __version__

if TYPE_CHECKING:
    from fansr.search.turns import Found, Options

FORMAT = 1
MOST_BYTES = 1 << 26
MOST_LAWS = 10_000
ONLY_MEANS = {"binomial": "a new row is 0 or 1", "quantile": "the law is itself an end of where new rows lie"}


@dataclass
class Law:
    """One law of the front.  `prefix` over x1, x2, ... and `constants` (C,); `fvu` on the rows it was fitted to; `covariance`
    (C, C) of the constants, None where the rows do not determine them; `noise`, the standard deviation of a row of average
    weight about the law, with `freedom` rows more than constants."""

    prefix: list[str]
    constants: list[float]
    fvu: float
    source: str = ""
    covariance: list[list[float]] | None = None
    noise: float = 0.0
    freedom: int = 0
    relative: bool = False  # `noise` is a share of the law's value
    expression: str = ""  # for the eye; `prefix` is what counts

    @property
    def length(self) -> int:
        """Number of tokens."""
        return len(self.prefix)

    def errors(self) -> np.ndarray:
        """Standard errors (C,) of the constants: 0 for round ones, infinite where undetermined."""
        if self.covariance is None:
            return np.full(len(self.constants), np.inf)
        return np.array([math.sqrt(row[k]) for k, row in enumerate(self.covariance)])

    def rounded(self) -> list[float]:
        """The constants for the eye: to two digits beyond the first of their standard errors, round ones as they are."""
        digits = rounding.digits_for(self.constants, self.errors())
        return [float(f"{c:.{d}g}") for c, d in zip(self.constants, digits)]

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Values (M,) on rows X (M, D); NaN where the law is undefined or a cell it needs is missing."""
        from fansr.expressions import evaluate

        with np.errstate(all="ignore"):
            return evaluate(self.prefix, np.ascontiguousarray(X, dtype=np.float64), np.asarray(self.constants))

    def spread(self, X: np.ndarray) -> np.ndarray:
        """Standard errors (M,) of the law's values on rows X (M, D) from those of its constants; infinite where unknown.

        The square of each is g C g with C the covariance and g the derivatives by the constants.
        """
        from fansr.expressions import value_and_jacobian

        X = np.ascontiguousarray(X, dtype=np.float64)
        if not self.constants:
            return np.zeros(len(X))
        if self.covariance is None:
            return np.full(len(X), np.inf)
        with np.errstate(all="ignore"):
            _, J = value_and_jacobian(self.prefix, X, np.asarray(self.constants, dtype=np.float64))  # (C, M)
            C = np.asarray(self.covariance)
            # By correlations, so that constants of very different size neither overflow nor vanish.
            size = np.sqrt(np.diag(C))
            moved = J * size[:, None]
            moved[size == 0] = 0.0
            unit = C / np.outer(np.where(size > 0, size, 1.0), np.where(size > 0, size, 1.0))
            return np.sqrt(np.maximum(np.einsum("am,ab,bm->m", moved, unit, moved), 0.0))


@dataclass
class SavedLaw:
    """Everything a file holds: the `laws` of a front by length, which one was `chosen`, and what it was found on.

    `low`, `high` (D,): the smallest and largest value of each column in the data; `rows` of them.
    """

    columns: list[str]
    target: str
    laws: list[Law]
    chosen: int
    low: list[float]
    high: list[float]
    rows: int
    verdict: str
    verdict_text: str = ""
    remarks: list[dict[str, str]] = field(default_factory=list)
    conversions: dict | None = None
    floor: float = selection.EXACT  # an FVU below it is rounding
    units: dict | None = None  # of the columns, the target and the chosen law's constants, as --json has them
    loss: str = ""  # what was made small where it was not squares
    extra: dict = field(default_factory=dict)  # of whoever saved it, such as the settings of SymbolicRegressor
    version: str = __version__
    fansr: str = "law"
    format: int = FORMAT

    def law(self, k: int | None = None) -> Law:
        """The k-th law of the front (0 the shortest, -1 the longest), the chosen one for None; IndexError beyond it."""
        if k is None:
            return self.laws[self.chosen]
        if not -len(self.laws) <= k < len(self.laws):
            raise IndexError(f"law {k}: the front has {len(self.laws)} laws, 0 to {len(self.laws) - 1}")
        return self.laws[k]

    def needed(self, k: int | None = None) -> list[str]:
        """Names of the columns that a law looks at."""
        return [self.columns[j] for j in variables(self.law(k).prefix)]

    def predict(self, X: np.ndarray, k: int | None = None) -> np.ndarray:
        """Values (M,) on rows X (M, D), whose columns are `columns`; those that are not needed may hold anything."""
        return self.law(k).predict(X)

    def bands(
        self, X: np.ndarray, level: float = 0.95, k: int | None = None, of: str = "prediction"
    ) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper ends (M,) of the intervals on rows X (M, D), in which a share `level` is expected.

        of: "prediction", where a new row of average weight would lie, noise included; "mean", where the law itself lies.
        Student's t with the law's degrees of freedom; infinitely wide where none are left or constants are undetermined.
        """
        if not 0 < level < 1:
            raise ValueError(f"level={level!r}: wanted a share between 0 and 1, such as 0.95")
        if of not in ("prediction", "mean"):
            raise ValueError(f"of={of!r}: wanted prediction or mean")
        from scipy.special import stdtrit

        if of == "prediction" and self.band != "prediction":
            raise ValueError(f"of={of!r}: {ONLY_MEANS[self.loss.partition(':')[0]]}; of='mean' says where the law lies")
        law = self.law(k)
        spread, value = law.spread(X), law.predict(X)
        if of == "prediction":
            size = np.abs(value) if law.relative else np.sqrt(np.abs(value)) if self.loss == "poisson" else 1.0
            spread = np.hypot(spread, law.noise * size)
        times = float(stdtrit(law.freedom, 0.5 + level / 2)) if law.freedom > 0 else math.inf
        half = np.where(spread > 0, spread * times, 0.0)
        if self.loss == "binomial":  # the band is one of the odds, so that it stays between 0 and 1
            with np.errstate(all="ignore"):
                odds, half = np.log(value / (1 - value)), half / (value * (1 - value))
                return 1 / (1 + np.exp(half - odds)), 1 / (1 + np.exp(-half - odds))
        return value - half, value + half

    @property
    def band(self) -> str:
        """What `bands` can tell: "prediction", or "mean" where a new row has no band about the law."""
        return "mean" if self.loss.partition(":")[0] in ONLY_MEANS else "prediction"

    def outside(self, X: np.ndarray, k: int | None = None) -> dict[str, str] | None:
        """The remark {"code", "text"} where rows X lie far outside the data in a column the law uses, or None."""
        return remarks.outside_box(X, np.array(self.low), np.array(self.high), self.columns, self.law(k).prefix)


def of(
    found: Found, problem: Problem, options: Options, judgement: verdict.Judged, extra: dict | None = None
) -> SavedLaw:
    """What a search found, as a law to save.  problem: the one that was searched, with its weights and outliers."""
    from fansr.search import outliers

    if found.best is None:
        raise ValueError("there is no law to save")
    relative = found.weights is not None  # the noise turned out to be in proportion to the values
    if relative:
        problem = replace(problem, weights=found.weights)
    kept = np.ones(len(problem.y), bool)
    kept[found.outliers] = False
    part = outliers.rows_of(problem, kept)
    laws = [law_of(c, part, found.floor, options.physics, relative, found.loss) for c in found.front]
    chosen = next(
        (i for i, c in enumerate(found.front) if c.expr == found.best.expr and c.fvu == found.best.fvu), len(laws)
    )
    if chosen == len(laws):
        laws.append(law_of(found.best, part, found.floor, options.physics, relative, found.loss))
    return SavedLaw(
        columns=[str(name) for name in problem.names],
        target=problem.target,
        laws=laws,
        chosen=chosen,
        low=[float(v) for v in problem.X.min(axis=0)],
        high=[float(v) for v in problem.X.max(axis=0)],
        rows=len(problem.y),
        verdict=judgement.verdict,
        verdict_text=judgement.text,
        remarks=list(judgement.remarks),
        conversions=problem.extra.get("conversions"),
        floor=float(found.floor),
        extra=dict(extra or {}),
        units=unit_rules.told(found.best, problem),
        loss="" if found.loss is None else str(found.loss.loss),
    )


def law_of(
    candidate: Candidate,
    problem: Problem,
    floor: float,
    physics: bool,
    relative: bool = False,
    loss: loss_search.Outcome | None = None,
) -> Law:
    """One candidate with its covariance and noise on the rows of a problem; relative: its weights are 1 / y^2, of such noise."""
    if loss is not None:
        return _law_of_loss(candidate, problem, floor, physics, loss)
    y, w, consts = problem.y, problem.weights, np.asarray(candidate.consts, dtype=np.float64)
    known = selection.known_fvu(problem)
    covariance = rounding.law_covariance(candidate, problem.X, y, floor, w, known, physics)
    free = len(consts) if covariance is None else int((np.diag(covariance) > 0).sum())
    rows = len(y) if w is None else int((w > 0).sum())
    share = np.ones(len(y)) if w is None else w / w.sum() * rows
    scale = float(np.abs(y).max()) or 1.0
    centred = y / scale - np.average(y / scale, weights=w)
    # The known size of stated errors, where it is larger, is the noise as it is in the covariance.
    left = max(max(candidate.fvu, floor) / max(1, rows - free), known / len(y)) * float(share @ centred**2)
    law = Law(
        prefix=list(candidate.expr),
        constants=[float(c) for c in consts],
        fvu=float(candidate.fvu),
        source=candidate.source,
        covariance=None if covariance is None else [[float(v) for v in row] for row in covariance],
        noise=math.sqrt(left) * scale,
        freedom=max(0, rows - free),
        relative=relative,
        expression=to_infix(candidate.expr, consts, problem.names),
    )
    if relative:
        shares = (y - law.predict(problem.X)) / y
        law.noise = math.sqrt(float(shares @ shares) / max(1, rows - free))
    return law


def _law_of_loss(candidate: Candidate, problem: Problem, floor: float, physics: bool, loss: loss_search.Outcome) -> Law:
    """The same under a loss other than squares."""
    bare, fitter = loss.bare(candidate), loss.fitter()
    consts = np.asarray(candidate.consts, dtype=np.float64)
    y, weights, known = fitter.measured(bare.expr, consts)
    told = replace(bare, fvu=min(candidate.fvu, known * max(0.5, 1 - len(consts) / len(y))))
    covariance = rounding.law_covariance(told, fitter.table, y, floor, weights, known, physics)
    free = len(consts) if covariance is None else int((np.diag(covariance) > 0).sum())
    noise = loss.aim.noise(loss.values(candidate), free)
    return Law(
        prefix=list(candidate.expr),
        constants=[float(c) for c in consts],
        fvu=float(candidate.fvu),
        source=candidate.source,
        covariance=None if covariance is None else [[float(v) for v in row] for row in covariance],
        noise=noise if math.isfinite(noise) else 0.0,
        freedom=max(0, len(y) - free),
        relative=loss.loss.name == "relative",
        expression=to_infix(candidate.expr, consts, problem.names),
    )


# ---- files ------------------------------------------------------------------------------------


def save(law: SavedLaw, path: str | os.PathLike) -> None:
    """Write a law as JSON; the file appears whole or not at all.  DataError where it cannot be written."""
    text = json.dumps(_finite(asdict(law)), ensure_ascii=False, allow_nan=False, indent=1)
    files.write_text(os.fspath(path), text + "\n")


def load(path: str | os.PathLike) -> SavedLaw:
    """Read a law; DataError, in one line, where the file is none or of a newer format."""
    return parse(files.read_file(path, "a saved law", limit=MOST_BYTES), str(path))


def parse(data: bytes, source: str) -> SavedLaw:
    """A law from the bytes of its file; `source` names it in errors."""
    other = "wanted the JSON file that --save or SymbolicRegressor.save wrote"
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise DataError(f"{source}: no JSON, {other}") from None
    if not isinstance(found, dict) or found.get("fansr") != "law":
        what = "the result of fansr-fit --json" if isinstance(found, dict) and "prefix" in found else "no saved law"
        raise DataError(f"{source}: {what}, {other}")
    version = found.get("format")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise DataError(f"{source}: format is {version!r}, wanted a whole number from 1 to {FORMAT}")
    if version > FORMAT:
        raise DataError(
            f"{source}: a law of format {version}, saved by fansr {found.get('version')}; this is fansr {__version__}, "
            f"which reads up to {FORMAT}: install a newer one"
        )
    try:
        return _checked(found)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        what = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
        raise DataError(f"{source}: a damaged law: {what}") from None


def _checked(found: dict[str, Any]) -> SavedLaw:
    """The object of a file as a law, every field looked at; what else it holds is passed over."""
    columns = _texts(found["columns"], "columns")
    if len(set(columns)) != len(columns):
        raise ValueError("two columns have one name")
    if not isinstance(found["laws"], list) or not 0 < len(found["laws"]) <= MOST_LAWS:
        raise ValueError(f"laws must be a list of 1 to {MOST_LAWS}")
    laws = [_checked_law(law, i, len(columns)) for i, law in enumerate(found["laws"])]
    chosen = found["chosen"]
    if not isinstance(chosen, int) or isinstance(chosen, bool) or not 0 <= chosen < len(laws):
        raise ValueError(f"chosen is {chosen!r}, wanted a place among its {len(laws)} laws")
    low, high = (_numbers(found[name], name, len(columns)) for name in ("low", "high"))
    noted = [
        {str(k): str(v) for k, v in remark.items()} for remark in found.get("remarks") or [] if isinstance(remark, dict)
    ]
    conversions, extra = found.get("conversions"), found.get("extra") or {}
    if not (conversions is None or isinstance(conversions, dict)) or not isinstance(extra, dict):
        raise ValueError("conversions and extra must be objects")
    if found["verdict"] not in verdict.VERDICTS:
        raise ValueError(f"verdict is {found['verdict']!r}, wanted one of {', '.join(verdict.VERDICTS)}")
    return SavedLaw(
        columns=columns,
        target=str(found["target"]),
        laws=laws,
        chosen=chosen,
        low=low,
        high=high,
        rows=int(found["rows"]),
        verdict=found["verdict"],
        verdict_text=str(found.get("verdict_text") or ""),
        remarks=noted,
        conversions=conversions,
        floor=_numbers([found.get("floor", selection.EXACT)], "floor", 1)[0],
        extra=extra,
        units=found["units"] if isinstance(found.get("units"), dict) else None,
        loss=str(found.get("loss") or ""),
        version=str(found.get("version")),
        format=found["format"],
    )


def _checked_law(law: Any, i: int, D: int) -> Law:
    """One entry of `laws`."""
    where = f"law {i}"
    prefix = _texts(law["prefix"], f"{where}: prefix")
    wrong = problems(prefix, D)
    if wrong:
        raise ValueError(f"{where}: {wrong}")
    constants = _numbers(law["constants"], f"{where}: constants", n_constants(prefix))
    C, covariance = len(constants), law.get("covariance")
    if covariance is not None:
        if not isinstance(covariance, list) or len(covariance) != C:
            raise ValueError(f"{where}: covariance must be {C} rows of {C} numbers")
        covariance = [_numbers(row, f"{where}: covariance", C) for row in covariance]
        if any(covariance[a][a] < 0 or covariance[a][b] != covariance[b][a] for a in range(C) for b in range(C)):
            raise ValueError(f"{where}: covariance is none: not symmetric, or negative")
    fvu = math.inf if law["fvu"] is None else _numbers([law["fvu"]], f"{where}: fvu", 1)[0]
    noise, freedom = law.get("noise"), law.get("freedom", 0)
    noise = math.inf if noise is None else _numbers([noise], f"{where}: noise", 1)[0]
    if not isinstance(freedom, int) or freedom < 0 or noise < 0:
        raise ValueError(f"{where}: noise and freedom must be 0 or more")
    return Law(
        prefix,
        constants,
        fvu,
        str(law.get("source") or ""),
        covariance,
        noise,
        freedom,
        law.get("relative") is True,
        str(law.get("expression") or ""),
    )


def _texts(values: Any, what: str) -> list[str]:
    if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
        raise ValueError(f"{what} must be a list of texts")
    return values


def _numbers(values: Any, what: str, count: int) -> list[float]:
    if not isinstance(values, list) or len(values) != count:
        raise ValueError(f"{what} must be a list of {count} numbers")
    if not all(isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v) for v in values):
        raise ValueError(f"{what} must hold finite numbers alone")
    return [float(v) for v in values]


def _finite(value: Any) -> Any:
    """The same with null for what JSON has no number for."""
    if isinstance(value, dict):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
