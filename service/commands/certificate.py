"""`audit certificate`: the certificate of a deletion or of an erasure, where it stands, and whether it still holds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

import orjson
import typer

from service.audit import AuditAction, bucket_of, hash_of
from service.settings import Settings
from service.stores import Stores, bind_stores
from service.stores.certificates import StoredEntry
from service.stores.database import OUTAGE_ERRORS, open_database
from service.stores.deletion_proofs import certificate_id
from service.stores.deletions import DeletionDocument
from service.stores.erasures import ErasureDocument, entry_of

_FIRST_FOLLOWS = "0" * 64
_MISSING = "The certificate is not in the audit chain of this owner."


async def show_certificate(settings: Settings, media_id: UUID) -> int:
    """Print the certificate of a media's deletion and check it; the exit code."""
    return await _with_stores(settings, partial(_show, media_id))


async def _with_stores(settings: Settings, show: Callable[[Stores], Awaitable[int]]) -> int:
    try:
        async with open_database(settings.mongo) as database:
            return await show(bind_stores(database))
    except OUTAGE_ERRORS as error:
        typer.echo(f"Stopped: {error}. Run the same command again.", err=True)
        return 1


async def _show(media_id: UUID, stores: Stores) -> int:
    deletion = (await stores.deletions.get_many([media_id])).get(media_id)
    if deletion is None:
        typer.echo(f"No deletion of media {media_id} was requested.", err=True)
        return 1
    # In whichever chain: of an owner who was erased, the deletion has not kept the name.
    stored = await stores.certificates.find_anywhere(certificate_id(media_id))
    if stored is None:
        typer.echo(f"There is no certificate: the deletion is {deletion['stage']}.", err=True)
        if line := _not_before(deletion, await stores.media.server_time()):
            typer.echo(line, err=True)
        return 1
    return _tell(stored, [*_named(stored, deletion), *await entry_problems(stored, stores)])


def _not_before(deletion: DeletionDocument, now: datetime) -> str | None:
    """What a certificate waits for beside workers, where that is known."""
    moments = [moment for moment in (deletion.get("due_at"), deletion.get("blocked_until")) if moment is not None]
    if "blocked_by" in deletion:
        return f"It waits for hold {deletion['blocked_by']}."
    if not moments or max(moments) <= now:
        return None
    return f"It can be verified from {max(moments):%Y-%m-%d %H:%M} UTC on, and is certified after that."


async def show_account_certificate(settings: Settings, owner_id: str) -> int:
    """Print the certificate of an account's erasure and check it; the exit code."""
    return await _with_stores(settings, partial(_show_account, owner_id))


async def _show_account(owner_id: str, stores: Stores) -> int:
    erasure = await stores.erasures.of_owner(owner_id)
    if erasure is None or "open" in erasure:
        said = "No erasure of this account was asked for." if erasure is None else "The erasure is not over."
        typer.echo(f"There is no certificate: {said}", err=True)
        return 1
    stored = await stores.certificates.find(owner_id, entry_of(erasure))
    if stored is None:
        typer.echo(_MISSING, err=True)
        return 1
    return _tell(stored, await account_problems(owner_id, erasure, stores))


async def account_problems(owner_id: str, erasure: ErasureDocument, stores: Stores) -> list[str]:
    """Why the certificate of an erasure that is over does not hold; nothing if it does.

    What the row says is held against the entry, the entry against the chain, and its sum against the certificates of
    the deletions that there are.
    """
    stored = await stores.certificates.find(owner_id, entry_of(erasure))
    if stored is None:
        return [_MISSING]
    details = stored.entry.get("details")
    certified = details if isinstance(details, dict) else {}
    problems = await entry_problems(stored, stores)
    if (stored.entry.get("action"), stored.entry.get("owner")) != (AuditAction.OWNER_ERASED, owner_id):
        problems.append("It certifies something else, or of somebody else.")
    if erasure.get("certificate") != stored.hash:
        problems.append(f"The erasure names another certificate: {erasure.get('certificate')}.")
    said = (certified.get("deletions"), certified.get("certificates_sha256"))
    if said != (erasure.get("deletions"), erasure.get("certificates_sha256")):
        problems.append("The erasure says something else of its deletions than the certificate does.")
    if said != await stores.owner_data.sum_up([owner_id, erasure["pseudonym"]]):
        problems.append("The deletions that there are, or their certificates, are not those that it certifies.")
    return problems


def _tell(stored: StoredEntry, problems: Sequence[str]) -> int:
    typer.echo(orjson.dumps(stored.entry, option=orjson.OPT_INDENT_2).decode())
    entry = stored.entry
    typer.echo(f"Certificate {stored.hash}: chain {entry.get('bucket')}, entry {entry.get('sequence')}.")
    for problem in problems:
        typer.echo(problem, err=True)
    if not problems:
        typer.echo("It is whole, in its place, and linked to the entries beside it.")
    return 1 if problems else 0


async def entry_problems(stored: StoredEntry, stores: Stores) -> list[str]:
    """What is wrong with an entry by itself, with its place, and with those beside it."""
    return [*own_problems(stored), *_beside(stored, *await stores.certificates.neighbours(stored))]


def _named(stored: StoredEntry, deletion: Mapping[str, Any]) -> Iterator[str]:
    if deletion.get("certificate") is None:
        yield f"The deletion does not name it yet: it is {deletion['stage']}."
    elif deletion["certificate"] != stored.hash:
        yield f"The deletion names another certificate: {deletion['certificate']}."


def own_problems(stored: StoredEntry) -> Iterator[str]:
    """What is wrong with an entry by itself and with its place; those beside it are not asked."""
    entry = stored.entry
    if _hash(entry) != stored.hash:
        yield "It was altered: its hash is another."
    bucket, sequence = entry.get("bucket"), entry.get("sequence")
    says_where = isinstance(sequence, int) and isinstance(bucket, int)
    if (
        not says_where
        or stored.place != f"{bucket:03d}:{sequence:012d}"
        or bucket != bucket_of(str(entry.get("owner")))
    ):
        yield "It stands in another place than it says, or in another owner's chain."


def _beside(stored: StoredEntry, before: StoredEntry | None, after: StoredEntry | None) -> Iterator[str]:
    sequence = stored.entry.get("sequence", 0)
    follows = 0 if before is None else before.entry.get("sequence")
    expected = _FIRST_FOLLOWS if before is None else _hash(before.entry)
    if follows != sequence - 1 or stored.entry.get("previous") != expected:
        yield "It does not follow the entry before: that was altered, or some are missing."
    if after is not None and (
        after.entry.get("sequence") != sequence + 1 or after.entry.get("previous") != stored.hash
    ):
        yield "The entry after it does not follow: that was altered, or some are missing."


def _hash(entry: Mapping[str, Any]) -> str:
    try:
        return hash_of(entry)
    except ValueError:
        return ""
