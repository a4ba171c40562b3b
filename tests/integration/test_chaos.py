"""A short round of `make chaos`: a worker and the primary are killed, storage answers 503; then nothing is amiss.

And that something would be found: what is planted in real documents, each kind once.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from anyio import to_thread
from pymongo.database import Database
from uuid6 import uuid7

from service.audit import Head, PendingEntry, bucket_of, linked
from service.global_ids import encode_id
from service.object_store import ObjectStore
from service.settings import Settings
from service.stores.database import Database as Opened
from tests.chaos.audit import INVARIANTS, audit
from tests.chaos.evidence import stored_evidence
from tests.chaos.ledger import Ledger, Life, Written
from tests.chaos.settling import let_days_pass_for_jobs, open_database, unfinished
from tests.documents import MOMENT, ready_media

REPOSITORY = Path(__file__).parents[2]
PLAN = REPOSITORY / "tests" / "chaos" / "short.json"


@pytest.mark.timeout(700)
def test_nothing_is_lost_doubled_orphaned_stuck_or_missed_when_processes_die_and_storage_refuses() -> None:
    # Seconds say something only where the processor is free; `make chaos` always insists on them. The round itself
    # keeps it busy: afterwards would be too late to look.
    is_busy = os.getloadavg()[0] > 2 * (os.cpu_count() or 1)
    # A process of its own: it stops and kills others, and its loop must not wait for anybody else's tests.
    played = subprocess.run(
        [sys.executable, "-m", "tests.chaos", "--short", "--seed", "7", "--plan", PLAN],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=690,
        check=False,
    )
    promised = [name for name in INVARIANTS if not (is_busy and name == "slow failovers")]
    assert all(f"| {name} | 0 |" in played.stdout for name in promised), played.stdout + played.stderr
    # All that was planned was done, and there was something to lose.
    assert "| kill primary | 1 |" in played.stdout
    acknowledged = dict(line.strip("| ").split(" | ") for line in played.stdout.splitlines() if line.count(" | ") == 1)
    assert int(acknowledged["completeUpload"]) >= 5
    assert int(acknowledged["updateMedia"]) >= 30


@pytest.fixture
def database(connected: tuple[Opened, ObjectStore], settings: Settings) -> Iterator[Database[Any]]:
    opened = open_database(settings)
    yield opened
    for name in opened.list_collection_names():
        opened[name].delete_many({})
    opened.client.close()


def job(media_id: UUID, kind: str, **changed: Any) -> dict[str, Any]:
    due = {"state": "open", "attempt": 0, "visible_at": datetime.now(UTC)}
    return {"_id": f"{media_id}:{kind}:1", "media_id": media_id, "kind": kind, **due, **changed}


async def test_a_job_that_waits_for_longer_than_any_window_stays_where_it_is(database: Database[Any]) -> None:
    def waits(media_id: UUID) -> timedelta:
        found = database["jobs"].find_one({"media_id": media_id})
        assert found is not None
        due: datetime = found["visible_at"]
        return due - datetime.now(UTC)

    session, year, hidden = uuid7(), uuid7(), uuid7()
    hour, long = datetime.now(UTC) + timedelta(hours=1), datetime.now(UTC) + timedelta(days=365)
    jobs = (job(session, "delete", visible_at=hour), job(year, "verify", visible_at=long))
    database["jobs"].insert_many([*jobs, job(hidden, "process", visible_at=hour)])
    moved = set[str]()
    for _ in range(20):
        let_days_pass_for_jobs(database, moved)
    assert waits(session) < timedelta(0)
    assert waits(year) > timedelta(days=300), "days pass once"
    assert waits(hidden) > timedelta(minutes=50), "nothing of this kind is to wait"
    assert {f"job {each}" for each in (f"{year}:verify:1", f"{hidden}:process:1")} <= {
        " ".join(each.split()[:2]) for each in unfinished(database)
    }


async def test_what_is_wrong_in_real_documents_is_found(database: Database[Any], settings: Settings) -> None:
    kept, gone, stuck = uuid7(), uuid7(), uuid7()
    photo: Any = ready_media(_id=kept, processing={"complete": False, "generation": 1})
    photo["webhook_pending"] = [{"sequence": 1}]
    photo["audit_pending"] = [{"id": "x"}]
    waiting = {**ready_media(_id=stuck, capture_id="stuck"), "status": "PROCESSING"}
    deleted = {**ready_media(_id=gone, capture_id="gone"), "status": "DELETED"}
    database["media"].insert_many([photo, waiting, deleted])
    database["jobs"].insert_one(job(stuck, "process", state="dead", attempt=3, last_error="no memory"))
    database["deletions"].insert_many(
        [{"_id": gone, "stage": "VERIFIED", "certificate": "0" * 64}, {"_id": stuck, "stage": "OBJECTS_REMOVED"}]
    )
    database["invalidations"].insert_one({"_id": stuck, "state": "gathered"})
    database["annotation_rounds"].insert_one({"_id": stuck})
    database["webhook_deliveries"].insert_one({"_id": "local:1", "state": "dead", "last_error": "410"})
    database["quotas"].insert_one({"_id": "anna", "stored": 1, "reserved": 5})
    pending = PendingEntry(id="1", action="of nobody", actor="anna", owner="anna", subject=kept, at=MOMENT, details={})
    [(entry, _)] = linked([pending], Head(bucket_of("anna")))
    database["audit"].insert_one({"_id": f"{bucket_of('anna'):03d}:1", **entry, "hash": "0" * 64})
    lives = [Life("anna", "walk", {encode_id("Media", kept)}, positions=Written(["7"], ["7"]), follows=True)]
    lives[0].heard = [("FAILED", 4)]

    evidence = await to_thread.run_sync(stored_evidence, settings, Ledger(lives=lives), database)
    found = {name: "\n".join(sentences) for name, sentences in audit(evidence).items() if sentences}
    assert found.keys() >= set(INVARIANTS) - {"doubled", "orphans", "unexpected answers", "slow failovers"}
    for sentence in (
        f"media {stuck} is PROCESSING",
        f"media {kept} lacks renditions",
        f"job {stuck}:process:1 is dead after 3 attempts: no memory",
        f"deletion {stuck} is OBJECTS_REMOVED",
        f"invalidation {stuck} is gathered",
        f"a write of annotations, {stuck}, is under way",
        "1 of media hold entries that are in no audit chain",
        "1 of media hold events that no receiver was told of",
        "webhook event local:1 is dead: 410",
        "5 are reserved for anna",
        "anna has 6000000 bytes stored, and 1 are counted",
    ):
        assert sentence in found["stuck"]
    assert "walk was put at 7, and is at 0" in found["acknowledged writes lost"]
    assert photo["renditions"][0]["key"] in found["broken media"]
    assert f"media {gone} is there, and nobody made it" in found["invented"]
    assert "walk's follower heard [('FAILED', 4)]" in found["terminal events missed"]
    assert f"the deletion of {gone} is VERIFIED without a certificate" in found["deletions without certificate"]
