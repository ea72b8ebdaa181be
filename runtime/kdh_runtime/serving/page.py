"""The page: one HTML file that loads nothing else."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

PAGE = Path(__file__).with_name("page.html")


def page_and_policy() -> tuple[str, str]:
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
