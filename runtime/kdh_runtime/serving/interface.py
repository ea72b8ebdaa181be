"""A classifier as the API sees it: texts in, results out, and the facts that it tells its clients."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

MOST_PER_CALL = 32  # texts: longer requests are divided, so that short ones from others don't wait for all of theirs
_DIGITS = 6  # of a probability


@dataclass(frozen=True)
class ServiceInfo:
    """The classifier behind a service.

    Attributes:
        name: Shown on the page.
        fingerprint: Identity of the classifier, part of every answer.
        labels: Names, in the order of the probabilities.
        thresholds: (n_labels,) probability from which a label counts as present.
        reading: How texts become the classifier's input, as on its card.
        version: Of the software that serves it.
    """

    name: str
    fingerprint: str
    labels: Sequence[str]
    thresholds: Sequence[float]
    reading: dict[str, Any]
    version: str


@dataclass(frozen=True)
class Limits:
    """The most that a service accepts.

    Attributes:
        body: Bytes per request.
        texts: Texts per request.
        characters: Characters per text.
        waiting: Texts of all clients that are accepted and not yet answered. More are refused with 503.
    """

    body: int = 16 * 2**20
    texts: int = 256
    characters: int = 1_000_000
    waiting: int = 2_048


@dataclass(frozen=True)
class TextResult:
    """A classifier's output for one text.

    Attributes:
        labels: Those whose probability reaches their threshold.
        probabilities: (n_labels,) in 0..1.
        evidence: Label -> half-open character range of the part that speaks most for it.
    """

    labels: list[str]
    probabilities: list[float]
    evidence: dict[str, tuple[int, int]] = field(default_factory=dict)


Predict = Callable[[list[str]], Awaitable[list[TextResult]]]


class Predicted(Protocol):
    """The prediction of a classifier, of this package or of ``kdh_ray``."""

    @property
    def labels(self) -> list[list[str]]: ...
    @property
    def probabilities(self) -> NDArray[np.floating[Any]]: ...
    @property
    def evidence(self) -> list[dict[str, tuple[int, int]]]: ...


def text_results(prediction: Predicted) -> list[TextResult]:
    """Return a result per text, with probabilities of six decimals."""
    probabilities = prediction.probabilities.round(_DIGITS).tolist()
    rows = zip(prediction.labels, probabilities, prediction.evidence, strict=True)
    return [TextResult(*row) for row in rows]
