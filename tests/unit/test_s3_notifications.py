"""What S3's notifications say, in every wrapping, and which of two came later."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.storage_events import EventKind, StorageEvent, UnreadableEvent, canonical_sequencer, parse_events

AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def record(name: str = "ObjectCreated:Put", key: str = "community/raw/x.jpg", **changed: Any) -> dict[str, Any]:
    described = {"key": key, "size": 1024, "eTag": "d41d8cd9", "sequencer": "0055AED6DCD90281E5", **changed}
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "eu-west-1",
        "eventTime": "2026-03-04T05:06:07.000Z",
        "eventName": name,
        "s3": {
            "s3SchemaVersion": "1.0",
            "bucket": {"name": "uploads", "arn": "arn:aws:s3:::uploads"},
            "object": described,
        },
    }


def notification(*records: dict[str, Any]) -> str:
    return json.dumps({"Records": records})


EVENT = StorageEvent(
    EventKind.CREATED, "uploads", "community/raw/x.jpg", 1024, "d41d8cd9", sequencer="0055AED6DCD90281E5", at=AT
)


def test_a_notification_is_read_as_s3_sends_it() -> None:
    assert parse_events(notification(record())) == [EVENT]
    assert parse_events(notification(record()).encode()) == [EVENT]
    assert parse_events({"Records": [record()]}) == [EVENT]


def test_one_wrapped_by_sns_is_read_too() -> None:
    wrapped = {"Type": "Notification", "TopicArn": "arn", "Message": notification(record()), "Subject": "Amazon S3"}
    assert parse_events(json.dumps(wrapped)) == [EVENT]


def test_one_from_eventbridge_is_read_too_its_key_as_it_stands() -> None:
    event = {
        "version": "0",
        "source": "aws.s3",
        "detail-type": "Object Created",
        "time": "2026-03-04T05:06:07Z",
        "detail": {
            "bucket": {"name": "uploads"},
            "object": {"key": "a+b%20c", "size": 5, "etag": "e", "sequencer": "61"},
            "reason": "PutObject",
        },
    }
    assert parse_events(event) == [StorageEvent(EventKind.CREATED, "uploads", "a+b%20c", 5, "e", "61", AT)]
    removed = {**event, "detail-type": "Object Deleted"}
    assert [each.kind for each in parse_events(removed)] == [EventKind.REMOVED]
    assert parse_events({**event, "detail-type": "Object Tags Added"}) == []


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ObjectCreated:Put", EventKind.CREATED),
        ("s3:ObjectCreated:CompleteMultipartUpload", EventKind.CREATED),
        ("ObjectRemoved:Delete", EventKind.REMOVED),
        ("ObjectRemoved:DeleteMarkerCreated", EventKind.REMOVED),
        ("LifecycleExpiration:Delete", EventKind.REMOVED),
    ],
)
def test_events_are_told_apart_by_family(name: str, kind: EventKind) -> None:
    assert [event.kind for event in parse_events(notification(record(name)))] == [kind]


def test_keys_are_decoded_as_forms_are() -> None:
    [event] = parse_events(notification(record(key="red+flower%2B%C3%A9.jpg")))
    assert event.key == "red flower+é.jpg"


def test_records_keep_their_order_and_others_are_passed_over() -> None:
    several = notification(record("ObjectRemoved:Delete"), record("ObjectTagging:Put"), record())
    assert [event.kind for event in parse_events(several)] == [EventKind.REMOVED, EventKind.CREATED]


def test_s3_s_test_event_announces_nothing() -> None:
    assert parse_events('{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"uploads"}') == []


def test_events_without_size_etag_and_sequencer_are_read() -> None:
    bare = record("LifecycleExpiration:Delete")
    bare["s3"]["object"] = {"key": "x"}
    assert parse_events(notification(bare)) == [StorageEvent(EventKind.REMOVED, "uploads", "x", at=AT)]


@pytest.mark.parametrize(
    "body",
    [
        "",
        "no JSON",
        "[]",
        "null",
        "{}",
        '{"Records": {}}',
        '{"Records": [{}]}',
        '{"Records": [{"eventName": "ObjectCreated:Put", "eventTime": "yesterday", "s3": {}}]}',
        '{"Type": "Notification"}',
        '{"Type": "Notification", "Message": "hello"}',
        '{"source": "aws.s3", "detail-type": "Object Created"}',
        b"\xff\xfe",
    ],
)
def test_everything_else_is_unreadable(body: str | bytes) -> None:
    with pytest.raises(UnreadableEvent):
        parse_events(body)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["Records", "Type", "Message", "Event", "source", "s3", "eventName", "eventTime", "detail"]
                ),
                inner,
                max_size=4,
            )
        ),
    )
)
def test_no_json_is_too_strange(payload: Any) -> None:
    with suppress(UnreadableEvent):
        parse_events(json.dumps(payload))


sequencers = st.text("0123456789abcdefABCDEF", min_size=1, max_size=8)


@given(sequencers, sequencers)
def test_sequencers_are_compared_as_s3_says(one: str, other: str) -> None:
    """Pad the shorter with zeros on the right, then compare as text."""
    width = max(len(one), len(other))
    padded_one, padded_other = (each.upper().ljust(width, "0") for each in (one, other))
    canonical_one, canonical_other = canonical_sequencer(one) or "", canonical_sequencer(other) or ""
    assert (canonical_one < canonical_other) == (padded_one < padded_other)
    assert (canonical_one == canonical_other) == (padded_one == padded_other)


def test_an_event_follows_earlier_ones_only_and_always_where_no_order_is_known() -> None:
    assert EVENT.follows("0055AED6DCD90281E4")
    assert not EVENT.follows("0055AED6DCD90281E5")
    assert not EVENT.follows("0055AED6DCD90281E51")
    assert EVENT.follows(None)
    assert StorageEvent(EventKind.CREATED, "b", "k").follows("00FF")
    assert canonical_sequencer("not hexadecimal") is None
