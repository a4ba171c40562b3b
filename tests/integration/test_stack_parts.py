"""The parts of the embedded stack: data is kept, doors are shut, and nothing is left behind."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import select
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from botocore.config import Config
from pymongo import MongoClient
from rich.console import Console

from service.dev.edge.app import VIA
from service.dev.environment import dev_settings, variables_of
from service.dev.folder import DevOptions, claimed, read_options, read_urls, write_urls
from service.dev.keys import kept_keys, new_keys
from service.dev.mongod import start_mongod
from service.dev.ports import GRPC_OFFSET, choose_ports, grpc_sockets
from service.dev.processes import Children, StartFailed
from service.dev.sample_upload import upload_samples
from service.dev.seaweed import PORT_NAMES, SeaweedSetup, Webhook, start_seaweed
from service.dev.stack import prepare
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
    filer = f"http://127.0.0.1:{setup.ports['filer']}/buckets/{store.media_bucket}"
    async with httpx.AsyncClient() as client:
        for method in ("GET", "DELETE", "PUT"):
            for path in ("kept", "kept.versions/"):
                assert (await client.request(method, f"{filer}/{path}")).status_code == 401
    sockets = [each for port in setup.ports.values() for each in grpc_sockets(port)]
    assert sockets
    (server,) = own_children.running
    os.killpg(server.process.pid, signal.SIGKILL)
    await own_children.stop(server)
    assert not [each for each in sockets if each.exists()]

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
    assert_ends(int((tmp_path / "grandchild").read_text()))


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
    assert_ends(child)


def assert_ends(process_id: int) -> None:
    """A process that was killed is gone in a moment: ready to read then; the kernel tells, nobody sleeps."""
    try:
        descriptor = os.pidfd_open(process_id)
    except ProcessLookupError:
        return
    with os.fdopen(descriptor, "rb", buffering=0) as gone:
        assert select.select([gone], [], [], 10)[0]


def is_alive(process_id: int) -> bool:
    try:
        state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_ports_stay_the_same_and_others_only_stand_in(tmp_path: Path) -> None:
    remembered = tmp_path / "ports.json"
    assert choose_ports(["api", "edge"], remembered, {"edge": 8081})["edge"] == 8081
    first = choose_ports(["api", "edge"], remembered, {})
    assert first["edge"] != 8081, "a port that was asked for once is not kept"
    with socket.create_server(("127.0.0.1", first["edge"])):
        second = choose_ports(["api", "edge"], remembered, {})
    assert second["api"] == first["api"]
    assert second["edge"] != first["edge"]
    assert choose_ports(["api", "edge"], remembered, {"api": 8080}) == {"api": 8080, "edge": first["edge"]}
    assert choose_ports(["api", "edge"], remembered, {}) == first


def test_a_port_asked_for_is_given_to_nobody_else(tmp_path: Path) -> None:
    remembered = tmp_path / "ports.json"
    kept = choose_ports(["s3", "api", "volume"], remembered, {})
    chosen = choose_ports(["s3", "api", "volume"], remembered, {"api": kept["s3"]})
    assert len(set(chosen.values())) == 3
    assert chosen["api"] == kept["s3"]
    beside = choose_ports(["s3", "api", "volume"], remembered, {"api": kept["volume"] + GRPC_OFFSET})
    assert beside["volume"] != kept["volume"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can leave a socket of another user in /tmp")
def test_ports_with_another_users_socket_are_passed_over(tmp_path: Path, ports: Iterator[int]) -> None:
    port = next(ports)
    foreign = Path(f"/tmp/seaweedfs-volume-grpc-{port + GRPC_OFFSET}.sock")
    script = """
        import json, os, sys
        from pathlib import Path
        from service.dev.ports import choose_ports, grpc_obstacle

        os.setuid(65534)
        port = int(sys.argv[1])
        remembered = Path(sys.argv[2])
        remembered.write_text(json.dumps({"volume": port}))
        print(choose_ports(["volume"], remembered, {})["volume"], grpc_obstacle(port))
    """
    # The folders of pytest are closed to that user.
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o777)
        foreign.touch()
        try:
            said = subprocess.run(
                [sys.executable, "-c", textwrap.dedent(script), str(port), f"{folder}/ports.json"],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        finally:
            foreign.unlink()
    assert int(said.split()[0]) != port
    assert "another user's socket" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user without privileges")
def test_a_privileged_port_is_not_said_to_be_in_use() -> None:
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 80:
        pytest.skip("every user may take port 80 here")
    script = "import os; from service.dev.ports import obstacle; os.setuid(65534); print(obstacle(80))"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert said == "is for privileged users alone: set one from 1024 up\n"


async def test_logs_of_the_run_before_are_kept(tmp_path: Path) -> None:
    for run in ("first", "second", "third"):
        children = Children(tmp_path)
        for _ in range(2):
            child = await children.start("part", ["echo", run], env=dict(os.environ))
            await child.process.wait()
            await children.stop(child)
    assert (tmp_path / "part.log").read_text() == "third\nthird\n"
    assert (tmp_path / "part.previous.log").read_text() == "second\nsecond\n"


async def test_another_server_on_its_port_is_not_taken_for_the_edge(own_children: Children) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        script = "import sys; sys.exit('the port is taken')"
        part = Part("edge", [sys.executable, "-c", script], {}, url, health_header=("via", VIA))
        with pytest.raises(StartFailed, match="the port is taken"):
            await start_part(own_children, part)


async def test_the_sample_upload_gives_up_and_shows_why(
    own_children: Children, tmp_path: Path, ports: Iterator[int]
) -> None:
    output = io.StringIO()
    # Accepts connections and never answers.
    with socket.create_server(("127.0.0.1", next(ports))) as silent:
        write_urls(tmp_path, {"graphql": f"http://127.0.0.1:{silent.getsockname()[1]}/graphql", "token": "x"})
        await upload_samples(own_children, tmp_path, Console(file=output, width=200), timeout_s=2)
    assert "were not uploaded within 2 s" in output.getvalue()
    assert "samples.log" in output.getvalue()
    assert not own_children.running
    assert not (tmp_path / "samples-uploaded").exists()


async def test_storage_that_keeps_nothing_is_told(
    own_children: Children, setup: SeaweedSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A volume server that nothing reaches: the way to it is gone, as when another user's socket is there.
    endpoint = await start_seaweed(own_children, setup)
    secret: Any = setup.secret_key
    settings = Settings(storage=StorageSettings(endpoint=endpoint, access_key=setup.access_key, secret_key=secret))
    (volume,) = [each for each in grpc_sockets(setup.ports["volume"]) if "-volume-" in each.name]
    volume.unlink()
    hasty = Config(s3={"addressing_style": "path"}, read_timeout=4, retries={"total_max_attempts": 1})
    monkeypatch.setattr("service.storage_calls._client_config", lambda: hasty)
    with pytest.raises(StartFailed, match="does not keep objects"):
        await prepare(settings)


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


def test_a_new_folder_hides_itself_from_git_and_another_stays_as_it_is(tmp_path: Path) -> None:
    with claimed(tmp_path / "new"):
        assert (tmp_path / "new" / ".gitignore").read_text() == "*\n"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").touch()
    with claimed(tmp_path / "mine"):
        assert not (tmp_path / "mine" / ".gitignore").exists()


def test_a_folder_that_cannot_be_used_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(StartFailed, match=r"/file/dev cannot be used: Not a directory\. Set DEV_FOLDER"),
        claimed(tmp_path / "file" / "dev"),
    ):
        pytest.fail("claimed")
    assert read_urls(tmp_path / "file" / "dev") == {}


def test_settings_survive_the_way_through_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    ports = {"api": 1, "edge": 2, "worker": 3}
    made = dev_settings(new_keys(), mongo_uri="mongodb://127.0.0.1:4/", s3_url="http://127.0.0.1:5", ports=ports)
    for name, value in variables_of(made, ("mongo", "storage", "delivery", "cdn", "auth", "http", "worker")).items():
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


@pytest.mark.parametrize(
    ("given", "origins"),
    [
        ("", ()),
        ("http://localhost:5173", ("http://localhost:5173",)),
        (
            " http://127.0.0.1:3000/, https://App.Example ,http://[::1]:1,https://app.example:443,",
            ("http://127.0.0.1:3000", "https://app.example", "http://[::1]:1"),
        ),
        ("http://shop.localhost:80", ("http://shop.localhost",)),
    ],
)
def test_origins_are_read_as_browsers_write_them(
    monkeypatch: pytest.MonkeyPatch, given: str, origins: tuple[str, ...]
) -> None:
    monkeypatch.setenv("DEV_ORIGINS", given)
    assert DevOptions().origins == origins


@pytest.mark.parametrize(
    "given",
    [
        "*",
        "localhost:5173",
        "http://app.example",
        "http://localhost.example:5173",
        "http://127.0.0.1.example",
        "http://localhost:5173/page",
        "http://localhost:70000",
        "https://user@app.example",
        "https://app.example; img-src *",
        "https://*.example",
        "ws://localhost:5173",
        "http://localhost:5173 http://localhost:5174",
    ],
)
def test_what_is_no_origin_of_a_developers_page_is_refused(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("DEV_ORIGINS", given)
    with pytest.raises(StartFailed, match=r"DEV_ORIGINS is .*: it must be origins such as http://localhost:5173"):
        read_options()
