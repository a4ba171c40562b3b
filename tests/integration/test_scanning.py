"""Scanned before served: what becomes of media by the verdict on their originals, or for want of one."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

from structlog.testing import capture_logs

from schema.global_id import decode_id
from service.app import create_app
from service.errors import MalwareFound
from service.models import JobKind, Lane
from service.quarantine import quarantine
from service.settings import ScannerSettings
from tests.antivirus import EICAR, SIGNATURE, STREAM_LIMIT, Clamd
from tests.api_client import ApiClient
from tests.hostile import with_segment
from tests.integration.conftest import RunningService, served
from tests.photos import large_png, small_photo

SEEN = """
query Seen($id: ID!) {
  media(id: $id) {
    status failure { code message retryable }
    display { url } renditions { url } srcset original { url } thumbhash width
  }
}
"""
RETRY = """
mutation Retry($input: RetryProcessingInput!) {
  retryProcessing(input: $input) { userErrors { code message } }
}
"""
TAKE = "mutation Take($input: ModerateMediaInput!) { moderateMedia(input: $input) { userErrors { code message } } }"
DELETE = "mutation Delete($input: DeleteMediaInput!) { deleteMedia(input: $input) { userErrors { code message } } }"
FIND = "query Find($sha256: [SHA256!]!) { findDuplicates(sha256: $sha256) { media { id } } }"
OPEN = """
mutation Open($input: CreateUploadsInput!) {
  createUploads(input: $input) { outcomes { upload { id media { id } } duplicate { id status } } }
}
"""


REFUSED = """
mutation Refused($input: CreateUploadsInput!) {
  createUploads(input: $input) { outcomes { upload { id } userErrors { code field } } }
}
"""


def infected(seed: int) -> bytes:
    """A picture that would become READY, with the test signature in its comment."""
    return with_segment(0xFE, EICAR, small_photo(seed))


def scanning(service: RunningService, address: str) -> RunningService:
    """The same service, but its workers have originals scanned at `address`."""
    settings = service.settings.model_copy(update={"scanner": ScannerSettings(address=address)})
    return replace(service, settings=settings, runtime=replace(service.runtime, settings=settings))


def newcomer(service: RunningService) -> ApiClient:
    return service.client(f"owner-{uuid4().hex}")


def uuid_of(global_id: str) -> UUID:
    parsed = decode_id(global_id)
    assert parsed is not None
    return parsed[1]


async def document(service: RunningService, media_id: str) -> dict[str, Any]:
    found = await service.runtime.database.media.find_one({"_id": uuid_of(media_id)})
    assert found is not None
    return dict(found)


async def tag_of(service: RunningService, original: dict[str, str]) -> str:
    client = service.runtime.object_store._client
    answer = await asyncio.to_thread(client.get_object_tagging, Bucket=original["bucket"], Key=original["key"])
    [tag] = answer["TagSet"]
    return f"{tag['Key']}={tag['Value']}"


async def rendered(service: RunningService, media_id: str) -> list[str]:
    """Keys of what was ever made of a media."""
    store = service.runtime.object_store
    keys = [entry.key async for entry in store.list_objects(store.media_bucket, "")]
    return [key for key in keys if str(uuid_of(media_id)) in key]


async def already_there(owner: ApiClient, file: bytes, purpose: str) -> str:
    """The media that stands for `file` for this purpose without a byte being sent, as storage has them."""
    described = {"contentType": "image/jpeg", "byteSize": len(file), "sha256": hashlib.sha256(file).hexdigest()}
    given = {"idempotencyKey": uuid4().hex, "purpose": purpose, "files": [described]}
    [outcome] = (await owner.run(OPEN, input=given))["createUploads"]["outcomes"]
    media_id: str = outcome["duplicate"]["id"]
    return media_id


async def no_job_open(service: RunningService, *media_ids: str) -> None:
    """Return once the jobs of these media have all ended."""
    open_jobs = {"media_id": {"$in": [uuid_of(each) for each in media_ids]}, "state": "open"}
    async with asyncio.timeout(30):
        while await service.runtime.database.jobs.find_one(open_jobs) is not None:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def assert_locked_away(service: RunningService, owner: ApiClient, media_id: str) -> None:
    for client in (owner, service.client("mod", roles=("moderator",))):
        seen = (await client.run(SEEN, id=media_id))["media"]
        failure = seen.pop("failure")
        assert (failure["code"], failure["retryable"]) == ("MALWARE_FOUND", False)
        assert "Eicar" not in failure["message"]
        assert (seen.pop("status"), seen.pop("renditions")) == ("QUARANTINED", [])
        assert seen == dict.fromkeys(("display", "srcset", "original", "thumbhash", "width"))
    assert await service.client(None).run(SEEN, id=media_id) == {"media": None}
    assert await rendered(service, media_id) == []
    assert await tag_of(service, (await document(service, media_id))["original"]) == "state=quarantined"


async def test_malware_is_locked_away_and_its_owner_told(service: RunningService, clamd: Clamd) -> None:
    guarded, anna = scanning(service, clamd.unix), newcomer(service)
    with capture_logs() as logs:
        async with guarded.working():
            media_id, good = await anna.send(infected(1)), await anna.send(small_photo(1))
            assert await anna.wait(media_id, good) == {media_id: "QUARANTINED", good: "READY"}
    await assert_locked_away(service, anna, media_id)
    [found] = [entry for entry in logs if entry["event"] == "malware found"]
    assert (found["signature"], found["scanner"]) == (SIGNATURE, "clamd")
    malware = (await document(service, media_id))["processing"]["malware"]
    assert malware == {"signature": SIGNATURE, "engine": found["engine"]}
    [scan] = [
        each for each in (await document(service, good))["processing"]["receipts"]["process"] if each["step"] == "scan"
    ]
    assert scan["tool"].startswith("ClamAV ")

    refused = (await anna.run(RETRY, input={"idempotencyKey": uuid4().hex, "id": media_id}))["retryProcessing"]
    assert refused["userErrors"][0]["code"] == "STATE_CONFLICT"
    await assert_locked_away(service, anna, media_id)


async def test_a_deletion_takes_quarantined_bytes_out_of_storage(
    service: RunningService, clamd: Clamd, no_deletion_window: None
) -> None:
    guarded, anna = scanning(service, clamd.unix), newcomer(service)
    async with guarded.working():
        media_id = await anna.send(infected(2))
        assert await anna.wait(media_id) == {media_id: "QUARANTINED"}
        original = (await document(service, media_id))["original"]
        await anna.delete(media_id)
        async with asyncio.timeout(30):
            while await service.runtime.object_store.head(original["bucket"], original["key"]) is not None:  # noqa: ASYNC110
                await asyncio.sleep(0.02)


async def test_without_a_verdict_media_wait_and_no_attempt_is_counted(
    service: RunningService, clamd: Clamd, ports: Iterator[int]
) -> None:
    anna, jobs = newcomer(service), service.runtime.database.jobs
    media_id = await anna.send(small_photo(3))
    this_job = {"media_id": uuid_of(media_id), "kind": "process"}
    async with scanning(service, f"tcp://127.0.0.1:{next(ports)}").working():
        async with asyncio.timeout(30):
            # Its fence grows with every claim.
            fence = (await jobs.find_one(this_job))["fence"]
            while (await jobs.find_one(this_job))["fence"] < fence + service.settings.worker.max_attempts + 2:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    found = await document(service, media_id)
    assert (found["status"], found["renditions"], "failure" in found) == ("PROCESSING", [], False)
    assert await rendered(service, media_id) == []
    assert (await jobs.find_one(this_job))["attempt"] <= 1
    async with scanning(service, clamd.tcp).working():
        assert await anna.wait(media_id) == {media_id: "READY"}


async def test_a_file_that_breaks_its_scanner_fails_at_last_and_holds_up_nobody(
    service: RunningService, clamd: Clamd, ports: Iterator[int]
) -> None:
    anna, poison, port = newcomer(service), b"POISON-FOR-CLAMD", next(ports)
    real_port = int(clamd.tcp.rpartition(":")[2])

    async def breaks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Asks the real one, unless it meets the poison: then it dies, as of a hole in a parser."""
        said = await reader.readuntil(b"\0")
        while said.startswith(b"zINSTREAM") and (size := int.from_bytes(await reader.readexactly(4), "big")):
            said += size.to_bytes(4, "big") + await reader.readexactly(size)
        if poison in said:
            writer.transport.abort()
            return
        of_clamd, to_clamd = await asyncio.open_connection("127.0.0.1", real_port)
        to_clamd.write(said + (bytes(4) if said.startswith(b"zINSTREAM") else b""))
        writer.write(await of_clamd.readuntil(b"\0"))
        to_clamd.close()
        writer.close()

    broken = await asyncio.start_server(breaks, "127.0.0.1", port)
    async with broken, scanning(service, f"tcp://127.0.0.1:{port}").working():
        bad = [await anna.send(with_segment(0xFE, poison, small_photo(30 + each))) for each in range(3)]
        good = await anna.send(small_photo(40))
        ended = await anna.wait(*bad, good)
    assert ended == {**dict.fromkeys(bad, "FAILED"), good: "READY"}
    for media_id in bad:
        failure = (await anna.run(SEEN, id=media_id))["media"]["failure"]
        assert (failure["code"], failure["retryable"]) == ("SCAN_FAILED", True)
        assert await rendered(service, media_id) == []
        job = await service.runtime.database.jobs.find_one({"media_id": uuid_of(media_id), "kind": "process"})
        assert job is not None
        assert (job["attempt"], job["state"]) == (service.settings.worker.max_attempts, "dead")


async def test_what_is_too_large_to_be_scanned_is_not_shown(service: RunningService, clamd: Clamd) -> None:
    anna, picture = newcomer(service), large_png(STREAM_LIMIT + 1)
    async with scanning(service, clamd.tcp).working():
        media_id = await anna.send(picture, details={"contentType": "image/png"})
        assert await anna.wait(media_id) == {media_id: "FAILED"}
    seen = (await anna.run(SEEN, id=media_id))["media"]
    assert (seen["failure"]["code"], seen["failure"]["retryable"]) == ("SCAN_FAILED", False)
    assert "smaller" in seen["failure"]["message"]
    assert await rendered(service, media_id) == []
    assert await tag_of(service, (await document(service, media_id))["original"]) == "state=kept"


async def test_an_api_that_knows_the_scanners_limit_refuses_what_is_larger(
    service: RunningService, ports: Iterator[int]
) -> None:
    scanner = ScannerSettings(address="tcp://127.0.0.1:3310", max_bytes=1_000)
    settings = service.settings.model_copy(update={"scanner": scanner})
    described = {"contentType": "video/mp4", "byteSize": 1_001, "sha256": "0" * 64}
    given = {"idempotencyKey": uuid4().hex, "purpose": "COMMUNITY", "files": [described]}
    async with served(create_app(settings), next(ports)) as url:
        owner = ApiClient(url, newcomer(service).token)
        [outcome] = (await owner.run(REFUSED, input=given))["createUploads"]["outcomes"]
    assert outcome["upload"] is None
    assert outcome["userErrors"] == [{"code": "TOO_LARGE", "field": ["files", "0", "byteSize"]}]


async def test_content_known_as_malware_stands_for_nothing_any_more(service: RunningService, clamd: Clamd) -> None:
    """READY from before its signature came out, as on a service that had no scanner."""
    anna, file = newcomer(service), infected(4)
    async with service.working():
        older = await anna.send(file)
        assert await anna.wait(older) == {older: "READY"}
    assert await already_there(anna, file, "COMMUNITY") == older
    async with scanning(service, clamd.unix).working():
        # Storage has the bytes; they are scanned nevertheless.
        portrait = await already_there(anna, file, "PROFILE")
        assert await anna.wait(portrait) == {portrait: "QUARANTINED"}
        sha256 = (await document(service, older))["content"]["sha256"]
        assert await anna.run(FIND, sha256=[sha256]) == {"findDuplicates": []}
        again = await already_there(anna, file, "COMMUNITY")
        assert again not in (older, portrait)
        assert await anna.wait(again) == {again: "QUARANTINED"}
    for media_id in (portrait, again):
        await assert_locked_away(service, anna, media_id)


async def test_malware_that_is_served_is_served_no_longer_once_it_is_known(
    service: RunningService, clamd: Clamd
) -> None:
    """READY from before its signature came out; the same owner sends it once more."""
    anna, file = newcomer(service), infected(7)
    async with service.working():
        first, other = await anna.send(file), await anna.send(small_photo(70))
        assert set((await anna.wait(first, other)).values()) == {"READY"}
        served = [first, await already_there(anna, file, "PROFILE")]
        assert set((await anna.wait(*served)).values()) == {"READY"}
        await no_job_open(service, *served)
    before = {media_id: await document(service, media_id) for media_id in served}
    with capture_logs() as logs:
        async with scanning(service, clamd.unix).working():
            newest = await already_there(anna, file, "COVER")
            assert await anna.wait(newest) == {newest: "QUARANTINED"}
    for media_id in (*served, newest):
        found = await document(service, media_id)
        assert await tag_of(service, found["original"]) == "state=quarantined"
        assert found["processing"]["malware"]["signature"] == SIGNATURE
        for client in (anna, service.client("mod", roles=("moderator",))):
            seen = (await client.run(SEEN, id=media_id))["media"]
            assert (seen["status"], seen["failure"]["code"], seen["renditions"]) == ("QUARANTINED", "MALWARE_FOUND", [])
            assert (seen["display"], seen["srcset"], seen["original"]) == (None, None, None)
        assert await service.client(None).run(SEEN, id=media_id) == {"media": None}
    for media_id, was in before.items():
        found = await document(service, media_id)
        assert found["status_sequence"] == was["status_sequence"] + 1, "one step, however often it is found"
        assert [step["status"] for step in found["status_history"]][-2:] == ["READY", "QUARANTINED"]
    assert {each["media_id"] for each in logs if each["event"] == "malware was served until now"} == {
        str(uuid_of(media_id)) for media_id in served
    }
    assert (await document(service, other))["status"] == "READY"

    # Whatever still waits for them is done, and changes nothing: no rendering, no mark taken off.
    jobs = service.runtime.stores.jobs
    for media_id in served:
        await jobs.enqueue(uuid_of(media_id), JobKind.RENDER, lane=Lane.STANDARD, generation=1_000)
    async with service.working():
        # Without a scanner, what was known as malware still is.
        again = await already_there(anna, file, "COMMUNITY")
        assert await anna.wait(again) == {again: "QUARANTINED"}
        await no_job_open(service, *served)
    for media_id in (*served, newest, again):
        found = await document(service, media_id)
        assert found["status"] == "QUARANTINED"
        assert await tag_of(service, found["original"]) == "state=quarantined"


async def test_what_a_moderator_took_is_opened_by_none_once_it_is_known_as_malware(
    service: RunningService, clamd: Clamd
) -> None:
    anna, mo, file = newcomer(service), service.client("mod", roles=("moderator",)), infected(9)
    async with service.working():
        first = await anna.send(file)
        assert await anna.wait(first) == {first: "READY"}
    taken = {"idempotencyKey": uuid4().hex, "id": first, "decision": "QUARANTINE", "reason": "Not a pet."}
    assert await mo.run(TAKE, input=taken) == {"moderateMedia": {"userErrors": []}}
    assert (await mo.run(SEEN, id=first))["media"]["original"] is not None
    assert (await anna.run(SEEN, id=first))["media"]["original"] is None

    async with scanning(service, clamd.unix).working():
        again = await already_there(anna, file, "PROFILE")
        assert await anna.wait(again) == {again: "QUARANTINED"}
    assert await anna.run(DELETE, input={"idempotencyKey": uuid4().hex, "ids": [again]}) == {
        "deleteMedia": {"userErrors": []}
    }
    seen = (await mo.run(SEEN, id=first))["media"]
    assert (seen["failure"]["code"], seen["original"]) == ("MALWARE_FOUND", None), "also when the other is gone"
    await service.runtime.stores.audit.settle("media", [uuid_of(first)])
    entries = service.runtime.database.handle["audit"].find({"subject": str(uuid_of(first))})
    told = [each["details"] async for each in entries if each["action"] == "media.quarantined"]
    assert told[-1] == {"failure": "MALWARE_FOUND"}

    # Nor is it shown by a release that no scanner is asked about.
    async with service.working():
        await no_job_open(service, first)
        released = {**taken, "idempotencyKey": uuid4().hex, "decision": "RELEASE"}
        assert await mo.run(TAKE, input=released) == {"moderateMedia": {"userErrors": []}}
        assert await anna.wait(first) == {first: "QUARANTINED"}


async def test_malware_of_one_is_nothing_to_another_until_it_is_scanned(service: RunningService, clamd: Clamd) -> None:
    anna, bert, file = newcomer(service), newcomer(service), infected(8)
    async with service.working():
        berts = await bert.send(file)
        assert await bert.wait(berts) == {berts: "READY"}
    async with scanning(service, clamd.unix).working():
        annas = await anna.send(file)
        assert await anna.wait(annas) == {annas: "QUARANTINED"}
    assert (await document(service, berts))["status"] == "READY"
    assert await tag_of(service, (await document(service, berts))["original"]) == "state=kept"


async def test_locking_away_can_be_repeated_from_any_point(service: RunningService, clamd: Clamd) -> None:
    """A worker that dies in between is followed by another attempt, as the media itself is moved last."""
    anna, file, stores = newcomer(service), infected(9), service.runtime.stores
    async with service.working():
        ready = await anna.send(file)
        assert await anna.wait(ready) == {ready: "READY"}
    media, error = await document(service, ready), MalwareFound(signature=SIGNATURE, engine="ClamAV")
    for _ in range(2):
        await quarantine(media, error, stores=stores, object_store=service.runtime.object_store)  # type: ignore[arg-type]
    found = await document(service, ready)
    assert (found["status"], found["status_sequence"]) == ("QUARANTINED", media["status_sequence"] + 1)


async def test_malware_that_is_sent_again_is_scanned_again(service: RunningService, clamd: Clamd) -> None:
    anna, file, ended = newcomer(service), infected(5), {}
    async with scanning(service, clamd.unix).working():
        for _ in range(2):
            ended |= await anna.wait(await anna.send(file))
    assert list(ended.values()) == ["QUARANTINED"] * 2
    for media_id in ended:
        await assert_locked_away(service, anna, media_id)


async def test_malware_sent_in_parts_unannounced_is_known_by_its_bytes(service: RunningService, clamd: Clamd) -> None:
    anna, file = newcomer(service), infected(6)
    media_id = await anna.send(file)
    # As after an upload in parts whose client told no SHA-256.
    unsaid = {"content.sha256": "", "content.announced_sha256": ""}
    await service.runtime.database.media.update_one({"_id": uuid_of(media_id)}, {"$unset": unsaid})
    async with scanning(service, clamd.unix).working():
        assert await anna.wait(media_id) == {media_id: "QUARANTINED"}
    assert (await document(service, media_id))["content"]["sha256"] == hashlib.sha256(file).hexdigest()
