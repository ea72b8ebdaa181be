"""Errors that a user can mend. The command line prints them as they are, without a traceback, and exits with 2.

Messages state the rule and what was received. They name documents by id and never hold their text.
"""


class UserError(Exception):
    """Base of every error whose cause lies in the input, the configuration or the machine's state."""


class ConfigError(UserError):
    """One or more faults in a configuration.

    Args:
        faults: One line a fault: where, what is allowed, what was received.
        source: The file (or other origin) the configuration came from.
    """

    def __init__(self, faults: list[str], source: str = "configuration") -> None:
        self.faults = faults
        super().__init__(f"{source}: {'; '.join(faults)}")


class DataError(UserError):
    """A corpus, table or split that can't be used as it is."""


class CheckpointError(UserError):
    """A checkpoint that is missing, corrupt, foreign, or belongs to other labels or data."""


class UnavailableError(UserError):
    """Something outside the program is missing: a model hub, an encoder, disk space, permission."""
