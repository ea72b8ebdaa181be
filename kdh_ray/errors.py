"""Errors that a user can fix. The command line prints them without a traceback, and exits with 2.

A message states the rule and the received value. It names documents by id, and never contains their text.
"""


class UserError(Exception):
    """Base of all errors caused by the input, the configuration or the state of the machine."""


class ConfigError(UserError):
    """One or more faults in a configuration.

    Args:
        faults: One line per fault: where it is, what is allowed, what was received.
        source: The file or other origin of the configuration.
    """

    def __init__(self, faults: list[str], source: str = "configuration") -> None:
        self.faults = faults
        super().__init__(f"{source}: {'; '.join(faults)}")


class DataError(UserError):
    """A corpus, table or split that can't be used."""


class CheckpointError(UserError):
    """A checkpoint that is missing or corrupt, was not written by kdh-ray, or belongs to other labels or data."""


class UnavailableError(UserError):
    """Something outside the program is missing, such as a model hub, an encoder, disk space or a permission."""
