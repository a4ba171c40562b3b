"""The pipeline without its jail, as a contestant: warmed, as the fork server that its children come from."""

from __future__ import annotations

from pathlib import Path

from benchmarks.images.tasks import FORMATS, Outputs, contest
from service.models import MediaFormat, MediaPurpose, RenditionName
from service.policies import POLICIES
from service.processing import pipeline
from service.processing.wire import ProcessingRequest
from service.processing.work import PILLOW, Work

_TYPES = {".jpg": "image/jpeg", ".heic": "image/heic", ".png": "image/png"}
_NAMES = (RenditionName.THUMBNAIL, RenditionName.FEED, RenditionName.FULL)


def request_for(content_type: str, task: str) -> ProcessingRequest:
    """What `task` asks of a community photo; fingerprints included, which others are spared."""
    formats = tuple(MediaFormat[name.upper()] for name in FORMATS[task])
    urgent = task == "first"
    wanted = (POLICIES[MediaPurpose.COMMUNITY].rendition(name) for name in _NAMES)
    renditions = tuple(each.model_copy(update={"formats": formats}) for each in wanted if each.urgent or not urgent)
    return ProcessingRequest(content_type=content_type, renditions=renditions, urgent=urgent)


def ours(photo: Path, task: str) -> Outputs:
    """Every step, one after the other."""
    with photo.open("rb") as source:
        work = Work(source, request_for(_TYPES[photo.suffix], task))
        for step in pipeline.STEPS:
            step(work)
    sides = {RenditionName.THUMBNAIL: 200, RenditionName.FEED: 720, RenditionName.FULL: 1080}
    return {f"{sides[each.name]}.{each.format.value.lower()}": each.body for each in work.renditions}


if __name__ == "__main__":
    pipeline.warm_up()
    contest(ours, PILLOW)
