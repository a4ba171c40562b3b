"""What operators and load balancers ask: is it alive, is it ready, what does it count."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from service.change_feed import ChangeFeed
from service.models import Lane
from service.runtime import Runtime
from service.stores.database import OUTAGE_ERRORS

# A load balancer that waits longer has decided already.
_PATIENCE_S = 2

# A change stream that is later than this will not be there again in a moment.
_LATE_S = 10


def operator_routes() -> list[Route]:
    """`/healthz`, `/readyz` and `/metrics`, for an app whose state holds a runtime."""
    return [Route("/healthz", _healthz), Route("/readyz", _readyz), Route("/metrics", _metrics)]


async def _healthz(_request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _readyz(request: Request) -> Response:
    runtime: Runtime = request.app.state.runtime
    parts = {"database": runtime.database.ping(), "storage": runtime.object_store.ping()}
    answers = await asyncio.gather(
        *(asyncio.wait_for(part, _PATIENCE_S) for part in parts.values()), return_exceptions=True
    )
    states = {
        part: "unavailable" if isinstance(answer, Exception) else "ok"
        for part, answer in zip(parts, answers, strict=True)
    }
    status = 200 if set(states.values()) == {"ok"} else 503
    change_feed: ChangeFeed | None = getattr(request.app.state, "change_feed", None)
    if change_feed is not None:
        # For people to see: all processes have it at once, and everything but live updates goes on.
        states["changes"] = "late" if change_feed.lag_s() > _LATE_S else "ok"
    return JSONResponse(states, status)


async def _metrics(request: Request) -> Response:
    runtime: Runtime = request.app.state.runtime
    await measure_queue(runtime)
    body, content_type = runtime.metrics.render()
    return Response(body, media_type=content_type)


async def measure_queue(runtime: Runtime) -> None:
    """Set the queue gauges; left as they are while the database does not answer."""
    inspection = runtime.stores.job_inspection
    try:
        waiting_s, counts = await asyncio.gather(inspection.waiting_s(), inspection.count())
    except OUTAGE_ERRORS:
        return
    for lane in Lane:
        runtime.metrics.set_queue_age(lane, waiting_s[lane])
        for state, number in counts[lane].items():
            runtime.metrics.set_queue_jobs(lane, state, number)
