"""Pascal VOC: a folder (or zip archive) with one XML file for each picture.

The format is that of the development kit: the top-left pixel has the coordinates (1, 1), and `xmax` and `ymax` are of
the last pixel within (http://host.robots.ox.ac.uk/pascal/VOC/voc2012/devkit_doc.pdf, "Annotation"). So a box from xmin
to xmax is xmax - xmin + 1 pixels wide and begins xmin - 1 from the left edge. Many tools count from 0 and leave out the
last one: the same file means at most a pixel more or less to them. Beyond the format, in elements that readers pass
over: `confidence` and `text` of an object.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

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
    text_from,
    told,
)
from service.annotation_exchange.xml_elements import Element, parse_xml


def read_voc(path: Path) -> Iterator[Record]:
    """The records of every XML file below a folder or in a zip archive.

    Raises InvalidInput if there is none, or no such folder or archive.
    """
    container = Container(path)
    try:
        for entry in container.entries():
            if entry.name.lower().endswith(".xml"):
                yield from _picture(entry)
    finally:
        container.close()


def _picture(entry: Entry) -> Iterator[Record]:
    try:
        root = parse_xml(entry.name, entry.read())
        if root.tag != "annotation":
            raise Unreadable(root.place, f"an <annotation> belongs here, not {told(root.tag)}")
        yield _picture_of(root, entry)
    except Unreadable as error:
        yield PictureRecord(entry.name, (entry.name,), entry.name)
        yield UnreadableRecord(error.place, error.message, entry.name)
        return
    for element in root.all("object"):
        try:
            box = _object(element, entry)
        except Unreadable as error:
            yield UnreadableRecord(error.place, error.message, entry.name)
        else:
            yield CategoryRecord(box.category, box.category, box.place)
            yield box


def _picture_of(root: Element, entry: Entry) -> PictureRecord:
    size, filename = root.first("size"), root.first("filename")
    # Some tools write 0 for what they do not know.
    width, height = (_number(size, name) if size and size.first(name) else 0.0 for name in ("width", "height"))
    names = (entry.name,) if filename is None else (text_from(filename.text, filename.place), entry.name)
    return PictureRecord(entry.name, names, root.place, width, height)


def _object(element: Element, entry: Entry) -> BoxRecord:
    name, bounds = element.first("name"), element.first("bndbox")
    if name is None or not name.text:
        raise Unreadable(element.place, "an <object> needs a <name>")
    if bounds is None:
        raise Unreadable(element.place, "an <object> needs a <bndbox>")
    left, top, right, bottom = (_number(bounds, each) for each in ("xmin", "ymin", "xmax", "ymax"))
    confidence, text = element.first("confidence"), element.first("text")
    return BoxRecord(
        picture=entry.name,
        category=text_from(name.text, name.place),
        box=(left - 1, top - 1, right - left + 1, bottom - top + 1),
        confidence=1.0 if confidence is None else confidence_from(confidence.text, confidence.place),
        place=element.place,
        text=None if text is None else text_from(text.text, text.place),
    )


def _number(parent: Element, tag: str) -> float:
    element = parent.first(tag)
    if element is None:
        raise Unreadable(parent.place, f"<{parent.tag}> needs <{tag}>")
    return number_from(element.text, element.place)
