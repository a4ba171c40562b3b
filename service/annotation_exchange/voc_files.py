"""Writing Pascal VOC files as they are read by `voc`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from service.annotation_exchange.exporting import ExportedPicture
from service.annotation_exchange.new_files import EntryWriter, new_container
from service.documents import AnnotationDocument

_PICTURE: Final = """<annotation>
  <folder>JPEGImages</folder>
  <filename>{file_name}</filename>
  <source><database>Media metadata service</database></source>
  <size><width>{width}</width><height>{height}</height><depth>3</depth></size>
  <segmented>0</segmented>
{objects}</annotation>
"""
_OBJECT: Final = """  <object>
    <name>{name}</name>
    <pose>Unspecified</pose>
    <truncated>0</truncated>
    <difficult>0</difficult>
    <bndbox><xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax></bndbox>
    <confidence>{confidence!r}</confidence>
{text}  </object>
"""
# What no XML 1.0 document may hold (https://www.w3.org/TR/xml/#charsets).
_NO_XML: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class VocWriter:
    def __init__(self, write_entry: EntryWriter) -> None:
        self._write_entry = write_entry

    def write(self, picture: ExportedPicture) -> int:
        """Write down a picture; how many annotations have no box, which an object must have."""
        boxed = [each for each in picture.annotations if each["bounding_box"] is not None]
        if not boxed:
            # A file without objects would say that there is nothing.
            return len(picture.annotations)
        objects = "".join(_object(each, picture) for each in boxed)
        body = _PICTURE.format(file_name=picture.file_name, width=picture.width, height=picture.height, objects=objects)
        self._write_entry(f"Annotations/{picture.media_id}.xml", body.encode())
        return len(picture.annotations) - len(boxed)


def _object(annotation: AnnotationDocument, picture: ExportedPicture) -> str:
    box, text = annotation["bounding_box"] or {}, annotation["text"]
    xmin, xmax = _pixels(box["x"], box["width"], picture.width)
    ymin, ymax = _pixels(box["y"], box["height"], picture.height)
    return _OBJECT.format(
        name=_escaped(annotation["label"]),
        xmin=xmin,
        ymin=ymin,
        xmax=xmax,
        ymax=ymax,
        confidence=float(annotation["confidence"]),
        text="" if text is None else f"    <text>{_escaped(text)}</text>\n",
    )


def _pixels(start: float, length: float, size: int) -> tuple[int, int]:
    """The first and the last pixel within, counted from 1; at least one."""
    first = min(round(start * size) + 1, size)
    return first, min(max(round((start + length) * size), first), size)


def _escaped(text: str) -> str:
    return escape(_NO_XML.sub("\ufffd", text))


@contextmanager
def voc_writer(path: Path) -> Iterator[VocWriter]:
    """Writes a folder, or a zip archive if the name ends so, at the end of the block."""
    with new_container(path) as write_entry:
        yield VocWriter(write_entry)
