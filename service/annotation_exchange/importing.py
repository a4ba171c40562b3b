"""Taking in annotations that other tools wrote: all that a source says of each picture, in place of what it said."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Final
from uuid import UUID, uuid5

import orjson
from pydantic import TypeAdapter, ValidationError

from service.annotation_exchange.geometry import fractions_of, unit_of
from service.annotation_exchange.identity import find_media
from service.annotation_exchange.records import BoxRecord, PictureRecord, Record, Unreadable
from service.annotation_exchange.rehearsal import check_room
from service.annotation_exchange.spool import LabelledBox, Spool, SpooledPicture, open_spool
from service.annotation_layout import MAX_ANNOTATIONS
from service.annotation_reads import PLACE_FIELDS, moved_page
from service.annotation_request import AnnotationRequest, Source
from service.annotation_writes import replace_annotations
from service.audit import OPERATOR_ACTOR
from service.documents import AnnotationDocument, MediaDocument
from service.errors import InvalidInput
from service.stores import Stores
from service.stores.annotation_rows import Wanted
from service.upload_request import invalid_inputs

PAGE: Final = 200
# Media that are written to at the same time, and what they may have together unless it is one: it is all in memory.
_AT_ONCE: Final = 8
_MOST_AT_ONCE: Final = MAX_ANNOTATIONS
# So many problems are told in full.
MAX_PROBLEMS: Final = 20

_FIELDS: Final = (*PLACE_FIELDS, "content.width", "content.height")
_SOURCE: Final[TypeAdapter[str]] = TypeAdapter(Source)


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """`fractions`: boxes are measured in fractions of the picture, not in pixels. `owner_id`: of whose media only.

    `dry_run`: find out what would be written, and write nothing.
    """

    source: str
    fractions: bool
    owner_id: str | None = None
    dry_run: bool = False


@dataclass(slots=True)
class ImportReport:
    """How many pictures the file has, and what became of them; `problems` are the first of what went wrong, in
    the order of the file.

    `done`: so many were looked at. `written`, `unchanged`: of media, `annotations` were written. `unknown`: pictures
    that are no media or not one. `invalid`: not taken for what the file says of them. `stray`: records that
    make no sense and are of no picture. `left_out`: things in pictures that are no boxes.
    """

    pictures: int = 0
    done: int = 0
    written: int = 0
    unchanged: int = 0
    annotations: int = 0
    unknown: int = 0
    invalid: int = 0
    stray: int = 0
    left_out: int = 0
    problems: list[str] = field(default_factory=list)


def check_source(source: str) -> str:
    """`user:<id>` or `model:<name>@<version>`; raises InvalidInput for any other."""
    try:
        return _SOURCE.validate_python(source)
    except ValidationError:
        raise InvalidInput(
            f"{source!r} is no source: write model:<name>@<version>, or user:<id> for what people drew.",
            field=["source"],
        ) from None


async def import_annotations(
    records: Callable[[], Iterator[Record]],
    options: ImportOptions,
    *,
    stores: Stores,
    on_read: Callable[[int], None],
    on_page: Callable[[ImportReport], None],
) -> ImportReport:
    """Let what a file says of its pictures take the place of what the source has said of these media.

    The whole file is read before anything is written. A media is written once or not at all; those that say the same
    already are left alone, so that a run which was interrupted is gone on with by another. `on_read` is told how many
    records were read, from another thread; `on_page` what became of pictures. Raises InvalidInput for a file that
    cannot be read.
    """
    report = ImportReport()
    with open_spool() as spool:
        # A file of a gigabyte takes minutes, and connections must be kept alive meanwhile.
        await asyncio.to_thread(lambda: spool.fill(records(), on_batch=on_read))
        report.pictures, report.invalid, _ = spool.counts()
        report.stray, report.left_out = spool.stray_count(), spool.left_out
        await _identify(spool, options, report, stores)
        for page in spool.pages(PAGE):
            await _write_page(page, spool, options, report, stores)
            report.done += len(page)
            on_page(report)
        report.problems = spool.problems(MAX_PROBLEMS)
    return report


async def _identify(spool: Spool, options: ImportOptions, report: ImportReport, stores: Stores) -> None:
    for page in spool.pages(PAGE):
        found, unknown = await find_media(page, owner_id=options.owner_id, stores=stores)
        spool.settle_media(found.items())
        report.unknown += len(unknown)
        spool.note(unknown.items())
    same = spool.same_media()
    report.unknown += len(same)
    spool.note(
        (number, Unreadable(place, f"another picture of the file is media {media_id} too"))
        for number, place, media_id in same
    )


async def _write_page(
    page: Sequence[SpooledPicture], spool: Spool, options: ImportOptions, report: ImportReport, stores: Stores
) -> None:
    for chunk in _chunks([picture for picture in page if picture.media is not None]):
        media = await stores.media.get_many({each.media for each in chunk if each.media}, fields=_FIELDS)
        writes = [
            _write(media.get(each.media), each.record, spool.boxes_of(each.record), options, report, stores)
            for each in chunk
            if each.media is not None
        ]
        # All come to their end before one that failed is told.
        outcomes = await asyncio.gather(*writes, return_exceptions=True)
        if not options.dry_run:
            await stores.audit.settle("media", list(media))
        for picture, outcome in zip(chunk, outcomes, strict=True):
            if isinstance(outcome, Unreadable):
                report.invalid += 1
                spool.note([(picture.number, outcome)])
            elif isinstance(outcome, BaseException):
                raise outcome


def _chunks(pictures: Iterable[SpooledPicture]) -> Iterator[list[SpooledPicture]]:
    chunk: list[SpooledPicture] = []
    for each in pictures:
        if len(chunk) == _AT_ONCE or (chunk and each.boxes + sum(other.boxes for other in chunk) > _MOST_AT_ONCE):
            yield chunk
            chunk = []
        chunk.append(each)
    if chunk:
        yield chunk


async def _write(
    media: MediaDocument | None,
    picture: PictureRecord,
    boxes: Iterable[LabelledBox],
    options: ImportOptions,
    report: ImportReport,
    stores: Stores,
) -> None:
    """Write what is said of a picture, and count it. Raises Unreadable for what its media cannot hold."""
    if media is None or "width" not in media.get("content", {}):
        raise Unreadable(picture.place, "the media has been deleted")
    fresh = documents_of(media, picture, boxes, options)
    if await _says(media, fresh, options.source, stores):
        report.unchanged += 1
        return
    try:
        if options.dry_run:
            await check_room(media, options.source, fresh, stores=stores)
        elif not await replace_annotations(
            media["_id"], options.source.__eq__, fresh, actor=OPERATOR_ACTOR, stores=stores
        ):
            raise Unreadable(picture.place, "the media has been deleted")
    except InvalidInput as error:
        raise Unreadable(picture.place, error.message) from None
    report.written += 1
    report.annotations += len(fresh)


async def _says(media: MediaDocument, fresh: Sequence[AnnotationDocument], source: str, stores: Stores) -> bool:
    """Whether this is what the source says of a media already. Ids follow from what is said, so they tell."""
    held = await moved_page(media, Wanted(source=source), after=None, limit=len(fresh) + 1, stores=stores)
    return {each["id"] for each in held} == {each["id"] for each in fresh}


def documents_of(
    media: MediaDocument, picture: PictureRecord, boxes: Iterable[LabelledBox], options: ImportOptions
) -> list[AnnotationDocument]:
    """What a file says of a picture, as it is stored of a media. Raises Unreadable for what cannot be."""
    size = (media["content"]["width"], media["content"]["height"])
    unit = (1.0, 1.0) if options.fractions else unit_of(picture, size)
    seen: Counter[UUID] = Counter()
    documents = []
    for each in boxes:
        request = _request(each, unit, size)
        said = orjson.dumps([options.source, request.model_dump()])
        first = _id(media["_id"], said, 0)
        documents.append(
            AnnotationDocument(
                id=_id(media["_id"], said, seen[first]),
                label=request.label,
                confidence=request.confidence,
                bounding_box=None if request.bounding_box is None else request.bounding_box.model_dump(),
                text=request.text,
                source=options.source,
            )
        )
        seen[first] += 1
    return documents


def _id(media_id: UUID, said: bytes, earlier: int) -> UUID:
    """The same for the same words about a media, wherever they stand in whatever file; `earlier`: how many the same."""
    return uuid5(media_id, f"{said.decode()}{earlier}")


def _request(each: LabelledBox, unit: tuple[float, float], size: tuple[float, float]) -> AnnotationRequest:
    record: BoxRecord = each.record
    box = fractions_of(record, unit, size)
    try:
        return AnnotationRequest.model_validate(
            {
                "label": each.label,
                "confidence": record.confidence,
                "bounding_box": None if box is None else asdict(box),
                "text": record.text or None,
            }
        )
    except ValidationError as error:
        raise Unreadable(record.place, str(invalid_inputs(error))) from None
