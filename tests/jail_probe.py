"""What a decoder that was taken over might try; runs as a jail's work and reports from inside."""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import signal
import socket
import threading
from collections.abc import Callable
from typing import BinaryIO

from service.models import MediaFormat, RenditionName
from service.processing.wire import LENGTH_BYTES, BaseHeader, Crashed, Processed, RenditionHeader

_libc = ctypes.CDLL(None, use_errno=True)
_PTRACE_ATTACH, _UNSHARE_USER = 16, 0x10000000


def warm_up() -> None:
    """Nothing to load."""


def run(source: BinaryIO, request: bytes, reply: BinaryIO) -> None:
    """Do what the file says."""
    ACTIONS[source.read().decode()](reply)


def _attempts(reply: BinaryIO) -> None:
    outcomes = {name: _attempt(deed) for name, deed in DEEDS.items()}
    report = {"outcomes": outcomes, "environment": dict(os.environ), "descriptors": len(_open_descriptors())}
    _send(reply, Crashed(detail=json.dumps(report)).model_dump_json().encode())


def _attempt(deed: Callable[[], object]) -> str:
    try:
        deed()
    except (OSError, RuntimeError) as error:
        return errno.errorcode.get(getattr(error, "errno", None) or 0, type(error).__name__)
    return "done"


def _call(name: str, *arguments: int) -> None:
    if getattr(_libc, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)


def _open_descriptors() -> list[int]:
    found = []
    for descriptor in range(256):
        try:
            os.fstat(descriptor)
        except OSError:
            continue
        found.append(descriptor)
    return found


DEEDS: dict[str, Callable[[], object]] = {
    "internet socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
    "local socket": lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM),
    "read a file": lambda: os.open("/etc/passwd", os.O_RDONLY),
    "create a file": lambda: os.open("/tmp/escaped", os.O_WRONLY | os.O_CREAT),
    "delete a file": lambda: os.unlink("/tmp/kept"),
    "list a folder": lambda: os.listdir("/"),
    "stat a path": lambda: os.stat("/etc/passwd"),
    "execute": lambda: os.execv("/bin/true", ["/bin/true"]),
    "fork": os.fork,
    "thread": lambda: threading.Thread(target=print).start(),
    "signal the parent": lambda: os.kill(os.getppid(), signal.SIGTERM),
    "trace the parent": lambda: _call("ptrace", _PTRACE_ATTACH, os.getppid(), 0, 0),
    "new namespace": lambda: _call("unshare", _UNSHARE_USER),
    "executable memory": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC),
    "change user": lambda: os.setuid(65534),
    "raise limits": lambda: _call("setrlimit", 9, 0),
}


def _spin(reply: BinaryIO) -> None:
    while True:
        pass


def _allocate(reply: BinaryIO) -> None:
    hoard = []
    while True:
        hoard.append(bytearray(16_000_000))


def _read_address_eight(reply: BinaryIO) -> None:
    ctypes.string_at(8)


def _send(reply: BinaryIO, header: bytes) -> None:
    reply.write(len(header).to_bytes(LENGTH_BYTES, "big") + header)
    reply.flush()


def _flood(reply: BinaryIO) -> None:
    while True:
        reply.write(b"\xff" * 65_536)


def _pretend(
    body: bytes, *, size: int | None = None, name: RenditionName = RenditionName.FEED, base: tuple[int, int] = (0, 0)
) -> Callable[[BinaryIO], None]:
    def act(reply: BinaryIO) -> None:
        pixels = BaseHeader(mode="RGB", width=base[0], height=base[1]) if all(base) else None
        rendition = RenditionHeader(name=name, format=MediaFormat.JPEG, width=8, height=8, bytes=size or len(body))
        header = Processed(width=8, height=8, renditions=(rendition,), base=pixels)
        _send(reply, header.model_dump_json().encode())
        reply.write(body + bytes(3 * base[0] * base[1]))

    return act


ACTIONS: dict[str, Callable[[BinaryIO], None]] = {
    "attempts": _attempts,
    "spin": _spin,
    "allocate": _allocate,
    "flood": _flood,
    "segfault": _read_address_eight,
    "exit": lambda reply: os._exit(3),
    "garbage": lambda reply: _send(reply, b'{"outcome":"processed","width":-1}'),
    "pickle": lambda reply: _send(reply, b"\x80\x04cos\nsystem\n(S'touch /tmp/escaped'\ntR."),
    "cut short": _pretend(b"\xff\xd8\xff\xe0", size=10_000),
    "a page as picture": _pretend(b"<html><script>alert(1)</script></html>"),
    "unasked rendition": _pretend(b"\xff\xd8\xff\xe0", name=RenditionName.PREVIEW),
    "with a base": _pretend(b"\xff\xd8\xff\xe0", base=(8, 8)),
    "with a base of another size": _pretend(b"\xff\xd8\xff\xe0", base=(8, 9)),
    "honest": _pretend(b"\xff\xd8\xff\xe0 eight by eight"),
}
