"""The folder in which one embedded stack lives: its options, its lock, and what it leaves for others to read."""

from __future__ import annotations

import fcntl
import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import orjson
from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.dev.origins import split_origins
from service.dev.processes import StartFailed

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

URLS = "urls.json"


class DevOptions(BaseSettings):
    """Options of the embedded stack, from `DEV_*` variables. Port 0: last run's if free, else any."""

    model_config = SettingsConfigDict(env_prefix="DEV_", frozen=True)

    folder: Path = Path(".dev")
    api_port: int = Field(default=0, ge=0, le=65535)
    edge_port: int = Field(default=0, ge=0, le=65535)
    s3_port: int = Field(default=0, ge=0, le=55535)
    mongod_port: int = Field(default=0, ge=0, le=65535)
    samples: bool = Field(default=True, description="Upload the sample photos on the first run")
    webhooks: bool = Field(default=False, description="Be a receiver of webhooks as well")
    origins: Annotated[tuple[str, ...], NoDecode, BeforeValidator(split_origins)] = Field(
        default=(), validate_default=False, description="Pages besides our own that may talk to the stack"
    )


def read_options() -> DevOptions:
    """The options of this environment; StartFailed names the variables that make no sense."""
    try:
        return DevOptions()
    except ValidationError as error:
        raise StartFailed("\n".join(map(_explained, error.errors()))) from None


def wanted_ports(options: DevOptions) -> dict[str, int]:
    """Which port each part that people choose one for is to have; 0: any."""
    return {
        "api": options.api_port,
        "edge": options.edge_port,
        "s3": options.s3_port,
        "mongod": options.mongod_port,
    }


def _explained(problem: ErrorDetails) -> str:
    name = str(problem["loc"][0])
    schema = DevOptions.model_json_schema()["properties"][name]
    expected = f"{problem['msg']}."
    match schema["type"]:
        case "integer":
            expected = f"it must be a whole number from 0 (any free port) to {schema['maximum']}."
        case "boolean":
            expected = "it must be true or false."
        case "array":
            expected = (
                "it must be origins such as http://localhost:5173, separated by commas, on this machine or with https."
            )
    return f"DEV_{name.upper()} is {problem['input']!r}: {expected}"


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold the folder for this process; StartFailed if another stack runs in it."""
    try:
        descriptor = _opened(folder)
    except OSError as error:
        raise StartFailed(
            f"The folder {folder} cannot be used: {error.strerror}. Set DEV_FOLDER to one that you may write to."
        ) from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartFailed(_already_running(folder, os.read(descriptor, 20).decode())) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _opened(folder: Path) -> int:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not any(folder.iterdir()):
        # It holds keys; and only a new folder is ours to hide.
        (folder / ".gitignore").write_text("*\n")
    # Only open(2): truncating the file before it is ours would lose the other's process id.
    return os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)


def _already_running(folder: Path, process_id: str) -> str:
    urls = folder / URLS
    where = f" at {orjson.loads(urls.read_bytes())['demo']}" if urls.exists() else ""
    return (
        f"A stack already runs in {folder.resolve()}{where} (process {process_id}).\n"
        "Use that one, stop it with Ctrl-C in its terminal, or set DEV_FOLDER to start another beside it."
    )


def write_private(path: Path, content: bytes) -> None:
    """Replace a file at once, readable by its owner alone."""
    temporary = path.with_suffix(".new")
    temporary.touch(mode=0o600)
    temporary.write_bytes(content)
    temporary.replace(path)


def write_urls(folder: Path, urls: Mapping[str, str]) -> None:
    """`urls.json`: where everything is, and tokens to use it with."""
    write_private(folder / URLS, orjson.dumps(dict(urls), option=orjson.OPT_INDENT_2) + b"\n")


def forget_urls(folder: Path) -> None:
    """Remove `urls.json`: nothing answers there any more."""
    (folder / URLS).unlink(missing_ok=True)


def read_urls(folder: Path) -> dict[str, str]:
    """What `write_urls` left there; empty where no stack runs."""
    try:
        urls: dict[str, str] = orjson.loads((folder / URLS).read_bytes())
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return {}
    return urls


def write_environment(folder: Path, variables: Mapping[str, str]) -> None:
    """`env`: the service's settings, for `set -a; . .dev/env; python -m service doctor`."""
    lines = "".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items())
    write_private(folder / "env", lines.encode())


def read_environment(folder: Path) -> dict[str, str]:
    """What `write_environment` left there; empty where no stack ran."""
    try:
        words = shlex.split((folder / "env").read_text())
    except FileNotFoundError:
        return {}
    pairs = (word.partition("=") for word in words)
    return {name: value for name, _, value in pairs}
