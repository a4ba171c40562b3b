"""3: what a media's annotations say in short, by which media are found, and how many they are."""

from __future__ import annotations

from service.labels import summarise
from service.migrations.migration import Document, Edit, Migration

_FIELDS = ("labels", "annotation_count")


def _up(media: Document) -> Edit:
    annotations = media.get("annotations")
    if media.get("annotation_segments"):
        # They have moved, by a release that wrote all of this: it follows from rows, and not from the document.
        return Edit()
    if annotations is None:
        return Edit(removed=_FIELDS) if any(media.get(name) for name in _FIELDS) else Edit()
    return Edit({"labels": summarise(annotations), "annotation_count": len(annotations)})


def _down(media: Document) -> Edit:
    return Edit() if media.get("annotation_segments") else Edit(removed=_FIELDS)


MIGRATION = Migration(
    version=3,
    description="labels and annotation_count from annotations: media of earlier releases are found by label",
    reads=("annotations", "annotation_segments", *_FIELDS),
    up=_up,
    down=_down,
)
