"""The body of a request to ``/predict``: read within limits, checked, and refused without a quotation."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import Request
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from kdh_runtime.serving.interface import Limits
from kdh_runtime.serving.schemas import PredictRequest

_BODY_SECONDS = 30.0  # for a client to send its whole body
_DRAIN = 64 * 2**20  # bytes of a body that is too large: a client that is cut off while sending never reads the answer
_ITEMS = {"texts": "a string", "ids": "a string of 1 to 64 characters without spaces"}


async def read_body(request: Request, limits: Limits) -> PredictRequest:
    """Return the body of a request.

    Raises:
        HTTPException: If it is too large or slow, is not JSON, or has other fields than allowed.
    """
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "the body must be application/json")
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            body = await _received(request, limits.body)
    except TimeoutError:
        raise HTTPException(408, f"the body must arrive within {_BODY_SECONDS:g} seconds") from None
    try:
        asked = PredictRequest.model_validate_json(body)
    except ValidationError as error:
        raise _explained(error) from None
    if len(asked.texts) > limits.texts:
        raise HTTPException(422, f"a request may have {limits.texts} texts; got {len(asked.texts)}")
    if asked.ids is not None and len(asked.ids) != len(asked.texts):
        raise HTTPException(422, f'"ids" must have one for each of {len(asked.texts)} texts; got {len(asked.ids)}')
    for number, text in enumerate(asked.texts):
        if len(text) > limits.characters:
            raise HTTPException(422, f"texts[{number}] may have {limits.characters} characters; got {len(text)}")
    return asked


def body_schema(limits: Limits) -> dict[str, Any]:
    """Return OpenAPI's description of the body, with the limits."""
    schema = PredictRequest.model_json_schema()
    schema["properties"]["texts"] |= {"maxItems": limits.texts}
    schema["properties"]["texts"]["items"] |= {"maxLength": limits.characters}
    return {"required": True, "content": {"application/json": {"schema": schema}}}


async def _received(request: Request, most: int) -> bytes:
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
        return HTTPException(422, 'besides "ids", the body may have the fields "texts" and "evidence" only')
    name = place[0]
    if name == "evidence":
        return HTTPException(422, '"evidence" must be true or false')
    if len(place) > 1:
        return HTTPException(422, f"{name}[{place[1]}] must be {_ITEMS[str(name)]}")
    return HTTPException(422, f'"{name}" must be a list of strings')
