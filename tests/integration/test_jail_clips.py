"""Real clips through the real jail: what they need is there once nothing can be loaded, and bad ones end clearly."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import av
import pytest
import pytest_asyncio
from PIL import Image

from service.errors import FailureCode, ProcessingFailed
from service.models import MediaKind, MediaPurpose, ProcessedFile, RenditionName
from service.policies import POLICIES, RenditionPolicy, kind_of
from service.processing.jail import Jail
from service.processing.wire import ProcessingRequest
from service.settings import WorkerSettings
from tests import clips, hostile_clips, photos


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def jail() -> AsyncIterator[Jail]:
    worker = WorkerSettings()
    async with Jail(memory_bytes=worker.jail_memory_bytes, cpu_s=worker.jail_cpu_s) as running:
        yield running


def wanted(content_type: str) -> tuple[RenditionPolicy, ...]:
    return tuple(
        policy
        for policy in POLICIES[MediaPurpose.COMMUNITY].renditions
        if kind_of(content_type) in policy.kinds or policy.animated
    )


async def through(jail: Jail, folder: Path, original: bytes, content_type: str) -> ProcessedFile:
    path = folder / "original"
    path.write_bytes(original)
    return await jail.process(path, ProcessingRequest(content_type=content_type, renditions=wanted(content_type)))


@pytest.mark.parametrize("kind", list(clips.KINDS))
async def test_every_kind_of_clip_comes_out_as_stills_and_a_preview(jail: Jail, tmp_path: Path, kind: str) -> None:
    file = await through(jail, tmp_path, clips.clip(kind, seconds=0.5), clips.content_type_of(kind))
    assert (file.width, file.height) == (160, 96)
    assert file.duration_ms == pytest.approx(500, abs=50)
    assert [rendition.name for rendition in file.renditions[::3]] == [
        *(policy.name for policy in wanted("video/mp4") if MediaKind.VIDEO in policy.kinds)
    ]
    poster = next(rendition for rendition in file.renditions if rendition.name is RenditionName.POSTER)
    assert photos.is_upright(Image.open(io.BytesIO(poster.body)))
    with av.open(io.BytesIO(file.renditions[-1].body)) as preview:
        assert [stream.codec_context.name for stream in preview.streams] == ["h264", "aac"]
        assert sum(1 for _ in preview.decode(video=0)) == pytest.approx(13, abs=1)


async def test_an_animation_comes_out_with_a_preview(jail: Jail, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (64, 48), color) for color in ("red", "lime", "blue")]
    file = await through(jail, tmp_path, clips.gif(frames, [200, 300, 400]), "image/gif")
    assert (file.frame_count, file.duration_ms) == (3, 900)
    assert file.renditions[-1].name is RenditionName.PREVIEW


@pytest.mark.parametrize(
    ("build", "failure"),
    [
        (hostile_clips.truncated_index, FailureCode.CORRUPT_FILE),
        (hostile_clips.noise_for_pictures, FailureCode.CORRUPT_FILE),
        (hostile_clips.playlist_within, FailureCode.CORRUPT_FILE),
        (lambda: hostile_clips.lasting(36_000), FailureCode.CLIP_TOO_LONG),
        (lambda: hostile_clips.claiming(12_000, 12_000), FailureCode.TOO_MANY_PIXELS),
        (clips.sound_only, FailureCode.UNSUPPORTED_FORMAT),
    ],
)
async def test_hostile_clips_end_clearly_and_the_next_finds_the_jail_unharmed(
    jail: Jail, tmp_path: Path, build: Callable[[], bytes], failure: FailureCode
) -> None:
    with pytest.raises(ProcessingFailed) as caught:
        await through(jail, tmp_path, build(), "video/mp4")
    assert (caught.value.failure, caught.value.retryable) == (failure, False)
    assert (await through(jail, tmp_path, clips.clip(seconds=0.2), "video/mp4")).renditions


async def test_other_bytes_here_and_there_end_in_renditions_or_a_clear_refusal(jail: Jail, tmp_path: Path) -> None:
    async def one(seed: int) -> None:
        folder = tmp_path / str(seed)
        folder.mkdir()
        kind = ("mp4", "webm")[seed % 2]
        await through(jail, folder, hostile_clips.fuzzed(kind, 1_000 + seed), clips.content_type_of(kind))

    outcomes = await asyncio.gather(*(one(seed) for seed in range(12)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {type(None), ProcessingFailed}
    assert not [
        failure.__notes__
        for failure in outcomes
        if isinstance(failure, ProcessingFailed) and failure.failure is FailureCode.INTERNAL
    ]
