"""A picture for a program to look at: the pipeline's own steps, then a cut where renditions would be made."""

from __future__ import annotations

import math
from typing import BinaryIO, Final, Literal

from service.models import BoundingBox, RenditionName, ViewImage
from service.policies import RenditionPolicy, UrlLifetime
from service.processing.colour import flatten, to_srgb
from service.processing.decoding import decode, shrink
from service.processing.limits import check_limits
from service.processing.metadata import read_metadata, strip_metadata
from service.processing.opening import open_original
from service.processing.orientation import turn_upright
from service.processing.renditions import fit
from service.processing.wire import ProcessingRequest, Viewed, ViewRequest
from service.processing.work import Work

_WHOLE: Final = BoundingBox(0.0, 0.0, 1.0, 1.0)

# Stands for the view while steps ask how many pixels they have to leave.
_STAND_IN: Final = RenditionPolicy(
    name=RenditionName.FULL, max_side=1, url_lifetime=UrlLifetime(window_s=1, minimum_s=1), cache_max_age_s=0
)


def begin_view(source: BinaryIO, asked: ViewRequest) -> Work:
    """The job that `asked` stands for, to be taken through VIEW_STEPS."""
    request = ProcessingRequest(
        content_type=asked.content_type, renditions=(_STAND_IN,), focus=asked.focus, fingerprints=False
    )
    return Work(source, request, view=asked)


def aim(work: Work) -> None:
    """Have the whole decoded just so large that the part that is wanted has the pixels that are wanted."""
    view = _view(work)
    box = view.focus or _WHOLE
    width, height = work.stored_size
    # The orientation is not known yet: large enough for either.
    cut = min(max(box.width * width, box.height * height), max(box.width * height, box.height * width))
    scale = min(1.0, view.max_side / max(cut, 1.0))
    policy = _STAND_IN.model_copy(update={"max_side": math.ceil(max(width, height) * scale)})
    work.request = work.request.model_copy(update={"renditions": (policy,)})


def cut_view(work: Work) -> None:
    """Cut and flatten what is wanted."""
    view = _view(work)
    width, height = work.image.size
    box = view.focus or _WHOLE
    left, top = min(int(box.x * width), width - 1), min(int(box.y * height), height - 1)
    right = min(max(math.ceil((box.x + box.width) * width), left + 1), width)
    bottom = min(max(math.ceil((box.y + box.height) * height), top + 1), height)
    picture = flatten(work.image.crop((left, top, right, bottom)))
    picture.thumbnail(fit(picture.size, view.max_side))
    shown = BoundingBox(left / width, top / height, (right - left) / width, (bottom - top) / height)
    mode: Literal["L", "RGB"] = "L" if picture.mode == "L" else "RGB"
    work.shown = ViewImage(picture.convert(mode).tobytes(), mode, picture.width, picture.height, shown)


def viewed(image: ViewImage) -> Viewed:
    """The header that announces `image`."""
    return Viewed(mode=image.mode, width=image.width, height=image.height, box=image.box)


def _view(work: Work) -> ViewRequest:
    if work.view is None:
        raise TypeError("this job is to make renditions, not a view")
    return work.view


VIEW_STEPS: Final = (
    open_original,
    check_limits,
    aim,
    decode,
    read_metadata,
    shrink,
    to_srgb,
    strip_metadata,
    turn_upright,
    cut_view,
)
