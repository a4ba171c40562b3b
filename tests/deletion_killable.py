"""A worker of deletions that is killed: `python -m tests.deletion_killable FAILPOINT MEDIA_ID` until it dies there.

It knows of no CDN. Database and storage are those of the `MEDIA_MONGO__*` and `MEDIA_STORAGE__*` variables.
"""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from uuid import UUID

from service.deletion import remove_objects
from service.deletion_verification import verify_deletion
from service.errors import TemporarilyUnavailable
from service.failpoints import Failpoint, arm
from service.models import JobKind
from service.object_store import ObjectStore
from service.settings import Settings
from service.stores import Stores, bind_stores
from service.stores.database import OUTAGE_ERRORS, open_database

# The places on the way of a deletion, which tests/integration/test_deletion_upkeep.py walks.
DELETING = (
    Failpoint.OBJECTS_REMOVED_WRITTEN,
    Failpoint.VERIFICATION_WRITTEN,
    Failpoint.CERTIFICATE_APPENDED,
    Failpoint.CERTIFICATE_WRITTEN,
)


async def work(media_id: UUID, *, stores: Stores, object_store: ObjectStore) -> None:
    """Do what is to be done now of a deletion, job after job."""
    remove = partial(remove_objects, stores=stores, object_store=object_store)
    verify = partial(verify_deletion, stores=stores, object_store=object_store, edges=None, count=lambda _outcome: None)
    while True:
        states = await stores.job_inspection.states_of(media_id, {JobKind.DELETE, JobKind.VERIFY})
        claimed = [await stores.jobs.claim(lease_s=60, worker="killable", job_id=each) for each in sorted(states)]
        jobs = [job for job in claimed if job is not None]
        if not jobs:
            return
        for job in jobs:
            try:
                await (remove if job.kind is JobKind.DELETE else verify)(job)
            except (TemporarilyUnavailable, *OUTAGE_ERRORS):
                # As a worker would: what does not answer now is asked again.
                await stores.jobs.release(job)
            else:
                await stores.jobs.complete(job)


async def main(failpoint: str, media_id: str) -> None:
    settings = Settings()
    object_store = ObjectStore(settings.storage)
    async with open_database(settings.mongo) as database:
        arm(Failpoint(failpoint))
        await work(UUID(media_id), stores=bind_stores(database), object_store=object_store)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
