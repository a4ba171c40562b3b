"""Which objects a SeaweedFS webhook payload announces."""

from __future__ import annotations

from typing import Any

import pytest

from service.dev.storage_events import created_object


def payload(parent: str, name: str, **entry: Any) -> dict[str, Any]:
    return {
        "event_type": "create",
        "key": f"{parent}/{name}",
        "message": {"new_entry": {"name": name, **entry}, "new_parent_path": parent},
    }


def test_an_object_is_named_by_bucket_and_key() -> None:
    event = payload("/buckets/media-uploads/community/raw", "x.jpg", attributes={"file_size": 3})
    assert created_object(event) == ("media-uploads", "community/raw/x.jpg")


def test_a_moved_object_is_named_by_where_it_is_now() -> None:
    event = payload("/buckets/media-uploads/community/raw", "x.jpg")
    event["key"] = "/buckets/media-uploads/elsewhere"
    assert created_object(event) == ("media-uploads", "community/raw/x.jpg")


def test_a_version_is_named_by_its_object() -> None:
    event = payload("/buckets/media-uploads/community/raw/x.jpg.versions", "v_6715e65ba7060b8ee4bfcaed4bb919c4")
    assert created_object(event) == ("media-uploads", "community/raw/x.jpg")


@pytest.mark.parametrize(
    "event",
    [
        payload("/buckets/media-uploads", "community", is_directory=True),
        payload("/buckets/media-uploads/.uploads/4f", "0001.part"),
        payload("/buckets/.system/versions", "x.jpg"),
        payload("/buckets/media-uploads/community/raw", "x.jpg.versions", is_directory=True),
        payload("/buckets/b/x.jpg.versions", "v_1", extended={"Seaweed-X-Amz-Delete-Marker": "dHJ1ZQ=="}),
        payload("/buckets", "media-uploads"),
        payload("/etc/iam/identities", "admin.json"),
        {"event_type": "delete", "key": "/buckets/b/k", "message": {"old_entry": {"name": "k"}}},
        {"event_type": "create", "key": "/buckets/b/k", "message": None},
        {"event_type": "create", "key": "/buckets/b/k", "message": {"new_entry": "k"}},
        {},
    ],
)
def test_everything_else_announces_nothing(event: dict[str, Any]) -> None:
    assert created_object(event) is None
