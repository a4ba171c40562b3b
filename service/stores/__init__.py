"""The only MongoDB queries. Each store owns one collection and speaks in documents and domain values."""

from __future__ import annotations

from dataclasses import dataclass

from service.stores.contents import ContentStore
from service.stores.database import Database
from service.stores.deletions import DeletionStore
from service.stores.idempotency import IdempotencyStore
from service.stores.jobs import JobStore
from service.stores.media import MediaStore, StatusCounter
from service.stores.uploads import UploadStore


@dataclass(frozen=True, slots=True)
class Stores:
    """One store a collection."""

    media: MediaStore
    uploads: UploadStore
    contents: ContentStore
    jobs: JobStore
    deletions: DeletionStore
    idempotency: IdempotencyStore


def bind_stores(database: Database, *, count_status: StatusCounter | None = None) -> Stores:
    """The stores of `database`; `count_status` is told of every status written and of the media's purpose."""
    return Stores(
        media=MediaStore(database) if count_status is None else MediaStore(database, count_status=count_status),
        uploads=UploadStore(database),
        contents=ContentStore(database),
        jobs=JobStore(database),
        deletions=DeletionStore(database),
        idempotency=IdempotencyStore(database),
    )
