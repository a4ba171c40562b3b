"""From a file's own metadata to what its owner is told: through the jail, the worker, the database and the API."""

from __future__ import annotations

import hashlib
from typing import Any
from uuid import uuid4

import pytest
from PIL import ExifTags

from schema.global_id import decode_id
from tests import tagged
from tests.api_client import ApiClient
from tests.in_process import saved
from tests.integration.conftest import RunningService
from tests.photos import scene

BERLIN = {"latitude": 52.52, "longitude": 13.405}
TOLD = {
    "capturedAt": "2024-05-17T08:20:30.000Z",
    "camera": {"make": "Pear", "model": "Pear Phone 12"},
    "location": BERLIN,
}
QUERY = """query ($id: ID!) {
  media(id: $id) { capturedAt camera { make model } location { latitude longitude } }
}"""
CREATE = """mutation ($input: CreateUploadsInput!) {
  createUploads(input: $input) { outcomes { upload { id } duplicate { id } userErrors { code message field } } }
}"""
UPDATE = """mutation ($input: UpdateMediaInput!) { updateMedia(input: $input) { userErrors { code } } }"""


def photo_from_berlin(seed: int) -> bytes:
    exif = tagged.tiff(
        [tagged.text(ExifTags.Base.Make, "Pear"), tagged.text(ExifTags.Base.Model, "Pear Phone 12")],
        details=[
            tagged.text(ExifTags.Base.DateTimeOriginal, "2024:05:17 10:20:30"),
            tagged.text(ExifTags.Base.OffsetTimeOriginal, "+02:00"),
            tagged.text(ExifTags.Base.BodySerialNumber, "SN-4711"),
        ],
        gps=[
            tagged.text(ExifTags.GPS.GPSLatitudeRef, "N"),
            tagged.rationals(ExifTags.GPS.GPSLatitude, (52, 1), (31, 1), (12, 1)),
            tagged.text(ExifTags.GPS.GPSLongitudeRef, "E"),
            tagged.rationals(ExifTags.GPS.GPSLongitude, (13, 1), (24, 1), (18, 1)),
        ],
    )
    return saved(scene(64, 48, seed), "JPEG", exif=b"Exif\0\0" + exif)


@pytest.fixture
def anna(service: RunningService) -> ApiClient:
    return service.client(f"owner-{uuid4().hex}")


async def ready(service: RunningService, client: ApiClient, photo: bytes, **more: Any) -> str:
    async with service.working():
        media_id = await client.send(photo, **more)
        assert await client.wait(media_id) == {media_id: "READY"}
    return media_id


async def announced_again(client: ApiClient, photo: bytes, choice: list[str]) -> str:
    """The media that stands for a file which needs not be sent."""
    sha256 = hashlib.sha256(photo).hexdigest()
    file = {"contentType": "image/jpeg", "byteSize": len(photo), "sha256": sha256, "keepMetadata": choice}
    given = {"idempotencyKey": uuid4().hex, "purpose": "COMMUNITY", "files": [file]}
    [outcome] = (await client.run(CREATE, input=given))["createUploads"]["outcomes"]
    media_id: str = outcome["duplicate"]["id"]
    return media_id


async def told(client: ApiClient, media_id: str) -> dict[str, Any]:
    media: dict[str, Any] = (await client.run(QUERY, id=media_id))["media"]
    return media


async def document(service: RunningService, media_id: str) -> dict[str, Any]:
    parsed = decode_id(media_id)
    assert parsed is not None
    found = await service.runtime.database.media.find_one({"_id": parsed[1]})
    assert found is not None
    return dict(found)


async def test_what_its_owner_chose_is_kept_for_them(service: RunningService, anna: ApiClient) -> None:
    photo = photo_from_berlin(2001)
    media_id = await ready(service, anna, photo, details={"keepMetadata": ["LOCATION", "CAMERA"]})
    assert await told(anna, media_id) == TOLD
    assert await told(service.client("stranger"), media_id) == dict.fromkeys(TOLD)
    # A file that is announced again for no more than was kept is the one that is there.
    for choice in ([], ["CAMERA"], ["CAMERA", "LOCATION", "CAPTURED_AT"]):
        assert await announced_again(anna, photo, choice) == media_id
    whole = str(await document(service, media_id))
    assert "SN-4711" not in whole


async def test_without_a_choice_neither_place_nor_camera_is_read(service: RunningService, anna: ApiClient) -> None:
    photo = photo_from_berlin(2002)
    media_id = await ready(service, anna, photo)
    assert await told(anna, media_id) == {**TOLD, "camera": None, "location": None}
    whole = await document(service, media_id)
    assert set(whole["embedded"]) == {"captured_at"}
    assert "Pear" not in str(whole)
    # Now it is wanted: another media, from the bytes that storage has.
    async with service.working():
        other = await announced_again(anna, photo, ["LOCATION"])
        assert other != media_id
        assert await anna.wait(other) == {other: "READY"}
    assert await told(anna, other) == {**TOLD, "camera": None}


async def test_a_portrait_says_nothing_and_refuses_to(service: RunningService, anna: ApiClient) -> None:
    media_id = await ready(service, anna, photo_from_berlin(2003), purpose="PROFILE")
    assert await told(anna, media_id) == dict.fromkeys(TOLD)
    assert "embedded" not in await document(service, media_id)
    file = {"contentType": "image/jpeg", "byteSize": 1_000, "sha256": "0" * 64}
    given = {"idempotencyKey": uuid4().hex, "purpose": "PROFILE", "files": [file, {**file, "keepMetadata": ["CAMERA"]}]}
    before = await service.runtime.database.media.count_documents({})
    taken, refused = (await anna.run(CREATE, input=given))["createUploads"]["outcomes"]
    assert taken["userErrors"] == []
    assert refused == {
        "upload": None,
        "duplicate": None,
        "userErrors": [
            {
                "code": "INVALID_INPUT",
                "message": "PROFILE media keep no CAMERA of their files: leave it out.",
                "field": ["files", "1", "keepMetadata"],
            }
        ],
    }
    assert await service.runtime.database.media.count_documents({}) == before + 1


async def test_what_the_owner_says_wins_and_what_they_clear_is_gone(service: RunningService, anna: ApiClient) -> None:
    keep = {"keepMetadata": ["LOCATION"]}
    typed = {"location": {"latitude": -33.9, "longitude": 18.4}, "capturedAt": "2020-01-01T00:00:00Z"}
    media_id = await ready(service, anna, photo_from_berlin(2004), details={**keep, **typed})
    assert await told(anna, media_id) == {
        "capturedAt": "2020-01-01T00:00:00.000Z",
        "camera": None,
        "location": typed["location"],
    }
    media_id = await ready(service, anna, photo_from_berlin(2005), details=keep)
    assert (await told(anna, media_id))["location"] == BERLIN
    await clear_location(anna, media_id)
    assert (await told(anna, media_id))["location"] is None
    assert (await document(service, media_id))["embedded"]["location"] is None


async def test_a_place_cleared_before_the_file_was_read_stays_cleared(service: RunningService, anna: ApiClient) -> None:
    media_id = await anna.send(photo_from_berlin(2006), details={"keepMetadata": ["LOCATION"]})
    await clear_location(anna, media_id)
    async with service.working():
        assert await anna.wait(media_id) == {media_id: "READY"}
    assert (await told(anna, media_id))["location"] is None
    assert "location" not in (await document(service, media_id))["embedded"]


async def clear_location(client: ApiClient, media_id: str) -> None:
    given = {"idempotencyKey": uuid4().hex, "id": media_id, "location": None}
    assert (await client.run(UPDATE, input=given))["updateMedia"]["userErrors"] == []


async def test_a_choice_is_part_of_the_request(service: RunningService, anna: ApiClient) -> None:
    photo, key = photo_from_berlin(2007), uuid4().hex
    first = await anna.create(photo, key=key, details={"keepMetadata": ["CAMERA"]})
    again = await anna.create(photo, key=key, details={"keepMetadata": ["CAMERA"]})
    assert again["outcomes"][0]["upload"]["id"] == first["outcomes"][0]["upload"]["id"]
    other = await anna.create(photo, key=key, details={"keepMetadata": ["LOCATION"]})
    assert [error["code"] for error in other["userErrors"]] == ["IDEMPOTENCY_KEY_REUSED"]


async def test_a_deletion_takes_it_along(service: RunningService, anna: ApiClient) -> None:
    media_id = await ready(service, anna, photo_from_berlin(2008), details={"keepMetadata": ["LOCATION"]})
    parsed = decode_id(media_id)
    assert parsed is not None
    stores = service.runtime.stores
    await anna.delete(media_id)
    await stores.media.strip_deleted(parsed[1])
    assert not {"embedded", "metadata_choice", "is_location_settled"} & set(await document(service, media_id))
