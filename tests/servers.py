"""The S3 servers of the suite: how tests reach one, and how the second is started."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import boto3
import httpx
from anyio import to_thread
from pydantic import SecretStr

from service.dev.processes import Children
from service.settings import StorageSettings

ORIGIN = "http://127.0.0.1:8080"


@dataclass(frozen=True, slots=True)
class StorageServer:
    """An S3 server of this session and a key that it honours."""

    name: str
    endpoint: str
    access_key: str
    secret_key: str = field(repr=False)

    def settings(self) -> StorageSettings:
        """Settings that point at two buckets of their own (not created yet)."""
        suffix = uuid4().hex[:12]
        return StorageSettings(
            endpoint=self.endpoint,
            access_key=self.access_key,
            secret_key=SecretStr(self.secret_key),
            upload_bucket=f"uploads-{suffix}",
            media_bucket=f"media-{suffix}",
            allowed_origins=(ORIGIN,),
            event_token=SecretStr("storage-event-token-for-the-suite"),
        )


async def start_ministack(children: Children, python: Path, port: int) -> StorageServer:
    """Start MiniStack from its own environment, with signatures checked."""
    endpoint = f"http://127.0.0.1:{port}"
    env = {"PATH": os.environ["PATH"], "GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "AUTH": "true"}
    child = await children.start("ministack", [python, "-m", "ministack"], env=env, grace_s=1)

    async def healthy() -> bool:
        async with httpx.AsyncClient(timeout=2) as client:
            try:
                return (await client.get(f"{endpoint}/_ministack/health")).is_success
            except httpx.HTTPError:
                return False

    await children.wait_until(child, healthy, timeout_s=30)
    return StorageServer("ministack", endpoint, *await to_thread.run_sync(_iam_user_key, endpoint))


def _iam_user_key(endpoint: str) -> tuple[str, str]:
    # Only an IAM user's secret is checked: the root key is accepted with any.
    iam = boto3.session.Session("test", "test", region_name="us-east-1").client("iam", endpoint_url=endpoint)
    iam.create_user(UserName="suite")
    statement = {"Effect": "Allow", "Action": ["s3:*", "sqs:*"], "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName="suite", PolicyName="storage", PolicyDocument=policy)
    key = iam.create_access_key(UserName="suite")["AccessKey"]
    iam.close()
    return key["AccessKeyId"], key["SecretAccessKey"]
