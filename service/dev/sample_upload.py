"""Puts the sample photos and the sample clip through the real upload path once, so that the feed is not empty."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path

from rich.console import Console
from rich.text import Text

from service.dev.processes import Children

SAMPLES = Path(__file__).parent / "samples"
TIMEOUT_S = 60.0


def samples() -> list[Path]:
    """The sample files, by name."""
    return sorted(file for file in SAMPLES.iterdir() if file.suffix != ".md")


async def upload_samples(children: Children, folder: Path, console: Console, *, timeout_s: float = TIMEOUT_S) -> None:
    """Upload them with the command line client, unless an earlier run did; a failure is only reported."""
    done = folder / "samples-uploaded"
    if done.exists():
        return
    argv = [sys.executable, "-m", "service", "upload", *map(str, samples()), "--purpose", "community"]
    with console.status("Uploading the sample photos ..."):
        child = await children.start("samples", argv, env=_environment(folder))
        with suppress(TimeoutError):
            await asyncio.wait_for(child.process.wait(), timeout_s)
    if child.process.returncode == 0:
        done.touch()
    else:
        late = f" within {timeout_s:.0f} s" if child.process.returncode is None else ""
        console.print(
            Text(f"The sample photos were not uploaded{late}; the next start tries again. {child.last_words()}"),
            soft_wrap=True,
        )
    await children.stop(child)


def _environment(folder: Path) -> dict[str, str]:
    # A variable left over from another deployment must not lead the samples there.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MEDIA_")}
    return {**kept, "DEV_FOLDER": str(folder)}
