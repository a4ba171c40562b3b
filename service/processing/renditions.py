"""From one upright picture to the pixels of every rendition: each resized from the next larger one."""

from __future__ import annotations

from PIL import Image

from service.models import BoundingBox, MediaFormat, Rendition
from service.policies import RenditionPolicy
from service.processing.base_sizes import BASE_SIDE
from service.processing.encoding import ENCODERS, encode
from service.processing.work import Work

_Size = tuple[int, int]


def resize_all(work: Work) -> None:
    """Largest first, so that small ones are cut from pictures already made. Nothing is enlarged."""
    made = [work.image, scaled(work.image, fit(work.image.size, BASE_SIDE))]
    for policy in sorted(still_renditions(work), key=lambda policy: policy.max_side, reverse=True):
        if policy.crop:
            picture = _crop(work.image.size, made, policy.max_side, work.request.focus)
        else:
            picture = _fit(work.image.size, made, policy.max_side)
        made.append(picture)
        work.pictures[policy.name] = picture


def encode_all(work: Work) -> None:
    """Every rendition in every format that its policy lists, in the policy's order."""
    for policy in still_renditions(work):
        picture = work.pictures[policy.name]
        for target in policy.formats:
            body = encode(picture, target, urgent=work.request.urgent)
            work.renditions.append(Rendition(policy.name, target, picture.width, picture.height, body))
    work.note(ENCODERS, urgent=work.request.urgent)


def still_renditions(work: Work) -> list[RenditionPolicy]:
    """Those of the request that are pictures, in its order."""
    return [policy for policy in work.request.renditions if MediaFormat.MP4 not in policy.formats]


def fit(size: _Size, max_side: int) -> _Size:
    """`size` scaled down, if need be, so that its longer side is `max_side` pixels."""
    scale = min(1.0, max_side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def scaled(image: Image.Image, size: _Size) -> Image.Image:
    """`image` itself if it has `size`, or else a copy that does."""
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)


def _fit(full: _Size, made: list[Image.Image], max_side: int) -> Image.Image:
    target = fit(full, max_side)
    return scaled(_smallest_covering(full, made, target), target)


def _crop(full: _Size, made: list[Image.Image], side: int, focus: BoundingBox | None) -> Image.Image:
    side = min(side, *full)
    scale = side / min(full)
    source = _smallest_covering(full, made, (round(full[0] * scale), round(full[1] * scale)))
    square = min(source.size)
    box = crop_box(source.size, square, focus)
    return source.resize((side, side), Image.Resampling.LANCZOS, box=box)


def crop_box(size: _Size, square: int, focus: BoundingBox | None) -> tuple[int, int, int, int]:
    """The square of `square` pixels nearest to the focus' centre that lies within a picture of `size`."""
    x, y = (0.5, 0.5) if focus is None else (focus.x + focus.width / 2, focus.y + focus.height / 2)
    left = round(min(max(x * size[0] - square / 2, 0), size[0] - square))
    top = round(min(max(y * size[1] - square / 2, 0), size[1] - square))
    return left, top, left + square, top + square


def _smallest_covering(full: _Size, made: list[Image.Image], target: _Size) -> Image.Image:
    # Crops show a part only: they serve nobody else.
    whole = [image for image in made if _same_shape(image.size, full)]
    enough = [image for image in whole if image.width >= target[0] and image.height >= target[1]]
    return min(enough, key=lambda image: image.width * image.height)


def _same_shape(size: _Size, full: _Size) -> bool:
    return size == fit(full, max(size))
