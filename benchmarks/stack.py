"""The service as real processes on real servers, in a folder of its own, for benchmarks to load and to kill."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from service.dev.environment import dev_settings, environment_of
from service.dev.keys import new_keys
from service.dev.mongod import start_mongod
from service.dev.ports import free_ports
from service.dev.processes import Child, Children
from service.dev.seaweed import PORT_NAMES, SeaweedSetup, start_seaweed
from service.dev.stack import GROUPS, prepare
from service.dev.supervision import Part, start_part
from service.dev.tokens import mint_token
from service.settings import Settings

REPOSITORY = Path(__file__).parent.parent
# A benchmark is a few viewers who ask for all there is; counting them is part of what it measures.
_PLENTY = str(10**12)
UNLIMITED = {
    **{
        f"MEDIA_LIMITS__{budget}__{role}": _PLENTY
        for budget in ("READS", "WRITES", "LIVE")
        for role in ("ANONYMOUS", "USER", "MODERATOR")
    },
    "MEDIA_LIMITS__OPERATIONS_AT_ONCE": _PLENTY,
    "MEDIA_LIMITS__SOCKETS_AT_ONCE": _PLENTY,
    "MEDIA_LIMITS__DAILY_BYTES__USER": _PLENTY,
}
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass
class Stack:
    """`module` is what `python -m` runs, with `api` or `worker` as its argument."""

    settings: Settings
    children: Children
    folder: Path
    ports: Mapping[str, int]
    module: str
    environment: Mapping[str, str]
    workers_started: int = field(default=0)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports['api']}"

    def token(self, subject: str) -> str:
        return mint_token(self.settings.auth.issuers[0], subject)

    async def start_api(self) -> Child:
        return await start_part(self.children, self._part("api", "api", f"{self.url}/readyz"))

    async def start_worker(self) -> Child:
        """Another worker process; not waited for."""
        self.workers_started += 1
        part = self._part("worker", f"worker-{self.workers_started}", "")
        # No operator port: there may be several of them.
        env = {name: value for name, value in part.env.items() if name != "MEDIA_WORKER__METRICS_PORT"}
        return await self.children.start(part.name, part.argv, env=env, cwd=REPOSITORY)

    def _part(self, command: str, name: str, health_url: str) -> Part:
        return Part(
            name=name,
            argv=[sys.executable, "-m", self.module, command],
            env={
                **environment_of(self.settings, GROUPS[command]),
                **self.environment,
                "TMPDIR": str(self.folder),
                "PYTHONPATH": str(REPOSITORY),
                "MEDIA_LOG_LEVEL": "WARNING",
                **UNLIMITED,
            },
            health_url=health_url,
        )


@asynccontextmanager
async def running_servers(
    *, module: str = "service", environment: Mapping[str, str] | None = None
) -> AsyncIterator[Stack]:
    """MongoDB and S3 server, with buckets and indexes; the service's own processes are the caller's to start."""
    with tempfile.TemporaryDirectory(prefix="media-benchmark-") as name:
        folder, fresh, keys = Path(name), free_ports(), new_keys()
        ports = {each: next(fresh) for each in ("api", "edge", "worker", "mongod", *PORT_NAMES)}
        children = Children(folder / "logs")
        try:
            mongo_uri = await start_mongod(children, folder / "mongod", ports["mongod"])
            setup = SeaweedSetup(
                folder=folder / "objects",
                ports={each: ports[each] for each in PORT_NAMES},
                access_key=keys.storage_access_key,
                secret_key=keys.storage_secret_key,
                origins=(),
                durable=False,
            )
            s3_url = await start_seaweed(children, setup)
            settings = dev_settings(keys, mongo_uri=mongo_uri, s3_url=s3_url, ports=ports)
            await prepare(settings)
            yield Stack(settings, children, folder, ports, module, environment or {})
        finally:
            await children.stop_all()


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far (proc(5), fields 14 and 15 of stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def peak_rss_bytes(pid: int) -> int:
    """The most memory a process ever had resident (VmHWM of proc(5)); 0 once it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def descendants(pid: int) -> list[int]:
    """Every process below `pid`, as far as they live."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(each) for each in task.read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue
        for child in children:
            found += [child, *descendants(child)]
    return found


def machine() -> str:
    """What the figures were measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown CPU")
    return f"{os.cpu_count()} cores, {model}, load {os.getloadavg()[0]:.1f}"
