"""Every format through the real jail, where no thread can be started and nothing loaded; and damage to each of them."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from PIL import Image

from service.errors import FailureCode, ProcessingFailed
from service.models import MediaFormat, ProcessedFile
from service.processing.jail import Jail
from service.settings import WorkerSettings
from tests import hostile_containers, photos
from tests.hostile_containers import content_type_of, good_files, iso_claiming
from tests.in_process import RENDITIONS, request_for

QUICK = tuple(
    policy.model_copy(update={"formats": (MediaFormat.JPEG, MediaFormat.WEBP)})
    for policy in RENDITIONS
    if policy.urgent
)
DAMAGED = 40


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def jail() -> AsyncIterator[Jail]:
    worker = WorkerSettings()
    async with Jail(memory_bytes=worker.jail_memory_bytes, cpu_s=worker.jail_cpu_s) as running:
        yield running


async def through(jail: Jail, path: Path, original: bytes, content_type: str) -> ProcessedFile:
    path.write_bytes(original)
    return await jail.process(path, request_for(content_type, renditions=QUICK))


@pytest.mark.parametrize("name", sorted(good_files()))
async def test_every_format_comes_out(jail: Jail, tmp_path: Path, name: str) -> None:
    done = await through(jail, tmp_path / "original", good_files()[name], content_type_of(name))
    assert len(done.renditions) == 2 * len(QUICK)
    assert (done.frame_count > 1) == ("animated" in name)


async def test_a_heic_announced_as_heif_is_known_for_what_it_is(jail: Jail, tmp_path: Path) -> None:
    done = await through(jail, tmp_path / "original", photos.phone_heic(6), "image/heif")
    assert (done.content_type, done.width, done.height) == ("image/heic", 120, 160)
    assert photos.is_upright(Image.open(io.BytesIO(done.renditions[-1].body)))


@pytest.mark.parametrize(
    ("build", "content_type", "failure", "quarantine"),
    [
        (lambda: iso_claiming(good_files()["heic"], 65_535, 65_535), "image/heic", FailureCode.TOO_MANY_PIXELS, True),
        (lambda: iso_claiming(good_files()["avif"], 65_535, 65_535), "image/avif", FailureCode.TOO_MANY_PIXELS, True),
        (lambda: hostile_containers.grid_claiming(256, 256, 7_000), "image/heic", FailureCode.CORRUPT_FILE, False),
        (hostile_containers.grid_of_itself, "image/heic", FailureCode.CORRUPT_FILE, False),
        (hostile_containers.nested_boxes, "image/heic", FailureCode.CORRUPT_FILE, False),
        (hostile_containers.many_items, "image/heic", FailureCode.CORRUPT_FILE, False),
        (hostile_containers.webp_canvas, "image/webp", FailureCode.TOO_MANY_PIXELS, True),
        (lambda: hostile_containers.gif_claiming(65_535, 65_535), "image/gif", FailureCode.TOO_MANY_PIXELS, True),
        (hostile_containers.profile_bomb, "image/png", FailureCode.CORRUPT_FILE, False),
        (hostile_containers.matroska, "image/gif", FailureCode.TYPE_MISMATCH, False),
    ],
)
async def test_what_containers_can_claim(
    jail: Jail,
    tmp_path: Path,
    build: Callable[[], bytes],
    content_type: str,
    failure: FailureCode,
    quarantine: bool,
) -> None:
    with pytest.raises(ProcessingFailed) as caught:
        await through(jail, tmp_path / "original", build(), content_type)
    assert (caught.value.failure, caught.value.quarantine, caught.value.retryable) == (failure, quarantine, False)


async def test_damaged_files_end_clearly_and_the_jail_goes_on(jail: Jail, tmp_path: Path) -> None:
    random = np.random.default_rng(20)
    names = sorted(good_files())

    async def one(number: int) -> ProcessingFailed | None:
        name = names[number % len(names)]
        damaged = np.frombuffer(good_files()[name], dtype=np.uint8).copy()
        places = random.integers(0, len(damaged), 6)
        damaged[places] = random.integers(0, 256, 6)
        try:
            await through(jail, tmp_path / str(number), damaged.tobytes(), content_type_of(name))
        except ProcessingFailed as refusal:
            return refusal
        return None

    for refusal in await asyncio.gather(*(one(number) for number in range(DAMAGED))):
        assert refusal is None or (refusal.failure is not FailureCode.INTERNAL and not refusal.retryable), refusal
    assert (await through(jail, tmp_path / "good", good_files()["heic grid"], "image/heic")).renditions


async def test_a_heic_that_needs_too_much_memory_is_refused_as_such(jail: Jail, tmp_path: Path) -> None:
    large = photos.heic(Image.new("RGB", (8_000, 6_000)), quality=10, enc_params={"preset": "ultrafast"})
    async with Jail(memory_bytes=520_000_000, cpu_s=20) as small:
        with pytest.raises(ProcessingFailed) as caught:
            await through(small, tmp_path / "original", large, "image/heic")
        assert (caught.value.failure, caught.value.quarantine) == (FailureCode.DECODE_LIMIT_EXCEEDED, True)
    assert (await through(jail, tmp_path / "original", large, "image/heic")).width == 8_000
