"""A real clamd with a database of one signature, and files that it knows."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from service.dev.processes import Child, Children

# Put together here, so that no scanner takes this file or its bytecode for what it tests with.
EICAR = b"-".join([b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR", b"STANDARD", b"ANTIVIRUS", b"TEST", b"FILE!$H+H*"])
SIGNATURE = "Test.Eicar.UNOFFICIAL"

STREAM_LIMIT = 1_000_000

_CONFIGURATION = """
Foreground yes
DatabaseDirectory {folder}/database
TemporaryDirectory {folder}
LocalSocket {folder}/clamd.sock
TCPAddr 127.0.0.1
TCPSocket {port}
StreamMaxLength {limit}
AlertExceedsMax {admits}
"""


def find_clamd() -> str | None:
    """Where clamd is, also for people whose PATH leaves out what daemons are kept in."""
    return shutil.which("clamd") or shutil.which("clamd", path="/usr/local/sbin:/usr/sbin")


@dataclass(frozen=True, slots=True)
class Clamd:
    """A running clamd, and its addresses as the settings name them."""

    child: Child
    tcp: str
    unix: str


async def start_clamd(
    children: Children, executable: str, folder: Path, port: int, *, knows: bytes = EICAR, admits: bool = True
) -> Clamd:
    """Start clamd in `folder`; it takes streams of up to STREAM_LIMIT bytes and knows one signature.

    `admits`: it says so where it did not look at a file to the end.
    """
    database = folder / "database"
    database.mkdir()
    # Extended signature: name, any type of file, anywhere in it, bytes in hex.
    (database / "local.ndb").write_text(f"Test.Eicar:0:*:{knows.hex()}\n")
    configuration = folder / "clamd.conf"
    limits = {"limit": STREAM_LIMIT, "admits": "yes" if admits else "no"}
    configuration.write_text(_CONFIGURATION.format(folder=folder, port=port, **limits))
    # Debian's AppArmor profile goes by the path, and keeps clamd out of folders like this one.
    own = shutil.copy(executable, folder / "clamd")
    child = await children.start(f"clamd-{port}", [own, "-c", configuration], env={}, grace_s=2)

    async def listens() -> bool:
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return (folder / "clamd.sock").exists()
        return False

    await children.wait_until(child, listens, timeout_s=20)
    return Clamd(child, tcp=f"tcp://127.0.0.1:{port}", unix=f"unix://{folder}/clamd.sock")
