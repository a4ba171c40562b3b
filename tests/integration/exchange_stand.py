"""Media and files between which annotations go to and fro."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4, uuid5

from service.annotation_exchange.exporting import ExportReport, export_annotations
from service.annotation_exchange.formats import reader_of, writer_of
from service.annotation_exchange.importing import ImportOptions, ImportReport, import_annotations
from service.annotation_exchange.records import Format
from service.annotation_exchange.scope import parse_scope
from service.annotation_reads import PLACE_FIELDS, moved_page
from service.annotation_writes import replace_annotations
from service.documents import AnnotationDocument
from service.stores import Stores, bind_stores
from service.stores.annotation_rows import Wanted
from service.stores.database import Database
from tests.documents import ready_media

MODEL = "model:detector@1"
WIDTH, HEIGHT = 1237, 811


@dataclass
class Exchange:
    database: Database
    stores: Stores
    folder: Path

    async def media(self, count: int = 1, **changed: Any) -> list[UUID]:
        """READY media with nothing said of them, oldest first."""
        content = {"type": "image/jpeg", "bytes": 1, "sha256": uuid4().hex * 2, "width": WIDTH, "height": HEIGHT}
        documents = [
            {**ready_media(content=content | changed.pop("content", {}), **changed), "annotations": []}
            for _ in range(count)
        ]
        await self.database.media.insert_many(documents)
        return [document["_id"] for document in documents]

    async def say(self, media_id: UUID, annotations: Sequence[dict[str, Any]], *, source: str = MODEL) -> None:
        documents = [
            AnnotationDocument(
                id=uuid5(media_id, f"{source}{index}"),
                label=each.get("label", "cat"),
                confidence=each.get("confidence", 1.0),
                bounding_box=each.get("box"),
                text=each.get("text"),
                source=source,
            )
            for index, each in enumerate(annotations)
        ]
        assert await replace_annotations(media_id, source.__eq__, documents, stores=self.stores)

    async def said(self, media_id: UUID, *, source: str = MODEL) -> list[AnnotationDocument]:
        media = await self.stores.media.get(media_id, fields=PLACE_FIELDS)
        assert media is not None
        found = await moved_page(media, Wanted(source=source), after=None, limit=10_000, stores=self.stores)
        return sorted(found, key=lambda each: (each["label"], each["confidence"], str(each["bounding_box"])))

    async def exported(self, path: Path, file_format: Format, *where: str, confidences: bool = False) -> ExportReport:
        with writer_of(file_format, path, confidences=confidences) as writer:
            return await export_annotations(
                parse_scope(where), writer, database=self.database, stores=self.stores, on_page=lambda _: None
            )

    async def imported(self, path: Path, file_format: Format, **options: Any) -> ImportReport:
        described_by = options.pop("described_by", None)
        whole = ImportOptions(**{"source": MODEL, "fractions": file_format is Format.YOLO, **options})
        reader = reader_of(file_format, path, described_by=described_by)
        return await import_annotations(
            reader, whole, stores=self.stores, on_read=lambda _: None, on_page=lambda _: None
        )

    def coco(self, images: Sequence[dict[str, Any]], boxes: Sequence[dict[str, Any]] = ()) -> Path:
        """A COCO file of these images with their indexes as ids; each box is a cat in the first unless it says else."""
        document = {
            "images": [{"id": index, "file_name": "", **each} for index, each in enumerate(images)],
            "annotations": [{"image_id": 0, "category_id": 1, "bbox": [10, 10, 20, 20], **each} for each in boxes],
            "categories": [{"id": 1, "name": "cat"}],
        }
        path = self.folder / f"{uuid4().hex}.json"
        path.write_text(json.dumps(document))
        return path


async def open_exchange(database: Database, folder: Path) -> Exchange:
    """No media at all."""
    for collection in (database.media, database.annotations, database.annotation_rounds):
        await collection.delete_many({})
    return Exchange(database, bind_stores(database), folder)


def boxes(count: int, *, seed: int = 0) -> list[dict[str, Any]]:
    """Boxes all over the picture, with confidences and labels, a tenth of them with text."""
    return [
        {
            "label": f"thing {(index + seed) % 7} & <co>",
            "confidence": ((index * 37 + seed) % 101) / 101,
            "box": {
                "x": (index * 13 % 90) / 101,
                "y": (index * 7 % 80) / 97,
                "width": (index % 9 + 1) / 103,
                "height": (index % 11 + 1) / 107,
            },
            "text": f"was auch immer „{index}“ <&>" if index % 10 == 0 else None,
        }
        for index in range(count)
    ]
