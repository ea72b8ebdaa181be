"""The API and the page of a classifier, as an ASGI application.

The application knows a classifier only as a coroutine function from texts to results, so that every runtime can serve
the same API.

Texts are held in memory only until they are answered. Nothing about a request is logged, and errors never quote one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException

from kdh_runtime.audit import Audit
from kdh_runtime.serving.body import body_schema, read_body
from kdh_runtime.serving.guard import Guard
from kdh_runtime.serving.interface import MOST_PER_CALL, Limits, Predict, ServiceInfo, TextResult
from kdh_runtime.serving.metrics import Metrics
from kdh_runtime.serving.page import page_and_policy
from kdh_runtime.serving.schemas import (
    Label,
    LabelsResponse,
    PredictRequest,
    PredictResponse,
    Refusal,
    TextPrediction,
)

_DESCRIPTION = "Labels texts. Nothing about a text is stored or logged."
_ERRORS = {
    400: "The body is not JSON",
    401: "The token is missing or wrong",
    408: "The body came too slowly",
    413: "The body is too large",
    415: "The body is not application/json",
    422: "A field is wrong, or there are too many texts or characters",
    500: "The classifier failed, or the audit file can't be written",
    503: "Too many texts are waiting",
}
_log = logging.getLogger(__name__)


def make_app(
    predict: Predict,
    about: ServiceInfo,
    limits: Limits | None = None,
    *,
    tokens: Mapping[str, str] | None = None,
    hosts: frozenset[str] | None = None,
    audit: Audit | None = None,
) -> FastAPI:
    """Return the application.

    Args:
        predict: Returns a result per text. It is called with at most :data:`MOST_PER_CALL` texts, by several requests
            at a time.
        about: The classifier.
        limits: The most that is accepted.
        tokens: Token -> name of who has it, or "". Every path but the page and ``/healthz`` requires
            ``Authorization: Bearer TOKEN``, if given.
        hosts: Names in the ``Host`` header that are answered; any if None. A service without a token should answer
            only to the machine's own names: a web page elsewhere could otherwise reach it under a name of its own.
        audit: Records each request that is labelled, before it is answered.

    Example:
        >>> async def predict(texts):
        ...     return [TextResult(["short"], [0.9]) for _ in texts]
        >>> about = ServiceInfo("demo", "0f3a", ["short"], [0.5], {}, "1.0")
        >>> make_app(predict, about).title
        'demo'
    """
    limits = limits or Limits()
    metrics = Metrics()
    api = _Api(predict, about, limits, metrics, audit)
    app = FastAPI(title=about.name, version=about.version, docs_url=None, redoc_url=None, description=_DESCRIPTION)
    app.add_middleware(Guard, metrics=metrics, tokens=tokens or {}, hosts=hosts)
    app.add_exception_handler(HTTPException, _refuse)
    app.add_api_route("/", api.page, include_in_schema=False)
    app.add_api_route(
        "/predict", api.predict, methods=["POST"], responses=_errors(400, 401, 408, 413, 415, 422, 500, 503),
        openapi_extra={"requestBody": body_schema(limits)}, response_model_exclude_none=True,
    )  # fmt: skip
    app.add_api_route("/labels", api.labels, responses=_errors(401))
    app.add_api_route("/healthz", api.healthz)
    app.add_api_route("/metrics", api.metrics, response_class=PlainTextResponse, responses=_errors(401))
    return app


class _Api:
    """Handlers of the paths."""

    def __init__(
        self, predict: Predict, about: ServiceInfo, limits: Limits, metrics: Metrics, audit: Audit | None
    ) -> None:
        self._predict = predict
        self._about = about
        self._limits = limits
        self._metrics = metrics
        self._audit = audit
        self._page, self._policy = page_and_policy()

    async def page(self) -> HTMLResponse:
        """Return the page."""
        return HTMLResponse(self._page, headers={"Content-Security-Policy": self._policy})

    async def predict(self, request: Request) -> PredictResponse:
        """Label texts."""
        asked = await read_body(request, self._limits)
        waiting = self._metrics.waiting
        if waiting and waiting + len(asked.texts) > self._limits.waiting:
            raise HTTPException(503, "too many texts are waiting; try again", headers={"Retry-After": "1"})
        with self._metrics.labelling(len(asked.texts)):
            results = await _predicted(self._predict, asked.texts)
        self._record(request.state.client, asked, results)
        names = self._about.labels
        predictions = [
            TextPrediction(
                labels=result.labels,
                probabilities=dict(zip(names, result.probabilities, strict=True)),
                evidence=result.evidence if asked.evidence else None,
            )
            for result in results
        ]
        return PredictResponse(fingerprint=self._about.fingerprint, predictions=predictions)

    def _record(self, client: str, asked: PredictRequest, results: list[TextResult]) -> None:
        if self._audit is None:
            return
        try:
            ids = asked.ids if asked.ids is not None else range(1, len(results) + 1)
            self._audit.record(ids, [result.labels for result in results], client)
        except OSError as error:
            _log.error("the audit file can't be written: %s", error.strerror)
            raise HTTPException(500, "the audit file can't be written, so nothing is answered") from None

    async def labels(self) -> LabelsResponse:
        """Return the labels with their thresholds, how texts are read, and the limits."""
        about = self._about
        return LabelsResponse(
            name=about.name,
            fingerprint=about.fingerprint,
            version=about.version,
            labels=[Label(name=name, threshold=t) for name, t in zip(about.labels, about.thresholds, strict=True)],
            reading=about.reading,
            limits=asdict(self._limits),
        )

    async def healthz(self) -> dict[str, str]:
        """Return 200 while the service runs."""
        return {"status": "ok"}

    async def metrics(self) -> PlainTextResponse:
        """Return counters in Prometheus's text format."""
        return PlainTextResponse(self._metrics.text(), media_type="text/plain; version=0.0.4")


async def _predicted(predict: Predict, texts: list[str]) -> list[TextResult]:
    """Return a result per text. The classifier's errors are logged by class, since their messages may quote a text."""
    calls = [texts[start : start + MOST_PER_CALL] for start in range(0, len(texts), MOST_PER_CALL)]
    try:
        return [result for call in calls for result in await predict(call)]
    except Exception as error:
        _log.error("the classifier failed: %s", type(error).__name__)
        raise HTTPException(500, "the classifier failed on this request") from None


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": Refusal, "description": _ERRORS[status]} for status in statuses}


async def _refuse(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):  # registered for no other class
        raise error
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)
