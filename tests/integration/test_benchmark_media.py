"""The media that the feed's benchmark writes are such as processing leaves behind."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from bson import decode, encode
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions

from benchmarks.feed.population import media_document
from tests.integration.conftest import RunningService
from tests.integration.rendered_media import document_of, ready

CODEC: CodecOptions[dict[str, Any]] = CodecOptions(tz_aware=True, uuid_representation=UuidRepresentation.STANDARD)


@pytest.fixture(autouse=True)
async def empty_queue(service: RunningService) -> None:
    await service.runtime.database.jobs.delete_many({})


def shape(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every path below `value` with the type that is there; entries of a list under one path."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from shape(each, f"{path}.{name}")
    elif isinstance(value, list):
        yield path, "list"
        for each in value:
            yield from shape(each, f"{path}[]")
    elif value is not None:
        yield path, type(value).__name__


def public_community_media() -> dict[str, Any]:
    made = map(media_document, count())
    return next(
        each
        for each in made
        if (each["status"], each["visibility"], each["purpose"]) == ("READY", "PUBLIC", "COMMUNITY")
    )


def read_back(document: dict[str, Any]) -> dict[str, Any]:
    """As the driver hands it out once it was stored."""
    return decode(encode(document, codec_options=CODEC), codec_options=CODEC)


async def test_a_media_of_the_benchmark_has_the_shape_of_a_processed_one(service: RunningService) -> None:
    media_id = await ready(service)
    # At rest: what workers leave to the sweep is on record.
    await service.runtime.stores.audit.settle_all()
    processed = await document_of(service, media_id)
    made = read_back(public_community_media())

    told = {"title", "alt_text", "tags[]", "captured_at"}
    found = {each for each in shape(processed) if each[0].lstrip(".") not in told and ".parameters." not in each[0]}
    expected = {each for each in shape(made) if each[0].lstrip(".") not in told}
    assert expected ^ found == set()
    assert list(made["renditions"][0]) == list(processed["renditions"][0])
    assert len(made["renditions"]) == len(processed["renditions"])
    assert 0.8 < len(encode(made, codec_options=CODEC)) / len(encode(processed, codec_options=CODEC)) < 1.25
