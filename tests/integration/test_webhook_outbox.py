"""Events that wait in their documents: of another release, and of owners who are gone by the time they are gathered."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from service.stores.webhook_outbox import LOOK_AGAIN
from service.webhooks import gathering
from tests.webhook_stand import LONG_AGO, Post, ReceiverStand, initiated

# What a release after this one might have noted as the second event of a media, and what might be missing in it.
STRANGE: list[dict[str, Any]] = [
    {"kind": "labelled", "sequence": 2, "labels": 3},
    {"kind": "status", "sequence": 2, "status": "ARCHIVED"},
    {"kind": "status", "sequence": 2, "status": "READY"},
    {"sequence": 2},
]


async def test_what_this_release_cannot_read_waits_for_one_that_can_and_holds_up_no_others(
    post: Post, receiver: ReceiverStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "PAGE", 2)
    wanted = receiver.settings()
    await post.register(wanted)
    strange = [await initiated(post) for _ in STRANGE]
    for media_id, entry in zip(strange, STRANGE, strict=True):
        noted = {"$push": {"webhook_pending": {"at": await post.stores.media.server_time(), **entry}}}
        await post.database.media.update_one({"_id": media_id}, noted)
    other = await initiated(post)
    # The events of its deletion are not told before its own.
    await post.database.media.update_one({"_id": strange[0]}, {"$set": {"status": "DELETED", "webhook_sequence": 2}})
    entry = {
        "kind": "stage",
        "stage": "VERIFIED",
        "certificate": None,
        "sequence": 1,
        "at": LONG_AGO.replace(year=2090),
    }
    deletion = {"_id": strange[0], "owner_id": "anna", "purpose": "COMMUNITY", "webhook_pending": [entry]}
    await post.database.deletions.insert_one(deletion)
    with capture_logs() as lines:
        await post.deliver(wanted)
        assert {each.id for each in receiver.accepted} == {f"evt_{each.hex}_1" for each in [*strange, other]}
        assert await post.stores.webhooks.outbox.count_put_off() == len(STRANGE) + 1
        due_again = {"$set": {LOOK_AGAIN: LONG_AGO}}
        for collection in (post.database.media, post.database.deletions):
            await collection.update_many({LOOK_AGAIN: {"$exists": True}}, due_again)
        await post.gather()
    told = [line["documents"] for line in lines if "cannot be read" in line["event"]]
    assert sum(told) == len(STRANGE) + 1, "each is told of once, however often it is tried"
    assert post.metrics.registry.get_sample_value("media_webhooks_unreadable_total") >= 2 * len(told)
    # A release that can.
    await post.database.media.update_one(
        {"_id": strange[0]}, {"$set": {"webhook_pending.0.kind": "changed", **_known("webhook_pending.0")}}
    )
    for collection in (post.database.media, post.database.deletions):
        await collection.update_many({"_id": strange[0]}, due_again)
    await post.deliver(wanted)
    of_it = [(each.type, each.sequence) for each in receiver.accepted if strange[0].hex in each.id]
    assert of_it == [("media.initiated", 1), ("media.changed", 2), ("deletion.verified", 3)]
    media = await post.database.media.find_one({"_id": strange[0]})
    assert media is not None
    assert not {"webhook_pending", LOOK_AGAIN} & media.keys()
    assert await post.stores.webhooks.outbox.count_put_off() == len(STRANGE) - 1


def _known(path: str) -> dict[str, Any]:
    values = {"status": "DELETED", "status_sequence": 2, "visibility": "PUBLIC", "capture_id": None, "subject": None}
    return {f"{path}.{name}": value for name, value in values.items()}


async def test_what_an_erased_owner_has_left_in_an_outbox_goes_once_it_is_sent(
    post: Post, receiver: ReceiverStand
) -> None:
    wanted = receiver.settings()
    await post.register(wanted)
    leaver = f"leaver-{uuid4().hex}"
    await initiated(post, owner_id=leaver)
    await post.stores.erasures.begin(leaver, by="ops")
    await post.stores.webhooks.forget_owner(leaver)
    await post.deliver(wanted)
    [late] = await post.rows(receiver.name, owner_id=leaver)
    assert late["expires_at"] == late["ended_at"]
