"""The tokens that open a service to other machines."""

from __future__ import annotations

import os
from pathlib import Path

from kdh_runtime.errors import ServiceError

TOKEN_VARIABLE = "KDH_RAY_TOKEN"
SHORTEST_TOKEN = 16  # characters


def read_tokens(file: Path | None) -> dict[str, str]:
    """Return the tokens in a file, else the one in the environment variable, with the name of who has each.

    A line of the file is ``TOKEN``, or ``NAME TOKEN`` where the audit should tell who asked. Empty lines and those that
    begin with # are skipped.

    Returns:
        Token -> name, or "". Empty if neither is given.

    Raises:
        ServiceError: If the file can't be read or has no token, or a token is short, is not printable ASCII, or is
            there twice.
    """
    if file is None:
        content = os.environ.get(TOKEN_VARIABLE)
        return {} if content is None else _tokens(content, TOKEN_VARIABLE)
    try:
        return _tokens(file.read_text(encoding="utf-8"), str(file))
    except UnicodeDecodeError:
        raise ServiceError(f"{file}: a token must be printable ASCII") from None
    except OSError as error:
        raise ServiceError(f"{file}: the token can't be read ({error.strerror})") from None


def _tokens(content: str, source: str) -> dict[str, str]:
    lines = [line.strip() for line in content.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    found: dict[str, str] = {}
    for line in lines or [""]:
        name, _, token = line.rpartition(" ")
        _check(name.strip(), token, source)
        if token in found:
            raise ServiceError(f"{source}: a token must be there once; two lines have the same one")
        found[token] = name.strip()
    return found


def _check(name: str, token: str, source: str) -> None:
    if not (token.isascii() and token.isprintable()) or " " in name:
        raise ServiceError(
            f"{source}: a token must be printable ASCII without spaces, alone on its line or after a name and a space"
        )
    if len(token) < SHORTEST_TOKEN:
        raise ServiceError(f"{source}: a token must have {SHORTEST_TOKEN} characters or more; got {len(token)}")
