"""Digests by which texts are recognised as the same."""

from __future__ import annotations

import hashlib
import unicodedata


def text_digest(text: str) -> str:
    """Return a digest, the same for texts that differ only in case, spacing or Unicode form.

    The text is brought into Unicode's compatibility form (NFKC), its case is folded, and every run of white space
    becomes one blank. The digest is the SHA-256 of that, as 64 hexadecimal digits.

    Example:
        >>> text_digest("Pain  at night.") == text_digest("pain at\\nnight.")
        True
    """
    words = unicodedata.normalize("NFKC", text).casefold().split()
    return hashlib.sha256(" ".join(words).encode("utf-8", "surrogatepass")).hexdigest()
