"""Invalidations as CloudFront keeps them: created once per reference, under quotas, in progress for a while, then done.

Rules: CloudFront API Reference, CreateInvalidation, and the Developer Guide's "Invalidate files" with its quotas.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

# Of one distribution, in progress at the same time.
MAX_PATHS_IN_PROGRESS = 3_000
MAX_WILDCARDS_IN_PROGRESS = 15
# Completed ones that can still be asked for; CloudFront keeps more.
REMEMBERED = 10_000

_PATH = re.compile(r"/[^*\s]{0,4000}\*?")
_TAG = re.compile(r"#[!-+\--~]{1,256}")


class InvalidationRefused(Exception):
    """CloudFront's refusal: `status` and `code` as it sends them."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass(slots=True)
class Invalidation:
    """What is to be forgotten: paths, paths ending in `*`, and tags with a `#` before them. Times in Unix seconds."""

    id: str
    reference: str
    items: tuple[str, ...]
    created_at: float
    due_at: float
    is_completed: bool = False


class Invalidations:
    """Those of one distribution. Nothing is forgotten before one completes: clients may not count on less.

    There is no timer: `settle` completes what is due, and whoever looks at the cache or at a status calls it first.
    """

    def __init__(self, forget: Callable[[Iterable[str]], None], *, delay_s: float, clock: Callable[[], float]) -> None:
        self._forget = forget
        self._delay_s = delay_s
        self._clock = clock
        self._all: OrderedDict[str, Invalidation] = OrderedDict()
        self._by_reference: dict[str, Invalidation] = {}
        self._in_progress: list[Invalidation] = []

    def settle(self) -> None:
        """Carry out what is due."""
        if not self._in_progress:
            return
        now = self._clock()
        for each in [each for each in self._in_progress if each.due_at <= now]:
            self._forget(each.items)
            each.is_completed = True
            self._in_progress.remove(each)

    def create(self, reference: str, items: Sequence[str]) -> Invalidation:
        """A new invalidation, or the one that was made by the same request before. Raises InvalidationRefused."""
        self.settle()
        _check(items)
        if (known := self._by_reference.get(reference)) is not None:
            if known.items == tuple(items):
                return known
            raise InvalidationRefused(
                409, "InvalidationBatchAlreadyExists", "Another batch was sent with this CallerReference."
            )
        self._check_quotas(items)
        now = self._clock()
        created = Invalidation(f"I{uuid4().hex[:13].upper()}", reference, tuple(items), now, now + self._delay_s)
        self._all[created.id] = self._by_reference[reference] = created
        self._in_progress.append(created)
        self._prune()
        self.settle()
        return created

    def get(self, invalidation_id: str) -> Invalidation:
        """As it stands now. Raises InvalidationRefused if there is none of that id."""
        self.settle()
        try:
            return self._all[invalidation_id]
        except KeyError:
            raise InvalidationRefused(404, "NoSuchInvalidation", "The specified invalidation does not exist.") from None

    def newest_first(self) -> list[Invalidation]:
        """All that are remembered."""
        self.settle()
        return list(reversed(self._all.values()))

    def _check_quotas(self, items: Sequence[str]) -> None:
        under_way = [item for each in self._in_progress for item in each.items]
        wildcards = sum(item.endswith("*") and item.startswith("/") for item in (*under_way, *items))
        others = len(under_way) + len(items) - wildcards
        if wildcards > MAX_WILDCARDS_IN_PROGRESS or others > MAX_PATHS_IN_PROGRESS:
            raise InvalidationRefused(
                400,
                "TooManyInvalidationsInProgress",
                "Processing your request will cause you to exceed the maximum number of in-progress invalidations.",
            )

    def _prune(self) -> None:
        while len(self._all) > REMEMBERED and next(iter(self._all.values())).is_completed:
            _, oldest = self._all.popitem(last=False)
            del self._by_reference[oldest.reference]


def _check(items: Sequence[str]) -> None:
    if len(items) > MAX_PATHS_IN_PROGRESS:
        raise InvalidationRefused(413, "BatchTooLarge", "Invalidation batch specified is too large.")
    if not items or not all(_PATH.fullmatch(item) or _TAG.fullmatch(item) for item in items):
        raise InvalidationRefused(
            400, "InvalidArgument", "Your request contains one or more invalid invalidation paths."
        )
