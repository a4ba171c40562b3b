"""What the database server says of itself, and why it does not answer, as a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from pymongo.errors import OperationFailure, PyMongoError

from service.stores.database import Database


class DatabaseUnusable(Exception):
    """The message says why; it holds no credentials."""


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """`clock_ahead_s`: seconds by which this machine's clock is ahead of the server's, within half a round trip.

    `member` is the address of the primary in its own set. A sharded cluster's routers know no member: 0 of each.
    """

    member: str | None
    version: str
    is_sharded: bool
    replica_set: str | None
    data_members: int
    arbiters: int
    write_concern: dict[str, object]
    clock_ahead_s: float


async def inspect_server(database: Database) -> ServerFacts:
    """Ask the primary. Writes nothing and needs no special rights."""
    # Not the first call: its round trip would include connecting.
    version = (await database.handle.command("buildInfo"))["version"]
    asked = datetime.now(UTC)
    hello = await database.handle.command("hello", codec_options=database.handle.codec_options)
    answered = datetime.now(UTC)
    return ServerFacts(
        member=hello.get("me"),
        version=version,
        is_sharded=hello.get("msg") == "isdbgrid",
        replica_set=hello.get("setName"),
        data_members=len(hello.get("hosts", ())) + len(hello.get("passives", ())),
        arbiters=len(hello.get("arbiters", ())),
        write_concern=dict(database.handle.write_concern.document),
        clock_ahead_s=(asked + (answered - asked) / 2 - hello["localTime"]).total_seconds(),
    )


@contextmanager
def explained() -> Iterator[None]:
    """Whatever the driver raises in the block becomes DatabaseUnusable."""
    try:
        yield
    except OperationFailure as error:
        refusal = (error.details or {}).get("errmsg", str(error))
        raise DatabaseUnusable(f"MongoDB refused: {refusal}") from error
    except (PyMongoError, ValueError) as error:
        # The driver goes on to describe every server and every setting that it knows.
        reason = str(error).split(" (configured timeouts")[0].split(", Timeout:")[0]
        raise DatabaseUnusable(f"MongoDB does not answer: {reason}") from error
