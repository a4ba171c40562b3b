"""Child processes that are owned: logged, waited for until healthy, and never left behind."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

POLL_S = 0.05
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_libc = ctypes.CDLL(None)


class StartFailed(Exception):
    """A part did not start. The message says which, why and what to do."""


@dataclass(frozen=True, slots=True)
class Child:
    """A running part. `grace_s` is how long it may take to end by itself; `leftovers` lists files that outlive it."""

    name: str
    process: asyncio.subprocess.Process
    log: Path
    grace_s: float
    leftovers: Callable[[], Sequence[Path]] = tuple

    def last_words(self, lines: int = 12) -> str:
        """Where its log is, and how that ends."""
        end = "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        return f"The end of {self.log}:\n{end}"


class Children:
    """Every process started here, stopped in reverse order. Call it from the main thread only."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._running: list[Child] = []
        self._started: set[str] = set()

    @property
    def running(self) -> tuple[Child, ...]:
        """Those started and not stopped, first started first."""
        return tuple(self._running)

    async def start(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        env: Mapping[str, str],
        cwd: Path | None = None,
        grace_s: float = 5,
        leftovers: Callable[[], Sequence[Path]] = tuple,
    ) -> Child:
        """Start `argv` in its own process group; `leftovers` are removed once it is stopped.

        Its output goes to `<logs>/<name>.log` over restarts; that of the run before is in `<name>.previous.log`.
        """
        with self._log(name).open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *argv,
                env=env,
                cwd=cwd,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=partial(_die_with_parent, os.getpid()),
            )
        child = Child(name, process, Path(output.name), grace_s, leftovers)
        self._running.append(child)
        return child

    def _log(self, name: str) -> Path:
        self._logs.mkdir(parents=True, exist_ok=True)
        log = self._logs / f"{name}.log"
        if name not in self._started and log.exists():
            log.replace(self._logs / f"{name}.previous.log")
        self._started.add(name)
        return log

    async def wait_until(self, child: Child, ready: Callable[[], Awaitable[bool]], *, timeout_s: float) -> None:
        """Poll `ready` until it holds; StartFailed with the end of its log if the child ends or the time is up."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while not await ready():
            if child.process.returncode is not None:
                raise StartFailed(f"{child.name} ended with code {child.process.returncode}. {child.last_words()}")
            if asyncio.get_running_loop().time() > deadline:
                raise StartFailed(f"{child.name} was not ready within {timeout_s:.0f} s. {child.last_words()}")
            await asyncio.sleep(POLL_S)

    async def stop(self, child: Child) -> None:
        """SIGTERM, `grace_s` to finish, then SIGKILL to its whole group."""
        if child in self._running:
            self._running.remove(child)
        if child.process.returncode is None:
            child.process.terminate()
            with suppress(TimeoutError):
                await asyncio.wait_for(child.process.wait(), child.grace_s)
        with suppress(ProcessLookupError):
            os.killpg(child.process.pid, signal.SIGKILL)
        await child.process.wait()
        for leftover in child.leftovers():
            with suppress(OSError):
                leftover.unlink()

    async def stop_all(self) -> None:
        """Stop everything still running, last started first."""
        while self._running:
            await self.stop(self._running[-1])


def _die_with_parent(parent: int) -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    # The parent may have gone before the request was in place.
    if os.getppid() != parent:
        os._exit(1)
