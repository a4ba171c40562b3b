"""Puts the sample photos through the real upload path once, so that the feed is not empty."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

from service.dev.processes import Children

SAMPLES = Path(__file__).parent / "samples"


async def upload_samples(children: Children, folder: Path, console: Console) -> None:
    """Upload them with the command line client, unless an earlier run did; a failure is only reported."""
    done = folder / "samples-uploaded"
    if done.exists():
        return
    photos = [str(photo) for photo in sorted(SAMPLES.glob("*.jpg"))]
    argv = [sys.executable, "-m", "service", "upload", *photos, "--purpose", "community"]
    with console.status("Uploading the sample photos ..."):
        child = await children.start("samples", argv, env=_environment(folder))
        code = await child.process.wait()
    if code == 0:
        done.touch()
    else:
        console.print(
            Text(f"The sample photos were not uploaded; the next start tries again. {child.last_words()}"),
            soft_wrap=True,
        )
    await children.stop(child)


def _environment(folder: Path) -> dict[str, str]:
    # A variable left over from another deployment must not lead the samples there.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MEDIA_")}
    return {**kept, "DEV_FOLDER": str(folder)}
