"""Checks before every request: host names, tokens, headers, counters, and errors without a traceback."""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Mapping

from fastapi.responses import JSONResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kdh_runtime.serving.metrics import Metrics

OPEN_PATHS = frozenset({"/", "/healthz"})  # a browser can't send a token when it opens a page, nor can most probes

_COUNTED_PATHS = OPEN_PATHS | {"/predict", "/labels", "/metrics", "/openapi.json"}
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_log = logging.getLogger(__name__)


class Guard:
    """Middleware around every request.

    The server would log the traceback of an exception that reaches it, and its message may quote a text.

    Args:
        app: Answers the requests that pass. It finds the client's name or address in ``scope["state"]["client"]``.
        metrics: Counts every request.
        tokens: Token -> name of who has it, empty if it has none; any request passes if there are no tokens.
        hosts: Names in the ``Host`` header that are answered; any if None.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, tokens: Mapping[str, str], hosts: frozenset[str] | None) -> None:
        self.app = app
        self.metrics = metrics
        self.tokens = tokens
        self.hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
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
        """Return the answer to a request that must not pass; else note its client."""
        headers = Headers(scope=scope)
        if self.hosts is not None and _host_name(headers.get("host", "")) not in self.hosts:
            return JSONResponse({"error": "this service answers only to the machine's own names"}, 400)
        name = self._holder(headers)
        if name is None and self.tokens and scope["path"] not in OPEN_PATHS:
            challenge = {"WWW-Authenticate": "Bearer"}
            return JSONResponse({"error": "a token is needed: Authorization: Bearer TOKEN"}, 401, headers=challenge)
        address = scope["client"][0] if scope.get("client") else "unknown"
        scope.setdefault("state", {})["client"] = name or address
        return None

    def _holder(self, headers: Headers) -> str | None:
        """Return the name of the holder of the request's token, None if it is missing or wrong."""
        scheme, _, received = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        guess = received.strip().encode()
        # Each is compared, and in constant time, so that timing doesn't tell how much of a guess is right.
        matches = [name for token, name in self.tokens.items() if hmac.compare_digest(guess, token.encode())]
        return matches[0] if matches else None


def _host_name(header: str) -> str:
    """Return the name in a ``Host`` header, without port and brackets."""
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.partition(":")[0].lower()
