from __future__ import annotations

from itertools import product
from uuid import uuid4

import pytest

from service.access import ANONYMOUS, MODERATOR_ROLE, SERVICE_ROLE, Action, Viewer, granted_filters, may
from service.errors import FailureCode
from service.lifecycle import MediaStatus
from service.models import Visibility
from service.stores.media import MediaStore
from tests.in_memory import in_memory_database

OWNER = Viewer("owner")
OTHER = Viewer("other")
MODERATOR = Viewer("moderator", frozenset({MODERATOR_ROLE}))
MODEL = Viewer("model", frozenset({SERVICE_ROLE}))
BOTH = Viewer("both", frozenset({MODERATOR_ROLE, SERVICE_ROLE}))
VIEWERS = {
    "owner": OWNER,
    "other": OTHER,
    "moderator": MODERATOR,
    "service": MODEL,
    "moderator and service": BOTH,
    "anonymous": ANONYMOUS,
}

FAILURES = (None, FailureCode.MODERATED, FailureCode.MALWARE_FOUND)
EVERY_MEDIA = [
    {
        "owner_id": "owner",
        "status": status.value,
        "visibility": visibility.value,
        "failure": None if failure is None else {"code": failure.value},
    }
    for status, visibility, failure in product(MediaStatus, Visibility, FAILURES)
]


def allowed(viewer: Viewer, action: Action) -> set[tuple[str, str]]:
    return {(media["status"], media["visibility"]) for media in EVERY_MEDIA if may(viewer, action, media)}


@pytest.mark.parametrize("viewer", [OTHER, ANONYMOUS])
def test_strangers_see_ready_public_media_and_nothing_else(viewer: Viewer) -> None:
    assert allowed(viewer, Action.READ) == {("READY", "PUBLIC")}
    for action in set(Action) - {Action.READ, Action.FOLLOW}:
        assert allowed(viewer, action) == set()


def test_services_annotate_what_lives_and_do_no_more_than_anybody_else() -> None:
    live = {(status, visibility) for status, visibility in allowed(OWNER, Action.ANNOTATE) if status != "DELETED"}
    assert allowed(MODEL, Action.ANNOTATE) == live == allowed(OWNER, Action.READ)
    for action in set(Action) - {Action.ANNOTATE}:
        assert allowed(MODEL, action) == allowed(OTHER, action)


def test_moderating_is_for_moderators_alone() -> None:
    assert allowed(MODERATOR, Action.MODERATE) == allowed(MODERATOR, Action.READ) != set()
    for viewer in (OWNER, OTHER, MODEL, ANONYMOUS):
        assert allowed(viewer, Action.MODERATE) == set()


def test_of_what_is_locked_away_moderators_look_at_what_one_of_them_has() -> None:
    locked = [media for media in EVERY_MEDIA if media["status"] == "QUARANTINED"]
    for viewer in VIEWERS.values():
        seen = [media["failure"] for media in locked if may(viewer, Action.READ_ORIGINAL, media)]
        assert seen == ([{"code": "MODERATED"}] * 2 if viewer.is_moderator else [])
    unread = {"owner_id": "owner", "status": "QUARANTINED", "visibility": "PUBLIC"}
    assert not may(MODERATOR, Action.READ_ORIGINAL, unread), "why it is locked away was not read"


@pytest.mark.parametrize("action", sorted(set(Action) - {Action.MODERATE}))
def test_owner_keeps_private_what_others_may_not(action: Action) -> None:
    assert not any(visibility == "PRIVATE" for _, visibility in allowed(OTHER, action))
    assert any(visibility == "PRIVATE" for _, visibility in allowed(OWNER, action))


def test_deleted_media_are_read_by_nobody() -> None:
    for viewer, action in product(VIEWERS.values(), (Action.READ, Action.READ_DETAILS, Action.READ_ORIGINAL)):
        assert not any(status == "DELETED" for status, _ in allowed(viewer, action))


def test_role_without_identity_is_no_role() -> None:
    nobody = Viewer(None, frozenset({MODERATOR_ROLE, SERVICE_ROLE}))
    for action in Action:
        assert allowed(nobody, action) == allowed(ANONYMOUS, action)


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("viewer", VIEWERS.values(), ids=VIEWERS.keys())
async def test_queries_let_through_exactly_what_the_table_allows(viewer: Viewer, action: Action) -> None:
    database = in_memory_database()
    documents = [{"_id": uuid4(), **media} for media in EVERY_MEDIA]
    await database.media.insert_many(documents)
    store = MediaStore(database)

    found = await store.get_many(
        [document["_id"] for document in documents], fields=(), access=granted_filters(viewer, action)
    )

    assert set(found) == {document["_id"] for document in documents if may(viewer, action, document)}
