"""Which mutations wait while the service is strained, and which never do."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from resolvers.api import build_schema
from service.access import Viewer
from service.backpressure import Backpressure, Strain
from service.models import Lane
from service.settings import LimitsSettings
from service.telemetry import Metrics

MUTATIONS = {
    "createUploads": 'purpose: COMMUNITY, files: [{contentType: "image/jpeg", byteSize: 1}]',
    "retryProcessing": 'id: "x"',
    "annotateMedia": 'mediaId: "x", source: "user:anna", annotations: []',
    "embedMedia": 'mediaId: "x", model: "m", vector: [0.1]',
}


class Touched(Exception):
    """Something was asked of the database."""


class Untouchable:
    def __getattr__(self, name: str) -> NoReturn:
        raise Touched(name)


class NoMedia(Untouchable):
    async def get_many(self, media_ids: list[object], **_: object) -> dict[object, object]:
        if media_ids:
            raise Touched("media")
        return {}


class NoStores(Untouchable):
    media = NoMedia()


async def strained_by(strain: Strain) -> Backpressure:
    async def waiting() -> dict[Lane, float]:
        return dict.fromkeys(Lane, 10.0)

    limits = {Strain.QUEUE: {"max_queue_age_s": 1, "max_database_ms": 0}, Strain.DATABASE: {"max_queue_age_s": 0}}
    ticks = iter(range(0, 1_000, 3))
    pressure = Backpressure(LimitsSettings(**limits[strain]), waiting, clock=lambda: next(ticks))
    for _ in range(2):
        await pressure.sample()
    return pressure


@pytest.mark.parametrize(
    ("strain", "waiting"),
    [(Strain.QUEUE, {"createUploads", "retryProcessing"}), (Strain.DATABASE, set(MUTATIONS))],
)
async def test_work_is_not_begun_while_its_part_is_strained(strain: Strain, waiting: set[str]) -> None:
    schema = build_schema()
    runtime = SimpleNamespace(
        stores=NoStores(),
        object_store=Untouchable(),
        metrics=Metrics(),
        settings=SimpleNamespace(scanner=SimpleNamespace(largest_file=None), limits=LimitsSettings()),
    )
    refused = set()
    for name, given in MUTATIONS.items():
        context: Any = SimpleNamespace(
            viewer=Viewer("anna", frozenset({"moderator"})), runtime=runtime, backpressure=await strained_by(strain)
        )
        asked = f'{name}(input: {{idempotencyKey: "k", {given}}})'
        text = f"mutation {{ {asked} {{ userErrors {{ code retryAfterMs }} }} }}"
        result = await schema.execute(text, context_value=context)
        if result.errors is None and result.data is not None:
            [error] = result.data[name]["userErrors"]
            if error["code"] == "TEMPORARILY_UNAVAILABLE" and error["retryAfterMs"] >= 10_000:
                refused.add(name)
    assert refused == waiting
