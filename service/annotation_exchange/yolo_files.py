"""Writing YOLO label files as they are read by `yolo`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import yaml

from service.annotation_exchange.exporting import ExportedPicture
from service.annotation_exchange.new_files import EntryWriter, new_container

# What six digits can tell from nothing: a box without a width would be an error to whoever reads it.
_LEAST: Final = 1e-6


class YoloWriter:
    """`classes`: the number of each label, in the order in which labels came by."""

    def __init__(self, write_entry: EntryWriter, *, confidences: bool) -> None:
        self._write_entry = write_entry
        self._confidences = confidences
        self.classes: dict[str, int] = {}

    def write(self, picture: ExportedPicture) -> int:
        """Write down a picture; how many annotations have no box, without which there is no line."""
        lines = []
        for each in picture.annotations:
            if (box := each["bounding_box"]) is not None:
                number = self.classes.setdefault(each["label"], len(self.classes))
                columns = [str(number), *(f"{value:.6f}" for value in _centred(box))]
                lines.append(" ".join([*columns, f"{each['confidence']:.6f}"] if self._confidences else columns))
        # A file without lines would say that there is nothing.
        if lines:
            self._write_entry(f"labels/{picture.media_id}.txt", "".join(f"{line}\n" for line in lines).encode())
        return len(picture.annotations) - len(lines)


def _centred(box: Mapping[str, float]) -> tuple[float, float, float, float]:
    width, height = max(box["width"], _LEAST), max(box["height"], _LEAST)
    return box["x"] + width / 2, box["y"] + height / 2, width, height


@contextmanager
def yolo_writer(path: Path, *, confidences: bool) -> Iterator[YoloWriter]:
    """Writes a folder, or a zip archive if the name ends so, at the end of the block.

    `confidences` as the sixth column: that of predictions; what trains on labels takes five.
    """
    with new_container(path) as write_entry:
        writer = YoloWriter(write_entry, confidences=confidences)
        yield writer
        names = "".join(f"  {number}: {_quoted(label)}\n" for label, number in writer.classes.items())
        write_entry("data.yaml", f"path: .\ntrain: images\nval: images\nnames:\n{names or '  {}'}".encode())


def _quoted(label: str) -> str:
    # Only in this style are all characters escaped that YAML would take for ends of lines.
    return yaml.safe_dump(label, default_style='"', allow_unicode=True, width=math.inf).strip()
