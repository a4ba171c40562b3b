"""Peak memory of the Python client while it sends a large file in parts, against a small file's:
`python -m benchmarks.client_memory`. API and storage are a sink on loopback, in another process.
"""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from service.client import MediaClient, UploadSession, inspect_file
from service.dev.ports import free_ports

MEBIBYTE = 1024**2
PART_BYTES = 8 * MEBIBYTE
SIZES = (16 * MEBIBYTE, 1024 * MEBIBYTE)
HEADERS = [{"name": "Content-Type", "value": "application/octet-stream"}]


def sink(url: str) -> Starlette:
    """Signs any part, takes any bytes, and knows one session, of which nothing is confirmed."""
    session = {"id": "u", "media": {"id": "m", "status": "INITIATED"}, "method": "MULTIPART", "partSize": PART_BYTES}

    async def graphql(request: Request) -> Response:
        variables = orjson.loads(await request.body())["variables"]
        numbers = variables.get("input", {}).get("partNumbers", [])
        target = {"method": "PUT", "url": f"{url}/part", "headers": HEADERS}
        answers: dict[str, Any] = {
            "upload": {**session, "parts": [], "bytesConfirmed": 0},
            "signUploadParts": {"parts": [{"number": n, "target": target} for n in numbers], "userErrors": []},
            "completeUpload": {"userErrors": []},
        }
        return JSONResponse({"data": answers})

    async def part(request: Request) -> Response:
        async for _ in request.stream():
            pass
        return Response(headers={"ETag": '"etag"'})

    return Starlette(routes=[Route("/graphql", graphql, methods=["POST"]), Route("/part", part, methods=["PUT"])])


async def send(url: str, path: Path) -> None:
    """What a process does that sends one file; prints its peak resident memory in MB and MB/s."""
    started = time.perf_counter()
    file = await inspect_file(path)
    session = UploadSession.model_validate(
        {"id": "u", "media": {"id": "m"}, "method": "MULTIPART", "partSize": PART_BYTES, "byteSize": file.byte_size}
    )
    async with MediaClient(url) as client:
        await client.complete(session.id, await client.send(session, file))
    rate = file.byte_size / (time.perf_counter() - started) / 1e6
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6, rate)


def measure(url: str, size: int, folder: Path) -> tuple[float, float]:
    path = folder / f"{size}.bin"
    # Sparse: it has the size, but needs no disk.
    with path.open("wb") as file:
        file.truncate(size)
    argv = [sys.executable, "-m", "benchmarks.client_memory", url, str(path)]
    answer = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()
    return float(answer[0]), float(answer[1])


def main() -> None:
    port = next(free_ports())
    url = f"http://127.0.0.1:{port}"
    serving = os.fork()
    if serving == 0:
        uvicorn.run(sink(url), host="127.0.0.1", port=port, log_level="error")
        os._exit(0)
    try:
        with tempfile.TemporaryDirectory() as folder:
            figures = {size: measure(url, size, Path(folder)) for size in SIZES}
    finally:
        os.kill(serving, 15)
        os.waitpid(serving, 0)
    baseline, _ = figures[SIZES[0]]
    for size, (peak_mb, rate) in figures.items():
        print(f"{size // MEBIBYTE:6} MiB  peak {peak_mb:6.0f} MB  {peak_mb / baseline:5.2f} x  {rate:6.0f} MB/s")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(send(sys.argv[1], Path(sys.argv[2])))
    else:
        main()
