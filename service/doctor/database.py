"""MongoDB: does it answer, can it do what is asked of it, and are indexes and documents those of this release?"""

from __future__ import annotations

from indexes.drift import Drift, explain_drift
from indexes.ensure import check as index_drift
from service.doctor.findings import Finding, ok, problem, warning
from service.documents import MediaDocument
from service.lifecycle import MediaStatus
from service.migrations import LATEST, Survey, survey
from service.models import MediaPurpose, Visibility
from service.settings import Environment, MongoSettings
from service.stores import bind_stores
from service.stores.database import open_database
from service.stores.inspection import DatabaseUnusable, ServerFacts, explained, inspect_server
from service.stores.migrations import MigrationStore

OLDEST_TESTED = (6, 0)
WORRYING_SKEW_S, TOO_MUCH_SKEW_S = 5.0, 60.0
_JOURNALED_MAJORITY = {"w": "majority", "j": True}


async def check_database(settings: MongoSettings, environment: Environment) -> list[Finding]:
    """Reachability, topology, version, durability of writes, clock, indexes and versions of documents."""
    try:
        with explained():
            async with open_database(settings) as database:
                facts = await inspect_server(database)
                drift = await index_drift(database.handle)
                pending = await survey(MigrationStore(database))
    except DatabaseUnusable as error:
        return [problem("database", str(error), "Start it, or correct MEDIA_MONGO__URI and the rights of its user.")]
    return [*judge_server(facts, environment), *_indexes(drift), _documents(pending)]


def judge_server(facts: ServerFacts, environment: Environment) -> list[Finding]:
    """What the server's own account means for the service."""
    return [_topology(facts, environment), _version(facts), _durability(facts), _clock(facts)]


def _topology(facts: ServerFacts, environment: Environment) -> Finding:
    if facts.is_sharded:
        return ok("database", "A sharded cluster answers.")
    if facts.replica_set is None:
        return problem(
            "database",
            "It is a standalone server; subscriptions and majority writes need a replica set.",
            "Start mongod with --replSet, run rs.initiate() once, and name the set in MEDIA_MONGO__URI.",
        )
    text = f"Replica set {facts.replica_set} answers, primary {facts.member}"
    if facts.data_members == 1 and environment is Environment.PRODUCTION:
        return warning("database", f"{text}, with one member only.", "Add two members: one cannot stand in for itself.")
    return ok("database", f"{text}, members with data: {facts.data_members}.")


def _version(facts: ServerFacts) -> Finding:
    major_minor = tuple(int(part) for part in facts.version.split(".")[:2])
    if major_minor < OLDEST_TESTED:
        oldest = ".".join(map(str, OLDEST_TESTED))
        return warning(
            "database", f"MongoDB {facts.version} is older than any tested.", f"Upgrade to {oldest} or later."
        )
    return ok("database", f"MongoDB {facts.version}.")


def _durability(facts: ServerFacts) -> Finding:
    check, members = "writes", facts.data_members + facts.arbiters
    if facts.write_concern != _JOURNALED_MAJORITY:
        return problem(
            check, f"Writes wait for {facts.write_concern} only.", "Take w and journal out of MEDIA_MONGO__URI."
        )
    if members and facts.data_members <= members // 2:
        return problem(
            check, "Most voting members are arbiters: no majority can ever hold a write.", "Add data members."
        )
    if facts.arbiters and facts.data_members == members // 2 + 1:
        return warning(
            check, "With its arbiter, the set stops writing when one data member is down.", "Replace the arbiter."
        )
    return ok(check, "Writes wait until a majority has them in its journal.")


def _clock(facts: ServerFacts) -> Finding:
    skew = abs(facts.clock_ahead_s)
    direction = "ahead of" if facts.clock_ahead_s > 0 else "behind"
    text = f"This clock is {skew:.1f} s {direction} MongoDB's."
    remedy = "Synchronise both with NTP: tokens and signatures run out by this one, sessions and leases by the other."
    if skew > TOO_MUCH_SKEW_S:
        return problem("clock", text, remedy)
    return warning("clock", text, remedy) if skew > WORRYING_SKEW_S else ok("clock", text)


def _indexes(drifts: list[Drift]) -> list[Finding]:
    differences = [difference for drift in drifts for difference in explain_drift(drift)]
    return [(problem if each.is_fault else warning)("indexes", each.text, each.remedy) for each in differences] or [
        ok("indexes", "As declared.")
    ]


def _documents(found: Survey) -> Finding:
    check = "documents"
    if found.pending is None:
        return warning(check, "Whether any are to be migrated cannot be told before their index is there.")
    if found.pending:
        return warning(
            check,
            f"{found.counted} media were written by earlier releases: they are shown, but not found by what is new.",
            "Migrate them, while everything goes on: python -m service migrate --up",
        )
    return ok(check, f"All media are of version {LATEST}.")


async def newest_public_media(settings: MongoSettings) -> MediaDocument | None:
    """A READY media that the edge must be able to show, if there is one and it can be read."""
    feed = {"purpose": MediaPurpose.COMMUNITY.value, "status": MediaStatus.READY.value}
    public = {"visibility": Visibility.PUBLIC.value}
    try:
        with explained():
            async with open_database(settings) as database:
                media = bind_stores(database).media
                found = await media.list_page(feed, access=[public], before=None, limit=1, fields=["renditions"])
    except DatabaseUnusable:
        return None
    return found[0] if found else None
