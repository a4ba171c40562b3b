"""What moves, tiny and of our own making, to warm the reading and writing of clips with."""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction

from av.audio.frame import AudioFrame
from PIL import Image

from service.models import MediaFormat, RenditionName
from service.policies import RenditionPolicy, UrlLifetime
from service.processing.clip_colours import warm_mappings
from service.processing.preview_encoding import PreviewEncoder, Sound, frame_of
from service.processing.wire import ProcessingRequest

_SIDE = 16
_SOUND = Sound(rate=8_000, channels=1)
_LIFETIME = UrlLifetime(window_s=1, minimum_s=1)


def trusted_preview_request(content_type: str) -> bytes:
    """A request for a still and a preview."""
    still = RenditionPolicy(
        name=RenditionName.THUMBNAIL, max_side=8, crop=True, url_lifetime=_LIFETIME, cache_max_age_s=0
    )
    preview = still.model_copy(
        update={"name": RenditionName.PREVIEW, "crop": False, "max_side": 1_280, "formats": (MediaFormat.MP4,)}
    )
    return ProcessingRequest(content_type=content_type, renditions=(still, preview)).model_dump_json().encode()


def trusted_clips() -> Iterator[tuple[str, bytes]]:
    """Content type and bytes of each."""
    warm_mappings()
    encoder = PreviewEncoder((_SIDE, _SIDE), _SOUND)
    for index in range(3):
        encoder.add_picture(frame_of(Image.new("RGB", (_SIDE, _SIDE), (80 * index, 0, 0))), index / 30)
    silence = AudioFrame(format="fltp", layout="mono", samples=800)
    silence.sample_rate, silence.time_base = _SOUND.rate, Fraction(1, _SOUND.rate)
    for plane in silence.planes:
        plane.update(bytes(plane.buffer_size))
    encoder.add_sound(silence, 0.0)
    yield "video/mp4", encoder.finish(0.1)
    animation = io.BytesIO()
    first, second = (Image.new("RGB", (_SIDE, _SIDE), color) for color in ("red", "blue"))
    first.save(animation, "GIF", save_all=True, append_images=[second])
    yield "image/gif", animation.getvalue()
