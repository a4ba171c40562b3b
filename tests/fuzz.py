"""Fuzzing of what reads a stranger's bytes in Python: `python -m tests.fuzz TARGET SECONDS`, or `make fuzz`.

The corpus begins with the pictures that the pipeline is warmed with and those of `tests.hostile_containers`, and is
kept in `.fuzz/TARGET` from run to run. An input that ends in anything but an answer is left in `.fuzz/`, and the run
fails. Decoders written in C are run too, but not instrumented: the jail is what contains them.
"""

from __future__ import annotations

import hashlib
import io
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Final

import atheris

with atheris.instrument_imports(include=["service.processing", "PIL"]):
    from PIL import Image

    from service.errors import ProcessingFailed
    from service.models import MediaFormat, MetadataField
    from service.policies import IMAGE_TYPES
    from service.processing.detect import HEAD_BYTES, sniff
    from service.processing.frames import count_frames
    from service.processing.iso_boxes import boxes_of
    from service.processing.limits import count_scans, refuse_large_canvas
    from service.processing.metadata import metadata_of_clip, metadata_of_exif
    from service.processing.trusted import trusted_pictures
    from service.processing.wire import Crashed
    from service.processing.work import Work
    from tests.hostile_containers import good_files
    from tests.in_process import RENDITIONS, reply_to, request_for

FOLDER: Final = Path(".fuzz")
# One rendition, so that most of the time is spent before it is made.
_QUICK: Final = tuple(
    policy.model_copy(update={"formats": (MediaFormat.JPEG,)}) for policy in RENDITIONS if policy.crop
)
_PATHS: Final = ((b"moov", b"trak", b"mdia", b"mdhd"), (b"meta", b"iprp", b"ipco", b"colr"))


def detection(data: bytes) -> None:
    """What a file is, by its first bytes."""
    found = sniff(data[:HEAD_BYTES])
    if found is not None and "/" not in found:
        raise AssertionError(found)


def limits(data: bytes) -> None:
    """Scans, canvases, boxes and frames: all that is counted before a pixel is decoded."""
    count_scans(io.BytesIO(data))
    for path in _PATHS:
        list(boxes_of(io.BytesIO(data), *path))
    for content_type, format_name in (("image/gif", "GIF"), ("image/png", "PNG"), ("image/webp", "WEBP")):
        work = Work(io.BytesIO(data), request_for(content_type), content_type=content_type, byte_length=len(data))
        work.image.format, work.image.is_animated = format_name, True  # type: ignore[attr-defined]
        count_frames(work)
        try:
            refuse_large_canvas(work)
        except ProcessingFailed:
            continue


def metadata(data: bytes) -> None:
    """EXIF as it may stand in a picture, and the tags of a clip."""
    exif = Image.Exif()
    try:
        exif.load(data)
    except Exception:  # noqa: BLE001 - Pillow's own parser; `read_metadata` holds the same against it
        return
    metadata_of_exif(exif, frozenset(MetadataField))
    text = data.decode("latin-1")
    tags = ("creation_time", "com.apple.quicktime.location.ISO6709", "com.apple.quicktime.creationdate", "make")
    metadata_of_clip(dict.fromkeys(tags, text), frozenset(MetadataField))


def pipeline(data: bytes) -> None:
    """A whole picture, announced as what it looks like."""
    found = sniff(data[:HEAD_BYTES])
    if found in IMAGE_TYPES:
        answer = reply_to(data, found, _QUICK)
        if isinstance(answer, Crashed):
            raise AssertionError(answer.detail)


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    target.__name__: target for target in (detection, limits, metadata, pipeline)
}


def seed(folder: Path, target: str) -> None:
    """Put good files into the corpus in `folder`, or, of metadata, what they say of themselves."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in (*(picture for _, picture in trusted_pictures()), *good_files().values()):
        content = file
        if target == "metadata":
            content = Image.open(io.BytesIO(file)).info.get("exif", b"") if file.startswith(b"\xff\xd8") else b""
        (folder / hashlib.sha256(content).hexdigest()[:16]).write_bytes(content)


def main() -> None:
    """Fuzz one target for so many seconds."""
    target, seconds = sys.argv[1:]
    warnings.simplefilter("ignore")
    folder = FOLDER / target
    seed(folder, target)
    arguments = [f"-max_total_time={seconds}", f"-artifact_prefix={FOLDER}/{target}-", "-timeout=20", "-max_len=20000"]
    atheris.Setup(
        [sys.argv[0], *arguments, "-rss_limit_mb=3000", "-verbosity=0", "-print_final_stats=1", str(folder)],
        TARGETS[target],
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
