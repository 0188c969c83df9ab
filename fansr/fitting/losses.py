"""What a fit makes small besides squares: absolute, huber, quantile, relative, poisson, binomial, and targets known as intervals.

loss = losses.parse("quantile:0.9")            # None for squares
aim = loss.of(y, weights)                      # bound to M rows: loss_aims.py
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fansr.fitting.loss_aims import Aim

HUBER = 1.345  # standard deviations beyond which errors count by their size: 95 % of the efficiency of squares under Gaussian noise


@dataclass(frozen=True)
class Loss:
    """A loss by name, with its number where it has one (the quantile; Huber's limit in standard deviations)."""

    name: str
    number: float = math.nan

    def __str__(self) -> str:
        return (
            self.name
            if math.isnan(self.number) or self.number == DEFAULT.get(self.name)
            else f"{self.name}:{self.number:g}"
        )

    @property
    def link(self) -> str:
        """Token by which the value of what is fitted is handed on: a law of classes is logistic(f)."""
        return "logistic" if self.name == "binomial" else ""

    @property
    def told(self) -> bool:
        """Whether the loss itself says how large the noise is, so that standard errors of the rows say nothing."""
        return self.name in ("poisson", "binomial", "interval")

    def check(self, y: np.ndarray) -> str:
        """What is wrong with a target (M,) for this loss, as "holds ..., wanted ..."; "" where nothing is."""
        if self.name == "poisson" and not (y >= 0).all():
            return f"holds {y[y < 0][0]:g}, wanted counts, 0 or more"
        if self.name == "poisson" and not (y > 0).any():
            return "holds nothing but 0, wanted counts"
        if self.name == "binomial" and not np.isin(y, (0.0, 1.0)).all():
            return f"holds {y[~np.isin(y, (0.0, 1.0))][0]:g}, wanted the classes 0 and 1"
        if self.name == "relative" and not ((y > 0).all() or (y < 0).all()):
            where = y == 0 if (y == 0).any() else y < 0
            return f"holds {y[where][0]:g}, wanted values of one sign, none of them 0"
        return ""

    def of(
        self, y: np.ndarray, weights: np.ndarray | None = None, known: bool = False, ends: np.ndarray | None = None
    ) -> Aim:
        """The loss over M rows: y (M,); weights (M,) of the rows, of which known says that they are 1/sigma^2; ends (M, 2) of the
        intervals that the target lies in, whose y is not looked at."""
        return _aims()[self.name](self, np.asarray(y, np.float64), weights, known, ends)


DEFAULT = {"huber": HUBER}
NAMES = ("auto", "squares", "absolute", "huber", "relative", "poisson", "binomial", "quantile:0.9")


def parse(text: str) -> Loss | None:
    """A loss from its name; None for "auto" and "squares".  ValueError names the nearest known one."""
    name, colon, number = str(text).strip().lower().partition(":")
    known = [one.partition(":")[0] for one in NAMES]
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        meant = f"; did you mean {near[0]}?" if near else ";"
        raise ValueError(f"loss {text!r} is unknown{meant} known are {', '.join(NAMES)}")
    if name in ("auto", "squares") and not colon:
        return None
    if name not in ("quantile", "huber"):
        if colon:
            raise ValueError(f"loss {text!r}: {name} has no number")
        return Loss(name)
    if not colon and name == "quantile":
        raise ValueError("loss quantile: say which, such as quantile:0.9 (quantile:0.5 is the median)")
    try:
        value = float(number) if colon else DEFAULT[name]
    except ValueError:
        value = math.nan
    high = 1.0 if name == "quantile" else 100.0
    if not 0.0 < value < high:
        what = "a share between 0 and 1" if name == "quantile" else "standard deviations above 0"
        raise ValueError(f"loss {text!r}: wanted {what}, such as {name}:{0.9 if name == 'quantile' else HUBER}")
    return Loss(name, value)


INTERVALS = Loss("interval")  # of targets that are given as intervals; it has no name to choose it by


def _aims() -> dict[str, type[Aim]]:
    from fansr.fitting import interval_loss, kinked_losses, loss_aims

    return {
        "absolute": kinked_losses.Kinked,
        "quantile": kinked_losses.Kinked,
        "huber": kinked_losses.Huber,
        "relative": loss_aims.Relative,
        "poisson": loss_aims.Poisson,
        "binomial": loss_aims.Binomial,
        "interval": interval_loss.Interval,
    }
