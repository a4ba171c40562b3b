"""`erase-owner`: what it prints."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from service.commands.certificate import account_problems
from service.commands.holds import stopped
from service.commands.printing import json_line, problem_console, result_console
from service.errors import MediaServiceError
from service.owner_erasure import Progress, advance, begin_erasure, look_at_erasure
from service.runtime import Runtime, open_runtime
from service.settings import Settings
from service.stores.database import OUTAGE_ERRORS
from service.telemetry import Metrics

_AWAY: tuple[type[Exception], ...] = (MediaServiceError, *OUTAGE_ERRORS)
_POLL_S = 5.0
# As grep: not over, which is no error.
_NOT_OVER = 3


async def run_erasure(settings: Settings, owner_id: str, *, by: str, wait: bool, as_json: bool) -> int:
    """Begin or go on, and print how far it has come; the exit code: 0 once it is over, 3 before, 1 if it cannot be
    carried on or its certificate does not hold.
    """
    async with open_runtime(settings, Metrics()) as runtime:
        try:
            progress = await _advance(runtime, owner_id, by)
            while wait and not progress.is_over:
                problem_console().print(_summary(progress), markup=False)
                await asyncio.sleep(_POLL_S)
                progress = await _advance(runtime, owner_id, by)
            problems = await _problems(runtime, owner_id, progress)
        except _AWAY as error:
            return stopped(error)
    return _show(progress, problems, owner_id, as_json=as_json)


async def look_first(settings: Settings, owner_id: str) -> int:
    """Say so if there is nothing of such an owner; the exit code: 1 if nobody can tell."""
    async with open_runtime(settings, Metrics()) as runtime:
        try:
            _warn(await look_at_erasure(owner_id, stores=runtime.stores), owner_id)
        except _AWAY as error:
            return stopped(error)
    return 0


def _warn(progress: Progress, owner_id: str) -> None:
    if progress.is_of_nobody:
        said = f"Nothing is stored of {owner_id}: no media, deletion or annotation. Is the id right?"
        problem_console().print(said, markup=False)


async def _advance(runtime: Runtime, owner_id: str, by: str) -> Progress:
    erasure = await begin_erasure(owner_id, by=by, stores=runtime.stores)
    await advance(erasure, stores=runtime.stores, media_bucket=runtime.object_store.media_bucket)
    return await look_at_erasure(owner_id, stores=runtime.stores)


async def show_erasure(settings: Settings, owner_id: str, *, as_json: bool) -> int:
    """Print how far it has come, or what there would be to erase; changes nothing. The exit code."""
    async with open_runtime(settings, Metrics()) as runtime:
        try:
            progress = await look_at_erasure(owner_id, stores=runtime.stores)
            problems = await _problems(runtime, owner_id, progress)
        except _AWAY as error:
            return stopped(error)
    _warn(progress, owner_id)
    return _show(progress, problems, owner_id, as_json=as_json)


async def _problems(runtime: Runtime, owner_id: str, progress: Progress) -> list[str]:
    """Why the certificate does not hold, once there is one."""
    if not progress.is_over or progress.erasure is None:
        return []
    return await account_problems(owner_id, progress.erasure, runtime.stores)


def _show(progress: Progress, problems: Sequence[str], owner_id: str, *, as_json: bool) -> int:
    console = result_console()
    if as_json:
        console.print(json_line({**_as_json(progress), "problems": problems}), markup=False)
        if problems:
            return 1
    elif problems:
        problem_console().print(f"{owner_id} is erased, and the certificate does not hold:", markup=False)
        for problem in problems:
            problem_console().print(problem, markup=False)
        return 1
    elif progress.is_over and progress.erasure is not None:
        erasure = progress.erasure
        console.print(f"{owner_id} is erased: {erasure.get('deletions', 0)} media, certified one by one.", markup=False)
        console.print(f"certificate: {erasure.get('certificate', '')}", markup=False)
        console.print(f"SHA-256 of the certificates: {erasure.get('certificates_sha256', '')}", markup=False)
    else:
        console.print(_summary(progress), markup=False)
        for line in _reasons(progress):
            console.print(line, markup=False)
    return 0 if progress.is_over or progress.erasure is None else _NOT_OVER


def _summary(progress: Progress) -> str:
    begun = (
        "Nothing was asked for yet." if progress.erasure is None else "Being erased: nothing can be written with it."
    )
    media = ", ".join(f"{count} {status}" for status, count in progress.media.items()) or "none"
    deletions = ", ".join(f"{count} {stage}" for stage, count in progress.deletions.items()) or "none"
    return f"{begun} Media: {media}. Deletions: {deletions}. Others' media annotated: {progress.annotated}."


def _reasons(progress: Progress) -> list[str]:
    reasons = [f"Held by {hold}, and so not erased." for hold in progress.holds]
    if progress.not_before is not None:
        reasons.append(
            f"Not over before {progress.not_before:%Y-%m-%d %H:%M} UTC: until then may be written what was asked for "
            "earlier, and it is verified after that."
        )
    return reasons + [
        f"Media {each.media_id} waits "
        + (f"until {each.until:%Y-%m-%d %H:%M} UTC." if each.until is not None else f"for hold {each.hold_id}.")
        for each in progress.waiting
    ]


def _as_json(progress: Progress) -> dict[str, Any]:
    erasure: Mapping[str, Any] = {} if progress.erasure is None else {**progress.erasure}
    shown = {name: value for name, value in erasure.items() if name not in {"audit_pending", "owner_id"}}
    waiting = [{"media": each.media_id, "until": each.until, "hold": each.hold_id} for each in progress.waiting]
    return {
        "erasure": shown or None,
        "is_over": progress.is_over,
        "media": dict(progress.media),
        "deletions": dict(progress.deletions),
        "waiting": waiting,
        "holds": list(progress.holds),
        "annotated": progress.annotated,
        "not_before": progress.not_before,
    }
