"""MongoDB with its data in a folder, and an API on any of its databases."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from anyio import to_thread

from benchmarks.feed.servers import our_server
from benchmarks.search.loading import (
    Loaded,
    Population,
    build_indexes,
    connect,
    copy_first,
    drop_indexes,
    has_declared_indexes,
    load_population,
    sizes,
    write_more,
    write_population,
)
from benchmarks.search.population import mark
from service.dev.environment import dev_settings
from service.dev.keys import new_keys
from service.dev.mongod import start_mongod
from service.dev.ports import free_ports
from service.dev.processes import Child, Children
from service.dev.supervision import start_part
from service.settings import Settings

CACHE_GB: Final = 2
# What the API logs.
_LOADED: Final = "perceptual hashes are in memory"


@dataclass(frozen=True, slots=True)
class Stage:
    """`settings` name no database in particular: `at` gives those of one population."""

    settings: Settings
    children: Children
    folder: Path
    ports: Iterator[int]

    @property
    def uri(self) -> str:
        return self.settings.mongo.uri.get_secret_value()

    def at(self, count: int) -> Settings:
        """The settings for the database with so many media."""
        mongo = self.settings.mongo.model_copy(update={"database": f"media_{count}"})
        return self.settings.model_copy(update={"mongo": mongo})

    async def start_api(self, count: int, *, in_memory: bool) -> tuple[Child, int]:
        """An API on that database, and its port: with pages, media and all hashes in memory, or with none of them."""
        port = next(self.ports)
        http = {"port": port} if in_memory else {"port": port, "first_pages": 0, "media_in_memory": 0}
        part = our_server(self.at(count), self.folder, f"api-{count}-{port}", **http).part
        if not in_memory:
            return await start_part(self.children, part), port
        holding = {**part.env, "MEDIA_LOOK_ALIKES__HASHES_IN_MEMORY": str(2 * count)}
        child = await start_part(self.children, replace(part, env=holding))
        await self.children.wait_until(child, partial(_has_loaded, child), timeout_s=60)
        return child, port

    async def prepare(self, counts: list[int]) -> dict[int, Loaded]:
        """Have a database for each of `counts`, each the beginning of the greatest; what is there already stays."""
        loaded = {}
        for count in sorted(counts, reverse=True):
            loaded[count] = await to_thread.run_sync(self._prepare, count, max(counts))
        return loaded

    def population(self, count: int) -> Population:
        """What brute force needs to know of that database."""
        return load_population(self._kept(count, "npz"))

    def _kept(self, count: int, suffix: str) -> Path:
        return self.folder / f"media-{count}.{suffix}"

    def _prepare(self, count: int, greatest: int) -> Loaded:
        done, name = self._kept(count, "json"), self.at(count).mongo.database
        if done.exists() and (kept := Loaded(**json.loads(done.read_text()))).mark == mark():
            if not (kept.sizes and has_declared_indexes(self.uri, name)):
                drop_indexes(self.uri, name)
                kept = self._index(count, kept.insert_s)
                done.write_text(json.dumps(asdict(kept)))
            return kept
        with connect(self.uri) as client:
            client.drop_database(name)
        if count == greatest:
            population, seconds = write_population(self.uri, name, count)
        else:
            started = time.perf_counter()
            copy_first(self.uri, self.at(greatest).mongo.database, name, count)
            population, seconds = self.population(greatest).first(count), time.perf_counter() - started
        population.save(self._kept(count, "npz"))
        loaded = self._index(count, seconds)
        done.write_text(json.dumps(asdict(loaded)))
        return loaded

    def _index(self, count: int, insert_s: float) -> Loaded:
        name = self.at(count).mongo.database
        index_s, found = build_indexes(self.uri, name), sizes(self.uri, name)
        return Loaded(count, insert_s, index_s, write_more(self.uri, name, count), mark(), found)


async def _has_loaded(child: Child) -> bool:
    return _LOADED in child.log.read_text()


@asynccontextmanager
async def staged(folder: Path) -> AsyncIterator[Stage]:
    """With its data under `folder`, which may hold those of an earlier run."""
    children, ports = Children(folder / "logs"), free_ports()
    try:
        uri = await start_mongod(children, folder / "mongod", next(ports))
        with connect(uri) as client:
            client.admin.command({"setParameter": 1, "wiredTigerEngineRuntimeConfig": f"cache_size={CACHE_GB}G"})
        numbers = {each: next(ports) for each in ("api", "edge", "worker")}
        # Storage is never asked by a search.
        settings = dev_settings(new_keys(), mongo_uri=uri, s3_url=f"http://127.0.0.1:{next(ports)}", ports=numbers)
        yield Stage(settings, children, folder, ports)
    finally:
        await children.stop_all()
