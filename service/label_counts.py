"""Counting the labels of the media that match a filter: facets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from service.access import Action, Viewer, granted_filters
from service.errors import ConfigurationError, InvalidInput
from service.stores import Stores

# So many media are looked at, the newest: a filter may match millions.
MAX_COUNTED: Final = 5_000
MAX_LABELS: Final = 100


@dataclass(frozen=True, slots=True)
class CountedLabels:
    """`labels` with the number of media that have each, the most frequent first; of the `media` newest that match."""

    labels: list[tuple[str, int]]
    media: int
    is_complete: bool


async def count_labels(
    viewer: Viewer, query: Mapping[str, Any], *, action: Action, first: int, stores: Stores
) -> CountedLabels:
    """The `first` most frequent labels of the media that match `query` and that the viewer may do `action` with.

    Each media counts once a label. Raises InvalidInput for a number of labels or a query that is not served.
    """
    if not 1 <= first <= MAX_LABELS:
        raise InvalidInput(f"`first` must be 1 to {MAX_LABELS}.", field=["first"])
    access = granted_filters(viewer, action)
    found = await stores.media.list_ids(query, access=access, before=None, limit=MAX_COUNTED + 1)
    if found is None:
        raise ConfigurationError("There are media whose ids are no UUIDs: this service has not written them.")
    details = granted_filters(viewer, Action.READ_DETAILS)
    labels = await stores.label_counts.count(found[:MAX_COUNTED], access=access, details=details, limit=first)
    return CountedLabels(labels, media=min(len(found), MAX_COUNTED), is_complete=len(found) <= MAX_COUNTED)
