"""A process that is killed on purpose: `python -m tests.killable` forks a child for each step it is asked to run.

The parent has loaded everything and opened nothing, so a child costs milliseconds. It reads JSON lines
`{"step", "failpoint", "after_s", "given"}` and answers each: `{"signal"}` if the child was killed, else `{"result"}`.
"""

from __future__ import annotations

import asyncio
import gc
import io
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
from anyio import to_thread

from service import upload_request, uploads
from service.access import Viewer
from service.failpoints import Failpoint, arm
from service.finalisation import complete_upload, object_created
from service.models import MediaPurpose, ProcessedFile
from service.object_store import ObjectStore
from service.policies import POLICIES
from service.processing import pipeline
from service.processing.answers import read_file, read_header
from service.processing.jail import Jail
from service.processing.wire import Processed, ProcessingRequest
from service.runtime import Runtime
from service.settings import Settings
from service.stores import bind_stores
from service.stores.database import open_database
from service.telemetry import Metrics
from service.upload_sessions import sign_parts
from service.uploads import create_uploads
from service.worker_process import build_worker

# A step that reaches no failpoint ends by itself long before.
STEP_TIMEOUT_S = 20
# Photos of this purpose go up in parts, however small, so that hundreds of uploads take no time.
IN_PARTS = MediaPurpose.COVER


def send_small_files_in_parts(patch: Callable[[object, str, object], None]) -> None:
    """Lower the threshold of IN_PARTS, wherever it is looked up; `patch` is called as `setattr` is."""
    changed = {**POLICIES, IN_PARTS: POLICIES[IN_PARTS].model_copy(update={"multipart_threshold": 1})}
    for module in (uploads, upload_request):
        patch(module, "POLICIES", changed)


class _Unconfined(Jail):
    """The pipeline in this very process: it is to die itself, and a child of its own would take a second to start."""

    async def process(self, path: Path, request: ProcessingRequest) -> ProcessedFile:
        answer = await to_thread.run_sync(self._decode, path, request)
        reply = asyncio.StreamReader()
        reply.feed_data(answer)
        reply.feed_eof()
        header = await read_header(reply)
        assert isinstance(header, Processed), header
        return await read_file(reply, header, request)

    @staticmethod
    def _decode(path: Path, request: ProcessingRequest) -> bytes:
        answer = io.BytesIO()
        with path.open("rb") as original:
            pipeline.run(original, request.model_dump_json().encode(), answer)
        return answer.getvalue()


async def create(runtime: Runtime, given: Mapping[str, Any]) -> Any:
    planned = await create_uploads(
        Viewer(given["owner"]), given["input"], stores=runtime.stores, object_store=runtime.object_store
    )
    return [None if each.upload_id is None else str(each.upload_id) for each in planned]


async def sign(runtime: Runtime, given: Mapping[str, Any]) -> Any:
    signed = await sign_parts(
        Viewer(given["owner"]),
        UUID(given["id"]),
        [1],
        sha256s={},
        stores=runtime.stores,
        object_store=runtime.object_store,
    )
    return [request.url for _, request in signed]


async def complete(runtime: Runtime, given: Mapping[str, Any]) -> Any:
    upload_id = await complete_upload(
        Viewer(given["owner"]),
        UUID(given["id"]),
        idempotency_key=given["key"],
        stores=runtime.stores,
        object_store=runtime.object_store,
    )
    return str(upload_id)


async def event(runtime: Runtime, given: Mapping[str, Any]) -> Any:
    return await object_created(
        given["bucket"], given["object"], stores=runtime.stores, object_store=runtime.object_store
    )


async def work(runtime: Runtime, given: Mapping[str, Any]) -> Any:
    worker = build_worker(runtime, _Unconfined(memory_bytes=1, cpu_s=1))
    await worker.run()


STEPS: Mapping[str, Callable[[Runtime, Mapping[str, Any]], Awaitable[Any]]] = {
    step.__name__: step for step in (create, sign, complete, event, work)
}


async def _run(settings: Settings, object_store: ObjectStore, asked: Mapping[str, Any]) -> Any:
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_database(settings.mongo))
        runtime = Runtime(settings, database, bind_stores(database), object_store, Metrics())
        async with asyncio.timeout(STEP_TIMEOUT_S):
            return await STEPS[asked["step"]](runtime, asked["given"])


def _answer(settings: Settings, object_store: ObjectStore, asked: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return {"result": asyncio.run(_run(settings, object_store, asked))}
    except Exception as error:  # noqa: BLE001 - told to the test, which fails
        return {"error": repr(error)}


def _in_a_child(settings: Settings, object_store: ObjectStore, asked: Mapping[str, Any]) -> dict[str, Any]:
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(readable)
        # Answers are the parent's to give; what a child logs is none.
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        failpoint = asked.get("failpoint")
        arm(None if failpoint is None else Failpoint(failpoint))
        # Nobody handles SIGALRM: it ends a process as SIGKILL does, wherever it is.
        signal.setitimer(signal.ITIMER_REAL, asked.get("after_s", 0))
        try:
            os.write(writable, orjson.dumps(_answer(settings, object_store, asked)))
        finally:
            os._exit(0)
    os.close(writable)
    with os.fdopen(readable, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    return {"signal": os.WTERMSIG(status)} if os.WIFSIGNALED(status) else orjson.loads(said)


def main() -> None:
    send_small_files_in_parts(setattr)
    settings = Settings()
    object_store = ObjectStore(settings.storage)
    pipeline.warm_up()
    # What is loaded stays shared with the children: a collection in one of them would copy it all.
    gc.freeze()
    ask = partial(_in_a_child, settings, object_store)
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(orjson.dumps(ask(orjson.loads(line))) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
