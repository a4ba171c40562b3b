"""Which labels the media of a filter have: what a client offers to narrow it by."""

from __future__ import annotations

import strawberry

from service.label_counts import CountedLabels


@strawberry.type
class LabelCount:
    label: str
    count: int = strawberry.field(description="Media that have it, however often it was found in each.")


@strawberry.type(description="The most frequent labels among media, and how many media were looked at.")
class LabelCounts:
    labels: list[LabelCount]
    media_counted: int
    is_complete: bool = strawberry.field(
        description="False where more media match than were looked at: then the counts are those of the newest."
    )


def label_counts_of(counted: CountedLabels) -> LabelCounts:
    return LabelCounts(
        labels=[LabelCount(label=label, count=count) for label, count in counted.labels],
        media_counted=counted.media,
        is_complete=counted.is_complete,
    )
