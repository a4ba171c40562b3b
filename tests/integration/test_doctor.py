"""The doctor at a healthy service's bedside, and at sick ones."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from indexes.ensure import ensure
from service.dev.environment import dev_delivery, variables_of
from service.dev.folder import write_environment, write_urls
from service.dev.keys import new_keys
from service.doctor import Finding, Level, examination, examine
from service.doctor.jail import check_jail
from service.doctor.queue import check_job_queues, check_queue
from service.errors import ConfigurationError
from service.models import Lane, Role
from service.processing.fork_client import ForkClient
from service.processing.wire import Limits
from service.settings import DeliverySettings, Environment, JobsSettings, Settings, SigningKey, WorkerSettings
from service.stores.database import open_database
from tests.documents import ready_media
from tests.integration.conftest import RunningService, served
from tests.integration.test_cli import run
from tests.photos import small_photo
from tests.queues import Queues, open_queues
from tests.servers import StorageServer

GROUPS = ("mongo", "storage", "delivery", "auth", "http", "worker")


@pytest.fixture(scope="module", autouse=True)
def jail_tried_once() -> Iterator[None]:
    """A jail takes 1.4 s of CPU to try: under settings it was found well with, it is not tried again."""
    well: dict[WorkerSettings, Finding] = {}

    async def tried(settings: WorkerSettings) -> Finding:
        finding = well.get(settings) or await check_jail(settings)
        if finding.level is Level.OK:
            well[settings] = finding
        return finding

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(examination, "check_jail", tried)
        yield


def secrets_of(settings: Settings) -> list[str]:
    delivery = settings.delivery
    keys = [key for key in (delivery.public_key, delivery.private_key, delivery.original_key) if key is not None]
    return [
        settings.storage.secret_key.get_secret_value(),
        settings.storage.event_token.get_secret_value(),
        *(issuer.key.get_secret_value() for issuer in settings.auth.issuers),
        *(line for key in keys for line in key.private_key.get_secret_value().splitlines()[1:-1]),
    ]


async def examined(settings: Settings, *roles: Role) -> list[Finding]:
    """All findings, which never tell a secret."""
    findings = [finding async for finding in examine(settings, roles=roles or tuple(Role))]
    said = "\n".join(f"{finding.text} {finding.remedy}" for finding in findings)
    assert not [secret for secret in secrets_of(settings) if secret and secret in said]
    return findings


def changed(settings: Settings, group: str, **values: Any) -> Settings:
    return settings.model_copy(update={group: getattr(settings, group).model_copy(update=values)})


async def problems(settings: Settings, *roles: Role) -> dict[str, str]:
    """What is wrong: by check, the text and its remedy."""
    return {
        finding.check: f"{finding.text} {finding.remedy or ''}"
        for finding in await examined(settings, *roles)
        if finding.level is Level.PROBLEM
    }


async def test_a_healthy_service_has_nothing_but_ok(service: RunningService) -> None:
    async with service.working():
        anna = service.client("anna")
        await anna.wait(await anna.send(small_photo(80)))
    findings = await examined(service.settings)
    assert [finding for finding in findings if finding.level is not Level.OK] == []
    checks = dict.fromkeys(finding.check for finding in findings)
    assert list(checks) == [
        *("settings", "database", "writes", "clock", "indexes", "documents", "load"),
        *("storage", "cors", "issuers", "keys", "edge", "cdn", "audit", "jail"),
    ]
    assert "Opens the newest public picture." in [finding.text for finding in findings]


async def test_each_role_is_asked_only_for_what_it_needs(service: RunningService) -> None:
    unsigned = service.settings.model_copy(update={"delivery": DeliverySettings()})
    assert set(await problems(unsigned, Role.WORKER)) == {"cdn"}
    assert "MEDIA_DELIVERY__PUBLIC_KEY" in (await problems(unsigned, Role.API))["keys"]
    assert "jail" not in {finding.check for finding in await examined(service.settings, Role.API)}


async def test_missing_and_strange_indexes_are_named(service: RunningService) -> None:
    elsewhere = changed(service.settings, "mongo", database=f"test_{uuid4().hex[:12]}")
    async with open_database(elsewhere.mongo) as database:
        try:
            await ensure(database.handle)
            await database.media.drop_index("feed")
            await database.jobs.create_index("nobody", name="stray")
            findings = [finding for finding in await examined(elsewhere, Role.WORKER) if finding.check == "indexes"]
        finally:
            await database.handle.client.drop_database(elsewhere.mongo.database)
    assert [(finding.level, finding.text) for finding in findings] == [
        (Level.PROBLEM, "media lacks feed."),
        (Level.WARNING, "jobs.stray is declared nowhere; every write pays for it."),
    ]
    assert "indexes --apply" in (findings[0].remedy or "")


async def test_media_of_earlier_releases_are_counted(service: RunningService) -> None:
    elsewhere = changed(service.settings, "mongo", database=f"test_{uuid4().hex[:12]}")
    async with open_database(elsewhere.mongo) as database:
        try:
            await database.media.insert_many([ready_media(schema_version=version) for version in (1, 2, 3)])
            [unknown] = [each for each in await examined(elsewhere, Role.WORKER) if each.check == "documents"]
            await ensure(database.handle)
            [pending] = [each for each in await examined(elsewhere, Role.WORKER) if each.check == "documents"]
        finally:
            await database.handle.client.drop_database(elsewhere.mongo.database)
    assert (unknown.level, pending.level) == (Level.WARNING, Level.WARNING)
    assert "cannot be told" in unknown.text
    assert pending.text.startswith("2 media were written by earlier releases")
    assert "migrate --up" in (pending.remedy or "")


async def test_a_database_that_is_away_does_not_hide_the_rest(service: RunningService, ports: Iterator[int]) -> None:
    uri = SecretStr(f"mongodb://user:hunter2-the-password@127.0.0.1:{next(ports)}/?replicaSet=rs0")
    found = await problems(changed(service.settings, "mongo", uri=uri, timeout_ms=300))
    assert list(found) == ["database"]
    assert "does not answer" in found["database"]
    assert "MEDIA_MONGO__URI" in found["database"]
    assert "hunter2" not in found["database"]


@pytest.mark.parametrize("uri", ["nonsense://x", "mongodb://user:p@ss@host:port"])
async def test_an_address_that_is_none_is_said(service: RunningService, uri: str) -> None:
    found = await problems(changed(service.settings, "mongo", uri=SecretStr(uri)), Role.WORKER)
    assert list(found) == ["database"]
    assert "p@ss" not in found["database"]


async def test_a_missing_bucket_and_a_wrong_key_are_said(service: RunningService) -> None:
    missing = changed(service.settings, "storage", media_bucket="nobody-made-this")
    assert "nobody-made-this" in (await problems(missing, Role.WORKER))["storage"]
    wrong = changed(service.settings, "storage", secret_key=SecretStr("wrong-secret-wrong-secret"))
    found = await problems(wrong, Role.WORKER)
    assert "rights" in found["storage"]


@pytest.mark.parametrize("lost", ["PUT", "GET", "POST"])
async def test_storage_that_answers_but_keeps_nothing_is_a_problem(
    service: RunningService, ports: Iterator[int], lost: str
) -> None:
    storage = service.settings.storage

    async def forward(request: Request) -> Response:
        # Buckets still answer: only what concerns objects is lost.
        if request.method == lost and ("processed" in request.url.path or "delete" in request.query_params):
            return Response(status_code=403)
        async with httpx.AsyncClient() as client:
            url = f"{storage.endpoint}{request.url.path}?{request.url.query}"
            answer = await client.request(
                request.method, url, headers=dict(request.headers), content=await request.body()
            )
        # The server in between has a date of its own.
        headers = {name: value for name, value in answer.headers.items() if name != "date"}
        return Response(answer.content, answer.status_code, headers)

    methods = ["GET", "HEAD", "PUT", "POST", "DELETE"]
    async with served(Starlette(routes=[Route("/{path:path}", forward, methods=methods)]), next(ports)) as url:
        half_dead = changed(service.settings, "storage", endpoint=url, public_endpoint=storage.endpoint)
        assert "does not write, read and delete a test object" in (await problems(half_dead, Role.WORKER))["storage"]
        assert "storage" not in await problems(half_dead, Role.API)


async def test_the_probe_of_storage_leaves_nothing_behind(service: RunningService) -> None:
    async def keys() -> list[str]:
        store = service.runtime.object_store
        return [entry.key async for entry in store.list_objects(store.media_bucket, "")]

    before = await keys()
    texts = [finding.text for finding in await examined(service.settings, Role.WORKER)]
    assert f"{service.settings.storage.media_bucket} takes an object, returns it and deletes it." in texts
    assert await keys() == before


async def test_an_origin_that_may_not_upload_is_named(service: RunningService) -> None:
    found = await problems(changed(service.settings, "storage", allowed_origins=("https://app.example",)), Role.WORKER)
    assert "https://app.example" in found["storage"]


async def test_a_bucket_open_to_anybody_is_a_problem(service: RunningService, ports: Iterator[int]) -> None:
    async def list_everything(request: Request) -> Response:
        return Response("<ListBucketResult/>", media_type="application/xml")

    open_to_all = Starlette(routes=[Route("/{path:path}", list_everything)])
    async with served(open_to_all, next(ports)) as url:
        found = await problems(changed(service.settings, "storage", public_endpoint=url), Role.WORKER)
    assert "Anybody can list" in found["storage"]


async def test_a_key_that_the_edge_does_not_trust_is_named(service: RunningService) -> None:
    base_url = service.settings.delivery.base_url
    stranger = dev_delivery(new_keys(), base_url)
    assert stranger.public_key is not None
    unknown = SigningKey(key_pair_id="KUNKNOWN", private_key=stranger.public_key.private_key)
    found = await problems(changed(service.settings, "delivery", public_key=unknown), Role.API)
    assert "Does not know key KUNKNOWN." in found["edge"]
    found = await problems(changed(service.settings, "delivery", public_key=stranger.public_key), Role.API)
    assert "KDEVPUBLIC" in found["edge"]


async def test_keys_that_do_not_sign_are_said(service: RunningService) -> None:
    broken = SigningKey(key_pair_id="KBROKEN", private_key=SecretStr("not a key"))
    found = await problems(changed(service.settings, "delivery", public_key=broken), Role.API)
    assert "KBROKEN" in found["keys"]
    shared = changed(service.settings, "delivery", private_key=None, original_key=None)
    [warned] = [finding for finding in await examined(shared, Role.API) if finding.level is Level.WARNING]
    assert "share a key" in warned.text


async def test_an_edge_that_asks_for_no_signature_is_a_problem(service: RunningService, ports: Iterator[int]) -> None:
    async def serve(request: Request) -> Response:
        return Response("a picture", media_type="image/jpeg")

    async def refuse(request: Request) -> Response:
        return Response("<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>", 403)

    for answer, level in ((serve, Level.PROBLEM), (refuse, Level.WARNING)):
        async with served(Starlette(routes=[Route("/{path:path}", answer)]), next(ports)) as url:
            findings = await examined(changed(service.settings, "delivery", base_url=url), Role.API)
        [unsigned] = [finding for finding in findings if "unsigned" in finding.text]
        assert unsigned.level is level
        assert "trusted key groups" in (unsigned.remedy or "")


async def test_an_edge_that_is_away_is_said(service: RunningService, ports: Iterator[int]) -> None:
    nowhere = changed(service.settings, "delivery", base_url=f"http://127.0.0.1:{next(ports)}")
    assert "MEDIA_DELIVERY__BASE_URL" in (await problems(nowhere, Role.API))["edge"]


async def test_a_jail_without_room_is_said(service: RunningService) -> None:
    cramped = changed(service.settings, "worker", jail_memory_bytes=50_000_000)
    assert list(await problems(cramped, Role.WORKER)) == ["jail"]


async def test_codecs_of_clips_that_are_missing_are_named(
    service: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, find_spec = ForkClient.start, importlib.util.find_spec

    async def without_clips(limits: Limits, work: str) -> ForkClient:
        if "clip" in work:
            raise ConfigurationError("The image jail did not start.")
        return await start(limits, work)

    monkeypatch.setattr(examination, "check_jail", check_jail)
    monkeypatch.setattr(ForkClient, "start", without_clips)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "av" else find_spec(name))
    found = await problems(service.settings, Role.WORKER)
    assert list(found) == ["jail"]
    assert "No clip can be made: PyAV is missing." in found["jail"]


async def test_the_queue_of_storage_events_is_asked_and_its_dead_letters_looked_for(ministack: StorageServer) -> None:
    async def said(queues: Queues, **events: Any) -> list[tuple[Level, str]]:
        found = await check_queue(queues.settings(**events), ministack.settings())
        assert all(finding.level is Level.OK or finding.remedy for finding in found)
        return [(finding.level, finding.text) for finding in found]

    with open_queues(ministack) as bare, open_queues(ministack, max_receive_count=3) as redriven:
        await bare.send("unread")
        answers = (Level.OK, f"{bare.url} answers.")
        _, (level, text) = await said(bare)
        assert (level, "no dead-letter queue" in text) == (Level.WARNING, True)
        assert await said(bare, dead_letter_url=bare.dead_url) == [
            answers,
            (Level.OK, f"Messages that cannot be handled go to {bare.dead_url}."),
        ]
        assert (await said(redriven))[1] == (Level.OK, "Its redrive policy takes messages that cannot be handled.")
        [(level, text)] = await said(bare, queue_url=f"{bare.url}-elsewhere")
        assert (level, f"{bare.url}-elsewhere does not answer" in text) == (Level.PROBLEM, True)
        assert await bare.waiting() == (1, 0), "nobody has received it"


async def test_each_queue_of_hints_is_asked(ministack: StorageServer) -> None:
    with open_queues(ministack) as there:
        urls = {Lane.FIRST_VISIBLE: there.url, Lane.STANDARD: there.url, Lane.BACKFILL: f"{there.url}-elsewhere"}
        jobs = JobsSettings(queue_urls=urls, endpoint=ministack.endpoint)
        fine, missing = await check_job_queues(jobs, ministack.settings())
    assert (fine.level, missing.level) == (Level.OK, Level.PROBLEM)
    assert missing.text.startswith(f"{there.url}-elsewhere does not answer")


async def test_a_queue_that_is_away_is_a_problem_of_the_worker(service: RunningService, ports: Iterator[int]) -> None:
    address = f"http://127.0.0.1:{next(ports)}"
    away = changed(service.settings, "events", queue_url=f"{address}/1/uploads", endpoint=address)
    assert "MEDIA_EVENTS__QUEUE_URL" in (await problems(away, Role.WORKER))["queue"]
    assert "queue" not in {finding.check for finding in await examined(away, Role.API)}


async def test_production_rules_are_applied(service: RunningService) -> None:
    live = service.settings.model_copy(update={"environment": Environment.PRODUCTION})
    findings = [finding for finding in await examined(live, Role.API) if finding.check == "settings"]
    assert {finding.level for finding in findings} == {Level.PROBLEM}
    assert any("MEDIA_DELIVERY__BASE_URL must be https" in finding.text for finding in findings)


async def test_the_command_examines_the_running_stack(service: RunningService, tmp_path: Path) -> None:
    write_urls(tmp_path, {"graphql": f"{service.url}/graphql"})
    write_environment(tmp_path, variables_of(service.settings, GROUPS))
    # Where a client finds the API says nothing about a deployment.
    ended = await run("doctor", DEV_FOLDER=str(tmp_path), MEDIA_URL="https://elsewhere", MEDIA_LOG_LEVEL="ERROR")
    assert ended.code == 0, ended.out
    assert ended.err == f"Settings: those of the stack in {tmp_path}.\n"
    assert {line.split()[0] for line in ended.out.splitlines()} == {"ok"}
    assert not [secret for secret in secrets_of(service.settings) if secret in ended.out + ended.err]


async def test_the_command_fails_for_what_is_wrong(service: RunningService) -> None:
    settings = changed(service.settings, "storage", upload_bucket="nobody-made-this")
    ended = await run("doctor", "--role", "worker", "--json", **variables_of(settings, GROUPS))
    assert ended.code == 1
    [wrong] = [line for line in ended.lines() if line["level"] == "problem"]
    assert wrong["check"] == "storage"
    assert "nobody-made-this" in wrong["text"]


async def test_settings_that_cannot_be_read_are_named_without_their_values() -> None:
    ended = await run("doctor", MEDIA_HTTP__PORT="secret-value", MEDIA_LOG_LEVEL="LOUD")
    assert ended.code == 1
    assert "MEDIA_HTTP__PORT" in ended.out
    assert "MEDIA_LOG_LEVEL" in ended.out
    assert "secret-value" not in ended.out + ended.err


async def test_without_settings_and_stack_there_is_nothing_to_examine() -> None:
    ended = await run("doctor")
    assert ended.code == 1
    assert "make run" in ended.out
