"""What a round printed in the end: what was done, what was found, and how soon writes were back."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Sequence

from tests.chaos.plan import Fault
from tests.chaos.round import Outcome

_SHOWN = 8


def table(plan: Sequence[Fault], outcome: Outcome) -> str:
    """Markdown: tables of faults, writes, failovers and invariants."""
    return "\n".join(
        (*_faults(plan, outcome), "", *_writes(outcome), "", *_failovers(outcome), "", *_invariants(outcome))
    )


def _faults(plan: Sequence[Fault], outcome: Outcome) -> Iterator[str]:
    done = outcome.evidence.ledger.done
    yield from ("| Fault | Times |", "|---|---|")
    yield from (f"| {name} | {count} |" for name, count in sorted(done.items()))
    for name, count in sorted((Counter(fault.name for fault in plan) - done).items()):
        yield f"| {name}, not done for want of a C compiler | {count} |"


def _writes(outcome: Outcome) -> Iterator[str]:
    ledger, media = outcome.evidence.ledger, outcome.evidence.stored.media
    statuses = Counter(each["status"] for each in media.values())
    yield from ("| Acknowledged | Number |", "|---|---|")
    yield from (f"| {name} | {count:,} |" for name, count in sorted(ledger.acknowledged.items()))
    yield f"| media in the end | {', '.join(f'{count} {status}' for status, count in sorted(statuses.items()))} |"
    yield f"| media followed to the end | {sum(life.has_ended for life in ledger.lives)} |"
    yield f"| entries in the audit chains | {sum(map(len, outcome.evidence.chains.values())):,} |"
    yield f"| webhook events delivered | {len(ledger.delivered):,} |"
    yield f"| tries that met an outage | {ledger.outages.total():,} |"
    yield f"| queries answered | {len(ledger.read_latencies_s):,} |"


def _failovers(outcome: Outcome) -> Iterator[str]:
    yield from (
        "| Writes back after | Times | p50, s | max, s | Another was elected after, max, s |",
        "|---|---|---|---|---|",
    )
    failovers = outcome.evidence.ledger.failovers
    for name in sorted({each.fault for each in failovers}):
        ours = [each for each in failovers if each.fault == name]
        times = [each.back_after_s or float("inf") for each in ours]
        elected = max(each.elected_after_s or float("inf") for each in ours)
        yield f"| {name} | {len(times)} | {statistics.median(times):.2f} | {max(times):.2f} | {elected:.2f} |"


def _invariants(outcome: Outcome) -> Iterator[str]:
    yield from ("| Invariant | Violations |", "|---|---|")
    yield from (f"| {name} | {len(found)} |" for name, found in outcome.findings.items())
    for name, found in outcome.findings.items():
        if found:
            yield from ("", f"{name}:", *(f"  {each}" for each in found[:_SHOWN]))
            yield from (f"  and {len(found) - _SHOWN} more" for _ in range(len(found) > _SHOWN))
