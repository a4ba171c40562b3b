"""Which renditions a media should have, which of them somebody waits for, and which it lacks. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from service.documents import MediaDocument, RenditionDocument
from service.models import MediaFormat, MediaKind, MediaPurpose, Visibility
from service.object_keys import visibility_of_rendition
from service.policies import POLICIES, RenditionPolicy, kind_of

# Names the pipeline as a whole: a change of sizes, qualities or steps takes a new one, and `reprocess` brings the media
# made by earlier ones up to date.
PIPELINE_VERSION = "2"

# Other releases of these may write other bytes, which must not go under the same key.
_ENCODERS = ("Pillow", "av")

# What `wanted_renditions` needs of a media.
WANTED_FIELDS = ("purpose", "content.type", "content.frame_count")
# What `is_up_to_date` needs.
UP_TO_DATE_FIELDS = (
    "content.sha256", "focus", "visibility", "renditions.key",
    "processing.complete", "processing.made_from", "processing.made_for",
)  # fmt: skip


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


@cache
def _encoders() -> str:
    # Looked up on disk, and asked for with every media.
    return ",".join(f"{name}={version(name)}" for name in _ENCODERS)


def made_from(media: MediaDocument) -> str:
    """What the pixels of all renditions follow from: the same content, focus, pipeline and encoders give the same text.

    PackageNotFoundError where the encoders are not installed.
    """
    said = f"{media['content']['sha256']}:{media.get('focus')}:{PIPELINE_VERSION}:{_encoders()}"
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def is_up_to_date(media: MediaDocument) -> bool:
    """Whether a READY `media` (with UP_TO_DATE_FIELDS) has all that would be made of it now."""
    processing = media.get("processing", {})
    try:
        return (
            bool(processing.get("complete"))
            and processing.get("made_from") == made_from(media)
            and "made_for" in processing
            and not is_made_for_others(media)
        )
    except PackageNotFoundError:
        # Whoever has them will tell.
        return False


def is_made_for_others(media: MediaDocument) -> bool:
    """Whether renditions of `media` carry the headers, or lie in the folder, of another visibility than it has now."""
    visibility = Visibility(media["visibility"])
    # Releases up to 0.1.0 had one folder for both.
    folders = {visibility_of_rendition(each["key"]) for each in media.get("renditions", [])}
    return media["processing"].get("made_for", visibility) != visibility or not folders <= {visibility}


def next_generation(media: MediaDocument) -> str:
    """Names the objects of the renditions to be made next: each round of rendering has a name that never comes again.

    So no key is used anew whose object was removed, is about to be, or has another Cache-Control; only a round that is
    repeated, because it was not brought to its end, writes the same keys.
    """
    processing = media.get("processing", {})
    said = f"{made_from(media)}:{media['visibility']}:{processing.get('revision', 0)}:{processing.get('renders', 0)}"
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def _in_formats(policy: RenditionPolicy, formats: Sequence[MediaFormat]) -> RenditionPolicy:
    return policy.model_copy(update={"formats": tuple(formats)})
