"""The whole service on one machine, until Ctrl-C."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from indexes.ensure import rebuild
from service.access import MODERATOR_ROLE, SERVICE_ROLE
from service.dev.announcement import announce
from service.dev.edge.app import VIA
from service.dev.environment import dev_settings, environment_of, origins_of, variables_of
from service.dev.folder import DevOptions, forget_urls, wanted_ports, write_environment, write_urls
from service.dev.keys import DevKeys, kept_keys
from service.dev.mongod import start_mongod
from service.dev.ports import choose_ports
from service.dev.processes import Child, Children, StartFailed
from service.dev.sample_upload import upload_samples
from service.dev.seaweed import PORT_NAMES, SeaweedSetup, Webhook, start_seaweed
from service.dev.supervision import Part, expect_to_live, keep_running, start_part
from service.dev.tokens import mint_token
from service.errors import TemporarilyUnavailable
from service.migrations import MigrationOptions, Observer, migrate
from service.object_keys import probe_key
from service.object_store import ObjectStore
from service.settings import Settings, StorageSettings
from service.stores.database import Database, open_database
from service.stores.migrations import MigrationStore

# What each process may know: the worker signs for itself alone, to ask the edge; the edge needs no database.
GROUPS = {
    "edge": ("storage", "delivery", "http"),
    "api": ("mongo", "storage", "delivery", "cdn", "auth", "http"),
    "worker": ("mongo", "storage", "worker", "cdn", "delivery", "webhooks"),
}
_RECEIVER = "webhooks"

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def run_until_stopped(options: DevOptions, console: Console) -> None:
    """Run the embedded stack until Ctrl-C or SIGTERM. Raises StartFailed if a part does not start."""
    _cancel_on_signal(asyncio.get_running_loop(), asyncio.current_task())
    children = Children(options.folder / "logs")
    try:
        await _run(options, children, console)
    except asyncio.CancelledError:
        console.print("Stopping ...")
    finally:
        await children.stop_all()
        forget_urls(options.folder)


def _cancel_on_signal(loop: asyncio.AbstractEventLoop, running: asyncio.Task[None] | None) -> None:
    def stop() -> None:
        # The first one is enough: a second must not interrupt the tidying up.
        for each in _STOP_SIGNALS:
            loop.add_signal_handler(each, lambda: None)
        if running is not None:
            running.cancel()

    for each in _STOP_SIGNALS:
        loop.add_signal_handler(each, stop)


async def _run(options: DevOptions, children: Children, console: Console) -> None:
    folder = options.folder
    keys = kept_keys(folder / "keys.json")
    ports = _ports(options)
    with console.status("Starting the database and the S3 server ..."):
        settings = await _start_engines(children, options, keys, ports)
        engines = children.running
        try:
            await prepare(settings)
        except StartFailed as error:
            words = next(engine.last_words() for engine in engines if engine.name == "seaweed")
            raise StartFailed(f"{error}\n{words}") from None
    with console.status("Starting the API, the worker and the edge ..."):
        parts = _parts(settings, ports, _fresh(folder / "tmp"))
        started = await asyncio.gather(*(start_part(children, part) for part in parts))
    urls = _urls(settings, ports)
    write_urls(folder, urls)
    write_environment(folder, variables_of(settings, sorted({*GROUPS["api"], *GROUPS["worker"]})))
    announce(console, urls, folder)
    if options.samples:
        await upload_samples(children, folder, console)
    await _supervise(children, engines, dict(zip(parts, started, strict=True)), console)


def _ports(options: DevOptions) -> dict[str, int]:
    wanted = wanted_ports(options)
    names = [*wanted, "worker", *PORT_NAMES, *([_RECEIVER] if options.webhooks else [])]
    return choose_ports(names, options.folder / "ports.json", wanted)


async def _start_engines(children: Children, options: DevOptions, keys: DevKeys, ports: Mapping[str, int]) -> Settings:
    folder = options.folder
    setup = SeaweedSetup(
        folder=folder / "objects",
        ports={name: ports[name] for name in PORT_NAMES},
        access_key=keys.storage_access_key,
        secret_key=keys.storage_secret_key,
        origins=(*origins_of(ports["api"]), *options.origins),
        webhook=Webhook(
            url=f"http://127.0.0.1:{ports['api']}/events/storage",
            bearer_token=keys.event_token,
            bucket=StorageSettings().upload_bucket,
        ),
    )
    mongo_uri, s3_url = await asyncio.gather(
        start_mongod(children, folder / "mongod", ports["mongod"]), start_seaweed(children, setup)
    )
    return dev_settings(keys, mongo_uri=mongo_uri, s3_url=s3_url, ports=ports, more_origins=options.origins)


async def prepare(settings: Settings) -> None:
    """Buckets, indexes and migrations; StartFailed if storage does not keep objects."""
    store = ObjectStore(settings.storage)
    try:
        await store.ensure_buckets()
        if not await store.keeps(store.media_bucket, probe_key()):
            raise StartFailed("The S3 server does not keep objects: one just written could not be read again.")
        async with open_database(settings.mongo) as database:
            # Data of an earlier version may be here; its indexes are ours to rebuild, and others are left alone.
            await rebuild(database.handle)
            await _migrate(database)
    except TemporarilyUnavailable as error:
        raise StartFailed(f"The S3 server does not keep objects: {error.__cause__ or error.message}") from error
    finally:
        await store.close()


async def _migrate(database: Database) -> None:
    """Whoever starts the embedded stack has its data to themselves; elsewhere a person decides when."""
    watching = Observer(
        on_page=lambda _: None,
        # `doctor` and `migrate` name them, and everything else works.
        on_refusal=lambda _: None,
        on_wait=lambda _: None,
    )
    options = MigrationOptions(rate=100_000)
    await migrate(options, name="embedded stack", store=MigrationStore(database), observer=watching)


def _fresh(folder: Path) -> Path:
    # What a killed worker leaves in it goes with the next start.
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    return folder.resolve()


def _parts(settings: Settings, ports: Mapping[str, int], temporary: Path) -> list[Part]:
    paths = {"edge": "/", "api": "/readyz", "worker": "/healthz"}
    parts = [
        Part(
            name=name,
            argv=[sys.executable, "-m", "service", name],
            env={**environment_of(settings, groups), **_told(settings), "TMPDIR": str(temporary)},
            health_url=f"http://127.0.0.1:{ports[name]}{paths[name]}",
            health_header=("via", VIA) if name == "edge" else None,
        )
        for name, groups in GROUPS.items()
    ]
    receivers = [
        Part(
            name=_RECEIVER,
            argv=[sys.executable, "-m", "service", "webhooks", "receive"],
            env=environment_of(settings, ("webhooks",)),
            health_url=receiver.url,
        )
        for receiver in settings.webhooks.receivers
    ]
    return parts + receivers


def _told(settings: Settings) -> dict[str, str]:
    """What a process has to know of webhooks that does not send them: that events are to be noted."""
    return {"MEDIA_WEBHOOKS__ENABLED": str(settings.webhooks.enabled).lower()}


def _urls(settings: Settings, ports: Mapping[str, int]) -> dict[str, str]:
    base = f"127.0.0.1:{ports['api']}"
    issuer = settings.auth.issuers[0]
    return {
        "demo": f"http://{base}/",
        "graphql": f"http://{base}/graphql",
        "websocket": f"ws://{base}/graphql",
        "edge": settings.delivery.base_url,
        "s3": f"http://127.0.0.1:{ports['s3']}",
        "mongodb": settings.mongo.uri.get_secret_value(),
        "worker_metrics": f"http://127.0.0.1:{ports['worker']}/metrics",
        "token": mint_token(issuer, "demo"),
        "moderator_token": mint_token(issuer, "moderator", roles=[MODERATOR_ROLE]),
        "service_token": mint_token(issuer, "jobs", roles=[SERVICE_ROLE]),
    }


async def _supervise(
    children: Children, engines: Sequence[Child], parts: Mapping[Part, Child], console: Console
) -> None:
    def report(text: str) -> None:
        console.print(Text(text, style="yellow"), soft_wrap=True)

    try:
        async with asyncio.TaskGroup() as group:
            for engine in engines:
                group.create_task(expect_to_live(engine))
            for part, child in parts.items():
                group.create_task(keep_running(children, part, child, report))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
