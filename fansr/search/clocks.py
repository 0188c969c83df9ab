"""The seconds of a search's parts: what is kept for its ending, and what nobody's clock takes away."""

from __future__ import annotations

import math
import os
import time

from fansr.fitting import Budget

TIDY_SHARE = 0.1  # of a time budget, kept for shortening and rounding
ENDING = 0.15  # seconds of processor time that shortening, rounding and errors take of a small table
LATEST = 0.5  # of a time budget, kept for them at most
LEAST_SECONDS = 0.2  # of processor time for rounding, half of it for shortening, however late it is
CROWDED = 4.0  # wall seconds a processor second beyond which those are fewer


class Work(Budget):
    """A search's budget without what its ending needs.

    That is TIDY_SHARE of it, and more where other processes have the processor: there the clock runs on while the ending waits for
    its turns.  How much more is told from the seconds and the processor seconds since this was made.
    """

    def __init__(self, budget: Budget):
        super().__init__(budget.seconds, budget.work)
        self.whole = budget
        self.tidy = 0.0 if budget.seconds is None else TIDY_SHARE * budget.left()
        self._begun = time.monotonic(), time.process_time(), os.getpid()

    def pace(self) -> float:
        """Wall seconds that a processor second takes here, at least 1."""
        began, used, process = self._begun
        if process != os.getpid():  # in a process of its own, whose clock began elsewhere
            return 1.0
        seconds, used = time.monotonic() - began, time.process_time() - used
        return max(1.0, seconds / used) if used > 0.02 else 1.0

    def shift(self, seconds: float):
        """Seconds that count for nothing: the budget that this is a part of ends so much later."""
        whole = self.whole
        if isinstance(whole, Work):
            whole.shift(seconds)
        else:
            whole.start += seconds

    def left(self) -> float:
        if self.stopped or self.seconds is None:
            return super().left()
        crowded = min(LATEST * self.seconds, (self.pace() - 1) * ENDING)
        return self.whole.left() - max(self.tidy, crowded)


class Allowance:
    """Over when the budget is, but not before `seconds` of processor time were had: on a busy machine the clock runs alone.

    Time of this thread alone, as libraries that are loaded meanwhile may run others.  A process that has less than one second in
    CROWDED gets fewer.  Over in any case at the `deadline`.
    """

    def __init__(self, budget: Budget, seconds: float, deadline: float | None = None, pace: float = 1.0):
        self.budget, self.until = budget, time.thread_time() + seconds * min(1.0, CROWDED / pace)
        self.deadline = math.inf if deadline is None else deadline

    def over(self) -> bool:
        return time.monotonic() > self.deadline or (self.budget.over() and time.thread_time() > self.until)
