"""A loaded classifier as a function from texts to the results of the API."""

from __future__ import annotations

from collections.abc import Callable

from kdh_runtime.serving.interface import TextResult, text_results

from kdh_ray.hardware import limit_kernel_caches


def load_predict(checkpoint: str, precision: str, batch_size: int) -> Callable[[list[str]], list[TextResult]]:
    """Return a function from texts to results that holds the loaded classifier.

    Sets environment variables of this process that keep its memory flat, unless they are set.
    """
    limit_kernel_caches()
    from kdh_ray.inference.classifier import load_classifier

    classifier = load_classifier(checkpoint, precision=precision)
    return lambda texts: text_results(classifier.predict(texts, batch_size=batch_size))
