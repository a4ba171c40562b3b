"""Which renditions a media should have, which of them somebody waits for, and which it lacks. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from importlib.metadata import version

from service.models import MediaDocument, MediaFormat, MediaKind, MediaPurpose, RenditionDocument
from service.policies import POLICIES, RenditionPolicy, kind_of

# Names the pipeline as a whole: a change of sizes, qualities or steps takes a new one, and `reprocess` brings the media
# made by earlier ones up to date.
PIPELINE_VERSION = "2"

# Other releases of these may write other bytes, which must not go under the same key.
_ENCODERS = ("Pillow", "av")

# What `wanted_renditions` needs of a media.
WANTED_FIELDS = ("purpose", "content.type", "content.frame_count")


def wanted_renditions(media: MediaDocument) -> tuple[RenditionPolicy, ...]:
    """Every rendition that `media` (with WANTED_FIELDS) should have, each in all of its formats."""
    content = media["content"]
    kind, animated = kind_of(content["type"]), content.get("frame_count", 1) > 1
    return tuple(
        policy
        for policy in POLICIES[MediaPurpose(media["purpose"])].renditions
        if kind in policy.kinds or (policy.animated and animated and kind is MediaKind.IMAGE)
    )


def urgent_renditions(media: MediaDocument) -> tuple[RenditionPolicy, ...]:
    """Those that make a media viewable, as JPEG: everything can show it, and nothing is encoded faster."""
    return tuple(_in_formats(policy, [MediaFormat.JPEG]) for policy in wanted_renditions(media) if policy.urgent)


def missing_renditions(media: MediaDocument, present: Iterable[RenditionDocument]) -> tuple[RenditionPolicy, ...]:
    """Those that `media` (with WANTED_FIELDS) should have beside `present`, in the formats that are lacking."""
    there = {(rendition["name"], rendition["format"]) for rendition in present}
    lacking = (
        _in_formats(policy, [format_ for format_ in policy.formats if (policy.name, format_) not in there])
        for policy in wanted_renditions(media)
    )
    return tuple(policy for policy in lacking if policy.formats)


def stills_and_clips(renditions: Iterable[RenditionPolicy]) -> list[tuple[RenditionPolicy, ...]]:
    """The pictures among `renditions`, and then the clips, which take far longer; without what is empty."""
    every = tuple(renditions)
    stills = tuple(policy for policy in every if MediaFormat.MP4 not in policy.formats)
    clips = tuple(policy for policy in every if MediaFormat.MP4 in policy.formats)
    return [group for group in (stills, clips) if group]


def rendition_generation(sha256: str, revision: int) -> str:
    """Names the objects of all renditions: the same original, revision, pipeline and encoders give the same one.

    A revision never comes again, and so no key whose object was removed or has another Cache-Control is used anew.
    """
    encoders = ",".join(f"{name}={version(name)}" for name in _ENCODERS)
    return hashlib.sha256(f"{sha256}:{revision}:{PIPELINE_VERSION}:{encoders}".encode()).hexdigest()[:16]


def _in_formats(policy: RenditionPolicy, formats: Sequence[MediaFormat]) -> RenditionPolicy:
    return policy.model_copy(update={"formats": tuple(formats)})
