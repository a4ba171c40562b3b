"""What must hold after a round: what clients were told against what is there. Pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from service.audit import AuditAction, ChainVerifier, bucket_of
from service.global_ids import decode_id
from tests.audit_storage import Snapshot, examine
from tests.chaos.ledger import TERMINAL, Ledger, Life

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Shown:
    """A media as the API shows it to its owner: its title, and the texts of its annotations by their ids."""

    title: str | None
    annotations: Mapping[str, str]


@dataclass(frozen=True)
class Evidence:
    """A round after its quiet time. `shown`: by the API's id. `chains`: entries with their hashes, by bucket.

    `unfinished`, `unreadable`, `deaths`: sentences on what waits, on bytes that are not what they should be, and on
    processes that ended by themselves. `verified`: what `audit verify` found.
    """

    ledger: Ledger
    stored: Snapshot
    shown: Mapping[str, Shown]
    deletions: Mapping[UUID, Document]
    chains: Mapping[int, Sequence[tuple[Document, str]]]
    unfinished: Sequence[str] = ()
    unreadable: Sequence[str] = ()
    deaths: Sequence[str] = ()
    verified: Sequence[str] = ()
    quotas: Sequence[Document] = ()


def lost(evidence: Evidence) -> Iterator[str]:
    """Acknowledged writes that are not there."""
    for life in evidence.ledger.lives:
        for media_id in life.media_ids:
            media = evidence.stored.media.get(_uuid(media_id))
            if media is None:
                yield f"{life.capture_id}: {media_id} was created, and is not there"
                continue
            yield from _lost_of(life, media, evidence)


def _lost_of(life: Life, media: Document, evidence: Evidence) -> Iterator[str]:
    name, status = life.capture_id, media["status"]
    if life.is_deleted:
        if status != "DELETED" or media["_id"] not in evidence.deletions:
            yield f"{name} was deleted, and is {status}"
        if life.shown_after_deletion:
            yield f"{name} was shown {life.shown_after_deletion} times after its deletion was acknowledged"
    if life.deletion_tried:
        return
    if status != "READY" and life.is_sent:
        yield f"{name} was sent{' and completed' * life.is_completed}, and is {status}"
    if life.positions.acknowledged and str(media.get("position")) not in life.positions.possible:
        yield f"{name} was put at {life.positions.acknowledged[-1]}, and is at {media.get('position')}"
    shown = evidence.shown.get(str(life.media_id))
    if shown is None:
        yield f"{name} is not shown to its owner"
    else:
        yield from _lost_from(life, shown)


def _lost_from(life: Life, shown: Shown) -> Iterator[str]:
    name = life.capture_id
    if life.titles.acknowledged and shown.title not in life.titles.possible:
        yield f"{name} was called {life.titles.acknowledged[-1]!r}, and is called {shown.title!r}"
    for text, annotation_id in life.annotations.items():
        if annotation_id not in life.removals and shown.annotations.get(annotation_id) != text:
            yield f"{name} lacks the annotation {text!r}"
    for annotation_id, is_removed in life.removals.items():
        if is_removed and annotation_id in shown.annotations:
            yield f"{name} has an annotation again that was removed"


def doubled(evidence: Evidence) -> Iterator[str]:
    """What was asked for once, or repeated under one key, and is there twice."""
    captures = Counter(
        (each["owner_id"], each["capture_id"]) for each in evidence.stored.media.values() if each.get("capture_id")
    )
    for life in evidence.ledger.lives:
        if len(life.media_ids) > 1:
            yield f"{life.capture_id}: one key was answered with {len(life.media_ids)} media"
        if (count := captures[life.owner, life.capture_id]) > 1:
            yield f"{life.capture_id} is there as {count} media"
        shown = evidence.shown.get(str(life.media_id))
        texts = Counter(() if shown is None else shown.annotations.values())
        yield from (f"{life.capture_id} has {text!r} {count} times" for text, count in texts.items() if count > 1)
    yield from examine(evidence.stored).duplicates


def orphans(evidence: Evidence) -> Iterator[str]:
    """Objects, parts, sessions and references that nothing needs."""
    yield from examine(evidence.stored).orphans


def stuck(evidence: Evidence) -> Iterator[str]:
    """What waits for nothing: media, jobs, deletions, invalidations, outboxes, events; and sums that are wrong."""
    sums = miscounted(evidence.stored.media, evidence.quotas)
    yield from sorted({*evidence.unfinished, *examine(evidence.stored).stuck, *sums})


# Statuses in which a media's bytes count as stored.
_STORED = {"UPLOADED", "PROCESSING", "READY", "QUARANTINED"}


def miscounted(media: Mapping[UUID, Document], quotas: Collection[Document]) -> Iterator[str]:
    """Sums of owners who send nothing any more that are not what their media come to."""
    stored = Counter[str]()
    for each in media.values():
        stored[each["owner_id"]] += each["content"].get("bytes", 0) if each["status"] in _STORED else 0
    counted = {quota["_id"]: quota for quota in quotas}
    for owner in sorted(stored.keys() | counted.keys()):
        quota = counted.get(owner, {})
        if quota.get("reserved"):
            yield f"{quota['reserved']} are reserved for {owner}, who sends nothing"
        if quota.get("stored", 0) != stored[owner]:
            yield f"{owner} has {stored[owner]} bytes stored, and {quota.get('stored', 0)} are counted"


def broken(evidence: Evidence) -> Iterator[str]:
    """READY media whose objects are not there or hold other bytes."""
    yield from examine(evidence.stored).broken
    yield from evidence.unreadable


def invented(evidence: Evidence) -> Iterator[str]:
    """What is there, and nobody asked for."""
    asked = {(life.owner, life.capture_id) for life in evidence.ledger.lives}
    for media_id, media in evidence.stored.media.items():
        if media.get("capture_id") and (media["owner_id"], media["capture_id"]) not in asked:
            yield f"media {media_id} is there, and nobody made it"
    for life in evidence.ledger.lives:
        shown = evidence.shown.get(str(life.media_id))
        texts = set() if shown is None else set(shown.annotations.values())
        yield from (f"{life.capture_id} has {text!r}, which nobody wrote" for text in texts - life.annotations_tried)
        if shown is not None and shown.title is not None and shown.title not in life.titles.tried:
            yield f"{life.capture_id} is called {shown.title!r}, as nobody called it"


def missed(evidence: Evidence) -> Iterator[str]:
    """Terminal events that a subscriber never heard of, who stayed or came back; and what was heard wrongly."""
    for life in evidence.ledger.lives:
        media = evidence.stored.media.get(_uuid(life.media_id)) if life.media_id else None
        if not life.follows or media is None:
            continue
        if not life.has_ended and media["status"] in TERMINAL:
            yield f"{life.capture_id} is {media['status']}, and its follower heard {life.heard}"
        sequences = [sequence for _, sequence in life.heard]
        happened = {(change["status"], change["sequence"]) for change in media["status_history"]}
        if sequences != sorted(set(sequences)) or not happened.issuperset(life.heard):
            yield f"{life.capture_id}'s follower heard {life.heard}"


# The last events of a media, by the status that it has in the end.
_LAST_EVENTS: Mapping[str, frozenset[str]] = {
    "READY": frozenset({"media.ready"}),
    "FAILED": frozenset({"media.failed"}),
    "QUARANTINED": frozenset({"media.quarantined"}),
    "EXPIRED": frozenset({"media.expired"}),
    "DELETED": frozenset({"media.deleted", "deletion.verified"}),
}


def untold(evidence: Evidence) -> Iterator[str]:
    """Webhook events that never came, or not in the order of their media."""
    told: dict[str, list[tuple[int, str]]] = {}
    for media_id, sequence, kind in evidence.ledger.delivered:
        told.setdefault(media_id, []).append((sequence, kind))
    for life in evidence.ledger.lives:
        media = evidence.stored.media.get(_uuid(life.media_id)) if life.media_id else None
        if media is None:
            continue
        events = told.get(str(life.media_id), [])
        sequences = [sequence for sequence, _ in events]
        expected = {"media.initiated"} | _LAST_EVENTS.get(media["status"], set())
        if absent := expected - {kind for _, kind in events}:
            yield f"{life.capture_id} is {media['status']}, and the receiver was not told {sorted(absent)}"
        # None is left out: this receiver asked for all.
        elif sequences != list(range(1, len(events) + 1)):
            yield f"of {life.capture_id} the receiver was told {events}"


def chain(evidence: Evidence) -> Iterator[str]:
    """What is wrong with the audit chains themselves."""
    for bucket, entries in evidence.chains.items():
        verifier = ChainVerifier(bucket)
        yield from (str(finding) for entry, stored in entries for finding in verifier.take(entry, stored))
    yield from evidence.verified


# How often each action is on record of a media at least, and at most, by what its client knows.
RECORDED: Mapping[str, Callable[[Life], tuple[int, int]]] = {
    "upload.created": lambda life: (bool(life.media_ids), 1),
    "upload.completed": lambda life: (life.is_sent and not life.deletion_tried, 1),
    "media.changed": lambda life: (life.changes, life.changes_tried),
    "annotations.written": lambda life: (bool(life.annotations), bool(life.annotations_tried)),
    "annotations.deleted": lambda life: (sum(life.removals.values()), len(life.removals)),
    "deletion.requested": lambda life: (life.is_deleted, life.deletion_tried),
    "deletion.objects_removed": lambda life: (life.is_deleted, life.deletion_tried),
    "deletion.verified": lambda life: (life.is_deleted, life.deletion_tried),
}


def unrecorded(evidence: Evidence) -> Iterator[str]:
    """Acknowledged mutations that are not on record, and those that are there more often than they were asked for."""
    known = {each.value for each in AuditAction}
    recorded = Counter(
        (entry["action"], entry["subject"]) for entries in evidence.chains.values() for entry, _ in entries
    )
    for life in evidence.ledger.lives:
        if life.media_id is None:
            continue
        for action, bounds in RECORDED.items():
            least, most = bounds(life)
            count = recorded[action, str(_uuid(life.media_id))]
            if action in known and not least <= count <= most:
                bucket = bucket_of(life.owner)
                yield f"{life.capture_id}: {action} is {count} times in chain {bucket}, not {least} to {most} times"


def uncertified(evidence: Evidence) -> Iterator[str]:
    """Deletions that are VERIFIED without the entry on record that is their certificate."""
    entries = {entry["id"]: stored for rows in evidence.chains.values() for entry, stored in rows}
    for media_id, deletion in evidence.deletions.items():
        entry_hash = entries.get(f"deletion-verified:{media_id}")
        if deletion["stage"] == "VERIFIED" and (entry_hash is None or deletion.get("certificate") != entry_hash):
            yield f"the deletion of {media_id} is VERIFIED without a certificate"


def refused(evidence: Evidence) -> Iterator[str]:
    """Answers that were neither successes nor outages, and processes that ended by themselves."""
    yield from evidence.ledger.refused
    yield from evidence.deaths


SLOWEST_FAILOVER_S = 5.0


def slow(evidence: Evidence) -> Iterator[str]:
    """Kills of a primary after which no write was acknowledged in time."""
    for failover in evidence.ledger.failovers:
        after = failover.back_after_s
        if failover.fault.startswith("kill") and (after is None or after > SLOWEST_FAILOVER_S):
            yield f"writes were {'never' if after is None else f'{after:.1f} s later'} back after {failover.fault}"


INVARIANTS: Mapping[str, Callable[[Evidence], Iterator[str]]] = {
    "acknowledged writes lost": lost,
    "doubled": doubled,
    "invented": invented,
    "orphans": orphans,
    "stuck": stuck,
    "broken media": broken,
    "terminal events missed": missed,
    "webhook events missed": untold,
    "audit chains broken": chain,
    "mutations not on record": unrecorded,
    "deletions without certificate": uncertified,
    "unexpected answers": refused,
    "slow failovers": slow,
}


def audit(evidence: Evidence) -> dict[str, list[str]]:
    """What is wrong, by invariant; every invariant is there."""
    return {name: list(check(evidence)) for name, check in INVARIANTS.items()}


def _uuid(global_id: str) -> UUID:
    decoded = decode_id(global_id)
    assert decoded is not None
    return decoded[1]
