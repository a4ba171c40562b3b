"""3: what a media's annotations say in short, by which media are found, and how many they are."""

from __future__ import annotations

from service.labels import labels_of, strongest
from service.migrations.migration import Document, Edit, Migration

_FIELDS = ("labels", "annotation_count")


def _up(media: Document) -> Edit:
    """Of annotations that were moved, their segments say what is needed."""
    annotations, segments = media.get("annotations"), media.get("annotation_segments")
    if annotations is None and segments is None:
        return Edit(removed=_FIELDS) if any(media.get(name) for name in _FIELDS) else Edit()
    greatest = strongest(annotations or ())
    for segment in segments or ():
        for label, confidence in segment["labels"]:
            greatest[label] = max(confidence, greatest.get(label, 0.0))
    count = len(annotations or ()) + sum(segment["count"] for segment in segments or ())
    return Edit({"labels": labels_of(greatest), "annotation_count": count})


def _down(_media: Document) -> Edit:
    return Edit(removed=_FIELDS)


MIGRATION = Migration(
    version=3,
    description="labels and annotation_count from annotations: media of earlier releases are found by label",
    reads=("annotations", "annotation_segments", *_FIELDS),
    up=_up,
    down=_down,
)
