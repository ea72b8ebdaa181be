"""A loaded classifier as a function from texts to the results of the API."""

from __future__ import annotations

from collections.abc import Callable

from kdh_ray.hardware import limit_kernel_caches
from kdh_ray.serving.app import TextResult

_DIGITS = 6  # of a probability


def load_predict(checkpoint: str, precision: str, batch_size: int) -> Callable[[list[str]], list[TextResult]]:
    """Return a function from texts to results that holds the loaded classifier.

    Sets environment variables of this process that keep its memory flat, unless they are set.
    """
    limit_kernel_caches()
    from kdh_ray.inference.classifier import load_classifier

    classifier = load_classifier(checkpoint, precision=precision)

    def predict(texts: list[str]) -> list[TextResult]:
        prediction = classifier.predict(texts, batch_size=batch_size)
        probabilities = prediction.probabilities.round(_DIGITS).tolist()
        rows = zip(prediction.labels, probabilities, prediction.evidence, strict=True)
        return [TextResult(*row) for row in rows]

    return predict
