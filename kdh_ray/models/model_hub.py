"""State of a model hub, found out in seconds: the hub's own client spends half a minute on retries."""

from __future__ import annotations

REACHABLE = "reachable"
TIMEOUT = 3.0  # seconds


def hub_state(endpoint: str, timeout: float = TIMEOUT) -> str:
    """Ask a hub for its front page, and return :data:`REACHABLE` or ``not reachable: ...`` with the reason.

    Args:
        endpoint: URL of the hub, as in ``HF_ENDPOINT``.
        timeout: Seconds to wait for an answer.
    """
    from urllib.error import HTTPError, URLError
    from urllib.request import Request, urlopen

    try:
        with urlopen(Request(endpoint, method="HEAD"), timeout=timeout):
            return REACHABLE
    except HTTPError as error:
        return f"not reachable: answers with HTTP {error.code}"
    except URLError as error:
        return f"not reachable: {error.reason}"
    except (OSError, ValueError) as error:  # a connection cut short, or an endpoint that is not a URL
        return f"not reachable: {error}"
