"""Real files through the real jail: good ones come out, bad ones end clearly, and the next job finds it unharmed."""

from __future__ import annotations

import asyncio
import io
import resource
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from PIL import Image

from service.errors import FailureCode, ProcessingFailed
from service.models import ProcessedFile
from service.processing.jail import Jail
from service.settings import WorkerSettings
from tests import hostile, photos
from tests.in_process import process, request_for, saved

PAGE_BYTES = resource.getpagesize()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def jail() -> AsyncIterator[Jail]:
    worker = WorkerSettings()
    async with Jail(memory_bytes=worker.jail_memory_bytes, cpu_s=worker.jail_cpu_s) as running:
        yield running


async def through(jail: Jail, folder: Path, original: bytes, content_type: str = "image/jpeg") -> ProcessedFile:
    path = folder / "original"
    path.write_bytes(original)
    return await jail.process(path, request_for(content_type))


async def test_a_phone_photo_comes_out_upright_small_and_bare(jail: Jail, tmp_path: Path) -> None:
    image = await through(jail, tmp_path, photos.phone_photo())
    assert (image.content_type, image.width, image.height) == ("image/jpeg", 3024, 4032)
    assert [(r.width, r.height) for r in image.renditions[::3]] == [(200, 200), (540, 720), (810, 1080)]
    for rendition in image.renditions[3:]:
        assert photos.is_upright(Image.open(io.BytesIO(rendition.body)))
    for rendition in image.renditions:
        assert photos.SERIAL.encode() not in rendition.body
        assert not Image.open(io.BytesIO(rendition.body)).getexif()


async def test_the_jail_changes_nothing_about_the_result(jail: Jail, tmp_path: Path) -> None:
    original = photos.phone_photo(1600, 1200, 7)
    inside, outside = await through(jail, tmp_path, original), process(original)
    assert [r.body for r in inside.renditions] == [r.body for r in outside.renditions]
    assert inside.fingerprints == outside.fingerprints


@pytest.mark.parametrize(("mode", "container"), [("RGB", "JPEG"), ("RGBA", "PNG")])
async def test_a_base_comes_out_and_gives_what_the_original_gives(
    jail: Jail, tmp_path: Path, mode: str, container: str
) -> None:
    path = tmp_path / "original"
    picture = photos.scene(1600, 1200).convert(mode)
    if mode == "RGBA":
        picture.putalpha(100)
    path.write_bytes(saved(picture, container))
    request = request_for(f"image/{container.lower()}").model_copy(update={"keep_base": True})
    original = await jail.process(path, request)
    assert original.base is not None
    assert (original.base.mode, original.base.width, original.base.height) == (mode, 1080, 810)
    path.unlink()
    again = await jail.process_base(original.base, request)
    assert again.renditions == original.renditions
    assert (again.fingerprints, again.width, again.height) == (original.fingerprints, 1600, 1200)
    assert again.base is None


@pytest.mark.parametrize(
    ("build", "content_type", "failure", "quarantine"),
    [
        (hostile.text, "image/jpeg", FailureCode.TYPE_MISMATCH, False),
        (hostile.page, "image/webp", FailureCode.TYPE_MISMATCH, False),
        (hostile.polyglot, "image/png", FailureCode.TYPE_MISMATCH, False),
        (hostile.truncated_jpeg, "image/jpeg", FailureCode.CORRUPT_FILE, False),
        (hostile.headless_jpeg, "image/jpeg", FailureCode.CORRUPT_FILE, False),
        (hostile.compressed_text_bomb, "image/png", FailureCode.CORRUPT_FILE, False),
        (hostile.wrong_checksum_png, "image/png", FailureCode.CORRUPT_FILE, False),
        (hostile.png_bomb, "image/png", FailureCode.TOO_MANY_PIXELS, True),
        (hostile.webp_claiming, "image/webp", FailureCode.TOO_MANY_PIXELS, True),
        (lambda: hostile.jpeg_claiming(65_500, 65_500), "image/jpeg", FailureCode.TOO_MANY_PIXELS, True),
        (hostile.many_scans, "image/jpeg", FailureCode.DECODE_LIMIT_EXCEEDED, True),
    ],
)
async def test_hostile_files_end_clearly_and_cost_this_process_nothing(
    jail: Jail, tmp_path: Path, build: object, content_type: str, failure: FailureCode, quarantine: bool
) -> None:
    assert callable(build)
    original: bytes = build()
    before = resident_bytes()
    with pytest.raises(ProcessingFailed) as caught:
        await through(jail, tmp_path, original, content_type)
    assert (caught.value.failure, caught.value.quarantine) == (failure, quarantine)
    assert not caught.value.retryable
    assert resident_bytes() - before < 4_000_000
    assert (await through(jail, tmp_path, photos.small_photo())).renditions


@pytest.mark.parametrize("original", [hostile.looping_exif(), hostile.bad_profile(), hostile.polyglot()])
async def test_odd_metadata_does_not_cost_a_good_picture(jail: Jail, tmp_path: Path, original: bytes) -> None:
    assert len((await through(jail, tmp_path, original)).renditions) == 9


async def test_a_picture_within_the_limits_that_needs_too_much_memory_is_refused(tmp_path: Path) -> None:
    async with Jail(memory_bytes=480_000_000, cpu_s=20) as small:
        before = resident_bytes()
        with pytest.raises(ProcessingFailed) as caught:
            await through(small, tmp_path, hostile.png_bomb(7_000), "image/png")
        assert (caught.value.failure, caught.value.quarantine) == (FailureCode.DECODE_LIMIT_EXCEEDED, True)
        assert resident_bytes() - before < 4_000_000
        assert (await through(small, tmp_path, photos.small_photo())).renditions


async def test_a_picture_that_takes_too_much_time_is_refused(tmp_path: Path) -> None:
    async with Jail(memory_bytes=1_500_000_000, cpu_s=1) as hasty:
        with pytest.raises(ProcessingFailed) as caught:
            await through(hasty, tmp_path, hostile.many_scans(80, 5000, 3500), "image/jpeg")
        assert (caught.value.failure, caught.value.quarantine) == (FailureCode.DECODE_LIMIT_EXCEEDED, True)


async def test_many_at_once_keep_their_own_results(jail: Jail, tmp_path: Path) -> None:
    async def one(seed: int) -> ProcessedFile:
        folder = tmp_path / str(seed)
        folder.mkdir()
        return await through(jail, folder, photos.small_photo(seed))

    images = await asyncio.gather(*(one(seed) for seed in range(24)))
    assert len({image.fingerprints for image in images}) == 24
    alone = await one(100)
    assert alone.fingerprints == process(photos.small_photo(100)).fingerprints


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES
