"""The pipeline without its jail, as a contestant: warmed, as the fork server that its children come from.

SERVED=base or SERVED=twice in the environment makes all outputs of a task as a worker does, in two jobs: what is
urgent, and then the rest, from the base that the first one hands out or from the original again.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import BinaryIO

from benchmarks.images.tasks import FORMATS, Outputs, contest
from service.models import MediaFormat, MediaPurpose, RenditionName
from service.policies import POLICIES
from service.processing import pipeline
from service.processing.wire import BaseHeader, ProcessingRequest
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
        return _outputs(_taken(source, request_for(_TYPES[photo.suffix], task)))


def as_served(photo: Path, task: str) -> Outputs:
    """What is urgent, and then the rest, from the base or from the original again."""
    content_type = _TYPES[photo.suffix]
    with photo.open("rb") as source:
        first = _taken(source, request_for(content_type, "first"))
        made = {(each.name, each.format) for each in first.renditions}
        rest = request_for(content_type, task).model_copy(update={"fingerprints": False})
        lacking = tuple(
            each.model_copy(update={"formats": tuple(of for of in each.formats if (each.name, of) not in made)})
            for each in rest.renditions
        )
        rest = rest.model_copy(update={"renditions": lacking})
        if os.environ["SERVED"] == "base":
            base = BaseHeader.model_validate(
                {"mode": first.image.mode, "width": first.image.width, "height": first.image.height}
            )
            second = _taken(io.BytesIO(first.image.tobytes()), rest.model_copy(update={"base": base}))
        else:
            source.seek(0)
            second = _taken(source, rest)
    return _outputs(first) | _outputs(second)


def _taken(source: BinaryIO, request: ProcessingRequest) -> Work:
    work = Work(source, request)
    for step in pipeline.STEPS if request.base is None else pipeline.BASE_STEPS:
        step(work)
    return work


def _outputs(work: Work) -> Outputs:
    sides = {RenditionName.THUMBNAIL: 200, RenditionName.FEED: 720, RenditionName.FULL: 1080}
    return {f"{sides[each.name]}.{each.format.value.lower()}": each.body for each in work.renditions}


if __name__ == "__main__":
    pipeline.warm_up()
    contest(as_served if "SERVED" in os.environ else ours, PILLOW)
