"""Bringing READY media up to date with the present pipeline, in the last lane and no faster than is asked."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from service.errors import InvalidInput
from service.lifecycle import MediaStatus
from service.models import Lane, MediaKind, MediaPurpose, RenditionName, Visibility
from service.processing_jobs import RENDERING_FIELDS, enqueue_rendering
from service.stores import Stores
from service.stores.database import Database
from service.stores.scans import ScanStore
from service.wanted_renditions import UP_TO_DATE_FIELDS, is_up_to_date

PAGE: Final = 200
# So many jobs may wait in the lane; beyond that, enqueueing waits for workers.
MAX_BACKLOG: Final = 10_000
_BACKLOG_PAUSE_S: Final = 1.0

_CLAUSE: Final = re.compile(r"\s*([a-z_]+)\s*(!=|>=|<=|=|<|>)\s*(\S.*?)\s*")
_OPERATORS: Final = MappingProxyType({"=": "$eq", "!=": "$ne", "<": "$lt", "<=": "$lte", ">": "$gt", ">=": "$gte"})


def _moment(value: str) -> datetime:
    moment = datetime.fromisoformat(value)
    return moment.astimezone(UTC) if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _truth(value: str) -> bool:
    return {"true": True, "false": False}[value.lower()]


# What media may be chosen by: where it stands in the document, and how a value is read.
_FIELDS: Final[Mapping[str, tuple[str, Callable[[str], Any]]]] = MappingProxyType(
    {
        "id": ("_id", UUID),
        "owner_id": ("owner_id", str),
        "purpose": ("purpose", lambda value: MediaPurpose(value).value),
        "kind": ("kind", lambda value: MediaKind(value).value),
        "visibility": ("visibility", lambda value: Visibility(value).value),
        "content_type": ("content.type", str),
        "pipeline_version": ("processing.pipeline_version", str),
        "complete": ("processing.complete", _truth),
        "given_up": ("processing.given_up", lambda value: RenditionName(value).value),
        "created_at": ("created_at", _moment),
        "first_viewable_at": ("first_viewable_at", _moment),
    }
)


@dataclass(slots=True)
class Progress:
    """`matched` media so far, for how many of them a job was enqueued now, and the id of the last one looked at."""

    matched: int = 0
    enqueued: int = 0
    last: UUID | None = None


def parse_where(clauses: Sequence[str], *, besides: Sequence[str] = ()) -> dict[str, Any]:
    """A query from clauses such as `purpose=COMMUNITY` and `created_at<2026-01-31`, all of which must hold.

    `besides`: fields that the caller reads by itself. Raises InvalidInput that says what is understood, these too.
    """
    return {"$and": [_condition(clause, besides) for clause in clauses]} if clauses else {}


def _condition(clause: str, besides: Sequence[str]) -> dict[str, Any]:
    parts = _CLAUSE.fullmatch(clause)
    if parts is None or parts[1] not in _FIELDS:
        raise InvalidInput(
            f"{clause!r} is not understood: write FIELD, one of {' '.join(_OPERATORS)}, and a value; the fields are "
            f"{', '.join([*besides, *_FIELDS])}.",
            field=["where"],
        )
    name, operator, value = parts.groups()
    if name == "pipeline_version" and operator not in {"=", "!="}:
        raise InvalidInput("Versions of the pipeline are names: compare them with = or !=.", field=["where"])
    path, read = _FIELDS[name]
    try:
        return {path: {_OPERATORS[operator]: read(value)}}
    except (ValueError, KeyError, OverflowError):
        raise InvalidInput(f"{value!r} is not a value of {name}.", field=["where"]) from None


async def reprocess(
    query: Mapping[str, Any],
    *,
    rate: float,
    after: UUID | None,
    apply: bool,
    force: bool = False,
    database: Database,
    stores: Stores,
    on_page: Callable[[Progress], None],
) -> Progress:
    """Have every READY media that matches `query` given what the present pipeline makes, `rate` a second, oldest first.

    Media made by it already do not count (unless `force`), and those with a job on its way cost nothing; so a run may
    be repeated, or go on `after` an id. Without `apply` it only counts. Nothing stops being shown: see `rendering`.
    """
    progress, scans = Progress(last=after), ScanStore(database)
    began, loop = asyncio.get_running_loop().time(), asyncio.get_running_loop()
    while page := await scans.media_page(
        progress.last,
        limit=PAGE,
        fields=(*RENDERING_FIELDS, *UP_TO_DATE_FIELDS),
        statuses={MediaStatus.READY},
        query=query,
    ):
        for media in page:
            progress.last = media["_id"]
            if is_up_to_date(media) and not force:
                continue
            progress.matched += 1
            if apply:
                # By the number enqueued, so that pauses for a backlog are not made up for by a burst.
                await asyncio.sleep(max(0.0, began + progress.enqueued / rate - loop.time()))
                progress.enqueued += await enqueue_rendering(media, stores.jobs, lane=Lane.BACKFILL)
        if apply and progress.matched:
            on_page(progress)
        if apply:
            began += await _wait_for_workers(stores)
    return progress


async def _wait_for_workers(stores: Stores) -> float:
    """Until the lane is short enough; the seconds that took."""
    waited = 0.0
    while await stores.jobs.count_open(Lane.BACKFILL, limit=MAX_BACKLOG) >= MAX_BACKLOG:
        await asyncio.sleep(_BACKLOG_PAUSE_S)
        waited += _BACKLOG_PAUSE_S
    return waited
