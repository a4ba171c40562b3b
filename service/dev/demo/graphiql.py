"""GraphiQL as Strawberry ships it: its scripts come from a public CDN under integrity hashes, or not at all."""

from __future__ import annotations

import base64
import hashlib
import re
from urllib.parse import urlsplit

from starlette.responses import HTMLResponse
from strawberry.http.ides import get_graphql_ide_html

_FALLBACK = '<script src="/demo/graphiql-fallback.js"></script>'
_INLINE_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_EXTERNAL = re.compile(r'(?:src|href)="(https://[^"]+)"')


def graphiql_page() -> HTMLResponse:
    """GraphiQL, under a policy that lets in exactly what it loads; without a network it gives way to the explorer."""
    html = get_graphql_ide_html("graphiql")
    hosts = sorted({f"https://{urlsplit(address).netloc}" for address in _EXTERNAL.findall(html)})
    inline = [_hash(script) for script in _INLINE_SCRIPT.findall(html)]
    # The fallback comes first: it must be there before the page's own script fails for want of a library.
    html = html.replace("<script>", f"{_FALLBACK}<script>", 1)
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self' {' '.join(hosts)} {' '.join(inline)}",
            # Its editor styles itself from scripts.
            f"style-src 'unsafe-inline' {' '.join(hosts)}",
            "img-src data:",
            "font-src data:",
            "connect-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    headers = {"Cache-Control": "no-cache", "Content-Security-Policy": policy, "Vary": "Accept"}
    return HTMLResponse(html, headers=headers)


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
