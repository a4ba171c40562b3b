"""`python -m service dev` as a person uses it: start, start again, lose a process, stop, come back."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

REPOSITORY = Path(__file__).parent.parent.parent
# What `urls.json` has, by the roles they are for.
TOKENS: dict[str, list[str]] = {"token": [], "moderator_token": ["moderator"], "service_token": ["service"]}


class RunningStack:
    """The command in a folder of its own, once `urls.json` is there."""

    def __init__(self, folder: Path, process: subprocess.Popen[str]) -> None:
        self.folder = folder
        self.process = process

    def urls(self) -> dict[str, str]:
        urls: dict[str, str] = json.loads((self.folder / "urls.json").read_text())
        return urls

    def processes(self) -> dict[str, int]:
        """Its children by the last word of their command, or the name of the binary."""
        found = {}
        for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
            command = Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]
            if command:
                found[command[-1] if "-m" in command else Path(command[0]).name] = int(pid)
        return found


def eventually(holds: Callable[[], Any], *, within_s: float = 60) -> Any:
    deadline = time.monotonic() + within_s
    while not (value := holds()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
    return value


def start(folder: Path, **options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "service", "dev"],
        cwd=REPOSITORY,
        env={**os.environ, "DEV_FOLDER": str(folder), "DEV_SAMPLES": "false", **options},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@contextmanager
def running(folder: Path, **options: str) -> Iterator[RunningStack]:
    with start(folder, **options) as process:
        try:
            eventually(lambda: (folder / "urls.json").exists() or process.poll() is not None)
            if process.poll() is not None:
                pytest.fail(process.communicate()[0])
            yield RunningStack(folder, process)
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code < 500
    except httpx.TransportError:
        return False


def owner_sees(urls: dict[str, str]) -> Any:
    headers = {"Authorization": f"Bearer {urls['token']}"}
    return httpx.post(urls["graphql"], json={"query": "{ __typename }"}, headers=headers).json()


def admits(url: str, origin: str) -> bool:
    """Whether browsers let a page of `origin` send an upload or a call there, and read the answer."""
    asked = {"Origin": origin, "Access-Control-Request-Method": "PUT" if "raw" in url else "POST"}
    said = httpx.options(url, headers={**asked, "Access-Control-Request-Headers": "content-type"})
    return said.is_success and said.headers.get("access-control-allow-origin") == origin


@pytest.mark.timeout(180)
def test_the_stack_starts_recovers_stops_and_comes_back(tmp_path: Path) -> None:
    folder = tmp_path / "dev"
    with running(folder) as stack:
        urls, processes = stack.urls(), stack.processes()
        assert set(processes) == {"mongod", "weed", "api", "worker", "edge"}
        assert owner_sees(urls)["data"] == {"__typename": "Query"}
        roles = {name: jwt.decode(urls[name], options={"verify_signature": False})["roles"] for name in TOKENS}
        assert roles == TOKENS
        assert httpx.get(f"{urls['edge']}/community/raw/any.jpg").status_code == 403

        with start(folder) as second:
            said = second.communicate(timeout=30)[0]
        assert second.returncode == 1
        assert f"already runs in {folder} at {urls['demo']}" in said

        os.kill(processes["worker"], signal.SIGKILL)
        eventually(lambda: stack.processes().get("worker") not in {None, processes["worker"]})
        eventually(lambda: answers(urls["worker_metrics"]))
        last = stack.processes()

    said = stack.process.stdout.read() if stack.process.stdout and not stack.process.stdout.closed else ""
    assert stack.process.returncode == 0, said
    assert not [pid for pid in last.values() if Path(f"/proc/{pid}").exists()]
    assert not (folder / "urls.json").exists()

    own_page = "http://localhost:5173"
    with running(folder, DEV_ORIGINS=own_page) as again:
        assert again.urls()["graphql"] == urls["graphql"]
        for url in (urls["graphql"], f"{urls['s3']}/media-uploads/community/raw/any.jpg"):
            assert admits(url, own_page)
            assert admits(url, urls["demo"].removesuffix("/"))
            assert not admits(url, "http://localhost:5174")
        # A token of the first run: the folder's keys are kept.
        assert owner_sees(urls)["data"] == {"__typename": "Query"}


@pytest.mark.timeout(60)
def test_a_port_in_use_is_named_and_nothing_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with start(tmp_path / "dev", DEV_API_PORT=str(port)) as process:
            said = process.communicate(timeout=30)[0]
    assert process.returncode == 1
    assert f"Port {port} (DEV_API_PORT) is in use" in said
    assert not (tmp_path / "dev" / "mongod").exists()


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"DEV_API_PORT": "eighty"},
            "DEV_API_PORT is 'eighty': it must be a whole number from 0 (any free port) to 65535",
        ),
        ({"DEV_S3_PORT": "60000"}, "DEV_S3_PORT is '60000': it must be a whole number from 0 (any free port) to 55535"),
        ({"DEV_SAMPLES": "perhaps"}, "DEV_SAMPLES is 'perhaps': it must be true or false"),
        ({"DEV_S3_PORT": "23456", "DEV_EDGE_PORT": "23456"}, "DEV_EDGE_PORT and DEV_S3_PORT both need port 23456"),
        ({"DEV_S3_PORT": "23456", "DEV_API_PORT": "33456"}, "DEV_API_PORT and DEV_S3_PORT both need port 33456"),
        ({"DEV_ORIGINS": "http://app.example"}, "DEV_ORIGINS is 'http://app.example': it must be origins such as"),
        ({"DEV_FOLDER": "/dev/null/x"}, "The folder /dev/null/x cannot be used: Not a directory. Set DEV_FOLDER"),
    ],
)
def test_unusable_options_are_explained_and_nothing_is_started(
    tmp_path: Path, options: dict[str, str], expected: str
) -> None:
    with start(tmp_path / "dev", **options) as process:
        said = process.communicate(timeout=30)[0]
    assert process.returncode == 1
    assert expected in said
    assert "Traceback" not in said
    assert not (tmp_path / "dev" / "mongod").exists()
