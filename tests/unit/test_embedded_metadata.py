"""What is kept of a file's own metadata, and who is told."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from schema.global_id import encode_id
from service.access import ANONYMOUS, MODERATOR_ROLE, Viewer
from service.embedded_metadata import fields_to_read, kept
from service.models import EmbeddedMetadata, MediaPurpose, MetadataField
from service.policies import POLICIES, MetadataPolicy
from tests.documents import MOMENT, ready_media
from tests.unit.conftest import Library

EVERY = frozenset(MetadataField)
NOTHING = EmbeddedMetadata()

READ = EmbeddedMetadata(MOMENT, "Pear", None, (52.5, 13.4))


def media_of(purpose: MediaPurpose, **changed: Any) -> Any:
    return ready_media(**{"purpose": purpose.value, "captured_at": None, "location": None, **changed})


@pytest.mark.parametrize("purpose", MediaPurpose)
def test_kept_is_what_the_purpose_or_its_owner_wants_and_nothing_else(purpose: MediaPurpose) -> None:
    policy = POLICIES[purpose]
    private = policy.metadata_under(MetadataPolicy.KEEP_PRIVATE)
    assert fields_to_read(media_of(purpose)) == private
    everything = media_of(purpose, metadata_choice=[field.value for field in MetadataField])
    assert fields_to_read(everything) == EVERY - policy.metadata_under(MetadataPolicy.STRIP)
    # Even if the jail told more than it was asked.
    values = {
        MetadataField.CAPTURED_AT: ("captured_at", MOMENT),
        MetadataField.CAMERA: ("camera", {"make": "Pear", "model": None}),
        MetadataField.LOCATION: ("location", {"type": "Point", "coordinates": [13.4, 52.5]}),
    }
    expected = dict(values[field] for field in private)
    assert kept(media_of(purpose), READ) == ({"embedded": expected} if expected else {})


def test_no_portrait_and_no_health_record_tells_where() -> None:
    for purpose in MediaPurpose:
        location = POLICIES[purpose].metadata_policy(MetadataField.LOCATION)
        assert location is (
            MetadataPolicy.USER_CHOICE if purpose is MediaPurpose.COMMUNITY else MetadataPolicy.STRIP
        ), purpose
    for purpose in (MediaPurpose.PROFILE, MediaPurpose.COVER, MediaPurpose.ONBOARDING):
        assert fields_to_read(media_of(purpose)) == frozenset()


def test_what_the_owner_says_is_not_read_from_the_file() -> None:
    choice = {"metadata_choice": ["LOCATION", "CAMERA"]}
    typed = ready_media(**choice)
    assert fields_to_read(typed) == {MetadataField.CAMERA}
    cleared = media_of(MediaPurpose.COMMUNITY, is_location_settled=True, **choice)
    assert fields_to_read(cleared) == {MetadataField.CAMERA, MetadataField.CAPTURED_AT}
    assert kept(media_of(MediaPurpose.COMMUNITY, **choice), NOTHING) == {}


ANNA, MODERATOR = Viewer("anna"), Viewer("mod", frozenset({MODERATOR_ROLE}))
LEARNT = {
    "captured_at": datetime(2024, 5, 17, 8, 20, 30, tzinfo=UTC),
    "camera": {"make": "Pear", "model": "Phone"},
    "location": {"type": "Point", "coordinates": [13.4, 52.5]},
}
QUERY = """query ($id: ID!) {
  media(id: $id) { capturedAt camera { make model } location { latitude longitude } }
}"""


async def told(library: Library, viewer: Viewer, **changed: Any) -> Any:
    await library.add(media := ready_media(embedded=LEARNT, **changed))
    return (await library.run(QUERY, viewer, id=encode_id("Media", media["_id"])))["media"]


@pytest.mark.parametrize("visibility", ["PUBLIC", "PRIVATE"])
async def test_what_the_file_said_is_for_its_owner_and_moderators(library: Library, visibility: str) -> None:
    fields = {"captured_at": None, "location": None, "visibility": visibility}
    for viewer in (ANNA, MODERATOR):
        assert await told(library, viewer, **fields) == {
            "capturedAt": "2024-05-17T08:20:30.000Z",
            "camera": {"make": "Pear", "model": "Phone"},
            "location": {"latitude": 52.5, "longitude": 13.4},
        }
    for viewer in (Viewer("bert"), ANONYMOUS):
        stranger = await told(library, viewer, **fields)
        assert stranger == ({"capturedAt": None, "camera": None, "location": None} if visibility == "PUBLIC" else None)


async def test_what_the_owner_said_comes_first(library: Library) -> None:
    typed = {"captured_at": MOMENT, "location": {"type": "Point", "coordinates": [18.4, -33.9]}}
    mine = await told(library, ANNA, **typed)
    assert (mine["capturedAt"], mine["location"]["latitude"]) == ("2026-03-01T12:00:00.000Z", -33.9)
    # When it was taken they said to all who see it; where, to nobody.
    stranger = await told(library, ANONYMOUS, **typed)
    assert stranger == {"capturedAt": "2026-03-01T12:00:00.000Z", "camera": None, "location": None}
    cleared = await told(library, ANNA, location=None, is_location_settled=True)
    assert cleared["location"] is None


async def test_clients_are_told_what_becomes_of_each_field(library: Library) -> None:
    query = "query ($purpose: MediaPurpose!) { uploadPolicy(purpose: $purpose) { metadata { field policy } } }"
    for purpose in MediaPurpose:
        listed = (await library.run(query, purpose=purpose.value))["uploadPolicy"]["metadata"]
        assert {entry["field"]: entry["policy"] for entry in listed} == {
            field.value: POLICIES[purpose].metadata_policy(field).value for field in MetadataField
        }
