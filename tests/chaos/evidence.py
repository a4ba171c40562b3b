"""Gathers what a round is judged by: from the database and storage by plain drivers, and from the API what it shows."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import replace
from typing import Any

import httpx
from anyio import to_thread
from pymongo.database import Database

from service.audit import BUCKETS
from service.client.connection import Connection
from service.client.graphql_http import run_operation
from service.client.retrying import retrying
from service.settings import Settings
from tests.audit_storage import Auditor
from tests.chaos.audit import Document, Evidence, Shown
from tests.chaos.client import MEDIA
from tests.chaos.ledger import Ledger, Life
from tests.chaos.settling import unfinished
from tests.chaos.world import REPOSITORY, World

_AT_ONCE = 8
_DELAYS_S = (0.5, 1.0, 2.0)


async def gather_evidence(world: World, ledger: Ledger, database: Database[Document], *, reads: int | None) -> Evidence:
    """Everything, at rest. `reads`: of so many READY media the bytes are read again (None: of all)."""
    stored = await to_thread.run_sync(lambda: stored_evidence(world.settings, ledger, database, reads=reads))
    return replace(stored, shown=await _shown(world, ledger), deaths=world.deaths(), verified=await _verify(world))


def stored_evidence(
    settings: Settings, ledger: Ledger, database: Database[Document], *, reads: int | None = None
) -> Evidence:
    """What database and storage hold; the rest is empty. Blocking."""
    auditor = Auditor(settings)
    try:
        stored = auditor.look()
        ready = sorted(key for key, media in stored.media.items() if media["status"] == "READY")
        findings = auditor.audit(read=ready[:reads])
    finally:
        auditor.close()
    return Evidence(
        ledger=ledger,
        stored=stored,
        shown={},
        deletions={each["_id"]: each for each in database["deletions"].find()},
        chains=_chains(database),
        unfinished=list(unfinished(database)),
        unreadable=findings.broken,
        quotas=list(database["quotas"].find()),
    )


async def _shown(world: World, ledger: Ledger) -> dict[str, Shown]:
    shown: dict[str, Shown] = {}
    slots = asyncio.Semaphore(_AT_ONCE)
    async with httpx.AsyncClient(timeout=20, trust_env=False) as http:

        async def look(life: Life) -> None:
            connection = Connection.to(world.url, world.token(life.owner))
            variables = {"id": life.media_id}
            async with slots:
                data = await retrying(lambda: run_operation(http, connection, MEDIA, variables), _DELAYS_S)
            if (media := data["media"]) is not None:
                texts = {each["id"]: each["text"] for each in media["annotations"]["nodes"]}
                shown[str(life.media_id)] = Shown(media["title"], texts)

        await asyncio.gather(*(look(life) for life in ledger.lives if life.media_id is not None))
    return shown


def _chains(database: Database[Document]) -> dict[int, list[tuple[Document, str]]]:
    chains: dict[int, list[tuple[Document, str]]] = {bucket: [] for bucket in range(BUCKETS)}
    for row in database["audit"].find().sort("_id", 1):
        stored, _ = row.pop("hash", ""), row.pop("_id")
        chains.setdefault(row["bucket"], []).append((row, stored))
    return chains


async def _verify(world: World) -> list[str]:
    """What the command that operators have for it says, if anything is wrong."""
    environment: dict[str, Any] = {**os.environ, **world.environment("api"), "COLUMNS": "200"}
    argv = [sys.executable, "-m", "service", "audit", "verify"]
    process = await asyncio.create_subprocess_exec(
        *argv, env=environment, cwd=REPOSITORY, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await asyncio.wait_for(process.communicate(), timeout=60)
    return [] if process.returncode == 0 else output.decode(errors="replace").splitlines()[-5:]
