"""A release whose indexes are not there yet: it says so, and what does not need them works."""

from __future__ import annotations

import pytest

from tests.documents import ready_media
from tests.integration.conftest import RunningService

LIST = "query Q($filter: MediaFilter) { mediaList(filter: $filter) { nodes { title } } }"


async def test_what_needs_an_index_that_is_missing_is_to_be_asked_again(
    service: RunningService, capsys: pytest.CaptureFixture[str]
) -> None:
    media = service.runtime.database.media
    await media.insert_one(ready_media(title="Rex", tags=["garden"]))
    await media.drop_index("tags_by_purpose")
    client = service.client(None)
    [error] = (await client.post(LIST, filter={"tags": ["garden"]}))["errors"]
    assert (error["extensions"]["code"], error["extensions"]["retryable"]) == ("TEMPORARILY_UNAVAILABLE", True)
    logged = capsys.readouterr().out
    assert "indexes --check" in logged
    assert "garden" not in logged, "what was asked for is nobody's business"
    assert (await client.run(LIST, filter={"purpose": "COMMUNITY"}))["mediaList"]["nodes"] == [{"title": "Rex"}]
