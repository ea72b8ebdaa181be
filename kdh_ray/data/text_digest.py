"""What counts as the same text."""

from __future__ import annotations

import hashlib
import unicodedata


def text_digest(text: str) -> str:
    """A digest that texts share when they differ in case, spacing or Unicode form only."""
    words = unicodedata.normalize("NFKC", text).casefold().split()
    return hashlib.sha256(" ".join(words).encode("utf-8", "surrogatepass")).hexdigest()
