"""Free TCP ports on the loopback interface, the same ones as last time where possible."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import SystemRandom

# Below the kernel's ephemeral range (32768 up), so that no outgoing connection takes one between check and use;
# SeaweedFS adds 10000 for each gRPC port, which must fit below as well.
FIRST, LAST, GRPC_OFFSET = 20_000, 22_700, 10_000


def choose_ports(names: Sequence[str], remembered: Path, wanted: Mapping[str, int]) -> dict[str, int]:
    """A port for each name: the wanted one, else last run's if free, else any. Writes the choice to `remembered`."""
    last: dict[str, int] = json.loads(remembered.read_text()) if remembered.exists() else {}
    chosen = {name: port for name, port in wanted.items() if port}
    fresh = free_ports()
    for name in names:
        if name in chosen:
            continue
        previous = last.get(name)
        taken = set(chosen.values())
        if previous is not None and previous not in taken and is_free(previous):
            chosen[name] = previous
        else:
            chosen[name] = next(port for port in fresh if port not in taken)
    remembered.write_text(json.dumps(chosen, indent=2))
    return chosen


def free_ports() -> Iterator[int]:
    """Ports whose gRPC partner is free as well; RuntimeError when the range is used up."""
    # At random, so that two stacks starting at once rarely want the same one.
    for port in SystemRandom().sample(range(FIRST, LAST), LAST - FIRST):
        if is_free(port) and is_free(port + GRPC_OFFSET):
            yield port
    raise RuntimeError(f"No free port between {FIRST} and {LAST}; stop other servers on this machine.")


def is_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1:`port` now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
