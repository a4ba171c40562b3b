"""The audit after chaos finds what is wrong: each invariant against a world with one violation planted in it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from uuid6 import uuid7

from service.global_ids import encode_id
from tests.chaos.audit import INVARIANTS, Shown, audit
from tests.chaos.ledger import Failover, Life, Written
from tests.planted_round import DELETED, KEPT, RENDITIONS, Planted, entry, planted_round


@pytest.fixture
def planted() -> Planted:
    return planted_round()


def test_nothing_is_found_where_all_went_well(planted: Planted) -> None:
    assert audit(planted.evidence()) == {name: [] for name in INVARIANTS}


def _loses_media(planted: Planted) -> None:
    lost_id = uuid7()
    planted.ledger.lives.append(Life("anna", "lost", {encode_id("Media", lost_id)}))
    planted.pending.append({**entry(planted.kept, "upload.created", 2), "subject": lost_id})


def _loses_title(planted: Planted) -> None:
    planted.shown[encode_id("Media", KEPT)] = Shown("old", {"1": "a cat"})


def _loses_position(planted: Planted) -> None:
    planted.kept.positions = Written(["0", "7"], ["0", "7"])


def _loses_annotation(planted: Planted) -> None:
    planted.shown[encode_id("Media", KEPT)] = Shown("new", {})


def _brings_annotation_back(planted: Planted) -> None:
    planted.shown[encode_id("Media", KEPT)] = Shown("new", {"1": "a cat", "2": "a dog"})


def _forgets_deletion(planted: Planted) -> None:
    planted.deletions.clear()


def _shows_what_was_deleted(planted: Planted) -> None:
    planted.deleted.shown_after_deletion = 1


def _fails_what_was_completed(planted: Planted) -> None:
    planted.media[KEPT] |= {"status": "FAILED"}
    for each in planted.media[KEPT]["renditions"]:
        del planted.objects[RENDITIONS, each["key"]]
    planted.quotas[0]["stored"] = 0
    planted.ledger.delivered.append((str(planted.kept.media_id), 3, "media.failed"))


def _makes_media_twice(planted: Planted) -> None:
    twin = uuid7()
    gone = {"_id": twin, "owner_id": "anna", "status": "EXPIRED", "status_history": [], "content": {}}
    planted.media[twin] = {**gone, "capture_id": "kept"}


def _annotates_twice(planted: Planted) -> None:
    planted.shown[encode_id("Media", KEPT)] = Shown("new", {"1": "a cat", "3": "a cat"})


def _processes_twice(planted: Planted) -> None:
    planted.jobs.append({"_id": f"{KEPT}:process/again:1", "media_id": KEPT, "kind": "process", "state": "done"})


def _annotates_unasked(planted: Planted) -> None:
    planted.shown[encode_id("Media", KEPT)] = Shown("new", {"1": "a cat", "3": "a horse"})


def _makes_media_unasked(planted: Planted) -> None:
    unasked = uuid7()
    gone = {"_id": unasked, "owner_id": "anna", "status": "EXPIRED", "status_history": [], "content": {}}
    planted.media[unasked] = {**gone, "capture_id": "another"}


def _calls_unasked(planted: Planted) -> None:
    planted.kept.titles = Written()


def _leaves_object(planted: Planted) -> None:
    planted.objects[RENDITIONS, f"community/processed/feed/{DELETED}/1.jpg"] = 1


def _leaves_job(planted: Planted) -> None:
    planted.jobs.append({"_id": f"{KEPT}:render:1", "media_id": KEPT, "kind": "render", "state": "open"})


def _leaves_outbox(planted: Planted) -> None:
    planted.more["unfinished"] = ["1 of media hold entries that are in no audit chain"]


def _leaves_reservation(planted: Planted) -> None:
    planted.quotas[0]["reserved"] = 3_000


def _counts_too_much(planted: Planted) -> None:
    planted.quotas[0]["stored"] += 1


def _counts_nothing(planted: Planted) -> None:
    planted.quotas.clear()


def _alters_bytes(planted: Planted) -> None:
    planted.more["unreadable"] = ["a rendition of a READY media holds other bytes than its document says"]


def _withholds_terminal_event(planted: Planted) -> None:
    planted.kept.heard.pop()


def _tells_out_of_order(planted: Planted) -> None:
    planted.kept.heard.insert(0, ("PROCESSING", 3))


def _tells_of_failure(planted: Planted) -> None:
    planted.kept.heard[-1] = ("FAILED", 4)


def _withholds_webhook_event(planted: Planted) -> None:
    planted.ledger.delivered.pop()


def _skips_webhook_event(planted: Planted) -> None:
    planted.ledger.delivered[-1] = (str(planted.deleted.media_id), 4, "deletion.verified")


def _sends_webhook_events_out_of_order(planted: Planted) -> None:
    planted.ledger.delivered.reverse()


def _verifies_without_certificate(planted: Planted) -> None:
    del planted.deletions[DELETED]["certificate"]


def _verifies_by_another_hash(planted: Planted) -> None:
    planted.deletions[DELETED]["certificate"] = "0" * 64


def _alters_entry(planted: Planted) -> None:
    [(bucket, rows)] = planted.evidence().chains.items()
    (first, stored), *others = rows
    planted.more["chains"] = {bucket: [({**first, "at": "2001-01-01T00:00:00.000Z"}, stored), *others]}


def _drops_entry(planted: Planted) -> None:
    planted.pending.insert(0, {**planted.pending[0], "id": "another", "action": "of nobody"})
    planted.certify()
    [(bucket, rows)] = planted.evidence().chains.items()
    planted.more["chains"] = {bucket: rows[1:]}


def _records_too_little(planted: Planted) -> None:
    planted.pending.pop(0)
    planted.certify()


def _records_twice(planted: Planted) -> None:
    planted.pending.append({**planted.pending[-1], "id": "once more"})


def _refuses(planted: Planted) -> None:
    planted.ledger.refused.append("updateMedia was refused: NOT_FOUND")


def _dies(planted: Planted) -> None:
    planted.more["deaths"] = ["worker-1 ended by itself"]


def _comes_back_late(planted: Planted) -> None:
    planted.ledger.failovers.append(Failover("kill primary", 10.0, 5.1))


def _never_comes_back(planted: Planted) -> None:
    planted.ledger.failovers.append(Failover("kill primary", 10.0))


@pytest.mark.parametrize(
    ("plant", "invariant"),
    [
        (_loses_media, "acknowledged writes lost"),
        (_loses_title, "acknowledged writes lost"),
        (_loses_position, "acknowledged writes lost"),
        (_loses_annotation, "acknowledged writes lost"),
        (_brings_annotation_back, "acknowledged writes lost"),
        (_forgets_deletion, "acknowledged writes lost"),
        (_shows_what_was_deleted, "acknowledged writes lost"),
        (_fails_what_was_completed, "acknowledged writes lost"),
        (_makes_media_twice, "doubled"),
        (_annotates_twice, "doubled"),
        (_processes_twice, "doubled"),
        (_annotates_unasked, "invented"),
        (_makes_media_unasked, "invented"),
        (_calls_unasked, "invented"),
        (_leaves_object, "orphans"),
        (_leaves_job, "stuck"),
        (_leaves_outbox, "stuck"),
        (_leaves_reservation, "stuck"),
        (_counts_too_much, "stuck"),
        (_counts_nothing, "stuck"),
        (_alters_bytes, "broken media"),
        (_withholds_terminal_event, "terminal events missed"),
        (_tells_out_of_order, "terminal events missed"),
        (_tells_of_failure, "terminal events missed"),
        (_withholds_webhook_event, "webhook events missed"),
        (_skips_webhook_event, "webhook events missed"),
        (_sends_webhook_events_out_of_order, "webhook events missed"),
        (_verifies_without_certificate, "deletions without certificate"),
        (_verifies_by_another_hash, "deletions without certificate"),
        (_alters_entry, "audit chains broken"),
        (_drops_entry, "audit chains broken"),
        (_records_too_little, "mutations not on record"),
        (_records_twice, "mutations not on record"),
        (_refuses, "unexpected answers"),
        (_dies, "unexpected answers"),
        (_comes_back_late, "slow failovers"),
        (_never_comes_back, "slow failovers"),
    ],
)
def test_a_planted_violation_is_found_and_nothing_else(
    planted: Planted, plant: Callable[[Planted], None], invariant: str
) -> None:
    plant(planted)
    found = {name: problems for name, problems in audit(planted.evidence()).items() if problems}
    assert found.keys() == {invariant}, found


def test_a_key_that_is_answered_with_two_media_is_found(planted: Planted) -> None:
    planted.kept.media_ids.add(encode_id("Media", DELETED))
    assert "kept: one key was answered with 2 media" in audit(planted.evidence())["doubled"]


def test_a_write_without_an_answer_may_have_happened_or_not() -> None:
    written = Written(tried=["a", "b", "c"], acknowledged=["a"])
    assert written.possible == {"a", "b", "c"}
    written.acknowledged.append("b")
    assert written.possible == {"b", "c"}
