"""The client guide's examples, run one after the other as the guide promises."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import orjson

from service.dev.tokens import mint_token
from tests.integration.conftest import RunningService

REPOSITORY = Path(__file__).parents[2]


async def test_examples_of_the_guide_run(service: RunningService, tmp_path: Path) -> None:
    guide = (REPOSITORY / "docs" / "client-guide.md").read_text()
    examples = re.findall(r"^```python\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL)
    (tmp_path / "service").symlink_to(REPOSITORY / "service")
    (tmp_path / ".dev").mkdir()
    urls = {
        "graphql": f"{service.url}/graphql",
        "websocket": f"{service.url.replace('http', 'ws', 1)}/graphql",
        "token": mint_token(service.settings.auth.issuers[0], "guide"),
    }
    (tmp_path / ".dev" / "urls.json").write_bytes(orjson.dumps(urls))
    async with service.working():
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", "\n".join(examples)),
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    assert "READY 1.0" in output.decode()
