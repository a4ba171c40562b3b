"""The demo page, the GraphQL explorer, and the session both sign in with; for development only."""

from __future__ import annotations

from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from service.dev.demo.assets import CLIENT, STATIC, Assets, page
from service.dev.demo.content_policy import explorer_policy, page_policy
from service.dev.demo.graphiql import graphiql_page
from service.dev.demo.session import session
from service.errors import ConfigurationError
from service.settings import Environment, Settings


def demo_routes(settings: Settings) -> list[BaseRoute]:
    """The page at `/` where `http.demo` is on, and below `/demo` what it and the explorer load; else nothing.

    Raises ConfigurationError outside development.
    """
    if settings.environment is not Environment.DEVELOPMENT:
        raise ConfigurationError("The demo page signs anybody in: turn MEDIA_HTTP__DEMO off outside development.")
    if not (settings.http.demo or settings.http.graphiql):
        return []
    demo = [Route("/", page("index.html", page_policy(settings)), methods=["GET"])] if settings.http.demo else []
    explorer = Route("/demo/explorer", page("explorer.html", explorer_policy()), methods=["GET"])
    return [
        *demo,
        explorer,
        Route("/demo/session", session(settings), methods=["POST"]),
        Mount("/demo/client", Assets(CLIENT)),
        Mount("/demo", Assets(STATIC)),
    ]


def graphiql_response() -> Response:
    """GraphiQL: what a browser gets when it opens the GraphQL address. It falls back on `demo_routes`' explorer."""
    return graphiql_page()
