"""The two errors a user can meet besides a wrong call; command.py turns them into exit codes."""


class DataError(Exception):
    """The data are wrong (exit 1): the message is one line that says where, what came and what mends it."""


class NoAnswer(Exception):
    """The command ran but found no answer (exit 3); `answered`: what it did find is written already."""

    def __init__(self, message: str, answered: bool = False):
        super().__init__(message)
        self.answered = answered
