"""`webhooks ping` and `receive`: trying a receiver, with the secrets of the settings."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from uuid import uuid4

from service.commands.printing import problem_console, result_console
from service.errors import ConfigurationError
from service.settings import Environment, ReceiverSettings, Settings
from service.webhooks.payload import ping_body
from service.webhooks.sending import Sender


def find_receiver(settings: Settings, name: str | None) -> ReceiverSettings:
    """The receiver of that name, or the first; ConfigurationError where there is none, or it has no secret."""
    for receiver in settings.webhooks.receivers:
        if name in {None, receiver.name}:
            if receiver.secrets:
                return receiver
            raise ConfigurationError(f"Receiver {receiver.name} has no secrets in these settings.")
    what = "no receiver" if name is None else f"no receiver called {name}"
    raise ConfigurationError(f"MEDIA_WEBHOOKS__RECEIVERS names {what}.")


async def ping_receiver(settings: Settings, name: str) -> int:
    """Send one event that means nothing; the exit code: 1 if it was not accepted."""
    receiver = find_receiver(settings, name)
    sender = Sender(receiver, settings.webhooks, only_public=settings.environment is Environment.PRODUCTION)
    try:
        begun = time.monotonic()
        answer = await sender.send(f"ping_{uuid4().hex}", ping_body(name, datetime.now(UTC)), at=time.time())
    finally:
        await sender.close()
    took_ms = (time.monotonic() - begun) * 1000
    if not answer.is_accepted:
        problem_console().print(f"{name} did not accept it: {answer.reason}.", markup=False)
        return 1
    result_console().print(f"{name} accepted it with {answer.status} after {took_ms:.0f} ms.", markup=False)
    return 0
