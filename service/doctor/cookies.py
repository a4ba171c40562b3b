"""Cookies for PUBLIC pictures: nothing that is not PUBLIC may lie where they open everything."""

from __future__ import annotations

from service.doctor.findings import Finding, ok, problem, warning
from service.settings import DeliverySettings, MongoSettings
from service.stores.database import open_database
from service.stores.inspection import DatabaseUnusable, explained
from service.stores.scans import ScanStore

# All PRIVATE media are read: with an operation's usual deadline a large collection would never be told of.
_PATIENCE_MS = 120_000
_REMEDY = (
    "Unset MEDIA_DELIVERY__COOKIE_DOMAIN until they have been moved: "
    "python -m service reprocess --where visibility=PRIVATE --apply"
)


async def check_cookies(delivery: DeliverySettings, mongo: MongoSettings) -> list[Finding]:
    """Whether cookies would open PRIVATE renditions of earlier releases; nothing where none are given out."""
    if not delivery.cookie_domain:
        return []
    try:
        with explained():
            async with open_database(mongo.model_copy(update={"timeout_ms": _PATIENCE_MS})) as database:
                misplaced = await ScanStore(database).private_in_public_folder()
    except DatabaseUnusable as error:
        return [warning("cookies", f"Whether they open PRIVATE renditions could not be told. {error}", _REMEDY)]
    if misplaced is not None:
        text = f"They open PRIVATE renditions that an earlier release left among the PUBLIC ones: media {misplaced}."
        return [problem("cookies", text, _REMEDY)]
    return [ok("cookies", "Open no PRIVATE renditions.")]
