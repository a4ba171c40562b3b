"""What a round of chaos is played on: database, storage, edge, two APIs, two workers, and a proxy at each joint."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import jwt
from pydantic import SecretStr

from service.dev.environment import dev_settings, environment_of
from service.dev.keys import DevKeys, new_keys
from service.dev.ports import free_ports
from service.dev.processes import Child, Children, StartFailed
from service.dev.seaweed import PORT_NAMES, SeaweedSetup, Webhook, start_seaweed
from service.dev.stack import GROUPS, prepare
from service.dev.supervision import Part, start_part
from service.settings import MongoSettings, Settings
from tests.chaos.event_relay import EventRelay
from tests.chaos.ledger import Ledger
from tests.chaos.proxies import Proxies, Proxy
from tests.chaos.replica_set import ReplicaSet
from tests.chaos.skewed_clock import SkewedClock, build_clock
from tests.chaos.webhook_receiver import WebhookReceiver

REPOSITORY = Path(__file__).parents[2]
APIS, WORKERS = ("api-1", "api-2"), ("worker-1", "worker-2")
LEASE_S = 3
# Leases, sweeps and pauses that fit a run of minutes, not hours; deadlines of the database are those of production.
_WORKER = {
    "MEDIA_WORKER__LEASE_S": str(LEASE_S),
    "MEDIA_WORKER__SWEEP_S": "2",
    "MEDIA_WORKER__POLL_S": "0.2",
    "MEDIA_WORKER__BACKOFF_S": "[0.5,1,2,4]",
    "MEDIA_WORKER__OUTAGE_RETRY_S": "1",
    "MEDIA_WORKER__DRAIN_S": "2",
    "MEDIA_ANNOTATORS__ENABLED": "[]",
    "MEDIA_CDN__POLL_S": "0.5",
    "MEDIA_WEBHOOKS__BACKOFF_S": "[0.5,1,2]",
}
# They note events; those who send them know more.
_API = {"MEDIA_WEBHOOKS__ENABLED": "true"}
_START_S = 90.0


@dataclass(eq=False)
class Process:
    """One API or worker. `is_down`: it was killed by us; one that ended and was not is a finding.

    `turn` is held by what is being done to it, one at a time.
    """

    part: Part
    clock: SkewedClock | None
    child: Child | None = None
    is_down: bool = False
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def name(self) -> str:
        return self.part.name

    def signal(self, number: signal.Signals) -> None:
        assert self.child is not None
        os.kill(self.child.process.pid, number)

    def kill(self) -> None:
        """As the kernel does where memory runs out: the process alone, without a word."""
        self.is_down = True
        self.signal(signal.SIGKILL)

    async def start(self, children: Children) -> None:
        """Start it and wait until it answers; again where what it needs at the start is away."""
        deadline = time.monotonic() + _START_S
        while True:
            if self.child is not None:
                await children.stop(self.child)
            try:
                self.child = await start_part(children, self.part)
            except StartFailed:
                if time.monotonic() > deadline:
                    raise
                self.child = next((each for each in children.running if each.name == self.name), None)
            else:
                self.is_down = False
                return


@dataclass
class World:
    """`settings`: what reaches everything past the storage proxies, for the audit. `api_urls`: each API by itself."""

    settings: Settings
    folder: Path
    children: Children
    database: ReplicaSet
    storage: Mapping[str, Proxy]
    gateway: Proxy
    events: EventRelay
    api_urls: tuple[str, ...] = ()
    processes: dict[str, Process] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.gateway.port}"

    def deaths(self) -> list[str]:
        """Of everything that was started here and has ended by itself, a sentence and its last words."""
        killed = {each.name for each in (*self.processes.values(), *self.database.members) if each.is_down}
        return [
            f"{child.name} ended by itself. {child.last_words()}"
            for child in self.children.running
            if child.process.returncode is not None and child.name not in killed
        ]

    def token(self, subject: str) -> str:
        """Issued a while ago: clocks that are behind take none from the future."""
        issuer, now = self.settings.auth.issuers[0], datetime.now(UTC)
        assert issuer.key is not None
        claims = {"iss": issuer.issuer, "aud": issuer.audience, "sub": subject, "roles": []}
        times = {"iat": now - timedelta(hours=2), "exp": now + timedelta(days=7)}
        return jwt.encode(claims | times, issuer.key.get_secret_value(), algorithm=str(issuer.algorithm))

    def environment(self, name: str) -> dict[str, str]:
        """Of the process `name`: its own way to storage, and a name for its connections to the database."""
        kind = name.partition("-")[0]
        settings = self.settings
        here = settings.storage.model_copy(
            update={
                "endpoint": f"http://127.0.0.1:{self.storage[kind].port}",
                "public_endpoint": f"http://127.0.0.1:{self.storage['client'].port}",
            }
        )
        uri = SecretStr(f"{self.database.uri}&appname={kind}")
        settings = settings.model_copy(update={"storage": here, "mongo": MongoSettings(uri=uri)})
        return {
            **environment_of(settings, GROUPS[kind]),
            **(_WORKER if kind == "worker" else _API),
            "MEDIA_LOG_LEVEL": "WARNING",
            "TMPDIR": str(self.folder),
            "PYTHONPATH": str(REPOSITORY),
        }


@asynccontextmanager
async def running_world(folder: Path, random: Random, ledger: Ledger) -> AsyncIterator[World]:
    """Everything started and healthy; stopped and closed at the end. `random`: how events are passed on.

    What the receiver of webhooks is sent goes into the ledger.
    """
    keys, ports = new_keys(), free_ports()
    async with AsyncExitStack() as stack:
        children = Children(folder / "logs")
        relay = EventRelay(keys.event_token, random)
        await relay.start()
        stack.push_async_callback(relay.close)
        receiver = WebhookReceiver(ledger)
        await receiver.start()
        stack.push_async_callback(receiver.close)
        proxies = Proxies()
        await proxies.start()
        stack.push_async_callback(proxies.close)
        database = ReplicaSet(children, folder, ports, proxies)
        # Last, so that processes end before what they talk to.
        stack.push_async_callback(children.stop_all)
        seaweed = _seaweed(folder, {name: next(ports) for name in PORT_NAMES}, keys, relay)
        s3_url, _ = await asyncio.gather(start_seaweed(children, seaweed), database.start())
        of_processes = {name: next(ports) for name in (*APIS, *WORKERS, "edge")}
        s3 = seaweed.ports["s3"]
        storage = {name: await proxies.open([s3]) for name in ("api", "worker", "client")}
        gateway = await proxies.open([of_processes[name] for name in APIS])
        given = {"api": gateway.port, "edge": of_processes["edge"], "worker": 0, "webhooks": receiver.port}
        settings = dev_settings(keys, mongo_uri=database.uri, s3_url=s3_url, ports=given)
        await prepare(settings)
        apis = tuple(f"http://127.0.0.1:{of_processes[name]}" for name in APIS)
        world = World(settings, folder, children, database, storage, gateway, relay, apis)
        relay.target = f"{world.url}/events/storage"
        await _start_processes(world, of_processes)
        yield world


def _seaweed(folder: Path, ports: dict[str, int], keys: DevKeys, relay: EventRelay) -> SeaweedSetup:
    webhook = Webhook(f"http://127.0.0.1:{relay.port}/", keys.event_token, "media-uploads")
    return SeaweedSetup(
        folder=folder / "objects",
        ports=ports,
        access_key=keys.storage_access_key,
        secret_key=keys.storage_secret_key,
        origins=(),
        webhook=webhook,
        durable=False,
    )


async def _start_processes(world: World, ports: Mapping[str, int]) -> None:
    library = build_clock(world.folder)
    for name in (*APIS, *WORKERS):
        clock = None if library is None else SkewedClock(library, world.folder / f"{name}.clock")
        world.processes[name] = Process(_part(world, name, ports[name], clock), clock)
    edge = Part(
        name="edge",
        argv=[sys.executable, "-m", "service", "edge"],
        env={**environment_of(world.settings, GROUPS["edge"]), "PYTHONPATH": str(REPOSITORY)},
        health_url=f"http://127.0.0.1:{ports['edge']}/",
    )
    starting = [process.start(world.children) for process in world.processes.values()]
    await asyncio.gather(start_part(world.children, edge), *starting)


def _part(world: World, name: str, port: int, clock: SkewedClock | None) -> Part:
    kind = name.partition("-")[0]
    variable = {"api": "MEDIA_HTTP__PORT", "worker": "MEDIA_WORKER__METRICS_PORT"}[kind]
    path = {"api": "/readyz", "worker": "/healthz"}[kind]
    return Part(
        name=name,
        argv=[sys.executable, "-m", "service", kind],
        env={**world.environment(name), variable: str(port), **({} if clock is None else clock.environment)},
        health_url=f"http://127.0.0.1:{port}{path}",
        grace_s=3,
    )
