"""Which format is read and written by what."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from service.annotation_exchange.coco import read_coco
from service.annotation_exchange.coco_files import coco_writer
from service.annotation_exchange.exporting import Writer
from service.annotation_exchange.records import Format, Record
from service.annotation_exchange.voc import read_voc
from service.annotation_exchange.voc_files import voc_writer
from service.annotation_exchange.yolo import read_yolo
from service.annotation_exchange.yolo_files import yolo_writer


def reader_of(file_format: Format, path: Path, *, described_by: Path | None) -> Callable[[], Iterator[Record]]:
    """What reads the records of `path`. `described_by`: for a list of COCO results, the file they are results for."""
    match file_format:
        case Format.COCO:
            return lambda: read_coco(path, described_by=described_by)
        case Format.VOC:
            return lambda: read_voc(path)
        case Format.YOLO:
            return lambda: read_yolo(path)


def writer_of(file_format: Format, path: Path, *, confidences: bool) -> AbstractContextManager[Writer]:
    """What writes `path`. `confidences`: also in YOLO's labels, where they are not at home."""
    match file_format:
        case Format.COCO:
            return coco_writer(path)
        case Format.VOC:
            return voc_writer(path)
        case Format.YOLO:
            return yolo_writer(path, confidences=confidences)
