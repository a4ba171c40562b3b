"""Whether a chain is whole: what is altered, dropped, moved or put in shows in its hashes, its end in anchors.

Who may write to the database can still append what looks true, and cut off what no anchor covers yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from service.audit.entry import NOTHING, Head, bucket_of, hash_of


@dataclass(frozen=True, slots=True)
class Anchor:
    """A head that was written down elsewhere; `source` names where."""

    head: Head
    source: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a chain; `sequence`: where it shows."""

    bucket: int
    sequence: int
    problem: str

    def __str__(self) -> str:
        return f"Chain {self.bucket}, entry {self.sequence}: {self.problem}."


class ChainVerifier:
    """Takes the entries of one chain in the order in which they are stored, then its `end`."""

    def __init__(self, bucket: int, anchors: Iterable[Anchor] = ()) -> None:
        self.head = Head(bucket)
        self._ids: set[str] = set()
        self._anchors: dict[int, list[Anchor]] = {}
        for anchor in anchors:
            if anchor.head.bucket == bucket:
                self._anchors.setdefault(anchor.head.sequence, []).append(anchor)

    def take(self, entry: Mapping[str, Any], stored_hash: object) -> list[Finding]:
        """What is wrong with the next entry."""
        expected = self.head.sequence + 1
        try:
            actual = hash_of(entry)
        except ValueError:
            # No text is the same: nothing beside it passes for its hash.
            actual = None
        if not isinstance(stored_hash, str):
            stored_hash = ""
        problems = list(self._problems(entry, stored_hash, actual))
        if isinstance(entry.get("id"), str):
            self._ids.add(entry["id"])
        sequence = entry.get("sequence")
        # After a gap, whatever is as it was written is believed where it stood, so that one fault is not thousands.
        is_gap = stored_hash == actual and isinstance(sequence, int) and sequence > expected
        number: int = entry["sequence"] if is_gap else expected
        self.head = Head(self.head.bucket, number, stored_hash)
        problems += self._contradictions(number, actual)
        return [Finding(self.head.bucket, number, problem) for problem in problems]

    def _problems(self, entry: Mapping[str, Any], stored_hash: str, actual: str | None) -> Iterator[str]:
        if actual is None:
            yield "it was altered: nothing was ever put on record that cannot be hashed"
        elif stored_hash != actual:
            yield "it was altered: its hash is another"
        if entry.get("sequence") != self.head.sequence + 1:
            yield f"entry {self.head.sequence + 1} should stand here: some are missing or in another order"
        if entry.get("previous") != self.head.hash:
            yield "it does not follow the entry before"
        owner = entry.get("owner")
        if (
            entry.get("bucket") != self.head.bucket
            or not isinstance(owner, str)
            or bucket_of(owner) != self.head.bucket
        ):
            yield "it belongs to another chain"
        entry_id = entry.get("id")
        if not isinstance(entry_id, str):
            yield "it has no id"
        elif entry_id in self._ids:
            yield "it tells what an earlier entry tells already"

    def _contradictions(self, sequence: int, actual: str | None) -> Iterator[str]:
        for anchor in self._anchors.pop(sequence, ()):
            if anchor.head.hash != actual:
                yield f"it is not what {anchor.source} says"

    def end(self) -> list[Finding]:
        """What is wrong with where the chain ends."""
        return [
            Finding(self.head.bucket, sequence, f"it is missing, and was there according to {anchor.source}")
            for sequence, anchors in sorted(self._anchors.items())
            for anchor in anchors
            if anchor.head != Head(self.head.bucket, 0, NOTHING)
        ]
