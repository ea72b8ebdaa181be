"""Whether a model hub can be asked, found out before its client spends half a minute on retries."""

from __future__ import annotations

TIMEOUT = 3.0  # seconds


def reach(endpoint: str, timeout: float = TIMEOUT) -> str:
    """``reachable``, or in a few words why an HTTP endpoint is not."""
    from urllib.error import HTTPError, URLError
    from urllib.request import Request, urlopen

    try:
        with urlopen(Request(endpoint, method="HEAD"), timeout=timeout):
            return "reachable"
    except HTTPError as error:
        return f"not reachable: answers with HTTP {error.code}"
    except URLError as error:
        return f"not reachable: {error.reason}"
    except (OSError, ValueError) as error:
        return f"not reachable: {error}"
