"""The parts of the embedded stack: data is kept, doors are shut, and nothing is left behind."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import socket
import stat
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from pymongo import MongoClient

from service.dev.environment import dev_settings, variables_of
from service.dev.folder import DevOptions, claimed
from service.dev.keys import kept_keys, new_keys
from service.dev.mongod import start_mongod
from service.dev.ports import choose_ports
from service.dev.processes import Children, StartFailed
from service.dev.seaweed import PORT_NAMES, SeaweedSetup, Webhook, start_seaweed
from service.dev.storage_events import created_object
from service.dev.supervision import Part, start_part
from service.object_store import ObjectStore
from service.settings import Settings, StorageSettings
from tests.servers import ORIGIN

BYTES = b"bytes worth keeping"
SHA256 = hashlib.sha256(BYTES).hexdigest()


@pytest.fixture
async def own_children(tmp_path: Path) -> AsyncIterator[Children]:
    started = Children(tmp_path / "logs")
    yield started
    await started.stop_all()


@pytest.fixture
def setup(tmp_path: Path, ports: Iterator[int]) -> SeaweedSetup:
    return SeaweedSetup(
        folder=tmp_path / "objects",
        ports={name: next(ports) for name in PORT_NAMES},
        access_key="a-key-of-this-test",
        secret_key="a-secret-of-this-test",
        origins=(ORIGIN,),
    )


def store_at(endpoint: str, setup: SeaweedSetup) -> ObjectStore:
    secret: Any = setup.secret_key
    return ObjectStore(StorageSettings(endpoint=endpoint, access_key=setup.access_key, secret_key=secret))


async def test_mongod_keeps_its_data_when_it_comes_back_on_another_port(
    own_children: Children, tmp_path: Path, ports: Iterator[int]
) -> None:
    for expected in (0, 1):
        uri = await start_mongod(own_children, tmp_path / "mongod", next(ports))
        with MongoClient[dict[str, Any]](uri, w="majority", journal=True) as client:
            assert client.test.kept.count_documents({}) == expected
            client.test.kept.insert_one({})
        await own_children.stop_all()


async def test_a_second_mongod_on_the_same_data_says_what_to_do(
    own_children: Children, tmp_path: Path, ports: Iterator[int]
) -> None:
    await start_mongod(own_children, tmp_path / "mongod", next(ports))
    with pytest.raises(StartFailed, match=r"(?s)mongod ended .*Another mongod uses this data folder"):
        await start_mongod(own_children, tmp_path / "mongod", next(ports))


async def test_objects_survive_a_kill_and_the_filer_shows_them_to_nobody(
    own_children: Children, setup: SeaweedSetup
) -> None:
    store = store_at(await start_seaweed(own_children, setup), setup)
    await store.ensure_buckets()
    await store.put(
        store.media_bucket, "kept", BYTES, content_type="image/webp", cache_control="x", metadata={}, sha256=SHA256
    )
    filer = f"http://127.0.0.1:{setup.ports['filer']}/buckets/{store.media_bucket}/kept"
    async with httpx.AsyncClient() as client:
        for method in ("GET", "DELETE", "PUT"):
            assert (await client.request(method, filer)).status_code == 401
    (server,) = own_children.running
    os.killpg(server.process.pid, signal.SIGKILL)
    await own_children.stop(server)

    await start_seaweed(own_children, setup)
    kept = await store.get(store.media_bucket, "kept")
    assert kept is not None
    assert kept.body == BYTES
    await store.close()


async def test_seaweed_reports_new_uploads_with_the_token(own_children: Children, setup: SeaweedSetup) -> None:
    requests: asyncio.Queue[bytes] = asyncio.Queue()

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        requests.put_nowait(head + await reader.readexactly(length))
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(receive, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/events/storage"
        reporting = replace(setup, webhook=Webhook(url, "the-token", StorageSettings().upload_bucket), durable=False)
        store = store_at(await start_seaweed(own_children, reporting), setup)
        await store.ensure_buckets()
        for bucket in (store.media_bucket, store.upload_bucket):
            await store.put(
                bucket, "a/b.jpg", BYTES, content_type="image/jpeg", cache_control="x", metadata={}, sha256=SHA256
            )
        found = None
        while found is None:
            head, _, body = (await asyncio.wait_for(requests.get(), timeout=10)).partition(b"\r\n\r\n")
            assert b"Authorization: Bearer the-token" in head
            found = created_object(httpx.Response(200, content=body).json())
        assert found == (store.upload_bucket, "a/b.jpg")
        await store.close()
        await own_children.stop_all()


async def test_a_part_that_cannot_start_is_named_with_its_last_words(own_children: Children) -> None:
    script = "import sys; sys.exit('the port is taken')"
    part = Part("edge", [sys.executable, "-c", script], {}, "http://127.0.0.1:9/")
    with pytest.raises(StartFailed, match=r"edge ended with code 1\. The end of .*edge\.log:\nthe port is taken"):
        await start_part(own_children, part)


async def test_stopping_takes_grandchildren_and_the_stubborn_along(own_children: Children, tmp_path: Path) -> None:
    script = "trap '' TERM; sleep 1000 & echo $! > grandchild; echo ready > ready; wait; wait; sleep 1000"
    child = await own_children.start("stubborn", ["sh", "-c", script], env=dict(os.environ), cwd=tmp_path, grace_s=0.1)

    async def ready() -> bool:
        return (tmp_path / "ready").exists()

    await own_children.wait_until(child, ready, timeout_s=10)
    await own_children.stop_all()
    assert child.process.returncode == -signal.SIGKILL
    assert not is_alive(int((tmp_path / "grandchild").read_text()))


def test_children_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    script = """
        import asyncio, os, sys
        from pathlib import Path
        from service.dev.processes import Children

        async def main():
            child = await Children(Path(sys.argv[1])).start("sleeper", ["sleep", "1000"], env=dict(os.environ))
            print(child.process.pid, flush=True)
            await child.process.wait()

        asyncio.run(main())
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert is_alive(child)
        parent.kill()
    # Ready to read once the process is gone; the kernel tells, nobody sleeps.
    try:
        descriptor = os.pidfd_open(child)
    except ProcessLookupError:
        return
    with os.fdopen(descriptor, "rb", buffering=0) as gone:
        import select

        assert select.select([gone], [], [], 10)[0]


def is_alive(process_id: int) -> bool:
    try:
        state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_ports_stay_the_same_while_they_are_free(tmp_path: Path) -> None:
    remembered = tmp_path / "ports.json"
    first = choose_ports(["api", "edge"], remembered, {})
    assert choose_ports(["api", "edge"], remembered, {}) == first
    with socket.create_server(("127.0.0.1", first["edge"])):
        second = choose_ports(["api", "edge"], remembered, {})
    assert second["api"] == first["api"]
    assert second["edge"] != first["edge"]
    assert choose_ports(["api", "edge"], remembered, {"api": 8080})["api"] == 8080


def test_keys_are_kept_and_only_their_owner_may_read_them(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    assert kept_keys(path) == kept_keys(path) != new_keys()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_folder_takes_one_stack_at_a_time(tmp_path: Path) -> None:
    with (
        claimed(tmp_path),
        pytest.raises(StartFailed, match=rf"already runs .*process {os.getpid()}"),
        claimed(tmp_path),
    ):
        pytest.fail("claimed twice")
    with claimed(tmp_path):
        pass


def test_settings_survive_the_way_through_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    ports = {"api": 1, "edge": 2, "worker": 3}
    made = dev_settings(new_keys(), mongo_uri="mongodb://127.0.0.1:4/", s3_url="http://127.0.0.1:5", ports=ports)
    for name, value in variables_of(made, ("mongo", "storage", "delivery", "auth", "http", "worker")).items():
        monkeypatch.setenv(name, value)
    assert Settings() == made


def test_variables_of_another_deployment_are_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    from service.dev.environment import environment_of

    monkeypatch.setenv("MEDIA_MONGO__DATABASE", "production")
    monkeypatch.setenv("MEDIA_LOG_LEVEL", "DEBUG")
    made = dev_settings(
        new_keys(), mongo_uri="mongodb://x/", s3_url="http://y", ports={"api": 1, "edge": 2, "worker": 3}
    )
    passed = environment_of(made, ("storage",))
    assert "MEDIA_MONGO__DATABASE" not in passed
    assert passed["MEDIA_LOG_LEVEL"] == "DEBUG"


def test_options_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEV_API_PORT", "8080")
    assert DevOptions().api_port == 8080
