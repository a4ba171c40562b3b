"""From the answer to `deleteMedia` on, nothing shows the media and nothing signs its addresses, in any process."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import numpy as np
import orjson
from uuid6 import uuid7

from schema.global_id import encode_id
from service.labels import labels_of
from service.lifecycle import MediaStatus
from service.perceptual_hash import bands_of
from service.stores.media import MediaStore
from tests.api_client import ApiClient
from tests.documents import ready_media
from tests.integration.conftest import RunningService
from tests.integration.test_live_updates import FEED as READY_MEDIA
from tests.integration.test_live_updates import followers, hearing
from tests.integration.test_nearest_media import embedded

SHOWN = "fragment M on Media { id title status original { url } renditions { url } display { url } }"
# Everything that lists or finds media; the first answers from pages that are kept in memory.
FEED = "query { feed(purpose: PET_TAG, first: 5) { nodes { id display { url } } } }"
EVERYTHING = f"""
query Q($gone: ID!, $stays: ID!, $upload: ID!, $sha: SHA256!, $hash: PerceptualHash!, $vector: [Float!]!, $walk: ID!,
  $album: ID!, $label: String!, $model: String!) {{
  node(id: $gone) {{ ...M }}
  nodes(ids: [$gone, $stays]) {{ ...M }}
  gone: media(id: $gone) {{ ...M }}
  stays: media(id: $stays) {{ ...M similar(maxDistance: 10) {{ media {{ ...M }} }} }}
  feed(purpose: PET_TAG, first: 30) {{ nodes {{ ...M }} }}
  byPurpose: mediaList(filter: {{ purpose: PET_TAG }}) {{ nodes {{ ...M }} }}
  byOwner: mediaList(filter: {{ ownerId: "anna", status: [READY, DELETED] }}) {{ nodes {{ ...M }} }}
  byCapture: mediaList(filter: {{ captureId: $walk }}) {{ nodes {{ ...M }} }}
  bySubject: mediaList(filter: {{ subject: {{ type: "post", id: $walk }} }}) {{ nodes {{ ...M }} }}
  byAlbum: mediaList(filter: {{ albumId: $album }}) {{ nodes {{ ...M }} }}
  byTag: mediaList(filter: {{ tags: [$label], purpose: PET_TAG }}) {{ nodes {{ ...M }} }}
  byLabel: mediaList(filter: {{ label: $label, purpose: PET_TAG }}) {{ nodes {{ ...M }} }}
  labelCounts(filter: {{ label: $label, purpose: PET_TAG }}) {{ labels {{ label count }} }}
  findDuplicates(sha256: [$sha]) {{ media {{ ...M }} }}
  similarMedia(perceptualHash: $hash) {{ media {{ ...M }} }}
  byVector: nearestMedia(model: $model, vector: $vector) {{ media {{ ...M }} }}
  upload(id: $upload) {{ media {{ ...M }} }}
}}
{SHOWN}
"""
PLACES = 17


async def arrange(service: RunningService) -> tuple[Any, Any, dict[str, Any]]:
    """Two media that everything finds, the first of which is to go, and how to find them."""
    marker, model = uuid7().hex, f"m{uuid7().hex[:8]}@1"
    phash = int(uuid7().int & 0x7FFF_FFFF_FFFF_FFFF) | 0xF0F0
    vector = np.eye(1, 16, dtype=np.float32)[0]
    more = {
        "purpose": "PET_TAG",
        "capture_id": marker,
        "subject": {"type": "post", "id": marker},
        "album_ids": [marker],
        "tags": [marker],
        "labels": labels_of({marker: 0.9}),
        "hashes": {"phash": phash, "transformed": [], "bands": bands_of(phash)},
        "content": {"type": "image/jpeg", "bytes": 3, "sha256": marker * 2, "width": 9, "height": 9},
    }
    ids = await embedded(service, model, [vector, vector], **more)
    gone, stays = [encode_id("Media", each) for each in ids]
    media_id = ids[0]
    database = service.runtime.database
    await database.contents.insert_one(
        {"_id": marker, "owner_id": "anna", "sha256": marker * 2, "key": "k", "bucket": "b", "refs": ids}
    )
    await database.uploads.insert_one(
        {**ready_media(_id=media_id), "key": "k", "bucket": "b", "method": "SINGLE", "bytes": 3, "content_type": "x"}
    )
    variables = {
        "gone": gone,
        "stays": stays,
        "upload": encode_id("Upload", media_id),
        "sha": marker * 2,
        "hash": f"{phash:016x}",
        "vector": vector.tolist(),
        "walk": marker,
        "album": marker,
        "label": marker,
        "model": model,
    }
    return media_id, gone, variables


async def test_no_query_of_any_kind_shows_what_was_deleted(service: RunningService, second_url: str) -> None:
    media_id, gone, variables = await arrange(service)
    here = [service.client("anna"), service.client("bert"), service.client("mo", roles=("moderator",))]
    everybody = [*here, *(ApiClient(second_url, each.token) for each in here)]

    async def shows(client: ApiClient) -> bool:
        text = orjson.dumps(await client.post(EVERYTHING, **variables)).decode()
        return gone in text or str(media_id) in text

    for client in everybody:
        body = await client.post(EVERYTHING, **variables)
        assert "errors" not in body, body["errors"]
    before = orjson.dumps(await here[0].run(EVERYTHING, **variables)).decode()
    assert before.count(f'"{gone}"') >= PLACES - 1, "it is found everywhere"
    await service.client("anna").delete(gone)
    assert not any(await asyncio.gather(*map(shows, everybody)))
    counts = await here[0].run(EVERYTHING, **variables)
    assert [each["count"] for each in counts["labelCounts"]["labels"]] == [1]
    # Nor does it come up as new: neither to whoever follows the feed, nor by a write that comes too late.
    async with hearing(service.client("anna").subscribe(READY_MEDIA, purpose="PET_TAG")) as heard:
        await followers(service.change_feed, 1)
        assert await MediaStore(service.runtime.database).transition(media_id, MediaStatus.READY) is None
        assert heard.events == []


async def test_pages_that_another_process_keeps_are_at_most_moments_behind(
    service: RunningService, second_url: str
) -> None:
    anybody, elsewhere = service.client(None), ApiClient(second_url, None)
    late: list[float] = []
    for _ in range(5):
        media = ready_media(purpose="PET_TAG")
        await service.runtime.database.media.insert_one(media)
        key = encode_id("Media", media["_id"])
        for client in (anybody, elsewhere):
            async with asyncio.timeout(5):
                while key not in str(await client.run(FEED)):  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.005)
            assert key in str(await client.run(FEED)), "from memory"
        await service.client("anna").delete(key)
        since = time.monotonic()
        assert key not in str(await anybody.run(FEED)), "whoever deletes, forgets before it answers"
        while key in str(await elsewhere.run(FEED)):
            late.append(time.monotonic() - since)
    assert max(late, default=0) < 2
