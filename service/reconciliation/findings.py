"""What a comparison can find, what became of it, and how many there were."""

from __future__ import annotations

import enum
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


class FindingKind(enum.StrEnum):
    ORPHAN_OBJECT = "orphan_object"
    ORPHAN_RENDITION = "orphan_rendition"
    LEFTOVER_PROBE = "leftover_probe"
    ABANDONED_MULTIPART = "abandoned_multipart"
    UNKNOWN_OBJECT = "unknown_object"
    MISSING_ORIGINAL = "missing_original"
    MISSING_RENDITION = "missing_rendition"
    UNFINISHED_UPLOAD = "unfinished_upload"
    UNFINISHED_DELETION = "unfinished_deletion"
    STALE_REFERENCE = "stale_reference"


class Outcome(enum.StrEnum):
    """FOUND: a dry run. KEPT: only people can decide. GONE: it had resolved itself when looked at again."""

    FOUND = "found"
    REPAIRED = "repaired"
    ENQUEUED = "enqueued"
    KEPT = "kept"
    GONE = "gone"


# Of these something is left to be done.
OPEN = frozenset({Outcome.FOUND, Outcome.KEPT})


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference. `what` names the object (`bucket/key`) or the document; `why` says what is wrong with it."""

    kind: FindingKind
    what: str
    why: str
    outcome: Outcome
    media_id: str | None = None


@dataclass(slots=True)
class Tally:
    """Findings by kind and outcome, and how much was looked at."""

    counts: Counter[str] = field(default_factory=Counter)

    @classmethod
    def restored(cls, counts: Mapping[str, int]) -> Tally:
        """The tally of a run that goes on."""
        return cls(Counter(counts))

    def add(self, findings: Iterable[Finding]) -> None:
        """Count findings."""
        self.counts.update(f"{finding.kind}:{finding.outcome}" for finding in findings)

    def examined(self, what: str, number: int) -> None:
        """Count what was looked at, e.g. `multipart_uploads`."""
        self.counts[f"examined:{what}"] += number

    def of(self, kind: FindingKind, outcome: Outcome) -> int:
        """How many findings of one kind ended so."""
        return self.counts[f"{kind}:{outcome}"]

    def sums(self) -> dict[str, dict[str, int]]:
        """All numbers for programs: `{"examined": {"media": 2}, "orphan_object": {"found": 1}}`."""
        nested: defaultdict[str, dict[str, int]] = defaultdict(dict)
        for name, number in self.counts.items():
            group, _, part = name.partition(":")
            nested[group][part] = number
        return dict(nested)

    @property
    def is_clean(self) -> bool:
        """Whether nothing is left to be done."""
        return not any(self.of(kind, outcome) for kind in FindingKind for outcome in OPEN)
