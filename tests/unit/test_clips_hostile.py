"""Broken and hostile clips end in a clear refusal, and reach for nothing beside themselves."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest
from PIL import Image

from service.errors import FailureCode
from service.models import MediaFormat, MediaPurpose, RenditionName
from service.policies import POLICIES
from service.processing import clip_pipeline
from service.processing.wire import LENGTH_BYTES, REPLY, Crashed, Processed, ProcessingRequest, Refused, Reply
from service.processing.work import Work
from tests import clips, hostile_clips, photos

RENDITIONS = tuple(
    policy if policy.name is RenditionName.PREVIEW else policy.model_copy(update={"formats": (MediaFormat.JPEG,)})
    for policy in POLICIES[MediaPurpose.COMMUNITY].renditions
    if policy.name in (RenditionName.FEED, RenditionName.PREVIEW)
)


def reply_to(original: bytes, content_type: str = "video/mp4") -> Reply:
    reply = io.BytesIO()
    request = ProcessingRequest(content_type=content_type, renditions=RENDITIONS, fingerprints=False)
    clip_pipeline.run(io.BytesIO(original), request.model_dump_json().encode(), reply)
    raw = reply.getvalue()
    length = int.from_bytes(raw[:LENGTH_BYTES], "big")
    return REPLY.validate_json(raw[LENGTH_BYTES : LENGTH_BYTES + length])


@pytest.mark.parametrize(
    ("build", "content_type", "failure"),
    [
        (hostile_clips.truncated_index, "video/mp4", FailureCode.CORRUPT_FILE),
        (hostile_clips.without_index, "video/mp4", FailureCode.CORRUPT_FILE),
        (hostile_clips.truncated_pictures, "video/mp4", FailureCode.CORRUPT_FILE),
        (hostile_clips.noise_for_pictures, "video/mp4", FailureCode.CORRUPT_FILE),
        (hostile_clips.headless, "video/mp4", FailureCode.CORRUPT_FILE),
        (hostile_clips.playlist_within, "video/mp4", FailureCode.CORRUPT_FILE),
        (lambda: hostile_clips.lasting(36_000), "video/mp4", FailureCode.CLIP_TOO_LONG),
        (lambda: hostile_clips.lasting(122), "video/mp4", FailureCode.CLIP_TOO_LONG),
        (lambda: hostile_clips.belittled(130, 1), "video/webm", FailureCode.CLIP_TOO_LONG),
        (lambda: hostile_clips.claiming(12_000, 12_000), "video/mp4", FailureCode.TOO_MANY_PIXELS),
        # So large that libav does not even take it for a size.
        (lambda: hostile_clips.claiming(16_384, 16_384), "video/mp4", FailureCode.CORRUPT_FILE),
        (lambda: hostile_clips.claiming(4_000, 2_200), "video/mp4", FailureCode.TOO_MANY_PIXELS),
        (clips.sound_only, "video/mp4", FailureCode.UNSUPPORTED_FORMAT),
        (clips.clip, "video/quicktime", FailureCode.TYPE_MISMATCH),
        (clips.clip, "video/webm", FailureCode.TYPE_MISMATCH),
        (lambda: clips.clip("webm"), "video/mp4", FailureCode.TYPE_MISMATCH),
        (lambda: b"", "video/mp4", FailureCode.TYPE_MISMATCH),
    ],
)
def test_each_is_refused_for_what_it_is(build: Callable[[], bytes], content_type: str, failure: FailureCode) -> None:
    answer = reply_to(build(), content_type)
    assert isinstance(answer, Refused), answer
    assert answer.failure is failure
    assert answer.message.endswith(".")


def test_sound_alone_is_told_apart() -> None:
    answer = reply_to(clips.sound_only())
    assert isinstance(answer, Refused)
    assert "no moving pictures" in answer.message


@pytest.mark.parametrize("scheme", ["file", "plain"])
def test_a_clip_cannot_borrow_another_files_pictures(scheme: str, tmp_path: Path) -> None:
    other = tmp_path / "other.mov"
    other.write_bytes(clips.clip("mov", silent=True, draw=lambda index: Image.new("RGB", (160, 96), "white")))
    url = f"file://{other}" if scheme == "file" else str(other)
    opened = mock.Mock(side_effect=PermissionError)
    with mock.patch("service.processing.clip_source._refuse_to_open", opened):
        work = Work(
            io.BytesIO(hostile_clips.referring_to(url.encode())),
            ProcessingRequest(content_type="video/quicktime", renditions=RENDITIONS[:1], fingerprints=False),
        )
        for step in clip_pipeline.CLIP_STEPS:
            step(work)
    assert photos.is_upright(work.image), "its own pictures, since the reference is not followed"
    opened.assert_not_called()


@pytest.mark.parametrize("kind", ["mp4", "mov", "webm", "vp8"])
def test_other_bytes_here_and_there_never_end_in_a_fault_of_ours(kind: str) -> None:
    for seed in range(10):
        answer = reply_to(hostile_clips.fuzzed(kind, seed), clips.content_type_of(kind))
        assert isinstance(answer, Processed | Refused), (seed, answer)
        assert not isinstance(answer, Crashed)
