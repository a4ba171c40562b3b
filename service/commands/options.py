"""Options that several commands take."""

from __future__ import annotations

from typing import Annotated

import typer

from service.models import MediaPurpose

_PURPOSES = ", ".join(purpose.lower() for purpose in MediaPurpose)


def _read_purpose(given: str) -> MediaPurpose:
    try:
        return MediaPurpose(given.upper())
    except ValueError:
        raise typer.BadParameter(f"{given!r} is none. Choose one of {_PURPOSES}.") from None


PurposeOption = Annotated[
    MediaPurpose,
    typer.Option(parser=_read_purpose, metavar="PURPOSE", help=f"What the media is for: {_PURPOSES}."),
]
UrlOption = Annotated[
    str | None, typer.Option("--url", envvar="MEDIA_URL", help="The API. Without it: the embedded stack.")
]
TokenOption = Annotated[
    str | None, typer.Option("--token", envvar="MEDIA_TOKEN", help="Bearer token; others see it if given as argument.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON for scripts instead of text for people.")]
