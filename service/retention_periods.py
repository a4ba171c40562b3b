"""How long media of each purpose are kept: what the policies say, and what a deployment's settings say instead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from service.errors import ConfigurationError
from service.models import MediaPurpose
from service.policies import POLICIES
from service.settings import RetentionSettings


@dataclass(frozen=True, slots=True)
class RetentionPeriods:
    """By purpose, from when a media was created. `delete_after`: then it is deleted by itself.

    `keep_for`: a deletion before that leaves the bytes until then. Purposes without a period are absent.
    """

    delete_after: Mapping[MediaPurpose, timedelta] = field(default_factory=dict)
    keep_for: Mapping[MediaPurpose, timedelta] = field(default_factory=dict)


def retention_periods(settings: RetentionSettings) -> RetentionPeriods:
    """The periods that hold. Raises ConfigurationError where media would be deleted before they may be."""
    delete_after = {p: timedelta(seconds=each.retention_s) for p, each in POLICIES.items() if each.retention_s}
    keep_for = {p: timedelta(seconds=each.kept_for_s) for p, each in POLICIES.items() if each.kept_for_s}
    delete_after |= {purpose: timedelta(days=days) for purpose, days in settings.delete_after_days.items()}
    keep_for |= {purpose: timedelta(days=days) for purpose, days in settings.keep_at_least_days.items()}
    for purpose, period in delete_after.items():
        if keep_for.get(purpose, period) > period:
            raise ConfigurationError(
                f"{purpose} media would be deleted after {period.days} days and kept for {keep_for[purpose].days}: "
                "raise MEDIA_RETENTION__DELETE_AFTER_DAYS, or lower MEDIA_RETENTION__KEEP_AT_LEAST_DAYS."
            )
    return RetentionPeriods(delete_after, keep_for)
