"""COCO detection files: one JSON document with images, categories and annotations, in whatever order.

The format: https://cocodataset.org/#format-data and https://cocodataset.org/#format-results. Pixels count from 0; a
`bbox` is x, y, width, height. Beyond it, in keys that other tools pass over: `media_id` of an image, `text` and
`source` of an annotation, and `image_labels`, annotations of a whole picture: other tools rely on a `bbox`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from service.annotation_exchange.containers import is_container
from service.annotation_exchange.json_records import read_records
from service.annotation_exchange.records import (
    BoxRecord,
    CategoryRecord,
    LeftOutRecord,
    PictureRecord,
    Record,
    Unreadable,
    UnreadableRecord,
    confidence_from,
    number_from,
    text_from,
)
from service.errors import InvalidInput

_WANTED: Final[Mapping[str, frozenset[str]]] = {
    "images": frozenset({"id", "file_name", "coco_url", "flickr_url", "width", "height", "media_id", "sha256"}),
    "categories": frozenset({"id", "name"}),
    "annotations": frozenset({"image_id", "category_id", "bbox", "score", "text", "iscrowd"}),
    "image_labels": frozenset({"image_id", "category_id", "score", "text"}),
}
_DESCRIPTION: Final = ("images", "categories")


def read_coco(path: Path, *, described_by: Path | None = None) -> Iterator[Record]:
    """The records of a detection file, or of a list of results, whose images and categories are in `described_by`.

    Raises InvalidInput where it is no such file or not JSON: nothing of it can be trusted then.
    """
    if described_by is not None:
        yield from _records(described_by, {name: _WANTED[name] for name in _DESCRIPTION})
    if is_container(path):
        raise InvalidInput(
            f"{path} is a folder or a zip archive, and COCO is a JSON file: give that, or take what is in it with "
            "--format yolo or voc. Nothing was written."
        )
    yield from _records(path, _WANTED, bare_list=None if described_by is None else "annotations")


def _records(path: Path, wanted: Mapping[str, frozenset[str]], *, bare_list: str | None = None) -> Iterator[Record]:
    for section, place, record in read_records(path, wanted, bare_list=bare_list):
        try:
            yield _READERS[section](record, place)
        except Unreadable as error:
            picture = record.get("image_id", record.get("id") if section == "images" else None)
            key = str(picture) if isinstance(picture, int | str) else None
            yield UnreadableRecord(error.place, error.message, key)


def _image(record: Mapping[str, Any], place: str) -> PictureRecord:
    names = ("file_name", "coco_url", "flickr_url")
    return PictureRecord(
        key=_key(record, "id", place),
        names=tuple(text_from(record[name], f"{place}.{name}") for name in names if isinstance(record.get(name), str)),
        place=place,
        width=number_from(record.get("width") or 0, f"{place}.width"),
        height=number_from(record.get("height") or 0, f"{place}.height"),
        media_id=_text(record, "media_id", place),
        sha256=_text(record, "sha256", place),
    )


def _category(record: Mapping[str, Any], place: str) -> CategoryRecord:
    label = _text(record, "name", place)
    if not label:
        raise Unreadable(f"{place}.name", "a category needs a name")
    return CategoryRecord(_key(record, "id", place), label, place)


def _annotation(record: Mapping[str, Any], place: str) -> Record:
    if record.get("iscrowd") == 1:
        return LeftOutRecord()
    bbox = record.get("bbox")
    if not isinstance(bbox, list) or len(bbox) != 4:
        raise Unreadable(f"{place}.bbox", "it must be four numbers: x, y, width, height")
    x, y, width, height = (number_from(each, f"{place}.bbox[{index}]") for index, each in enumerate(bbox))
    return _finding(record, place, (x, y, width, height))


def _image_label(record: Mapping[str, Any], place: str) -> BoxRecord:
    return _finding(record, place, None)


def _finding(record: Mapping[str, Any], place: str, box: tuple[float, float, float, float] | None) -> BoxRecord:
    return BoxRecord(
        picture=_key(record, "image_id", place),
        category=_key(record, "category_id", place),
        box=box,
        confidence=confidence_from(record.get("score"), f"{place}.score"),
        place=place,
        text=_text(record, "text", place),
    )


def _key(record: Mapping[str, Any], name: str, place: str) -> str:
    value = record.get(name)
    if not isinstance(value, int | str) or isinstance(value, bool):
        raise Unreadable(f"{place}.{name}", "it must be a whole number or a text")
    return text_from(str(value), f"{place}.{name}")


def _text(record: Mapping[str, Any], name: str, place: str) -> str | None:
    value = record.get(name)
    if value is not None and not isinstance(value, str):
        raise Unreadable(f"{place}.{name}", "it must be a text")
    return None if value is None else text_from(value, f"{place}.{name}")


_READERS: Final[Mapping[str, Callable[[Mapping[str, Any], str], Record]]] = {
    "images": _image,
    "categories": _category,
    "annotations": _annotation,
    "image_labels": _image_label,
}
