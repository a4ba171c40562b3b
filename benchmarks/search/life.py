"""What the life of a photo leaves in the oplog and asks of S3, step by step: `python -m benchmarks.search.life`.

Photos of 12 megapixels are uploaded to real servers, processed, described, annotated, embedded and deleted. After each
step, once nothing is under way any more, what has come into `local.oplog.rs` since is added up.
"""

from __future__ import annotations

import asyncio
import io
import json
import sys
import tempfile
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final
from uuid import uuid4

import httpx

from benchmarks.feed.report import table
from benchmarks.graphql_client import Client, described
from benchmarks.images.scenes import photo
from benchmarks.search.ledger import Ledger
from benchmarks.search.loading import connect
from benchmarks.stack import Stack, machine, running_servers
from service.access import SERVICE_ROLE
from service.dev.edge.app import VIA
from service.dev.environment import environment_of
from service.dev.stack import GROUPS
from service.dev.supervision import Part, start_part
from service.dev.tokens import mint_token

PHOTOS: Final = 4
DIMENSIONS: Final = 512

_UPDATE: Final = "mutation($input: UpdateMediaInput!) { updateMedia(input: $input) { userErrors { message } } }"
_ANNOTATE: Final = "mutation($input: AnnotateMediaInput!) { annotateMedia(input: $input) { userErrors { message } } }"
_EMBED: Final = "mutation($input: EmbedMediaInput!) { embedMedia(input: $input) { userErrors { message } } }"
_DELETE: Final = "mutation($input: DeleteMediaInput!) { deleteMedia(input: $input) { userErrors { message } } }"


def jpegs() -> list[bytes]:
    """Photos as phones make them, no two alike."""
    made = []
    for seed in range(PHOTOS):
        file = io.BytesIO()
        photo(("raccoon.jpg", "coffee.jpg")[seed % 2], 4032, 3024, seed=seed).save(file, "JPEG", quality=92)
        made.append(file.getvalue())
    return made


def things(count: int) -> list[dict[str, Any]]:
    """As a detector finds them."""
    random = Random(count)
    return [
        {
            "label": f"thing {random.randrange(20)}",
            "confidence": random.random(),
            "boundingBox": {"x": random.random() / 2, "y": random.random() / 2, "width": 0.3, "height": 0.4},
        }
        for _ in range(count)
    ]


class Life:
    """An owner with photos, and a job that annotates and embeds them."""

    def __init__(self, owner: Client, job: Client) -> None:
        self._owner, self._job = owner, job
        self.photos, self.ids = jpegs(), list[str]()

    async def upload(self) -> None:
        """All, one after the other."""
        for each in self.photos:
            [outcome] = await self._owner.create([described(each)], key=uuid4().hex)
            await self._owner.put(outcome["upload"], each)
            await self._owner.complete(outcome["upload"]["id"], key=uuid4().hex)
            self.ids.append(outcome["upload"]["media"]["id"])

    async def describe(self) -> None:
        """Say what is in each."""
        for each in self.ids:
            await self._owner.run(_UPDATE, idempotencyKey=uuid4().hex, id=each, title="A raccoon", tags=["raccoon"])

    async def annotate(self, count: int) -> None:
        """So many things in each, by a model of their own."""
        for each in self.ids:
            given = {"mediaId": each, "source": f"model:detector@{count}", "annotations": things(count)}
            await self._job.run(_ANNOTATE, idempotencyKey=uuid4().hex, **given)

    async def embed(self) -> None:
        """Each by one model."""
        vector = [Random(1).gauss(0, 1) for _ in range(DIMENSIONS)]
        for each in self.ids:
            await self._job.run(_EMBED, idempotencyKey=uuid4().hex, mediaId=each, model="clip@1", vector=vector)

    async def delete(self) -> None:
        """All together."""
        await self._owner.run(_DELETE, idempotencyKey=uuid4().hex, ids=self.ids)


async def live(life: Life, ledger: Ledger) -> dict[str, Any]:
    """Every step, with what there is of each collection before the deletion and after it."""
    steps: list[dict[str, Any]] = []
    for title, act in (
        ("Uploaded, processed, rendered, looked at by annotators", life.upload),
        ("Title and tags", life.describe),
        ("5 annotations by a model", partial(life.annotate, 5)),
        ("300 annotations, which move out", partial(life.annotate, 300)),
        (f"An embedding of {DIMENSIONS} dimensions", life.embed),
    ):
        await act()
        await ledger.quiet()
        steps.append(ledger.close(title).shared_by(PHOTOS))
    before = ledger.census()
    await life.delete()
    await ledger.quiet()
    steps.append(ledger.close("Deleted, storage and edges included").shared_by(PHOTOS))
    return {
        "photos": PHOTOS,
        "original_bytes": sum(map(len, life.photos)) / PHOTOS,
        "before_deletion": before,
        "after_deletion": ledger.census(),
        "steps": steps,
    }


async def measure() -> dict[str, Any]:
    """All steps, a photo on average, as JSON has them."""
    with tempfile.TemporaryDirectory() as name:
        calls = Path(name) / "calls"
        environment = {"CALLS_TO_STORAGE": str(calls)}
        async with running_servers(module="benchmarks.search.counted", environment=environment) as stack:
            await start_part(stack.children, _edge(stack))
            await stack.start_api()
            await stack.start_worker()
            with connect(stack.settings.mongo.uri.get_secret_value()) as mongo:
                ledger = Ledger(mongo, stack.settings.mongo.database, calls)
                async with httpx.AsyncClient(timeout=60) as http:
                    issuer = stack.settings.auth.issuers[0]
                    job = Client(http, stack.url, mint_token(issuer, "detector", roles=[SERVICE_ROLE]))
                    lived = await live(Life(Client(http, stack.url, stack.token("somebody")), job), ledger)
    return {"machine": machine(), **lived}


def _edge(stack: Stack) -> Part:
    environment = {**environment_of(stack.settings, GROUPS["edge"]), "TMPDIR": str(stack.folder)}
    url = f"http://127.0.0.1:{stack.ports['edge']}/"
    return Part("edge", [sys.executable, "-m", "service", "edge"], environment, url, health_header=("via", VIA))


def report(life: dict[str, Any]) -> str:
    """The steps, the parts of each, and what is left, as Markdown."""

    def line(step: dict[str, Any]) -> list[str]:
        most = sorted(step["bytes"].items(), key=lambda each: -each[1])
        return [
            step["title"],
            f"{sum(step['bytes'].values()):,.0f}",
            f"{sum(step['entries'].values()):,.1f}",
            ", ".join(f"{name} {size:,.0f}" for name, size in most if size >= 1),
            ", ".join(f"{count:g} {name}" for name, count in sorted(step["calls"].items())),
        ]

    head = ["A photo", "Bytes of oplog", "Entries", "Bytes by collection", "Calls to S3 by API and worker"]
    names = sorted({*life["before_deletion"], *life["after_deletion"]})
    nothing = {"count": 0, "bytes": 0}
    left = [
        [f"`{name}`", *(_held(life[when].get(name, nothing)) for when in ("before_deletion", "after_deletion"))]
        for name in names
    ]
    return "\n\n".join(
        (
            f"{PHOTOS} photos of {life['original_bytes']:,.0f} bytes; {life['machine']}",
            table(head, map(line, life["steps"])),
            table(["Documents a photo, bytes of one", "Before its deletion", "After"], left),
        )
    )


def _held(found: dict[str, Any]) -> str:
    return f"{found['count'] / PHOTOS:g}, {found['bytes']:,.0f}" if found["count"] else ""


if __name__ == "__main__":
    measured = asyncio.run(measure())
    print(report(measured))
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(json.dumps(measured, indent=1))
