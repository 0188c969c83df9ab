"""The parameters of SymbolicRegressor, checked and made into the options of a search.

A part of SymbolicRegressor, whose attributes they are; nothing is changed here, since scikit-learn wants parameters left as given.
"""

from __future__ import annotations

import inspect
import math
import numbers
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils import check_random_state

from fansr.errors import DataError, did_you_mean
from fansr.fitting import losses
from fansr.network import DECODERS, check_model
from fansr.search import rules as law_rules, selection, turns
from fansr.streams import parallel
from fansr.tables import Choice, column_options

if TYPE_CHECKING:
    from collections.abc import Sequence


class RegressorParameters:
    """`_options()` of a regressor; each method reads the parameters it names, which SymbolicRegressor's docstring describes."""

    time: float | None
    deadline: float | None
    samples: int
    n_jobs: int | None
    random_state: int | np.random.RandomState | None
    proposers: str | Sequence[str]
    gamma: float
    restarts: int
    starts: str
    tidy: bool
    select: str
    within: float | None
    model: str | None
    device: str
    decoder: str
    temperature: float
    top_p: float
    physics: bool
    loss: str
    robust: bool
    rules: dict | None
    form: str | Sequence[str] | None
    guess: str | Sequence[str] | None
    inputs: str | Sequence[str] | None
    ignore: str | Sequence[str] | None
    derive: str | Sequence[str] | None
    lag: str | Sequence[str] | None
    categories: str | None
    group: str | None
    target_fvu: float | None
    callback: Callable[[turns.Progress], Any] | None
    verbose: int

    def _options(self) -> turns.Options:
        """The parameters as a search's options; ValueError names one that cannot be."""
        given = self.proposers.split(",") if isinstance(self.proposers, str) else list(self.proposers or ())
        proposers = tuple(str(name).strip() for name in given)
        unknown = [name for name in proposers if name not in turns.PROPOSERS]
        if unknown or not proposers:
            meant = did_you_mean(unknown[0], turns.PROPOSERS) if unknown else ""
            raise ValueError(f"proposers={self.proposers!r}: wanted some of {', '.join(turns.PROPOSERS)}{meant}")
        for name, choices in (
            ("select", selection.SELECTORS),
            ("decoder", DECODERS),
            ("starts", turns.STARTS),
        ):
            value = getattr(self, name)
            if value not in choices:
                meant = did_you_mean(str(value), choices)
                raise ValueError(f"{name}={value!r}: wanted one of {', '.join(choices)}{meant}")
        try:
            losses.parse(self.loss)
        except ValueError as error:
            raise ValueError(f"loss={self.loss!r}: {error}") from None
        for name in ("time", "deadline", "target_fvu"):
            if getattr(self, name) is not None:
                self._number(name, 0.0, math.inf)
        if self.within is not None:
            self._number("within", 1.0, math.inf)
            if self.select != "drop":
                raise ValueError(f"within={self.within!r} goes with select='drop', not with {self.select!r}")
        self._number("gamma", 0.0, math.inf)
        self._number("temperature", np.nextafter(0.0, 1.0), math.inf)
        self._number("top_p", np.nextafter(0.0, 1.0), 1.0)
        self._number("samples", 0, 1 << 40, whole=True)
        self._number("restarts", 1, 1024, whole=True)
        if self.callback is not None and not callable(self.callback):
            raise ValueError(f"callback={self.callback!r}: wanted a function of the state of the search")
        if "model" in proposers and (self.model is not None or self.device != "cpu"):
            name = "model" if self.device == "cpu" else "device"
            try:
                check_model(self.model, self.device)
            except DataError as error:
                raise ValueError(f"{name}={getattr(self, name)!r}: {error}") from None
        return turns.Options(
            samples=int(self.samples),
            proposers=proposers,
            gamma=float(self.gamma),
            restarts=int(self.restarts),
            starts=self.starts,
            tidy=bool(self.tidy),
            select=self.select,
            within=None if self.within is None else float(self.within),
            seed=self._seed(),
            jobs=self._jobs(),
            model=self.model,
            physics=bool(self.physics),
            loss=self.loss,
            robust=bool(self.robust),
            device=self.device,
            decoder=self.decoder,
            temperature=float(self.temperature),
            top_p=float(self.top_p),
            rules=self._rules(),
            form=self._texts("form"),
            guess=self._guesses(),
            target_fvu=None if self.target_fvu is None else float(self.target_fvu),
            watch=self._watch(),
        )

    def _rules(self) -> law_rules.Rules:
        """What a law may be."""
        if self.rules is None:
            return law_rules.Rules()
        known = list(inspect.signature(law_rules.parse).parameters)
        if not isinstance(self.rules, dict) or not set(self.rules) <= set(known):
            odd = [str(name) for name in self.rules if name not in known] if isinstance(self.rules, dict) else []
            meant = did_you_mean(odd[0], known) if odd else ""
            raise ValueError(f"rules={self.rules!r}: wanted a dictionary with some of {', '.join(known)}{meant}")
        try:
            return law_rules.parse(**self.rules)
        except (TypeError, ValueError) as error:
            raise ValueError(f"rules={self.rules!r}: {error}") from None

    def _texts(self, name: str) -> tuple[str, ...]:
        """A parameter that is a text or several."""
        value = getattr(self, name)
        some = (value,) if isinstance(value, str) else () if value is None else value
        if not isinstance(some, (list, tuple)) or not all(isinstance(text, str) for text in some):
            raise ValueError(f"{name}={value!r}: wanted a text or a list of texts")
        return tuple(some)

    def _choice(self) -> Choice:
        """What is said of the columns."""
        if self.categories not in (None, "onehot", "group"):
            raise ValueError(f"categories={self.categories!r}: wanted onehot or group")
        if self.group is not None and not isinstance(self.group, str):
            raise ValueError(f"group={self.group!r}: wanted the name of a column")
        listed = {name: column_options.split(self._texts(name)) for name in ("inputs", "ignore")}
        return Choice(
            inputs=listed["inputs"] or None, ignore=listed["ignore"], derive=self._texts("derive"), lag=self._texts("lag"),
            categories=self.categories or "",
            group=self.group or "",
        )  # fmt: skip

    def _guesses(self) -> tuple[str, ...]:
        """Laws to start from, those of files read."""
        if self.form and self.guess:
            raise ValueError("guess: a law to start from cannot be told to be of the form; give one of them")
        if not self.guess:
            return ()
        from fansr.search import guesses

        try:
            return guesses.texts_of(self._texts("guess"))
        except DataError as error:
            raise ValueError(f"guess={self.guess!r}: {error}") from None

    def _seed(self) -> int:
        """random_state as a whole number; a new one each time for None and for a generator."""
        if isinstance(self.random_state, numbers.Integral):
            self._number("random_state", 0, (1 << 64) - 1, whole=True)
            return int(self.random_state)
        try:
            # The global generator of numpy is left alone: None means that nothing is repeatable.
            source = np.random.RandomState() if self.random_state is None else check_random_state(self.random_state)
        except ValueError:
            raise ValueError(
                f"random_state={self.random_state!r}: wanted a whole number, a numpy RandomState or None"
            ) from None
        return int(source.randint(1 << 31))

    def _jobs(self) -> int:
        """n_jobs as a number of threads: None is one, negative ones count from all cores."""
        if self.n_jobs is None:
            return 1
        n = self.n_jobs
        if isinstance(n, (bool, np.bool_)) or not isinstance(n, numbers.Integral) or n == 0 or n > 1024:
            raise ValueError(f"n_jobs={n!r}: wanted a whole number from 1 to 1024, -1 for all cores, or None for one")
        return int(n) if n > 0 else max(1, parallel.available_cores() + 1 + int(n))

    def _watch(self) -> Callable[[turns.Progress], Any] | None:
        """What a search calls after every turn."""
        if not self.verbose:
            return self.callback
        last = [""]

        def watch(state: turns.Progress) -> Any:
            if state.expression != last[0]:
                last[0] = state.expression
                print(f"{state.seconds:7.2f} s  {state.proposer:<9}  FVU {state.best.fvu:<9.3g}  {last[0]}", flush=True)
            return self.callback(state) if self.callback is not None else False

        return watch

    def _number(self, name: str, low, high, whole: bool = False):
        value = getattr(self, name)
        good = isinstance(value, numbers.Integral if whole else numbers.Real) and not isinstance(
            value, (bool, np.bool_)
        )
        if not (good and math.isfinite(value) and low <= value <= high):
            kind = "a whole number" if whole else "a finite number"
            most = f" to {high}" if high < math.inf else ""
            least = "above 0" if 0 < low < 1e-300 else f"from {low}"
            raise ValueError(f"{name}={value!r}: wanted {kind} {least}{most}")
