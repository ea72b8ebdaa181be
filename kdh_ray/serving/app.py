"""The API and the page of a classifier, as an ASGI application.

The application knows a classifier only as a coroutine function from texts to results. It imports neither torch nor Ray
nor, but for its counters, any other part of this project, so that every runtime can serve the same API.

Texts are held in memory only until they are answered. Nothing about a request is logged, and errors never quote one.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import logging
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kdh_ray.serving.metrics import Metrics

PAGE = Path(__file__).with_name("page.html")
MOST_PER_CALL = 32  # texts: longer requests are divided, so that short ones from others don't wait for all of theirs
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})

_BODY_SECONDS = 30.0  # for a client to send its whole body
_DRAIN = 64 * 2**20  # bytes of a body that is too large: a client that is cut off while sending never reads the answer
_OPEN_PATHS = frozenset({"/", "/healthz"})  # a browser can't send a token when it opens a page, nor can most probes
_COUNTED_PATHS = _OPEN_PATHS | {"/predict", "/labels", "/metrics", "/openapi.json"}
_DESCRIPTION = "Labels texts. Nothing about a text is stored or logged."
_ERRORS = {
    400: "The body is not JSON",
    401: "The token is missing or wrong",
    408: "The body came too slowly",
    413: "The body is too large",
    415: "The body is not application/json",
    422: "A field is wrong, or there are too many texts or characters",
    503: "Too many texts are waiting",
}
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_log = logging.getLogger(__name__)


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


class PredictRequest(BaseModel):
    """Texts to label."""

    model_config = ConfigDict(extra="forbid", strict=True)

    texts: list[str] = Field(description="raw texts", examples=[["Curcumin induced apoptosis."]])
    evidence: bool = Field(False, description="also return the part of the text that speaks most for each label")


class TextPrediction(BaseModel):
    """Labels of one text."""

    labels: list[str] = Field(description="labels whose probability reaches their threshold")
    probabilities: dict[str, float] = Field(description="of every label")
    evidence: dict[str, tuple[int, int]] | None = Field(
        None, description="label -> [start, end) in Unicode code points of the part that speaks most for it"
    )


class PredictResponse(BaseModel):
    """Labels of each text, in the order of the request."""

    fingerprint: str = Field(description="identity of the classifier")
    predictions: list[TextPrediction]


class Label(BaseModel):
    """A label and the probability from which it counts as present."""

    name: str
    threshold: float


class LabelsResponse(BaseModel):
    """The classifier that answers, and the most that it accepts."""

    name: str
    fingerprint: str
    version: str
    labels: list[Label]
    reading: dict[str, Any] = Field(description="how texts become the classifier's input")
    limits: dict[str, int]


class Refusal(BaseModel):
    """The rule that a request breaks. It never quotes the request."""

    error: str


def make_app(
    predict: Predict,
    about: ServiceInfo,
    limits: Limits | None = None,
    *,
    token: str | None = None,
    hosts: frozenset[str] | None = None,
) -> FastAPI:
    """Return the application.

    Args:
        predict: Returns a result per text. It is called with at most :data:`MOST_PER_CALL` texts, by several requests
            at a time.
        about: The classifier.
        limits: The most that is accepted.
        token: Every path but the page and ``/healthz`` requires ``Authorization: Bearer TOKEN``, if given.
        hosts: Names in the ``Host`` header that are answered; any if None. A service without a token should answer
            only to the machine's own names: a web page elsewhere could otherwise reach it under a name of its own.

    Example:
        >>> async def predict(texts):
        ...     return [TextResult(["short"], [0.9]) for _ in texts]
        >>> about = ServiceInfo("demo", "0f3a", ["short"], [0.5], {}, "1.0")
        >>> make_app(predict, about).title
        'demo'
    """
    limits = limits or Limits()
    metrics = Metrics()
    api = _Api(predict, about, limits, metrics)
    app = FastAPI(title=about.name, version=about.version, docs_url=None, redoc_url=None, description=_DESCRIPTION)
    app.add_middleware(_Guard, metrics=metrics, token=token, hosts=hosts)
    app.add_exception_handler(HTTPException, _refuse)
    app.add_api_route("/", api.page, include_in_schema=False)
    app.add_api_route(
        "/predict", api.predict, methods=["POST"], responses=_errors(400, 401, 408, 413, 415, 422, 503),
        openapi_extra={"requestBody": _request_body(limits)}, response_model_exclude_none=True,
    )  # fmt: skip
    app.add_api_route("/labels", api.labels, responses=_errors(401))
    app.add_api_route("/healthz", api.healthz)
    app.add_api_route("/metrics", api.metrics, response_class=PlainTextResponse, responses=_errors(401))
    return app


class _Api:
    """Handlers of the paths."""

    def __init__(self, predict: Predict, about: ServiceInfo, limits: Limits, metrics: Metrics) -> None:
        self._predict = predict
        self._about = about
        self._limits = limits
        self._metrics = metrics
        self._page, self._policy = _page()

    async def page(self) -> HTMLResponse:
        """Return the page."""
        return HTMLResponse(self._page, headers={"Content-Security-Policy": self._policy})

    async def predict(self, request: Request) -> PredictResponse:
        """Label texts."""
        asked = await _read(request, self._limits)
        waiting = self._metrics.waiting
        if waiting and waiting + len(asked.texts) > self._limits.waiting:
            raise HTTPException(503, "too many texts are waiting; try again", headers={"Retry-After": "1"})
        with self._metrics.labelling(len(asked.texts)):
            results = await _predicted(self._predict, asked.texts)
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


async def _read(request: Request, limits: Limits) -> PredictRequest:
    """Return the body of a request.

    Raises:
        HTTPException: If it is too large or slow, is not JSON, or has other fields than allowed.
    """
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "the body must be application/json")
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            body = await _body(request, limits.body)
    except TimeoutError:
        raise HTTPException(408, f"the body must arrive within {_BODY_SECONDS:g} seconds") from None
    try:
        asked = PredictRequest.model_validate_json(body)
    except ValidationError as error:
        raise _explained(error) from None
    if len(asked.texts) > limits.texts:
        raise HTTPException(422, f"a request may have {limits.texts} texts; got {len(asked.texts)}")
    for number, text in enumerate(asked.texts):
        if len(text) > limits.characters:
            raise HTTPException(422, f"texts[{number}] may have {limits.characters} characters; got {len(text)}")
    return asked


async def _body(request: Request, most: int) -> bytes:
    body = bytearray()
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= most:
            body += chunk
        else:  # read on, but keep nothing
            body.clear()
        if size > most + _DRAIN:
            break
    if size > most:
        raise HTTPException(413, f"the body may have {most} bytes")
    return bytes(body)


def _explained(error: ValidationError) -> HTTPException:
    """Return an error that states the rule. Pydantic's own message, and names of unknown fields, could quote a text."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        return HTTPException(400, "the body must be JSON in UTF-8")
    place = first["loc"]
    if not place:
        return HTTPException(422, 'the body must be an object such as {"texts": ["..."], "evidence": true}')
    if first["type"] == "extra_forbidden":
        return HTTPException(422, 'the body may have the fields "texts" and "evidence" only')
    if place[0] == "evidence":
        return HTTPException(422, '"evidence" must be true or false')
    where = f"texts[{place[1]}]" if len(place) > 1 else '"texts"'
    return HTTPException(422, f"{where} must be {'a string' if len(place) > 1 else 'a list of strings'}")


def _request_body(limits: Limits) -> dict[str, Any]:
    """Return OpenAPI's description of the body of ``/predict``, with the limits."""
    schema = PredictRequest.model_json_schema()
    schema["properties"]["texts"] |= {"maxItems": limits.texts}
    schema["properties"]["texts"]["items"] |= {"maxLength": limits.characters}
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": Refusal, "description": _ERRORS[status]} for status in statuses}


async def _refuse(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):  # registered for no other class
        raise error
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)


def _page() -> tuple[str, str]:
    """Return the page and a policy that runs its own script and style and nothing else."""
    page = PAGE.read_text(encoding="utf-8")

    def digest(tag: str) -> str:
        content = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        hashed = hashlib.sha256((content[1] if content else "").encode()).digest()
        return f"'sha256-{base64.b64encode(hashed).decode()}'"

    return page, (
        f"default-src 'none'; script-src {digest('script')}; style-src {digest('style')}; img-src data:;"
        " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


class _Guard:
    """Middleware around every request: token, host names, headers, counters, and errors without a traceback.

    The server would log the traceback of an exception that reaches it, and its message may quote a text.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, token: str | None, hosts: frozenset[str] | None) -> None:
        self.app = app
        self.metrics = metrics
        self.token = token
        self.hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            refusal = self._refusal(scope)
            await (refusal or self.app)(scope, receive, send_with_headers)
        except Exception as error:
            _log.error("a request failed: %s", type(error).__name__)
            if not status:
                await JSONResponse({"error": "internal error"}, 500)(scope, receive, send_with_headers)
        finally:
            path = scope["path"] if scope["path"] in _COUNTED_PATHS else "other"
            self.metrics.answered(path, status, time.perf_counter() - started)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        headers = Headers(scope=scope)
        if self.hosts is not None and _host_name(headers.get("host", "")) not in self.hosts:
            return JSONResponse({"error": "this service answers only to the machine's own names"}, 400)
        if self.token is None or scope["path"] in _OPEN_PATHS:
            return None
        scheme, _, received = headers.get("authorization", "").partition(" ")
        # Compared in constant time, so that timing doesn't tell how much of a guess is right.
        if scheme.lower() == "bearer" and hmac.compare_digest(received.strip().encode(), self.token.encode()):
            return None
        challenge = {"WWW-Authenticate": "Bearer"}
        return JSONResponse({"error": "a token is needed: Authorization: Bearer TOKEN"}, 401, headers=challenge)


def _host_name(header: str) -> str:
    """Return the name in a ``Host`` header, without port and brackets."""
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.partition(":")[0].lower()
