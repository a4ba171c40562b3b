"""Which API a command talks to."""

from __future__ import annotations

from collections.abc import Mapping

from service.client import InvalidConnection, MediaClient

_NOWHERE = (
    "Which API? No stack runs in this folder (`make run` starts one). Name another with --url and --token, "
    "or with MEDIA_URL and MEDIA_TOKEN."
)


def open_client(url: str | None, token: str | None, stack: Mapping[str, str]) -> MediaClient:
    """A client of the API at `url`, or else of the embedded stack, whose `urls.json` is `stack` (empty: none runs).

    Raises InvalidConnection, with what to do, if there is neither.
    """
    if url is not None:
        # The embedded stack's token is not for others to see.
        return MediaClient(url, token)
    if "graphql" not in stack:
        raise InvalidConnection(_NOWHERE)
    return MediaClient(stack["graphql"], token or stack.get("token"))
