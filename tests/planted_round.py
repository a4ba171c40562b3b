"""A round of chaos in which all went well, made up from documents, for violations to be planted in."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from uuid6 import uuid7

from service.audit import AuditAction, Head, PendingEntry, bucket_of, linked
from service.global_ids import encode_id
from tests.audit_storage import Snapshot
from tests.chaos.audit import RECORDED, Evidence, Shown
from tests.chaos.ledger import Failover, Ledger, Life, Written
from tests.documents import MOMENT, ready_media

UPLOADS, RENDITIONS = "media-uploads", "media-renditions"


@dataclass
class Planted:
    """A round in which all went well, open to changes: one photo that stays, one that was deleted."""

    kept: Life
    deleted: Life
    ledger: Ledger
    media: dict[UUID, Any]
    uploads: dict[UUID, Any]
    contents: dict[str, Any]
    jobs: list[Any]
    objects: dict[tuple[str, str], int]
    shown: dict[str, Shown]
    deletions: dict[UUID, Any]
    pending: list[PendingEntry]
    quotas: list[Any]
    more: dict[str, Any] = field(default_factory=dict)

    def evidence(self) -> Evidence:
        stored = Snapshot(
            self.media, self.uploads, self.contents, tuple(self.jobs), (), UPLOADS, RENDITIONS, self.objects, ()
        )
        evidence = Evidence(self.ledger, stored, self.shown, self.deletions, self.chains(), quotas=self.quotas)
        return replace(evidence, **self.more)

    def chains(self) -> dict[int, Any]:
        bucket = bucket_of("anna")
        return {bucket: linked(self.pending, Head(bucket))}

    def certify(self) -> None:
        """The deletion's certificate is that of the chain as it is now."""
        [rows] = self.chains().values()
        [certificate] = [stored for each, stored in rows if each["action"] == "deletion.verified"]
        self.deletions[DELETED]["certificate"] = certificate


def life_of(media_id: UUID, name: str, **changed: Any) -> Life:
    life = Life("anna", name, {encode_id("Media", media_id)}, is_sent=True, is_completed=True, follows=True)
    life.heard = [("UPLOADED", 2), ("PROCESSING", 3), ("READY", 4)]
    return replace(life, **changed)


def entry(life: Life, action: str, number: int) -> PendingEntry:
    entry_id = f"{life.capture_id}:{action}:{number}"
    if action == "deletion.verified":
        entry_id = f"deletion-verified:{media_id_of(life)}"
    return PendingEntry(
        id=entry_id, action=action, actor="anna", owner="anna", subject=media_id_of(life), at=MOMENT, details={}
    )


def media_id_of(life: Life) -> UUID:
    return next(each for each in (KEPT, DELETED) if encode_id("Media", each) in life.media_ids)


KEPT, DELETED = uuid7(), uuid7()


def planted_round() -> Planted:
    """As if both had been played: everything agrees with everything."""
    kept = life_of(KEPT, "kept", changes=2, changes_tried=2, annotations={"a cat": "1", "a dog": "2"})
    kept.titles = Written(["old", "new"], ["old", "new"])
    kept.positions = Written(["0"], ["0"])
    kept.annotations_tried, kept.removals = {"a cat", "a dog"}, {"2": True}
    deleted = life_of(DELETED, "deleted", deletion_tried=True, deleted_at=1.0)
    document: Any = ready_media(_id=KEPT, capture_id="kept", processing={"complete": True, "generation": 1})
    history = [*document["status_history"], {"status": "DELETED", "sequence": 5, "at": MOMENT}]
    gone = {"_id": DELETED, "owner_id": "anna", "status": "DELETED", "status_history": history, "content": {}}
    original = document["original"]
    content = {"key": original["key"], "bucket": original["bucket"], "sha256": "a" * 64, "refs": [KEPT]}
    known = {each.value for each in AuditAction}
    pending = [
        entry(life, action, number)
        for life in (kept, deleted)
        for action, bounds in RECORDED.items()
        if action in known
        for number in range(bounds(life)[0])
    ]
    planted = Planted(
        kept,
        deleted,
        Ledger(
            lives=[kept, deleted],
            failovers=[Failover("kill primary", 0.0, 2.5)],
            delivered=[
                *_told(kept, "media.initiated", "media.ready"),
                *_told(deleted, "media.initiated", "media.deleted", "deletion.verified"),
            ],
        ),
        media={KEPT: document, DELETED: {**gone, "purpose": "COMMUNITY", "capture_id": None}},
        uploads={KEPT: {}, DELETED: {}},
        contents={"kept": content},
        jobs=[{"_id": f"{KEPT}:process:1", "media_id": KEPT, "kind": "process", "state": "done"}],
        objects={
            (original["bucket"], original["key"]): 1,
            **{(RENDITIONS, each["key"]): 1 for each in document["renditions"]},
        },
        shown={encode_id("Media", KEPT): Shown("new", {"1": "a cat"})},
        deletions={DELETED: {"stage": "VERIFIED"}},
        pending=pending,
        quotas=[{"_id": "anna", "reserved": 0, "stored": document["content"]["bytes"]}],
    )
    planted.certify()
    return planted


def _told(life: Life, *kinds: str) -> list[tuple[str, int, str]]:
    return [(str(life.media_id), sequence, kind) for sequence, kind in enumerate(kinds, start=1)]
