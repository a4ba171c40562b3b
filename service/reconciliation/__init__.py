"""Storage compared with the database, in both directions, and put right where that is safe.

A page at a time, so memory stays the same however much there is; what was changed lately is left alone, and whatever
is about to be removed is looked at once more.
"""

from __future__ import annotations

from service.reconciliation.findings import Finding, FindingKind, Outcome, Tally
from service.reconciliation.run import Interruption, RunOptions, reconcile

__all__ = ["Finding", "FindingKind", "Interruption", "Outcome", "RunOptions", "Tally", "reconcile"]
