"""Marked parts of a text as labels of its sentences or lines."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from kdh_ray.data.annotations.document import Span
from kdh_ray.data.segmenter import Segmenter


def labelled_segments(text: str, spans: Collection[Span], segmenter: Segmenter) -> list[dict[str, Any]]:
    """Divide a text and give each part the labels that are marked in it.

    Marked parts can't be segments themselves: the rest of the text would never be read, and a raw text has no marks.

    Example:
        >>> labelled_segments("No fever. Her knee hurts.", [Span(14, 24, "pain")], Segmenter("sentences"))
        [{'text': 'No fever.', 'labels': []}, {'text': 'Her knee hurts.', 'labels': ['pain']}]
    """
    ranges = segmenter.spans([text]) or []
    return [
        {
            "text": text[begin:end],
            "labels": sorted({span.label for span in spans if span.begin < end and span.end > begin}),
        }
        for begin, end in (pair for each in ranges for pair in each.tolist())
    ]
