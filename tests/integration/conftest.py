"""A running service in this process: the real API over HTTP on loopback, a real worker, real servers below."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import httpx
import pytest
import uvicorn
from anyio import to_thread
from starlette.applications import Starlette

from indexes.ensure import ensure
from service import deletion
from service.app import create_app
from service.change_feed import ChangeFeed
from service.dev.edge import edge_from_settings
from service.dev.storage_events import created_object
from service.dev.tokens import mint_token
from service.invalidation.cloudfront import CloudFront
from service.object_store import ObjectStore
from service.processing.jail import Jail
from service.runtime import Runtime, open_runtime
from service.settings import CdnSettings, Settings
from service.stores import bind_stores
from service.stores.database import Database, open_database
from service.telemetry import Metrics
from service.worker_process import build_worker, dispatch_forever, open_dispatch
from tests.api_client import ApiClient
from tests.audit_storage import Auditor
from tests.integration.effects import Witness
from tests.invalidation_stand import ROOT, Distribution, Stand, create_distribution
from tests.servers import StorageServer
from tests.webhook_stand import Post, ReceiverStand, receiving


@asynccontextmanager
async def served(app: object, port: int) -> AsyncIterator[str]:
    """`app` on a loopback port until the block ends."""
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]
        host="127.0.0.1",
        port=port,
        log_config=None,
        access_log=False,
        ws="websockets-sansio",
        proxy_headers=False,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve())
    while not server.started:
        if serving.done():
            serving.result()
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await serving


@dataclass
class RunningService:
    settings: Settings
    runtime: Runtime
    url: str
    jail: Jail
    app: Starlette

    @property
    def change_feed(self) -> ChangeFeed:
        feed: ChangeFeed = self.app.state.change_feed
        return feed

    def client(self, subject: str | None, *, roles: tuple[str, ...] = ()) -> ApiClient:
        issuer = self.settings.auth.issuers[0]
        token = None if subject is None else mint_token(issuer, subject, roles=list(roles))
        return ApiClient(self.url, token)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """A worker, for as long as the block lasts, and what tells the edge to forget."""
        worker, dispatch = build_worker(self.runtime, self.jail), open_dispatch(self.runtime)
        assert dispatch is not None
        running = asyncio.create_task(worker.run())
        dispatching = asyncio.create_task(dispatch_forever(dispatch, poll_s=self.settings.cdn.poll_s))
        try:
            yield
        finally:
            worker.stop()
            dispatching.cancel()
            await asyncio.gather(dispatching, return_exceptions=True)
            await running


@pytest.fixture(scope="session")
async def jail() -> AsyncIterator[Jail]:
    async with Jail(memory_bytes=1_500_000_000, cpu_s=20) as confined:
        yield confined


@pytest.fixture(scope="module")
async def service(settings: Settings, ports: Iterator[int], jail: Jail) -> AsyncIterator[RunningService]:
    """API and edge on real servers; start a worker with `working()`."""
    edge_port = next(ports)
    # New jobs ring; only what was put off waits for the next look. Five times as many looks cost a quarter of a core.
    worker = settings.worker.model_copy(
        update={"poll_s": 0.1, "concurrency": 2, "backoff_s": (0.05,), "outage_retry_s": 0.05}
    )
    delivery = settings.delivery.model_copy(update={"base_url": f"http://127.0.0.1:{edge_port}"})
    cdn = CdnSettings(distribution_id="EDGE", endpoint=delivery.base_url, poll_s=0.1)
    settings = settings.model_copy(update={"delivery": delivery, "cdn": cdn, "worker": worker})
    async with open_runtime(settings, Metrics()) as runtime:
        await ensure(runtime.database.handle)
        app = create_app(settings, read_storage_event=created_object)
        async with served(app, next(ports)) as url, served(edge_from_settings(settings), edge_port):
            yield RunningService(settings, runtime, url, jail, app)


@pytest.fixture(scope="module")
async def second_url(service: RunningService, ports: Iterator[int]) -> AsyncIterator[str]:
    """Another API over the same database, with connections and caches of its own."""
    async with served(create_app(service.settings), next(ports)) as url:
        yield url


@pytest.fixture(scope="module")
def witness(service: RunningService) -> Iterator[Witness]:
    """Sees everything that the module's database and buckets hold."""
    auditor = Auditor(service.settings)
    yield Witness(service.runtime.database.handle, auditor)
    auditor.close()


@pytest.fixture
def no_deletion_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """Originals go with the deletion job's first run, as those of a purpose without a window do."""
    policies = {
        purpose: policy.model_copy(update={"deletion_window_s": 0}) for purpose, policy in deletion.POLICIES.items()
    }
    monkeypatch.setattr(deletion, "POLICIES", policies)


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
async def distribution(ministack: StorageServer) -> AsyncIterator[Distribution]:
    made = await to_thread.run_sync(create_distribution, ministack.endpoint)
    yield made
    made.client.close()


@pytest.fixture(scope="module")
def cloudfront(distribution: Distribution) -> CloudFront:
    return CloudFront(distribution.settings(), ROOT)


@pytest.fixture(scope="module")
async def connected(settings: Settings) -> AsyncIterator[tuple[Database, ObjectStore]]:
    object_store = ObjectStore(settings.storage)
    async with open_database(settings.mongo) as database:
        await ensure(database.handle)
        yield database, object_store
    await object_store.close()


@pytest.fixture
async def post(connected: tuple[Database, ObjectStore]) -> AsyncIterator[Post]:
    """What workers do for webhooks, on a database without media, deletions or receivers."""
    database, _ = connected
    opened = Post(database)
    yield opened
    await opened.close()
    for name in ("webhook_receivers", "webhook_streams", "webhook_deliveries", "media", "deletions"):
        await database.handle[name].delete_many({})


@pytest.fixture
async def receiver(ports: Iterator[int]) -> AsyncIterator[ReceiverStand]:
    async with receiving(next(ports), "orders") as opened:
        yield opened


@pytest.fixture
async def stand(
    connected: tuple[Database, ObjectStore], distribution: Distribution, cloudfront: CloudFront
) -> AsyncIterator[Stand]:
    database, object_store = connected
    since_now = replace(distribution, before=distribution.ids())
    yield Stand(database, bind_stores(database, invalidates=True), object_store, since_now, cloudfront, Metrics())
    for name in ("invalidations", "invalidation_batches", "deletions", "distributions"):
        await database.handle[name].delete_many({})
