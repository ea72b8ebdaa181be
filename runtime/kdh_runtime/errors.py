"""Errors that a user can mend. Their messages never hold a text."""

from __future__ import annotations


class FolderError(ValueError):
    """A folder is not an exported classifier, or one of its files was changed."""


class TextError(ValueError):
    """An input is not a text."""


class ServiceError(ValueError):
    """A service can't start as it was asked to: an option, a token, a certificate, a port or a package."""
