"""A worker that is killed: `python -m tests.webhook_killable WHERE NAME URL SECRET` gathers events and sends them.

WHERE: `added` (deliveries are written, their streams not woken), `woken` (and the outboxes not emptied), or `accepted`
(the receiver has taken one, which is not written down). The database is that of the `MEDIA_MONGO__*` variables.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

from pydantic import SecretStr

from service.settings import ReceiverSettings, Settings
from service.stores.database import open_database
from service.stores.webhook_deliveries import WebhookDeliveryStore
from service.stores.webhook_outbox import WebhookOutbox
from tests.webhook_stand import Post

_STEPS: dict[str, tuple[type[Any], str]] = {
    "added": (WebhookDeliveryStore, "wake"),
    "woken": (WebhookOutbox, "take_out"),
    "accepted": (WebhookDeliveryStore, "note_accepted"),
}


async def die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def main(where: str, name: str, url: str, secret: str) -> None:
    setattr(*_STEPS[where], die)
    async with open_database(Settings().mongo) as database:
        await Post(database).deliver(ReceiverSettings(name=name, url=url, secrets=(SecretStr(secret),)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
