"""When an object is needed, by the state of its media alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

import pytest

from service.models import MediaPurpose
from service.object_keys import kept_rendition_key, media_of_original
from service.policies import POLICIES
from service.reconciliation.context import Context
from service.reconciliation.objects import original_reason, rendition_reason

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
CUTOFF = NOW - timedelta(hours=24)
OWN = "community/raw/019c0000-0000-7000-8000-000000000001.jpg"
OTHER = "community/raw/019c0000-0000-7000-8000-000000000002.jpg"
RENDITION = "community/processed/feed/019c0000-0000-7000-8000-000000000001/g1.jpg"
SETTLED = CUTOFF - timedelta(hours=1)
IN_WINDOW = CUTOFF - timedelta(minutes=59)
# The longest that an address of a COMMUNITY rendition lives: a thumbnail's window and what follows it.
URL_LIFE = timedelta(hours=30)
OUTLIVED = NOW - URL_LIFE - timedelta(minutes=1)


def context() -> Context:
    nothing = cast("Any", None)
    return Context(nothing, nothing, nothing, NOW, CUTOFF, apply=True)


def media(status: str, *, original: str | None = OWN, updated_at: datetime = SETTLED, **more: Any) -> Any:
    # What is left of a deleted media names no original.
    kept = {} if original is None else {"original": {"key": original}}
    return {"status": status, "purpose": "COMMUNITY", "updated_at": updated_at, **kept, **more}


def test_the_life_of_an_address_is_the_policys() -> None:
    assert POLICIES[MediaPurpose.COMMUNITY].longest_url_life == URL_LIFE
    assert POLICIES[MediaPurpose.MEDICAL].longest_url_life == timedelta(minutes=10)


@pytest.mark.parametrize(
    "state",
    [
        media("READY"),
        media("FAILED"),
        media("QUARANTINED"),
        # Bytes are on their way, or a worker is about to remove the copy that it was told of.
        *(media(status, original=OTHER) for status in ("INITIATED", "UPLOADING", "UPLOADED", "PROCESSING")),
        # It may yet be sent again, and is then taken from here.
        media("DELETED", original=None, updated_at=IN_WINDOW),
        media("DELETED", original=None, updated_at=NOW),
        media("EXPIRED", updated_at=NOW),
        # Linked a moment ago: whoever did it removes the copy.
        media("READY", original=OTHER, updated_at=NOW),
    ],
)
def test_an_original_is_needed(state: Any) -> None:
    assert media_of_original(OWN)
    assert original_reason(OWN, state, (), context()) is None


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (None, "no media has this id"),
        (media("DELETED", original=None, updated_at=SETTLED - timedelta(minutes=1)), "its media is DELETED"),
        (media("EXPIRED"), "its media is EXPIRED"),
        (media("READY", original=OTHER), "its media has another original"),
    ],
)
def test_an_original_is_not_needed_unless_it_is_shared(state: Any, why: str) -> None:
    assert original_reason(OWN, state, (), context()) == why
    assert original_reason(OWN, state, {OWN}, context()) is None


@pytest.mark.parametrize(
    "state",
    [
        media("READY", renditions=[{"key": RENDITION}]),
        media("UPLOADED"),
        media("PROCESSING"),
        *(media(status, updated_at=NOW) for status in ("READY", "DELETED", "EXPIRED", "FAILED")),
        # Replaced by others more than a day ago, and yet there may be addresses that open it.
        media("READY", renditions=[{"key": "other"}]),
        media(
            "READY",
            renditions=[],
            updated_at=OUTLIVED,
            processing={"replaced_at": NOW - URL_LIFE + timedelta(minutes=1)},
        ),
    ],
)
def test_a_rendition_is_needed(state: Any) -> None:
    assert rendition_reason(RENDITION, state, context()) is None


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (None, "no media has this id"),
        (media("READY", renditions=[{"key": "other"}], updated_at=OUTLIVED), "its media does not list it"),
        (media("READY", updated_at=OUTLIVED, processing={"replaced_at": OUTLIVED}), "its media does not list it"),
        # An address of these lives for minutes.
        (media("READY", purpose="MEDICAL"), "its media does not list it"),
        (media("FAILED", updated_at=OUTLIVED), "its media does not list it"),
        # Gone with the request, unlike the original.
        (media("DELETED", original=None, updated_at=IN_WINDOW), "its media is DELETED"),
    ],
)
def test_a_rendition_is_not_needed(state: Any, why: str) -> None:
    assert rendition_reason(RENDITION, state, context()) == why


def test_what_is_kept_out_of_reach_is_needed_while_its_media_lists_it() -> None:
    kept = kept_rendition_key(RENDITION, "secret")
    retired = [{"key": kept}]
    assert rendition_reason(kept, media("READY", updated_at=OUTLIVED, retired_renditions=retired), context()) is None
    assert rendition_reason(kept, media("READY", updated_at=OUTLIVED), context()) == "its media does not list it"


def test_an_id_tells_when_it_was_given() -> None:

    def given(moment: datetime) -> UUID:
        return UUID(int=int(moment.timestamp() * 1000) << 80)

    assert context().is_older(given(SETTLED))
    assert not context().is_older(given(NOW))
