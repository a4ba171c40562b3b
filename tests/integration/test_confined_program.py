"""What a program that was taken over may still do: read files, and end. Asked of one that tries the rest."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from service import worker_process
from service.annotators.tesseract import confined
from service.processing.fork_client import bare_environment
from service.settings import Settings

ATTEMPTS = """
import ctypes, errno, json, os, signal, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    if getattr(libc, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)
deeds = {
    "internet socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
    "local socket": lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM),
    "pair of sockets": socket.socketpair,
    "io_uring": lambda: call("syscall", 425, 8, 0),
    "trace the parent": lambda: call("ptrace", 16, os.getppid(), 0, 0),
    "read the parent's memory": lambda: call("process_vm_readv", os.getppid(), 0, 0, 0, 0, 0),
    "signal the parent": lambda: os.kill(os.getppid(), 0),
    "signal a thread of the parent": lambda: call("syscall", 234, os.getppid(), os.getppid(), 0),
    "signal itself": lambda: call("syscall", 234, os.getpid(), os.getpid(), 0),
    "fork": os.fork,
    "new namespace": lambda: call("unshare", 0x10000000),
    "write a file": lambda: open(sys.argv[1], "r+b"),
    "create a file": lambda: open(sys.argv[1] + ".new", "wb"),
    "delete a file": lambda: os.unlink(sys.argv[1]),
    "lift its limits": lambda: call("prlimit", 0, 9, (ctypes.c_ulong * 2)(1 << 40, 1 << 40), 0),
    "read a file": lambda: open(sys.argv[1], "rb").read(),
}
outcomes = {}
for name, deed in deeds.items():
    try:
        deed()
        outcomes[name] = "done"
    except OSError as error:
        outcomes[name] = errno.errorcode.get(error.errno, repr(error))
print(json.dumps({"outcomes": outcomes, "environment": sorted(os.environ)}))
"""

# Of a user of its own, as nothing is hidden from root; a change of user alone would deny inspection, too.
STARTS_A_READER = """
import ctypes, os, subprocess, sys
from service.processing.process_control import deny_inspection
if os.geteuid() == 0:
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
if sys.argv[1] == "guarded":
    deny_inspection()
subprocess.run(["/bin/cat", f"/proc/{os.getpid()}/environ"])
"""


async def test_a_program_reaches_neither_network_nor_processes_nor_files_to_change(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"kept")
    async with confined(sys.executable, "-c", ATTEMPTS, str(file), cpu_s=10) as process:
        printed, complaints = await process.communicate()
    assert process.returncode == 0, complaints.decode()
    report = json.loads(printed)
    allowed = {name for name, outcome in report["outcomes"].items() if outcome == "done"}
    assert allowed == {"read a file", "signal itself"}
    assert set(report["outcomes"].values()) == {"done", "EPERM"}
    assert set(report["environment"]) <= {"LC_ALL", "LC_CTYPE", "OMP_THREAD_LIMIT", "OMP_NUM_THREADS",
                                          "OPENBLAS_NUM_THREADS", "TESSDATA_PREFIX"}  # fmt: skip
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == {"file": b"kept"}


def seen_by_a_child(of: str) -> str:
    """What a child of the same user sees of the environment of a process that is `guarded` or `open`."""
    environment = {**bare_environment(), "SECRET": "hunter2"}
    command = [sys.executable, "-c", STARTS_A_READER, of]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return finished.stdout + finished.stderr


async def test_what_a_worker_starts_cannot_look_into_it() -> None:
    assert "hunter2" in await asyncio.to_thread(seen_by_a_child, "open")
    guarded = await asyncio.to_thread(seen_by_a_child, "guarded")
    assert "Permission denied" in guarded
    assert "hunter2" not in guarded


async def test_a_worker_denies_inspection_before_it_opens_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(worker_process, "deny_inspection", lambda: done.append("denied"))

    def stop(*_: object) -> None:
        done.append("opened")
        raise InterruptedError

    monkeypatch.setattr(worker_process, "open_runtime", stop)
    with pytest.raises(InterruptedError):
        await worker_process.run_worker(Settings())
    assert done == ["denied", "opened"]
