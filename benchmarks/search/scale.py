"""The tables of docs/scale.md, from what was measured: sizes at 100 million media, the oplog's share, storage and CDN.

Sizes grow linearly with the number of media: what is stored for one does not depend on the others. Nothing here was
measured on a cluster of that size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.feed.report import table
from benchmarks.search.questions import DISTANCES
from benchmarks.search.storage import MEDIA, UPLOADS_A_SECOND, documents, indexes, working_set

SHARDS: Final = 10
# A page for each label and step, and each tag, of each purpose that is read or written much, public and private.
_ENDS_GB: Final = (1_000 * 10 + 2_000) * 4 * 2 * 32e3 / 1e9
_GB: Final = 1e9


def look_alikes(level: Mapping[str, Any]) -> str:
    """Candidates of a search, whose hashes are compared: as many times more as there are media."""
    times = MEDIA / level["count"]
    candidates = {each: level["asked"][f"similar_{each}"]["work"]["returned"] for each in DISTANCES}
    lines = [
        [str(distance), f"{found:,.0f}", f"{found * times:,.0f}", f"{found * times / SHARDS:,.0f}"]
        for distance, found in candidates.items()
    ]
    head = [
        "Within",
        f"Candidates among {level['count']:,}",
        f"Among {MEDIA // 10**6} M",
        f"On each of {SHARDS} shards",
    ]
    return table(head, lines)


def scans(scan: Mapping[str, Any]) -> str:
    """How long the API's memory takes to compare with all hashes it holds, and how long others wait meanwhile."""
    counts = scan["counts"]
    lines = [
        [f"within {distance}", *(_scan(counts[count][distance]) for count in counts)]
        for distance in next(iter(counts.values()))
    ]
    return table(
        ["p50, most of 40, ms; others wait at most; found", *(f"{int(count):,} hashes" for count in counts)], lines
    )


def _scan(times: Mapping[str, float]) -> str:
    return f"{times['p50']:.1f}, {times['worst']:.1f}; {times['others_ms']:.1f}; {times['found']:,.0f}"


def oplog(life: Mapping[str, Any]) -> str:
    """Bytes of each step of a photo's life, and the oplog that uploads need for a day."""
    steps = [
        [step["title"], f"{sum(step['bytes'].values()):,.0f}", f"{sum(step['entries'].values()):,.1f}"]
        for step in life["steps"]
    ]
    usual = sum(sum(step["bytes"].values()) for step in life["steps"][:3])
    rates = [
        [
            f"{rate:g}",
            f"{rate * 86_400 * 365 / 1e6:,.0f} M",
            f"{rate * usual / 1e3:,.0f}",
            f"{rate * usual * 86_400 / _GB:,.1f}",
        ]
        for rate in (1, UPLOADS_A_SECOND, 10, 100)
    ]
    return "\n\n".join(
        (
            table(["Step", "Bytes of oplog a photo", "Entries"], steps),
            table(["Uploads/s", "A year", "kB/s of oplog (first three steps)", "GB for 24 hours"], rates),
        )
    )


@dataclass(frozen=True, slots=True)
class Prices:
    """List prices in dollars: https://aws.amazon.com/cloudfront/pricing/ (edges in the United States, HTTPS, the first
    10 TB a month) and https://aws.amazon.com/s3/pricing/ (S3 Standard, US East, the first 50 TB), as of autumn 2026.
    """

    cdn_gb: float = 0.085
    cdn_request: float = 0.0100 / 10_000
    invalidated_path: float = 0.005
    get: float = 0.0004 / 1_000
    put: float = 0.005 / 1_000
    stored_gb_month: float = 0.023


@dataclass(frozen=True, slots=True)
class Sessions:
    """What is assumed of a million sessions, and what docs/benchmarks.md says of the pictures that they see.

    `shown_kb`: kB of one picture of the feed; `from_device`: the share that a device has kept; `missed`: that of the
    others which CloudFront has not.
    """

    title: str
    shown_kb: float
    from_device: float
    missed: float
    sessions: int = 1_000_000
    pages: int = 3
    pictures: int = 20

    @property
    def shown(self) -> float:
        return self.sessions * self.pages * self.pictures

    @property
    def fetched(self) -> float:
        return self.shown * (1 - self.from_device)


# `make bench-stability` and `make bench-bytes`: a phone with a slot of 360 px at 3 x, on 4G, 20 pictures.
OURS: Final = Sessions("AVIF or WebP in the slot's size, addresses that stay", 1_337 / 20, 0.514, 0.030)
NAIVE: Final = Sessions("FULL as JPEG, signed anew each time", 1_889 / 20, 0.0, 0.015)


def cost_of_sessions(prices: Prices = Prices()) -> str:
    """Dollars for the pictures of a million sessions."""
    lines = [session_costs(each, prices) for each in (OURS, NAIVE)]
    titles = [
        "Pictures shown",
        "Requests to CloudFront",
        "GB out",
        "GETs to S3",
        "Requests, $",
        "Transfer, $",
        "S3, $",
        "All, $",
    ]
    return table(
        ["A million sessions", OURS.title, NAIVE.title],
        [[title, *(line[index] for line in lines)] for index, title in enumerate(titles)],
    )


def session_costs(assumed: Sessions, prices: Prices) -> list[str]:
    """Pictures shown and fetched, GB, GETs; dollars for requests, transfer, S3 and all."""
    out_gb, gets = assumed.fetched * assumed.shown_kb * 1e3 / _GB, assumed.fetched * assumed.missed
    requests, transfer, storage = assumed.fetched * prices.cdn_request, out_gb * prices.cdn_gb, gets * prices.get
    counts = [f"{each / 1e6:,.1f} M" for each in (assumed.shown, assumed.fetched)]
    return [
        *counts,
        f"{out_gb:,.0f}",
        f"{gets / 1e6:,.2f} M",
        *(f"{each:,.2f}" for each in (requests, transfer, storage, requests + transfer + storage)),
    ]


def cost_of_photos(life: Mapping[str, Any], prices: Prices = Prices()) -> str:
    """Dollars for a million photos: asking S3 to take, keep and remove them, and edges to forget them."""
    uploaded, removed = life["steps"][0]["calls"], life["steps"][-1]["calls"]
    renditions = life["before_deletion"]["renditions"]
    kept = life["original_bytes"] + renditions["bytes"] * renditions["count"] / life["photos"]
    # The client's own PUT is no call of the service's.
    writes, reads = 1 + _calls(uploaded, _WRITES), _calls(uploaded, _READS)
    lists, heads = _calls(removed, _WRITES), _calls(removed, _READS)
    million = 1e6
    lines = [
        ["Taken up: PUTs and tags", f"{writes:g}", million * writes * prices.put],
        ["Taken up: GETs and HEADs", f"{reads:g}", million * reads * prices.get],
        [
            "Kept for a month: original and renditions",
            f"{kept / 1e6:.2f} MB",
            million * kept / _GB * prices.stored_gb_month,
        ],
        ["Removed: LISTs", f"{lists:g}", million * lists * prices.put],
        ["Removed: HEADs (DELETEs are free)", f"{heads:g}", million * heads * prices.get],
        ["Edges forget: a tag, and the original's path", "2 paths", million * 2 * prices.invalidated_path],
        ["The first 31 days: renditions by path as well", "5 paths", million * 5 * prices.invalidated_path],
    ]
    return table(["A million photos", "Each", "$"], ([name, each, f"{cost:,.2f}"] for name, each, cost in lines))


# As S3 bills them; HeadBucket is asked by /readyz and belongs to no photo.
_WRITES: Final = ("PutObject", "PutObjectTagging", "CopyObject", "ListObjectsV2", "ListObjectVersions")
_READS: Final = ("GetObject", "HeadObject", "GetObjectTagging")


def _calls(calls: Mapping[str, float], names: Sequence[str]) -> float:
    return sum(calls.get(name, 0) for name in names)


def tables(
    level: Mapping[str, Any], life: Mapping[str, Any], footprint: Mapping[str, Any], scan: Mapping[str, Any]
) -> str:
    """All of them, under their titles."""
    parts = {
        "Documents": documents(level, footprint),
        "Indexes": indexes(level, footprint),
        "Working set": working_set(level, footprint, _ENDS_GB),
        "Look-alikes": look_alikes(level),
        "Hashes in memory": scans(scan),
        "Oplog": oplog(life),
        "Sessions": cost_of_sessions(),
        "Photos": cost_of_photos(life),
    }
    machines = {"a photo's life": life, "writing one after another": footprint, "hashes in memory": scan}
    measured = "; ".join(
        (
            f"{level['count']:,} media, {level['machine']}",
            *(f"{name}, {of['machine']}" for name, of in machines.items()),
        )
    )
    return "\n\n".join([measured, *(f"**{title}**\n\n{body}" for title, body in parts.items())])
