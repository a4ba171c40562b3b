"""Options that several commands take."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import typer

from service.global_ids import decode_id
from service.models import MediaPurpose

# A hundred years: further back than anything was written, and within what dates can say.
_MOST_HOURS = 876_000
_PURPOSES = ", ".join(purpose.lower() for purpose in MediaPurpose)


def _read_purpose(given: str) -> MediaPurpose:
    try:
        return MediaPurpose(given.upper())
    except ValueError:
        raise typer.BadParameter(f"{given!r} is none. Choose one of {_PURPOSES}.") from None


def read_media_id(given: str) -> UUID:
    """A media by the API's id of it or of its deletion, or by its UUID, as logs have it. Raises typer.BadParameter."""
    known = decode_id(given)
    if known is not None and known[0] in {"Media", "Deletion"}:
        return known[1]
    try:
        return UUID(given)
    except ValueError:
        raise typer.BadParameter(f"{given!r} is no id of a media, neither the API's nor a UUID.") from None


def hours_option(help_text: str) -> Any:
    """An option that takes a time that has passed, in hours."""
    return typer.Option(min=0, max=_MOST_HOURS, metavar="HOURS", help=help_text)


PurposeOption = Annotated[
    MediaPurpose,
    typer.Option(parser=_read_purpose, metavar="PURPOSE", help=f"What the media is for: {_PURPOSES}."),
]
MEDIA_ID_HELP = "its id as clients know it, or its UUID as in the log"
UrlOption = Annotated[
    str | None, typer.Option("--url", envvar="MEDIA_URL", help="The API. Without it: the embedded stack.")
]
TokenOption = Annotated[
    str | None, typer.Option("--token", envvar="MEDIA_TOKEN", help="Bearer token; others see it if given as argument.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON for scripts instead of text for people.")]
