"""Chains and heads as files, which can be verified without the database.

An export is JSON Lines: an entry a line with its hash, chain after chain, each from its first entry on; the last line
holds the heads of all of them. An anchor is that last line alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from service.audit.canonical import canonical_json
from service.audit.entry import BUCKETS, Head
from service.audit.verification import Anchor, ChainVerifier, Finding


class UnreadableFile(Exception):
    """It is no export and no anchor; the message says where."""


def entry_line(entry: Mapping[str, Any], entry_hash: str) -> bytes:
    """A line of an export."""
    return canonical_json({"entry": entry, "hash": entry_hash}) + b"\n"


def heads_line(heads: Sequence[Head], at: str) -> bytes:
    """The last line of an export, or a whole anchor. `at`: when the heads were read (ISO 8601)."""
    rows = [{"bucket": each.bucket, "hash": each.hash, "sequence": each.sequence} for each in heads]
    return canonical_json({"at": at, "heads": rows}) + b"\n"


def read_heads(body: bytes, source: str) -> list[Anchor]:
    """The heads that an anchor holds. Raises UnreadableFile."""
    try:
        rows = orjson.loads(body)["heads"]
        return [Anchor(Head(int(row["bucket"]), int(row["sequence"]), str(row["hash"])), source) for row in rows]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UnreadableFile(f"{source} is no anchor: it has no list of heads.") from error


def verify_lines(lines: Iterable[bytes], anchors: Sequence[Anchor] = ()) -> Iterator[Finding | Head]:
    """What is wrong with an export; then the head of each chain, as far as it was there.

    Raises UnreadableFile, also for one that was cut off.
    """
    open_chains = {bucket: ChainVerifier(bucket, anchors) for bucket in range(BUCKETS)}
    last: list[Anchor] | None = None
    for number, line in enumerate(lines, 1):
        if last is not None:
            raise UnreadableFile(f"Line {number}: the heads were to be the last line.")
        row = _row(line, number)
        if "heads" in row:
            last = read_heads(line, "the last line")
            continue
        entry, bucket = row["entry"], row["entry"].get("bucket")
        if not isinstance(bucket, int) or bucket not in open_chains:
            yield Finding(-1, 0, f"line {number} is of no chain that there is")
        else:
            yield from open_chains[bucket].take(entry, row.get("hash"))
    if last is None:
        raise UnreadableFile("It was cut off: the line with the heads is missing.")
    said = {anchor.head.bucket: anchor.head for anchor in last}
    for bucket, chain in open_chains.items():
        yield from chain.end()
        if said.get(bucket, Head(bucket)) != chain.head:
            yield Finding(bucket, chain.head.sequence, "the chain does not end as the last line says")
        if chain.head.sequence:
            yield chain.head


def _row(line: bytes, number: int) -> dict[str, Any]:
    try:
        row = orjson.loads(line)
    except ValueError:
        row = None
    if not isinstance(row, dict) or not ("heads" in row or isinstance(row.get("entry"), dict)):
        raise UnreadableFile(f"Line {number} is neither an entry nor the heads.")
    return row
