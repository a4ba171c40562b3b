"""`webhooks list|show|replay|ping|receive|forget` as the command line reads them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

import typer

from service.commands.options import MEDIA_ID_HELP, JsonOption, read_media_id
from service.commands.target import explained, settings_of_deployment

group = typer.Typer(no_args_is_help=True, help="See what receivers are told, replay it, or try a receiver.")

_STATES = ("open", "delivered", "dead")
ReceiverArgument = Annotated[str, typer.Argument(metavar="RECEIVER", help="Its name in MEDIA_WEBHOOKS__RECEIVERS.")]
ReceiverOption = Annotated[str | None, typer.Option(metavar="NAME", help="Only of this receiver.")]
MediaOption = Annotated[
    UUID | None, typer.Option(parser=read_media_id, metavar="ID", help=f"Only of this media: {MEDIA_ID_HELP}.")
]


@group.command("list")
def list_events(
    receiver: ReceiverOption = None,
    state: Annotated[str | None, typer.Option(help="Only these: open, delivered or dead.")] = None,
    media: MediaOption = None,
    limit: Annotated[int, typer.Option(min=0, max=10_000, help="How many of each receiver.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Say of each receiver how it fares, and list the newest events for it."""
    from service.commands.webhooks import show_events
    from service.stores.webhook_inspection import Choice

    if state is not None and state not in _STATES:
        raise typer.BadParameter("It is open, delivered or dead.", param_hint="--state")
    choice = Choice(receiver=receiver, state=state, media_id=media)
    with explained():
        settings = settings_of_deployment()
        raise typer.Exit(asyncio.run(show_events(settings, choice, limit=limit, as_json=as_json)))


@group.command()
def show(event_id: Annotated[str, typer.Argument(metavar="EVENT", help="As webhook-id names it.")]) -> None:
    """Show one event: its body, and what became of it at each receiver."""
    from service.commands.webhooks import show_event

    with explained():
        settings = settings_of_deployment()
        raise typer.Exit(asyncio.run(show_event(settings, event_id)))


@group.command()
def replay(
    receiver: ReceiverOption = None,
    media: MediaOption = None,
    since: Annotated[datetime | None, typer.Option(help="Only what happened since, in UTC.")] = None,
    dead: Annotated[bool, typer.Option("--dead", help="Only what was given up.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="At most so many.")] = 10_000,
) -> None:
    """Have workers send events once more, under the ids they had, each media's in order."""
    from service.commands.webhooks import replay_events
    from service.stores.webhook_inspection import Choice

    if receiver is None and media is None:
        raise typer.BadParameter("Name a receiver or a media.", param_hint="--receiver, --media")
    moment = since.replace(tzinfo=UTC) if since is not None and since.tzinfo is None else since
    choice = Choice(receiver=receiver, state="dead" if dead else None, media_id=media, since=moment)
    with explained():
        settings = settings_of_deployment()
        raise typer.Exit(asyncio.run(replay_events(settings, choice, limit=limit)))


@group.command()
def ping(receiver: ReceiverArgument) -> None:
    """Send a receiver an event that means nothing, from here; exit code 1 if it does not accept it."""
    from service.commands.webhook_trial import ping_receiver

    with explained():
        settings = settings_of_deployment()
        raise typer.Exit(asyncio.run(ping_receiver(settings, receiver)))


@group.command()
def forget(receiver: ReceiverArgument) -> None:
    """Remove a receiver that is configured no more, and all that waits for it."""
    from service.commands.webhooks import forget_receiver

    with explained():
        settings = settings_of_deployment()
        raise typer.Exit(asyncio.run(forget_receiver(settings, receiver)))


@group.command()
def receive(
    port: Annotated[int, typer.Option(min=0, max=65_535, help="On 127.0.0.1; 0: that of the receiver's url.")] = 0,
    receiver: ReceiverOption = None,
) -> None:
    """Be a receiver on this machine: verify what arrives and print it, a line each."""
    from service.commands.serving import serve_webhook_receiver
    from service.commands.webhook_trial import find_receiver

    with explained():
        found = find_receiver(settings_of_deployment(), receiver)
        serve_webhook_receiver(found, port=port)
