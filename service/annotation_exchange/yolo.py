"""YOLO: a folder (or zip archive) with one text file for each picture, and the names of the classes beside them.

Each line: class number from 0, centre x, centre y, width, height as fractions of the picture, and in predictions the
confidence (https://docs.ultralytics.com/datasets/detect/). The names: `data.yaml`, or `classes.txt` or `obj.names` with
one name a line, as LabelImg and Darknet have it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Final

import yaml

from service.annotation_exchange.containers import Container, Entry
from service.annotation_exchange.records import (
    BoxRecord,
    CategoryRecord,
    PictureRecord,
    Record,
    Unreadable,
    UnreadableRecord,
    confidence_from,
    number_from,
    told,
)
from service.errors import InvalidInput

# The first of these that there is says what the classes are.
_NAMES: Final = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml", "classes.txt", "obj.names")
# Texts that are no labels: the names of classes, which LabelImg puts beside them,
_CLASSES: Final = "classes.txt"
# and where there is no folder of labels, Darknet's lists of pictures and what tells of the data set.
_NO_LABELS: Final = re.compile(r"(classes|train|val|valid|test|autosplit_(train|val|test)|readme(\..+)?)\.txt")
_NUMBER: Final = re.compile(r"[0-9]{1,9}")
_MOST_COLUMNS: Final = 6
# As text files have them. Python's own `splitlines` also ends lines within names, and moves the numbers of all others.
_LINE: Final = re.compile(r"[^\r\n]*(\r\n?|\n|\Z)")
# Data sets of 20,000 classes have less; a parsed document takes hundreds of times as much.
_MAX_YAML_BYTES: Final = 1_000_000


def read_yolo(path: Path) -> Iterator[Record]:
    """The records of every label file: those in folders named `labels` if there are such folders.

    Raises InvalidInput if there are no names of classes, or no such folder or archive.
    """
    container = Container(path)
    try:
        yield from _class_names(container)
        is_label_file = _is_below_labels if any(map(_is_below_labels, container.entries())) else _may_be_labels
        for entry in container.entries():
            if is_label_file(entry):
                yield from _picture(entry)
    finally:
        container.close()


def _is_below_labels(entry: Entry) -> bool:
    path = PurePosixPath(entry.name.lower())
    return path.suffix == ".txt" and path.name != _CLASSES and "labels" in path.parts[:-1]


def _may_be_labels(entry: Entry) -> bool:
    name = PurePosixPath(entry.name.lower()).name
    return name.endswith(".txt") and not _NO_LABELS.fullmatch(name)


def _class_names(container: Container) -> Iterator[CategoryRecord]:
    named = [entry for entry in container.entries() if PurePosixPath(entry.name).name.lower() in _NAMES]
    if not named:
        raise InvalidInput(f"The names of the classes are missing: add {' or '.join(_NAMES)}. Nothing was written.")
    entry = min(named, key=_precedence)
    try:
        names = _names_in(entry)
    except Unreadable as error:
        raise InvalidInput(f"{error}. Nothing was written.") from None
    for number, label in names.items():
        yield CategoryRecord(str(number), label, entry.name)


def _precedence(entry: Entry) -> tuple[int, int, str]:
    path = PurePosixPath(entry.name)
    return _NAMES.index(path.name.lower()), len(path.parts), entry.name


def _names_in(entry: Entry) -> dict[int, str]:
    if not entry.name.lower().endswith((".yaml", ".yml")):
        return {number: label for number, line in enumerate(_lines(entry.text())) if (label := line.strip())}
    text = entry.text(most=_MAX_YAML_BYTES)
    try:
        # Texts, lists and mappings, and nothing else: a class may be called `no`, and merges of merges stay unmerged.
        document: Any = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506  # nosec B506
    except (yaml.YAMLError, RecursionError) as error:
        raise Unreadable(entry.name, f"it is not YAML that can be read: {' '.join(str(error).split())}") from None
    names = document.get("names") if isinstance(document, dict) else None
    pairs = list(names.items() if isinstance(names, dict) else enumerate(names if isinstance(names, list) else ()))
    if not pairs or not all(_NUMBER.fullmatch(str(each)) and isinstance(label, str) for each, label in pairs):
        raise Unreadable(entry.name, "`names` must be a list of names, or say for each number from 0 its name")
    return {int(number): label for number, label in pairs if label}


def _picture(entry: Entry) -> Iterator[Record]:
    yield PictureRecord(entry.name, (entry.name,), entry.name)
    try:
        text = entry.text()
    except Unreadable as error:
        yield UnreadableRecord(error.place, error.message, entry.name)
        return
    for number, line in enumerate(_lines(text), 1):
        columns = line.split(maxsplit=_MOST_COLUMNS)
        try:
            if columns:
                yield _box(columns, entry.name, f"{entry.name}:{number}")
        except Unreadable as error:
            yield UnreadableRecord(error.place, error.message, entry.name)


def _lines(text: str) -> Iterator[str]:
    return (match[0] for match in _LINE.finditer(text))


def _box(columns: list[str], picture: str, place: str) -> BoxRecord:
    if len(columns) > _MOST_COLUMNS:
        raise Unreadable(place, "5 or 6 numbers belong here. Outlines, keypoints and turned boxes are not taken.")
    if len(columns) < _MOST_COLUMNS - 1:
        raise Unreadable(place, f"5 numbers belong here, or 6 with the confidence, not {len(columns)}.")
    category = columns[0]
    if not _NUMBER.fullmatch(category):
        raise Unreadable(place, f"{told(category)} is not the number of a class")
    center_x, center_y, width, height = (number_from(each, place) for each in columns[1:5])
    return BoxRecord(
        picture=picture,
        category=str(int(category)),
        box=(center_x - width / 2, center_y - height / 2, width, height),
        confidence=confidence_from(columns[5] if len(columns) == _MOST_COLUMNS else None, place),
        place=place,
    )
