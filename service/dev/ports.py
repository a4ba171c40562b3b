"""Free TCP ports on the loopback interface, the same ones as last time where possible."""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from random import SystemRandom

# Below the kernel's ephemeral range (32768 up), so that no outgoing connection takes one between check and use;
# SeaweedFS adds 10000 for each gRPC port, which must fit below as well.
FIRST, LAST, GRPC_OFFSET = 20_000, 22_700, 10_000

# Compiled into SeaweedFS 4.48: every gRPC port is also a socket in /tmp, whatever TMPDIR says.
_SOCKET_FOLDER = Path("/tmp")  # noqa: S108  # nosec B108


def choose_ports(names: Sequence[str], remembered: Path, wanted: Mapping[str, int]) -> dict[str, int]:
    """A port for each name: the wanted one, else last run's if free, else any.

    The first port that was chosen for a name is kept in `remembered`; one that was asked for, or that only stands in
    for a busy one, is this run's alone.
    """
    kept: dict[str, int] = json.loads(remembered.read_text()) if remembered.exists() else {}
    chosen = {name: port for name, port in wanted.items() if port}
    fresh = free_ports()
    for name in names:
        if name in chosen:
            continue
        taken = {each for port in chosen.values() for each in (port, port + GRPC_OFFSET)}
        previous = [kept[name]] if name in kept and is_usable(kept[name]) else []
        chosen[name] = next(port for each in (previous, fresh) for port in each if _apart(port, taken))
        kept.setdefault(name, chosen[name])
    remembered.write_text(json.dumps(kept, indent=2))
    return chosen


def _apart(port: int, taken: set[int]) -> bool:
    return taken.isdisjoint((port, port + GRPC_OFFSET))


def free_ports() -> Iterator[int]:
    """Ports whose gRPC partner is free as well; RuntimeError when the range is used up."""
    # At random, so that two stacks starting at once rarely want the same one.
    yield from filter(is_usable, SystemRandom().sample(range(FIRST, LAST), LAST - FIRST))
    raise RuntimeError(f"No free port between {FIRST} and {LAST}; stop other servers on this machine.")


def is_usable(port: int) -> bool:
    """Whether any part, SeaweedFS too, could listen on 127.0.0.1:`port` now."""
    return not obstacle(port) and not grpc_obstacle(port)


def obstacle(port: int) -> str | None:
    """Why no server could listen on 127.0.0.1:`port` now, with the remedy; None if one could."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno == errno.EACCES:
                return "is for privileged users alone: set one from 1024 up"
            return "is in use: stop what uses it, or set another"
    return None


def grpc_obstacle(port: int) -> str | None:
    """The same for the gRPC server that SeaweedFS runs beside a server on `port`."""
    partner = port + GRPC_OFFSET
    if obstacle(partner):
        return f"needs {partner} as well, which is in use: stop what uses it, or set another"
    # The folder is sticky: SeaweedFS replaces a socket that is left over from its own user, and fails on others.
    if os.geteuid() and any(each.lstat().st_uid != os.geteuid() for each in grpc_sockets(port)):
        return f"needs {partner} as well, and another user's socket for that is left in {_SOCKET_FOLDER}: set another"
    return None


def grpc_sockets(port: int) -> list[Path]:
    """The sockets that SeaweedFS servers on `port` have, or left behind."""
    return list(_SOCKET_FOLDER.glob(f"seaweedfs-*-grpc-{port + GRPC_OFFSET}.sock"))


def collision(ports: Mapping[str, int], grpc: str) -> str | None:
    """Which two of `ports` (0 is none) cannot be had together; that of `grpc` claims its gRPC partner as well."""
    claims = [(name, port) for name, port in ports.items() if port]
    claims += [(grpc, ports[grpc] + GRPC_OFFSET)] if ports[grpc] else []
    clash = next(((one, other) for one, other in combinations(claims, 2) if one[1] == other[1]), None)
    return clash and f"{clash[0][0]} and {clash[1][0]} both need port {clash[0][1]}: set one of them to another."
