"""What collections and indexes of 100 million media take on disk and in memory, from sizes that were measured."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.feed.report import table
from benchmarks.search.footprint import SHARD_KEY_INDEX

MEDIA: Final = 100_000_000
UPLOADS_A_SECOND: Final = 3.2
# Of a machine of 64 GB: half of it less 1 GB. WiredTiger keeps 80 % of that filled
# (eviction_target: https://source.wiredtiger.com/develop/tune_cache.html).
CACHE_GB: Final = 31.5
FILLED: Final = 0.8
# Whose documents are read and written.
RECENT_DAYS: Final = 7
# What a media brings that is forgotten again: for how many days it is kept.
_KEPT_DAYS: Final = {"jobs": 7, "idempotency": 2}
# An index that begins with few values, or with what grows with time, is written to at the end of each. In any other
# some page anywhere is written to, which has to be read first unless it is in memory.
_AT_ITS_ENDS: Final = {
    "media": {"_id_", "feed", "recent", "kinds", "tags_by_purpose", "labels", "stalled"},
    "uploads": {"_id_"},
    "contents": {"object", "refs"},
    "annotations": {"media"},
    "embeddings": {"by_media", "places"},
    "jobs": {"_id_", "inspection", "expiry", "claim_by_workload"},
    "idempotency": {"expiry"},
}
_EMBEDDINGS: Final = "embeddings"
# Pages that split in halves wherever something is inserted are full to ln 2 in the long run (Yao, On random 2-3 trees,
# Acta Informatica 9, 1978, https://doi.org/10.1007/BF00289075); WiredTiger fills those that it builds to 90 %
# (split_pct: https://jira.mongodb.org/browse/WT-8833).
SPLIT: Final = 0.9 / math.log(2)
_GB: Final = 1e9
_HOW: Final = ("inserted", "built")

Level = Mapping[str, Any]
Footprint = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Part:
    """One collection at full size: documents, bytes of one, and GB: as BSON, on disk, and of its indexes."""

    name: str
    documents: float
    bson: float
    stored_gb: float
    indexes_gb: float
    anywhere_gb: float

    @property
    def bson_gb(self) -> float:
        return self.documents * self.bson / _GB


def factor(footprint: Footprint, index: str) -> float:
    """How many times the bytes of an index of `media` that was built at once were there when media came one by one."""
    inserted, built = _of_index(footprint, index)
    return inserted / built


def assumed(measured: float, index: str, collection: str = "media") -> float:
    """The factor for a hundred million: that measured, and for what is written to anywhere SPLIT at least."""
    return measured if index in _AT_ITS_ENDS[collection] else max(measured, SPLIT)


def _of_index(footprint: Footprint, index: str) -> tuple[float, float]:
    """Bytes a media after inserts and built at once, without what holds nothing any more."""
    inserted, built = (_pages(footprint[how]["media"])[index] / footprint[how]["media"]["count"] for how in _HOW)
    return inserted, built


def _pages(stats: Mapping[str, Any]) -> dict[str, int]:
    return {name: size - stats["reusableOfIndexes"][name] for name, size in stats["indexSizes"].items()}


def bytes_each(level: Level, footprint: Footprint, index: str) -> tuple[float, float]:
    """Of an index of `media`, bytes a media: built at once over `level`, and as assumed for 100 M."""
    has_it = index != SHARD_KEY_INDEX
    built = level["sizes"]["media"]["indexSizes"][index] / level["count"] if has_it else _of_index(footprint, index)[1]
    return built, built * assumed(factor(footprint, index), index)


def parts(level: Level, footprint: Footprint) -> list[Part]:
    """Every collection that grows with media or with uploads."""
    return [_media(level, footprint), *(_other(name, footprint) for name in _AT_ITS_ENDS if name != "media")]


def _media(level: Level, footprint: Footprint) -> Part:
    stored = level["sizes"]["media"]
    inserted, built = (_stored(footprint[how]["media"]) for how in _HOW)
    sizes = {name: bytes_each(level, footprint, name)[1] for name in _indexes_of_media(level)}
    anywhere = sum(size for name, size in sizes.items() if name not in _AT_ITS_ENDS["media"])
    on_disk = stored["storageSize"] / level["count"] * inserted / built
    in_gb = MEDIA / _GB
    total = sum(sizes.values()) * in_gb
    return Part("media", MEDIA, stored["avgObjSize"], on_disk * in_gb, total, anywhere * in_gb)


def _stored(stats: Mapping[str, Any]) -> float:
    return float(stats["storageSize"] - stats["reusable"]) / stats["count"]


def _indexes_of_media(level: Level) -> list[str]:
    return [*level["sizes"]["media"]["indexSizes"], SHARD_KEY_INDEX]


def _other(name: str, footprint: Footprint) -> Part:
    everything = footprint[_HOW[0]]
    stats = everything[name]
    kept = UPLOADS_A_SECOND * 86_400 * _KEPT_DAYS[name] if name in _KEPT_DAYS else MEDIA
    documents = stats["count"] / everything["media"]["count"] * kept
    in_gb = documents / stats["count"] / _GB
    built, inserted = _pages(footprint[_HOW[1]][name]), _pages(stats)
    sizes = {each: built[each] * assumed(inserted[each] / max(built[each], 1), each, name) for each in inserted}
    anywhere = sum(size for index, size in sizes.items() if index not in _AT_ITS_ENDS[name])
    total = sum(sizes.values()) * in_gb
    return Part(name, documents, stats["avgObjSize"], _stored(stats) * documents / _GB, total, anywhere * in_gb)


def documents(level: Level, footprint: Footprint) -> str:
    """Each collection, their sum, and embeddings apart."""
    found = parts(level, footprint)
    without = [part for part in found if part.name != _EMBEDDINGS]
    lines = [_line(f"`{part.name}`", [part]) for part in without]
    lines.append(_line("All of these", without))
    lines.append(
        _line("`embeddings`, where there is one a media", [part for part in found if part.name == _EMBEDDINGS])
    )
    lines.append(_line("All with embeddings", found))
    head = [
        "",
        "Million documents",
        "Bytes of one (BSON)",
        "GB of BSON",
        "GB on disk",
        "GB of indexes",
        "GB on disk in all",
    ]
    return table(head, lines)


def _line(title: str, found: list[Part]) -> list[str]:
    [one] = found if len(found) == 1 else [None]
    stored, indexes = sum(part.stored_gb for part in found), sum(part.indexes_gb for part in found)
    return [
        title,
        f"{one.documents / 1e6:,.1f}" if one else "",
        f"{one.bson:,}" if one else "",
        f"{sum(part.bson_gb for part in found):,.1f}",
        f"{stored:,.1f}",
        f"{indexes:,.1f}",
        f"{stored + indexes:,.1f}",
    ]


def indexes(level: Level, footprint: Footprint) -> str:
    """Of each index of `media` the bytes for one media, built and after inserts, and what all of it takes."""
    sizes = {name: bytes_each(level, footprint, name) for name in _indexes_of_media(level)}
    lines = [
        [
            f"`{name}`" if name != SHARD_KEY_INDEX else "`{_id: hashed}`",
            f"{built:,.1f}",
            f"{factor(footprint, name):.2f}",
            f"{inserted / built:.2f}",
            f"{inserted * MEDIA / _GB:,.1f}",
            "its ends" if name in _AT_ITS_ENDS["media"] else "anywhere",
        ]
        for name, (built, inserted) in sorted(sizes.items(), key=lambda each: -each[1][1])
        if built >= 1
    ]
    built, inserted = (sum(each) for each in zip(*sizes.values(), strict=True))
    gb = f"{inserted * MEDIA / _GB:,.1f}"
    measured = sum(size * factor(footprint, name) for name, (size, _) in sizes.items()) / built
    lines.append(["All", f"{built:,.1f}", f"{measured:.2f}", f"{inserted / built:.2f}", gb, ""])
    head = ["Index of `media`", "Bytes a media, built at once", "x after inserts, measured", "x assumed"]
    return table([*head, f"GB for {MEDIA // 10**6} M media", "Written to at"], lines)


def working_set(level: Level, footprint: Footprint, ends_gb: float) -> str:
    """What has to be in memory, without embeddings and with them, and how many machines hold it.

    `ends_gb`: of the newest pages of all other indexes, which every shard has.
    """
    found = parts(level, footprint)
    recent = UPLOADS_A_SECOND * 86_400 * RECENT_DAYS * next(part.bson for part in found if part.name == "media") / _GB
    lines = [
        ["Indexes of `media` that are written to anywhere, GB", *_twice(found, lambda part: part.name == "media")],
        ["Those of all other collections, GB", *_twice(found, lambda part: part.name != "media")],
        [f"Documents of `media` of the last {RECENT_DAYS} days, GB", *[f"{recent:,.1f}"] * 2],
        ["Sum, spread over the shards, GB", *(f"{_spread(each, recent):,.1f}" for each in _both(found))],
        ["The ends of all other indexes, on every shard, GB", *[f"{ends_gb:,.1f}"] * 2],
        ["Shards of 64 GB that hold it", *(str(_shards(each, recent, ends_gb)) for each in _both(found))],
        ["On the disk of each member, GB", *(f"{_disk(each, recent, ends_gb):,.0f}" for each in _both(found))],
    ]
    return table(["", "Without embeddings", "With embeddings"], lines)


def _both(found: list[Part]) -> Iterator[list[Part]]:
    yield [part for part in found if part.name != _EMBEDDINGS]
    yield found


def _twice(found: list[Part], chosen: Any) -> list[str]:
    return [f"{sum(part.anywhere_gb for part in each if chosen(part)):,.1f}" for each in _both(found)]


def _spread(found: list[Part], recent: float) -> float:
    return recent + sum(part.anywhere_gb for part in found)


def _shards(found: list[Part], recent: float, ends_gb: float) -> int:
    return math.ceil(_spread(found, recent) / (CACHE_GB * FILLED - ends_gb))


def _disk(found: list[Part], recent: float, ends_gb: float) -> float:
    return sum(part.stored_gb + part.indexes_gb for part in found) / _shards(found, recent, ends_gb)
