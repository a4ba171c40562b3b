"""`POST /delivery/cookies/{purpose}`: cookies with which a page shows PUBLIC pictures under unsigned addresses.

PUBLIC media need no token, so neither does this. A foreign page could bring about no more than that a visitor's browser
holds cookies which it may have anyway; even so only allowed origins are answered.
"""

from __future__ import annotations

from collections.abc import Collection

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.models import MediaPurpose
from service.settings import Settings
from service.signed_cookies import CookieIssuer, SignedCookies
from service.transport.json_response import encode_json, json_response

_PURPOSES = {purpose.slug: purpose for purpose in MediaPurpose}


def delivery_cookies(settings: Settings) -> list[Route]:
    """The route, or none where no domain of cookies is set. Raises ConfigurationError if that cannot work."""
    if not settings.delivery.cookie_domain:
        return []
    issuer, origins = CookieIssuer(settings.delivery), frozenset(settings.http.allowed_origins)

    async def give(request: Request) -> Response:
        if refusal := _refusal(request, origins):
            return refusal
        purpose = _PURPOSES.get(request.path_params["purpose"])
        cookies = None if purpose is None else issuer.cookies_for(purpose)
        if cookies is None:
            return json_response(404, code="NOT_FOUND", message="No purpose of that name has public pictures.")
        return _answer(cookies)

    return [Route("/delivery/cookies/{purpose}", give, methods=["POST"])]


def _refusal(request: Request, origins: Collection[str]) -> Response | None:
    # Browsers name the origin of every POST, and no page can make one that names another.
    if request.headers.get("origin") in origins:
        return None
    return json_response(403, code="NOT_PERMITTED", message="Pages of this origin get no cookies.")


def _answer(cookies: SignedCookies) -> Response:
    body = {"path": cookies.path, "renewAt": cookies.renew_at, "expiresAt": cookies.expires_at}
    # Browsers drop what cookies an answer sets across origins, unless it allows credentials.
    headers = {"Cache-Control": "no-store", "Access-Control-Allow-Credentials": "true"}
    response = Response(encode_json(body), headers=headers, media_type="application/json")
    for name, value in cookies.values.items():
        # Without an expiry of their own: they go with the browser's session, and open nothing after that of the policy.
        response.set_cookie(
            name, value, domain=cookies.domain, path=cookies.path, secure=True, httponly=True, samesite="lax"
        )
    return response
