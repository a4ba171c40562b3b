"""The client guide's examples, run one after the other as the guide promises."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from uuid import uuid4

import orjson
import pytest

from service.access import SERVICE_ROLE
from service.dev.tokens import mint_token
from tests.api_client import CREATE
from tests.integration.conftest import RunningService

REPOSITORY = Path(__file__).parents[2]


async def test_examples_of_the_guide_run(service: RunningService, tmp_path: Path) -> None:
    guide = (REPOSITORY / "docs" / "client-guide.md").read_text()
    examples = re.findall(r"^```python\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL)
    (tmp_path / "service").symlink_to(REPOSITORY / "service")
    (tmp_path / ".dev").mkdir()
    issuer = service.settings.auth.issuers[0]
    urls = {
        "graphql": f"{service.url}/graphql",
        "websocket": f"{service.url.replace('http', 'ws', 1)}/graphql",
        "token": mint_token(issuer, "guide"),
        "service_token": mint_token(issuer, "jobs", roles=[SERVICE_ROLE]),
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


@pytest.mark.parametrize(
    ("query", "code"),
    [
        (CREATE, "BAD_USER_INPUT"),
        # The same value in the document itself.
        (f"""{{ findDuplicates(sha256: ["{"A" * 64}"]) {{ sha256 }} }}""", "GRAPHQL_VALIDATION_FAILED"),
    ],
)
async def test_a_value_that_is_not_of_its_form_refuses_the_whole_request(
    service: RunningService, query: str, code: str
) -> None:
    database = service.runtime.database
    before = [await database.handle[name].count_documents({}) for name in ("media", "uploads", "idempotency")]
    files = [{"contentType": "image/jpeg", "byteSize": 9, "sha256": digit * 64} for digit in ("a", "A")]
    batch = {"idempotencyKey": str(uuid4()), "purpose": "COMMUNITY", "files": files}
    answer = await service.client("hasty").post(query, **({"input": batch} if query == CREATE else {}))
    assert [error["extensions"]["code"] for error in answer["errors"]] == [code]
    assert "64 lower-case hex" in answer["errors"][0]["message"]
    assert not answer.get("data")
    after = [await database.handle[name].count_documents({}) for name in ("media", "uploads", "idempotency")]
    assert after == before
