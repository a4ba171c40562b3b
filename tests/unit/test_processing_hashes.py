"""One photo has one perceptual hash, whatever file it comes in; the hashes of turned ones are foretold."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from service.media_processing import fingerprint_values
from service.models import Fingerprints, RenditionName
from service.perceptual_hash import DUPLICATE_DISTANCE, TRANSFORMS, bands_of, distance, to_stored
from service.processing import pipeline
from service.processing.work import Work
from tests import photos
from tests.in_process import RENDITIONS, picture, request_for, saved
from tests.turns import TURNS

SAMPLES = Path(__file__).parents[2] / "service" / "dev" / "samples"
FEED = tuple(policy for policy in RENDITIONS if policy.name is RenditionName.FEED)


def made_of(original: bytes, content_type: str = "image/jpeg") -> Work:
    """What the first job makes of a file."""
    work = Work(io.BytesIO(original), request_for(content_type, renditions=FEED).model_copy(update={"urgent": True}))
    for step in pipeline.STEPS:
        step(work)
    return work


def prints(original: bytes, content_type: str = "image/jpeg") -> Fingerprints:
    found = made_of(original, content_type).fingerprints
    assert found is not None
    return found


def apart(one: str, other: str) -> int:
    return distance(to_stored(one), to_stored(other))


@cache
def originals() -> dict[str, Image.Image]:
    pictures = {"scene": photos.scene(800, 600, seed=3)}
    for name in ("cat", "coffee", "rocket"):
        picture = ImageOps.exif_transpose(Image.open(SAMPLES / f"{name}.jpg")).convert("RGB")
        picture.thumbnail((900, 900))
        pictures[name] = picture
    return pictures


# Where a frequency lies at the median the least difference turns it over, and another one for it: two bits at a time.
# Most of this picture is one black.
USUAL = {"rocket": 4}


@pytest.mark.parametrize("name", ["scene", "cat", "coffee", "rocket"])
def test_the_same_photo_in_another_format_has_the_same_hash(name: str) -> None:
    original = originals()[name]
    found = [
        prints(saved(original, "PNG"), "image/png"),
        prints(saved(original, "JPEG", quality=92)),
        prints(saved(original, "JPEG", quality=75, progressive=True)),
        prints(saved(original, "WEBP", quality=85), "image/webp"),
        prints(photos.heic(original), "image/heic"),
    ]
    distances = [apart(found[0].perceptual_hash, each.perceptual_hash) for each in found]
    assert max(distances) <= USUAL.get(name, 2) <= DUPLICATE_DISTANCE, distances


def test_twelve_megapixels_and_their_own_rendition_have_the_same_hash() -> None:
    large = originals()["coffee"].resize((4000, 3000), Image.Resampling.BICUBIC)
    work = made_of(saved(large, "JPEG", quality=90))
    assert work.fingerprints is not None
    assert max(picture(work, RenditionName.FEED).size) == 720
    again = prints(next(each.body for each in work.renditions))
    assert apart(work.fingerprints.perceptual_hash, again.perceptual_hash) <= 2


@pytest.mark.parametrize("name", ["scene", "cat", "coffee", "rocket"])
def test_hashes_of_the_turned_picture_are_known_beforehand(name: str) -> None:
    original = originals()[name]
    foretold = prints(saved(original, "PNG"), "image/png").transformed_hashes
    assert len(foretold) == len(TRANSFORMS)
    for transform, expected in zip(TRANSFORMS, foretold, strict=True):
        turned = prints(saved(original.transpose(TURNS[transform]), "JPEG", quality=90))
        assert apart(turned.perceptual_hash, expected) <= USUAL.get(name, 2), transform


def test_hashes_are_stored_with_their_bands_unless_the_picture_is_flat() -> None:
    seen = fingerprint_values(prints(saved(originals()["cat"], "PNG"), "image/png"))["hashes"]
    assert seen["bands"] == bands_of(seen["phash"])
    assert len(seen["transformed"]) == len(TRANSFORMS)
    flat = fingerprint_values(prints(saved(Image.new("RGB", (640, 480), "#204080"), "PNG"), "image/png"))["hashes"]
    assert "bands" not in flat
