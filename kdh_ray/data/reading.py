"""The way from a raw text to a classifier's input: one way for validation, thresholds, test scores and prediction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kdh_ray.data.corpus import Texts
from kdh_ray.data.segmenter import Segmenter
from kdh_ray.data.tokens import Tokens, tokenize

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Combination = Literal["max", "mean"]


@dataclass(frozen=True)
class Reading:
    """How a classifier reads text.

    Attributes:
        max_tokens: Tokens that the encoder reads at once, special tokens included. Longer documents are read in
            windows.
        segmenter: Divides documents that come without parts.
        overlap: Tokens that neighbouring windows share.
        combine: How the logits of a document's windows become the document's: their ``max`` or their ``mean``.
    """

    max_tokens: int
    segmenter: Segmenter = field(default_factory=lambda: Segmenter("none"))
    overlap: int = 32
    combine: Combination = "max"

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> Reading:
        """Read what :meth:`to_json` wrote."""
        return cls(**{**tree, "segmenter": Segmenter(**tree["segmenter"])})

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a card."""
        return asdict(self)

    def tokens(self, documents: Texts, tokenizer: PreTrainedTokenizerBase, cache: Path | None = None) -> Tokens:
        """Return the windows of every document.

        Args:
            documents: Texts; those without spans are divided by the segmenter.
            tokenizer: The encoder's own.
            cache: Folder that stores tokens from one call to the next.
        """
        return self.windows(tokenize(self.divided(documents), tokenizer, cache))

    def windows(self, tokens: Tokens) -> Tokens:
        """Return the windows of documents that are already tokenised."""
        return tokens.windows(self.max_tokens, self.overlap)

    def divided(self, documents: Texts) -> Texts:
        """Return the documents with spans: their own, or those of the segmenter."""
        if documents.spans is not None:
            return documents
        return Texts(documents.ids, documents.texts, self.segmenter.spans(documents.texts))
