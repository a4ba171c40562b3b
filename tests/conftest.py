"""Real servers for the suite: one mongod, SeaweedFS and MiniStack per session, on free ports, gone afterwards."""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import AsyncIterator, Iterator
from functools import cache
from pathlib import Path
from random import SystemRandom
from typing import Any
from uuid import uuid4

import botocore.session
import pytest
from pydantic import SecretStr
from pymongo import MongoClient

from service.dev.environment import dev_delivery
from service.dev.keys import DevKeys, new_keys
from service.dev.mongod import start_mongod
from service.dev.ports import FIRST as END_OF_PORTS
from service.dev.ports import is_usable
from service.dev.processes import Children
from service.dev.seaweed import PORT_NAMES, SeaweedSetup, start_seaweed
from service.dev.tokens import dev_issuer
from service.object_store import ObjectStore
from service.settings import AuthSettings, Environment, HttpSettings, LimitsSettings, MongoSettings, Settings
from service.settings.limits import PerRole
from tests.antivirus import Clamd, find_clamd, start_clamd
from tests.memory_folder import SERVER_FOLDERS, SHARED_MEMORY, has_room, remove_abandoned
from tests.servers import ORIGIN, StorageServer, start_ministack

REPOSITORY = Path(__file__).parent.parent
# Tests ask as one owner within seconds what people ask within hours; those of limits have their own.
UNHURRIED = LimitsSettings(reads=PerRole(), writes=PerRole(), live=PerRole())
# Below those of the embedded stack, and so are their partners for gRPC.
FIRST_PORT = 13_000
MINISTACK = REPOSITORY / ".venv-ministack" / "bin" / "python"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Whole files to each process, as fixtures are made for a file; all browser tests to one, with one stack."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "tests/e2e" if nodeid.startswith("tests/e2e/") else nodeid.partition("::")[0]

    return ByFile(config, log)


@pytest.fixture(scope="session", autouse=True)
def temporary_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """TMPDIR within this run's folders, so that what browsers and killed workers leave there goes with them."""
    folder = str(tmp_path_factory.mktemp("tmp"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", folder)
        patch.setattr(tempfile, "tempdir", folder)
        yield


@pytest.fixture(scope="session", autouse=True)
def shared_constants() -> Iterator[None]:
    """What every client reads anew, read once: botocore's models (100 ms of CPU), certificate authorities (24 ms)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "create_loader", cache(botocore.session.create_loader))
        patch.setattr(ssl, "create_default_context", cache(ssl.create_default_context))
        yield


@pytest.fixture(scope="session")
def ports() -> Iterator[int]:
    """Free ports, none of which a stack of `python -m service dev` or another process of the suite may choose as well.

    As there, the partner for gRPC, 10,000 above, is free too.
    """
    process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    mine = range(FIRST_PORT + process, END_OF_PORTS, processes)
    return filter(is_usable, SystemRandom().sample(mine, len(mine)))


@pytest.fixture(scope="session")
def server_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where servers keep their data that live as long as the run: in memory, where there is room for it.

    Each test's database is made with all its indexes, a file each that is forced to disk.
    """
    if not has_room(SHARED_MEMORY):
        yield tmp_path_factory.mktemp("servers")
        return
    remove_abandoned(SHARED_MEMORY)
    with tempfile.TemporaryDirectory(prefix=f"{SERVER_FOLDERS}{os.getpid()}-", dir=SHARED_MEMORY) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
async def children(tmp_path_factory: pytest.TempPathFactory, server_folder: Path) -> AsyncIterator[Children]:
    """Servers that are stopped before their folder goes."""
    started = Children(tmp_path_factory.mktemp("logs"))
    yield started
    await started.stop_all()


@pytest.fixture(scope="session")
async def mongod(children: Children, ports: Iterator[int], server_folder: Path) -> str:
    """The URI of a real single-node replica set."""
    return await start_mongod(children, server_folder / "mongod", next(ports))


@pytest.fixture(scope="session")
async def seaweed(children: Children, ports: Iterator[int], server_folder: Path) -> StorageServer:
    """The S3 server of the embedded stack."""
    setup = SeaweedSetup(
        folder=server_folder / "seaweed",
        ports={name: next(ports) for name in PORT_NAMES},
        access_key=f"key{uuid4().hex[:16]}",
        secret_key=uuid4().hex,
        origins=(ORIGIN,),
        durable=False,
    )
    return StorageServer("seaweed", await start_seaweed(children, setup), setup.access_key, setup.secret_key)


@pytest.fixture(scope="session")
async def ministack(children: Children, ports: Iterator[int]) -> StorageServer:
    """A second S3 server, of another make: it refuses things the first does not, and the other way round."""
    if not MINISTACK.exists():
        directions = "MiniStack is not installed: `make test` builds .venv-ministack."
        pytest.fail(directions) if os.environ.get("CI") else pytest.skip(directions)
    return await start_ministack(children, MINISTACK, next(ports))


@pytest.fixture(scope="session", params=["seaweed", "ministack"])
def storage_server(request: pytest.FixtureRequest) -> StorageServer:
    """Each S3 server in turn."""
    server: StorageServer = request.getfixturevalue(request.param)
    return server


@pytest.fixture(scope="session")
def clamd_executable() -> str:
    executable = find_clamd()
    if executable is None:
        directions = "clamd is not installed: sudo apt-get install clamav-daemon"
        pytest.fail(directions) if os.environ.get("CI") else pytest.skip(directions)
    return executable


@pytest.fixture(scope="session")
async def clamd(
    children: Children, clamd_executable: str, ports: Iterator[int], tmp_path_factory: pytest.TempPathFactory
) -> Clamd:
    """A real malware scanner that knows one signature."""
    return await start_clamd(children, clamd_executable, tmp_path_factory.mktemp("clamd"), next(ports))


@pytest.fixture(scope="module")
async def object_store(storage_server: StorageServer) -> AsyncIterator[ObjectStore]:
    """Two fresh buckets on each server in turn."""
    store = ObjectStore(storage_server.settings())
    await store.ensure_buckets()
    yield store
    await store.close()


@pytest.fixture(scope="module")
async def database_name(mongod: str) -> AsyncIterator[str]:
    """A database of the module's own, dropped afterwards."""
    name = f"test_{uuid4().hex[:12]}"
    yield name
    with MongoClient[dict[str, object]](mongod) as client:
        client.drop_database(name)


@pytest.fixture(scope="session")
def dev_keys() -> DevKeys:
    """Signing keys and the token secret behind `settings`; mint with `service.dev.tokens.mint_token`."""
    return new_keys()


@pytest.fixture(scope="module")
async def settings(mongod: str, database_name: str, seaweed: StorageServer, dev_keys: DevKeys) -> Settings:
    """Development settings on real servers: the module's own database and (existing) buckets."""
    storage = seaweed.settings()
    store = ObjectStore(storage)
    await store.ensure_buckets()
    await store.close()
    return Settings(
        environment=Environment.DEVELOPMENT,
        mongo=MongoSettings(uri=SecretStr(mongod), database=database_name),
        storage=storage,
        http=HttpSettings(allowed_origins=(ORIGIN,), introspection=True),
        delivery=dev_delivery(dev_keys, "http://127.0.0.1:8090"),
        auth=AuthSettings(issuers=(dev_issuer(dev_keys.token_secret),)),
        limits=UNHURRIED,
    )


@pytest.fixture
async def fresh_settings(settings: Settings) -> AsyncIterator[Settings]:
    """`settings` with an empty database of the test's own."""
    name = f"test_{uuid4().hex[:12]}"
    mongo = settings.mongo.model_copy(update={"database": name})
    yield settings.model_copy(update={"mongo": mongo})
    with MongoClient[dict[str, object]](mongo.uri.get_secret_value()) as client:
        client.drop_database(name)
