"""Writes whose answer was lost: the driver sends them again, and the server answers otherwise than the first time."""

from __future__ import annotations

from typing import Any

from pydantic import SecretStr

from service.lifecycle import MediaStatus
from service.settings import MongoSettings
from service.stores.database import open_database
from service.stores.media import MediaStore
from tests.documents import ready_media


class AskedTwice:
    """A collection whose `find_one_and_update` loses the first answer, as where a primary dies before it is out.

    By the same transaction number in the same session the server knows the repeat, and does nothing more.
    """

    def __init__(self, collection: Any) -> None:
        self._collection = collection

    async def find_one_and_update(self, *arguments: Any, **options: Any) -> Any:
        async with await self._collection.database.client.start_session() as session:
            await self._collection.find_one_and_update(*arguments, session=session, **options)
            session.delegate._server_session._transaction_id -= 1
            return await self._collection.find_one_and_update(*arguments, session=session, **options)


async def test_a_status_that_was_written_is_told_by_the_repeat(mongod: str, database_name: str) -> None:
    async with open_database(MongoSettings(uri=SecretStr(mongod), database=database_name)) as database:
        media = ready_media(status="UPLOADED", status_sequence=2)
        media["status_history"] = media["status_history"][:2]
        await database.media.insert_one(media)
        store = MediaStore(database)
        store._media = AskedTwice(database.media)  # type: ignore[assignment]
        written = await store.transition(media["_id"], MediaStatus.PROCESSING)
        assert written is not None
        assert (written.status, written.sequence) == (MediaStatus.PROCESSING, 3)
        [stored] = await database.media.find({"_id": media["_id"]}).to_list(None)
        assert [each["sequence"] for each in stored["status_history"]] == [1, 2, 3]
