"""The two errors a user can meet besides a wrong call, which command.py turns into exit codes, and the word that was meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown word: "; did you mean X?" with the nearest known one, "" where none is near."""
    near = difflib.get_close_matches(word, list(known), 1)
    return f"; did you mean {near[0]}?" if near else ""


class DataError(Exception):
    """The data are wrong (exit 1): the message is one line that says where, what came and what mends it."""


class NoAnswer(Exception):
    """The command ran but found no answer (exit 3); `answered`: what it did find is written already."""

    def __init__(self, message: str, answered: bool = False):
        super().__init__(message)
        self.answered = answered
