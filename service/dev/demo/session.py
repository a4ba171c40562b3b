"""Signs the person at the demo page in, as one and the same development user."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import JSONResponse

from service.dev.tokens import mint_token
from service.settings import Settings

SUBJECT = "demo"
LIFETIME = timedelta(hours=12)

_NO_STORE = {"Cache-Control": "no-store"}


def session(settings: Settings) -> Callable[[Request], Awaitable[JSONResponse]]:
    """The endpoint that answers our own pages with `{"token", "subject"}`, and refuses everyone else."""
    origins = frozenset(settings.http.allowed_origins)
    issuer = next((issuer for issuer in settings.auth.issuers if issuer.algorithm == "HS256"), None)

    async def answer(request: Request) -> JSONResponse:
        if not _is_same_origin(request, origins):
            message = "Only this service's own pages get a session; scripts find a token in urls.json."
            return JSONResponse({"message": message}, 403, _NO_STORE)
        if issuer is None:
            message = "No HS256 issuer is configured in MEDIA_AUTH__ISSUERS, so no token can be made here."
            return JSONResponse({"message": message}, 501, _NO_STORE)
        token = mint_token(issuer, SUBJECT, lifetime=LIFETIME)
        return JSONResponse({"token": token, "subject": SUBJECT}, headers=_NO_STORE)

    return answer


def _is_same_origin(request: Request, allowed: frozenset[str]) -> bool:
    # The list keeps out a foreign name that was made to resolve to this machine.
    origin = request.headers.get("origin", "")
    return origin in allowed and origin.partition("://")[2] == request.headers.get("host")
