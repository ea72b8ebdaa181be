"""Counters of a service, in Prometheus's text format. They hold no text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # seconds


class Metrics:
    """Counters of a service.

    Attributes:
        texts: Labelled so far.
        waiting: Texts that are accepted and not yet answered.
    """

    def __init__(self) -> None:
        self.texts = 0
        self.waiting = 0
        self._requests: Counter[tuple[str, int]] = Counter()  # by path and status
        self._buckets: Counter[float] = Counter()  # requests to /predict, by the bucket's upper bound
        self._seconds = 0.0

    @contextmanager
    def labelling(self, texts: int) -> Iterator[None]:
        """Count texts as waiting for the length of a block, and then, unless it fails, as labelled."""
        self.waiting += texts
        try:
            yield
            self.texts += texts
        finally:
            self.waiting -= texts

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests[path, status] += 1
        if path == "/predict":
            self._seconds += seconds
            self._buckets[next((bound for bound in _BUCKETS if seconds <= bound), float("inf"))] += 1

    def text(self) -> str:
        """Return all counters in Prometheus's text format."""
        lines = _head("kdh_requests_total", "counter", "Requests answered.")
        for (path, status), count in sorted(self._requests.items()):
            lines.append(f'kdh_requests_total{{path="{path}",status="{status}"}} {count}')
        lines += [*_head("kdh_texts_total", "counter", "Texts labelled."), f"kdh_texts_total {self.texts}"]
        lines += _head("kdh_texts_waiting", "gauge", "Texts accepted and not yet answered.")
        lines += [f"kdh_texts_waiting {self.waiting}"]
        lines += _head("kdh_predict_seconds", "histogram", "Time from request to answer of /predict.")
        cumulative = 0
        for bound in _BUCKETS:
            cumulative += self._buckets[bound]
            lines.append(f'kdh_predict_seconds_bucket{{le="{bound:g}"}} {cumulative}')
        total = self._buckets.total()
        lines.append(f'kdh_predict_seconds_bucket{{le="+Inf"}} {total}')
        lines += [f"kdh_predict_seconds_sum {self._seconds:.6f}", f"kdh_predict_seconds_count {total}"]
        return "\n".join(lines) + "\n"


def _head(name: str, kind: str, text: str) -> list[str]:
    return [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
