"""An exported classifier as a service."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from kdh_runtime import __version__
from kdh_runtime.classifier import Classifier, load
from kdh_runtime.serving.batching import Batcher
from kdh_runtime.serving.interface import MOST_PER_CALL, Predict, ServiceInfo, text_results
from kdh_runtime.serving.server import ServerOptions, serve_classifier


def serve(
    folder: str, options: ServerOptions, ready: Callable[[str], None], *, threads: int | None = None,
    batch_size: int = MOST_PER_CALL,
) -> None:  # fmt: skip
    """Serve an exported classifier until the process is interrupted.

    Args:
        folder: Folder that ``kdh-ray export`` wrote.
        options: Address, limits and audit.
        ready: Called with the page's address once requests are answered.
        threads: CPU threads; as many as the machine has cores if None.
        batch_size: Texts of concurrent requests that are computed together, at most.

    Raises:
        FolderError: If the folder is not an exported classifier.
        ServiceError: If the service can't start as the options say.
        KeyboardInterrupt: When it is interrupted.
    """
    classifier = load(folder, threads=threads)
    about = describe(classifier, Path(folder).resolve().name)

    @contextmanager
    def start() -> Iterator[Predict]:
        yield Batcher(lambda texts: text_results(classifier.predict(texts, batch_size)), batch_size)

    serve_classifier(start, about, classifier.config.precision, options, ready)


def describe(classifier: Classifier, name: str) -> ServiceInfo:
    """Return what an exported configuration says about its classifier; ``name`` is used if it has none."""
    config = classifier.config
    return ServiceInfo(
        config.name or name, config.fingerprint, config.labels, config.thresholds, config.reading(), __version__
    )
