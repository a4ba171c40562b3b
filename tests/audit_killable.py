"""A writer that is killed: `python -m tests.audit_killable WHERE OWNER ID...` changes and deletes media until it dies.

WHERE: `append` (written, and nothing appended yet), `clear` (appended, and the outbox not emptied yet), or `never`. The
database is that of the `MEDIA_MONGO__*` variables. It prints a line for each change that was acknowledged.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any
from uuid import UUID, uuid4

from service.access import Viewer
from service.deletion import request_deletions
from service.media_changes import update_media
from service.settings import Settings
from service.stores import bind_stores
from service.stores.audit import AuditStore
from service.stores.database import open_database


def die_at(where: str) -> None:
    """From now on this process kills itself there."""
    append = AuditStore.append

    async def dying(self: AuditStore, pending: Any) -> None:
        if where == "clear":
            await append(self, pending)
        os.kill(os.getpid(), signal.SIGKILL)

    if where != "never":
        AuditStore.append = dying  # type: ignore[method-assign]


async def main(where: str, owner: str, *ids: str) -> None:
    die_at(where)
    viewer, media_ids = Viewer(owner), list(map(UUID, ids))
    async with open_database(Settings().mongo) as database:
        stores = bind_stores(database)
        for media_id in media_ids:
            raw = {"idempotency_key": uuid4().hex, "title": "Private words"}
            await update_media(viewer, media_id, raw, stores=stores)
            print(media_id, flush=True)  # noqa: T201 - what the test reads
        await request_deletions(
            viewer, media_ids[:5], idempotency_key=uuid4().hex, stores=stores, media_bucket="media-renditions"
        )


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
