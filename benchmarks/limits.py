"""What charging an operation to its viewer's budget costs: the same requests with limits and without, in turns.

`python -m benchmarks.limits`: CPU time of one process, the smallest of many rounds, so that other work on the machine
does not count.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import orjson
import strawberry
from starlette.requests import Request
from starlette.types import Message

from service.access import ANONYMOUS, Viewer
from service.rate_limits import Budget, RateLimiter, Standing, key_of_viewer
from service.settings import HttpSettings, LimitsSettings, PerRole
from service.transport.admission import Admission
from service.transport.graphql_http import GraphQLOverHTTP
from service.transport.operations import Operations

ROUNDS, REQUESTS = 40, 400


@strawberry.type
class Query:
    @strawberry.field
    def hello(self) -> str:
        return "hello"


@dataclass
class Context:
    viewer: Viewer


class Endless:
    """A store that always has enough; what asking it costs is measured apart."""

    async def standing(self, key: str, *, limit: int, window_s: int) -> Standing:
        del key
        return Standing(limit, window_s)

    async def take(self, key: str, amount: int, *, limit: int, window_s: int) -> bool:
        del key, amount, limit, window_s
        return True


def endpoint(viewer: Viewer, *, limited: bool) -> GraphQLOverHTTP:
    settings = HttpSettings()
    admission = Admission(LimitsSettings(reads=PerRole(anonymous=10**9, user=10**9)))
    admission.count_by(RateLimiter(Endless(), window_s=3_600))

    async def context(_request: Request) -> Context:
        return Context(viewer)

    operations = Operations(strawberry.Schema(query=Query), settings)
    return GraphQLOverHTTP(operations, context, settings, admission=admission if limited else None)


async def request(app: GraphQLOverHTTP) -> int:
    body = orjson.dumps({"query": "{ hello }"})
    status = 0

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status
        status = message.get("status", status)

    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    scope: dict[str, Any] = {
        "type": "http", "method": "POST", "path": "/graphql", "query_string": b"", "headers": headers,
        "client": ("198.51.100.7", 40_000),
    }  # fmt: skip
    await app(scope, receive, send)
    return status


async def cpu_us(work: Callable[[], Awaitable[object]]) -> float:
    started = time.process_time()
    for _ in range(REQUESTS):
        await work()
    return (time.process_time() - started) / REQUESTS * 1e6


async def main() -> None:
    for name, viewer in (("signed in", Viewer("anna")), ("anonymous", ANONYMOUS)):
        with_limits, without = endpoint(viewer, limited=True), endpoint(viewer, limited=False)
        assert await request(with_limits) == await request(without) == 200
        on, off = [], []
        for _ in range(ROUNDS):
            on.append(await cpu_us(lambda app=with_limits: request(app)))  # type: ignore[misc]
            off.append(await cpu_us(lambda app=without: request(app)))  # type: ignore[misc]
        print(f"{name}: {min(off):.1f} us without limits, {min(on):.1f} us with them: {min(on) - min(off):.1f} us more")
    limiter = RateLimiter(Endless(), window_s=3_600)
    await limiter.take(Budget.READS, key_of_viewer("anna"), 1, limit=10**9)

    async def spend() -> None:
        limiter.spend(Budget.READS, "viewer:anna", 1)

    print(f"spending alone: {min([await cpu_us(spend) for _ in range(ROUNDS)]):.2f} us")


if __name__ == "__main__":
    asyncio.run(main())
