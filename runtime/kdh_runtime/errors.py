"""Errors that a user can mend. Their messages never hold a text."""

from __future__ import annotations


class FolderError(ValueError):
    """A folder is not an exported classifier, or one of its files was changed."""


class TextError(ValueError):
    """An input is not a text."""
