"""A small process, warmed once, that forks one confined child per job.

Why not multiprocessing's fork server: its children unpickle, import the parent's `__main__` again, inherit the
environment (secrets included) and hold the resource tracker's pipe. This one is started with an almost empty
environment and hands a child nothing but two open files.

The jail speaks to it over one socket, a message per job: how to run it and, on the next line, the request, with three
file descriptors (the original, opened for reading; where the reply goes; and a line). The line carries the child's exit
status back. Closing the jail's end of a line kills its child; closing the socket ends everything.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import itertools
import os
import selectors
import signal
import socket
import sys
from dataclasses import dataclass
from typing import BinaryIO, Final, NoReturn, Protocol, cast

from service.processing.confinement import confine
from service.processing.wire import MAX_REQUEST_BYTES, Launch, Limits

READY: Final = b"ready"
DESCRIPTORS_PER_JOB: Final = 3
_LEAST_ROOM_BYTES: Final = 16 * 1024 * 1024


class Work(Protocol):
    """A module that can be run in the jail."""

    def warm_up(self) -> None:
        """Load all that `run` will need: once confined, nothing can be opened or imported."""

    def run(self, source: BinaryIO, request: bytes, reply: BinaryIO) -> None:
        """Do one job."""


@dataclass(frozen=True, slots=True)
class _Child:
    pid: int
    handle: int
    line: socket.socket


class _ForkServer:
    def __init__(self, control: socket.socket, work: Work) -> None:
        self._control = control
        self._work = work
        self._selector = selectors.DefaultSelector()
        self._children: dict[int, _Child] = {}

    def serve(self) -> None:
        """Fork and reap until the jail closes its socket."""
        self._selector.register(self._control, selectors.EVENT_READ)
        self._control.send(READY)
        while True:
            for key, _ in self._selector.select():
                child: _Child | None = key.data
                if child is None:
                    if not self._accept():
                        self._kill_all()
                        return
                # Its line and its end may be reported together: after the end there is nothing left to attend to.
                elif self._children.get(child.pid) is child:
                    self._attend(child, exited=key.fd == child.handle)

    def _accept(self) -> bool:
        message, descriptors, _, _ = socket.recv_fds(self._control, MAX_REQUEST_BYTES, DESCRIPTORS_PER_JOB)
        if not message:
            return False
        source, reply, line = descriptors
        pid = os.fork()
        if pid == 0:
            _run_child(self._work, message, source, reply)
        os.close(source)
        os.close(reply)
        child = _Child(pid, os.pidfd_open(pid), socket.socket(fileno=line))
        self._children[pid] = child
        self._selector.register(child.handle, selectors.EVENT_READ, child)
        self._selector.register(child.line, selectors.EVENT_READ, child)
        return True

    def _attend(self, child: _Child, *, exited: bool) -> None:
        if not exited:
            # The jail hung up. Not reaped yet, so the id is still this child's.
            os.kill(child.pid, signal.SIGKILL)
            self._selector.unregister(child.line)
            return
        _, status = os.waitpid(child.pid, 0)
        del self._children[child.pid]
        self._selector.unregister(child.handle)
        os.close(child.handle)
        if child.line in self._selector.get_map():
            self._selector.unregister(child.line)
        with child.line, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            child.line.send(str(os.waitstatus_to_exitcode(status)).encode())

    def _kill_all(self) -> None:
        for child in self._children.values():
            os.kill(child.pid, signal.SIGKILL)


def _run_child(work: Work, message: bytes, source: int, reply: int) -> NoReturn:
    status = 1
    try:
        _keep_only(source, reply)
        head, request = message.split(b"\n", 1)
        launch = Launch.model_validate_json(head)
        os.nice(launch.niceness)
        with open(source, "rb") as original, open(reply, "wb") as answer:
            confine(launch.limits)
            work.run(original, request, answer)
        status = 0
    finally:
        # Not even atexit handlers: they belong to the fork server.
        os._exit(status)


def _keep_only(*descriptors: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(null, standard)
    edges = [2, *sorted(descriptors), os.sysconf("SC_OPEN_MAX")]
    for below, above in itertools.pairwise(edges):
        os.closerange(below + 1, above)


def _prove_confinement(limits: Limits) -> None:
    """OSError unless a confined child is refused what it must be, and has room to work.

    Better no jail than one that only looks like one.
    """
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            confine(limits)
            # A limit below what is mapped already does not show before something asks for more.
            bytearray(_LEAST_ROOM_BYTES)
            try:
                os.open(os.devnull, os.O_RDONLY)
            except PermissionError:
                status = 0
        finally:
            os._exit(status)
    if os.waitpid(pid, 0)[1] != 0:
        raise OSError("the decoder is not confined (seccomp filters are needed), or its memory limit leaves it no room")


def main() -> None:
    """Serve over the inherited socket: `forkserver DESCRIPTOR LIMITS WORK_MODULE`."""
    descriptor, limits_json, module = sys.argv[1:]
    limits = Limits.model_validate_json(limits_json)
    work = cast("Work", importlib.import_module(module))
    work.warm_up()
    _prove_confinement(limits)
    # Keeps the collector from touching, and so from copying, pages shared with the children.
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=int(descriptor)) as control:
        _ForkServer(control, work).serve()


if __name__ == "__main__":
    main()
