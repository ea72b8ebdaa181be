"""A service without a model: labels are the words of its vocabulary that a text contains."""

from __future__ import annotations

import re

from kdh_runtime.serving.interface import Limits, ServiceInfo, TextResult

LABELS = ("pain", "fever", "cough")
ABOUT = ServiceInfo(
    "student of notes", "0f3a" * 16, LABELS, (0.5, 0.4, 0.5),
    {"max_tokens": 256, "overlap": 32, "combine": "max",
     "segmenter": {"rule": "sentences", "language": "en", "version": 1}}, "1.0",
)  # fmt: skip
LIMITS = Limits(body=20_000, texts=8, characters=1_000, waiting=32)


async def predict(texts: list[str]) -> list[TextResult]:
    return [result(text) for text in texts]


def result(text: str) -> TextResult:
    """A text has the labels that it names; the sentence that names one is the evidence."""
    evidence = {}
    for sentence in re.finditer(r"[^.\n]+\.?", text):
        for label in LABELS:
            if label in sentence[0].lower():
                evidence.setdefault(label, sentence.span())
    return TextResult(list(evidence), [0.9 if label in evidence else 0.1 for label in LABELS], evidence)
