"""Writing COCO detection files as they are read by `coco`, an annotation at a time."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import orjson

from service.annotation_exchange.exporting import ExportedPicture
from service.annotation_exchange.identity import global_id
from service.annotation_exchange.new_files import new_file
from service.documents import AnnotationDocument


class _Array:
    """A JSON array that is written an item at a time."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.count = 0

    def append(self, item: Mapping[str, Any]) -> None:
        self.file.write(b",\n" if self.count else b"\n")
        self.file.write(orjson.dumps(item))
        self.count += 1


class CocoWriter:
    """`categories`: the number of each label, in the order in which labels came by."""

    def __init__(self, images: _Array, annotations: _Array, image_labels: _Array) -> None:
        self._images = images
        self._annotations = annotations
        self._image_labels = image_labels
        self.categories: dict[str, int] = {}

    def write(self, picture: ExportedPicture) -> int:
        """Write down a picture with all its annotations."""
        image = self._images.count + 1
        self._images.append(
            {
                "id": image,
                "file_name": picture.file_name,
                "width": picture.width,
                "height": picture.height,
                "media_id": global_id(picture.media_id),
            }
        )
        for each in picture.annotations:
            said = self._said(each, image)
            if (box := each["bounding_box"]) is None:
                self._image_labels.append({"id": self._image_labels.count + 1, **said})
            else:
                self._annotations.append({"id": self._annotations.count + 1, **said, **_pixels(box, picture)})
        return 0

    def _said(self, annotation: AnnotationDocument, image: int) -> dict[str, Any]:
        category = self.categories.setdefault(annotation["label"], len(self.categories) + 1)
        said: dict[str, Any] = {
            "image_id": image,
            "category_id": category,
            "score": annotation["confidence"],
            "source": annotation["source"],
        }
        return said if annotation["text"] is None else {**said, "text": annotation["text"]}


def _pixels(box: Mapping[str, float], picture: ExportedPicture) -> dict[str, Any]:
    width, height = box["width"] * picture.width, box["height"] * picture.height
    return {
        "bbox": [box["x"] * picture.width, box["y"] * picture.height, width, height],
        "area": width * height,
        # Tools rely on these two being there.
        "iscrowd": 0,
        "segmentation": [],
    }


@contextmanager
def coco_writer(path: Path) -> Iterator[CocoWriter]:
    """Writes `path` at the end of the block. Until then annotations wait in files without a name beside it."""
    with new_file(path) as file, TemporaryFile(dir=path.parent) as boxes, TemporaryFile(dir=path.parent) as labels:
        file.write(b'{"info":{"description":"Annotations of the media metadata service","version":"1"},"images":[')
        writer = CocoWriter(_Array(file), _Array(boxes), _Array(labels))
        yield writer
        for name, array in (("annotations", boxes), ("image_labels", labels)):
            file.write(b'\n],"%s":[' % name.encode())
            array.seek(0)
            shutil.copyfileobj(array, file)
        categories = [{"id": number, "name": label} for label, number in writer.categories.items()]
        file.write(b'\n],"categories":%s}\n' % orjson.dumps(categories))
