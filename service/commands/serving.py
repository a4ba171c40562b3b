"""The processes that answer HTTP: the API, and the development edge."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

import uvicorn

from service.commands.printing import result_console
from service.settings import Environment, ReceiverSettings, Settings
from service.settings.webhooks import webhook_key

# How uvicorn serves the edge.
EDGE_OPTIONS: Final[dict[str, Any]] = {
    # Hands on the request target as it arrived; httptools would take fragments and other hosts out of it unseen.
    "http": "h11",
    # Whose address and scheme a policy is compared with is not for request headers to say.
    "proxy_headers": False,
    "log_config": None,
    "access_log": False,
    "server_header": False,
}


def serve_api(settings: Settings) -> None:
    """Answer until told to stop; in development with the demo page, and with what the embedded storage posts."""
    from service.app import create_app
    from service.transport.server import GracefulServer

    if settings.environment is Environment.DEVELOPMENT:
        from service.dev.demo import demo_routes, graphiql_response
        from service.dev.storage_events import created_object

        application = create_app(
            settings,
            routes=demo_routes(settings),
            graphiql=graphiql_response() if settings.http.graphiql else None,
            read_storage_event=created_object,
        )
    else:
        application = create_app(settings)
    GracefulServer(application, settings.http, application.state.drain).run()


def serve_edge(settings: Settings, *, invalidation_s: float) -> None:
    """Answer as CloudFront would, until told to stop; invalidations take `invalidation_s` seconds."""
    from service.dev.edge import edge_from_settings

    uvicorn.run(
        edge_from_settings(settings, invalidation_delay_s=invalidation_s),
        host=settings.http.host,
        port=urlsplit(settings.delivery.base_url).port or 8090,
        **EDGE_OPTIONS,
    )


def serve_webhook_receiver(receiver: ReceiverSettings, *, port: int) -> None:
    """Be `receiver` on this machine until told to stop; `port` 0: that of its url."""
    from service.dev.webhook_receiver import webhook_receiver

    keys = [webhook_key(secret) for secret in receiver.secrets]
    where = port or urlsplit(receiver.url).port or 8000
    result_console().print(f"Waiting for events of {receiver.name} on http://127.0.0.1:{where}/", markup=False)

    def tell(line: str) -> None:
        result_console().print(line, markup=False)

    uvicorn.run(webhook_receiver(keys, tell), host="127.0.0.1", port=where, log_config=None, access_log=False)
