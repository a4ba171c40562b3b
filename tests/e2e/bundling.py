"""JavaScript as people write it with their own tools: examples of the guide, bundled with what they import."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from tests.e2e.running_stack import REPOSITORY

# Where the packages are that examples import.
PAGES = REPOSITORY / "tests" / "e2e" / "uppy"
ESBUILD = PAGES / "node_modules" / ".bin" / "esbuild"


def js_examples(guide: str) -> list[str]:
    """The code of each JavaScript example, in order."""
    return re.findall(r"^```js\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL)


async def bundled(esbuild: Path, source: str, folder: Path) -> bytes:
    """A module as one script; its imports are looked up from `folder`."""
    run = await asyncio.create_subprocess_exec(
        *(esbuild, "--bundle", "--format=esm", "--log-level=warning"),
        cwd=folder,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    script, _ = await run.communicate(source.encode())
    assert run.returncode == 0
    return script
