"""`hold place|lift|list`: what they print."""

from __future__ import annotations

from uuid import UUID

from service.commands.printing import counted, json_line, print_table, problem_console, result_console
from service.errors import MediaServiceError
from service.legal_holds import lift_hold, place_hold
from service.runtime import open_runtime
from service.settings import Settings
from service.stores.database import OUTAGE_ERRORS
from service.telemetry import Metrics

_AWAY: tuple[type[Exception], ...] = (MediaServiceError, *OUTAGE_ERRORS)
_NOTHING_OF_MEDIA = (
    "It keeps nothing: the bytes of this media are gone. Lift it, unless it is to say that it was asked for."
)
_NOTHING_OF_OWNER = "It keeps nothing so far: storage has nothing of this owner's. Is the id right? What comes is kept."
_COLUMNS = ("Hold", "On", "Placed", "By", "Reason", "Lifted", "Deletions that wait")


def stopped(error: Exception) -> int:
    """Say why a command did nothing; the exit code."""
    problem_console().print(f"Not done: {error}", markup=False)
    return 1


async def run_place(settings: Settings, *, media_id: UUID | None, owner_id: str | None, by: str, reason: str) -> int:
    """Print the id of the new hold; on stderr what it cannot keep, since it is gone or going. The exit code."""
    async with open_runtime(settings, Metrics()) as runtime:
        try:
            placed = await place_hold(media_id=media_id, owner_id=owner_id, by=by, reason=reason, stores=runtime.stores)
        except _AWAY as error:
            return stopped(error)
    result_console().print(str(placed.hold["_id"]), markup=False)
    for each in sorted(placed.being_removed):
        problem_console().print(f"Media {each} was being removed before, and still is: look at its deletion.")
    if placed.keeps_nothing:
        problem_console().print(_NOTHING_OF_MEDIA if owner_id is None else _NOTHING_OF_OWNER)
    return 0


async def run_lift(settings: Settings, hold_id: UUID, *, by: str) -> int:
    """Print what was lifted; the exit code."""
    async with open_runtime(settings, Metrics()) as runtime:
        try:
            hold = await lift_hold(hold_id, by=by, stores=runtime.stores)
            waiting = await runtime.stores.blocked_deletions.count(hold_id)
        except _AWAY as error:
            return stopped(error)
    going_on = counted(waiting, "deletion goes", "deletions go")
    result_console().print(f"{hold['subject']} is not held by {hold_id} any more; {going_on} on.")
    return 0


async def run_list(settings: Settings, *, lifted: bool, as_json: bool) -> int:
    """Print the holds, oldest first; the exit code."""
    async with open_runtime(settings, Metrics()) as runtime:
        try:
            holds = await runtime.stores.holds.find(lifted=lifted)
            counts = [await runtime.stores.blocked_deletions.count(hold["_id"]) for hold in holds]
        except _AWAY as error:
            return stopped(error)
    if as_json:
        for hold, count in zip(holds, counts, strict=True):
            shown = {name: value for name, value in hold.items() if name not in {"audit_pending", "active"}}
            result_console().print(json_line({**shown, "waiting": count}), markup=False)
        return 0
    rows = [
        (
            str(hold["_id"]),
            hold["subject"],
            f"{hold['placed_at']:%Y-%m-%d %H:%M}",
            hold["placed_by"],
            hold["reason"],
            f"{hold['lifted_at']:%Y-%m-%d %H:%M} by {hold['lifted_by']}" if "lifted_at" in hold else "",
            str(count),
        )
        for hold, count in zip(holds, counts, strict=True)
    ]
    print_table(result_console(), _COLUMNS, rows)
    return 0
