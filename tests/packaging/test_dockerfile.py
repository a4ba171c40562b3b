"""The Dockerfile's own steps, run in scratch folders: what each image installs starts, answers and stops."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import dockerfile
import pytest

from service.dev.environment import variables_of
from service.dev.processes import Children
from service.settings import Settings

REPOSITORY = Path(__file__).parents[2]
# The folders that steps write to; anything else in them is meant as it stands.
INNER = re.compile(r"(?<![\w.])(/opt/media|/wheels|/requirements|/source)\b")


@dataclass
class Stage:
    name: str
    base: str
    steps: list[dockerfile.Command] = field(default_factory=list)

    def last(self, instruction: str) -> tuple[str, ...]:
        """The words of the last such instruction."""
        return next(step.value for step in reversed(self.steps) if step.cmd == instruction)

    def variables(self) -> dict[str, str]:
        words = [word for step in self.steps if step.cmd == "ENV" for word in step.value if word != "="]
        return dict(zip(words[::2], words[1::2], strict=True))


@pytest.fixture(scope="module")
def stages() -> dict[str, Stage]:
    found: dict[str, Stage] = {}
    for step in dockerfile.parse_file(str(REPOSITORY / "Dockerfile")):
        if step.cmd == "FROM":
            stage = Stage(name=step.value[2], base=step.value[0])
            found[stage.name] = stage
        elif found:
            stage.steps.append(step)
    return found


class Scratch:
    """Runs COPY, WORKDIR and RUN of a stage with `/opt/media` and its like inside a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def inside(self, text: str) -> str:
        return INNER.sub(lambda found: f"{self.root}{found[1]}", text)

    def run(self, stage: Stage) -> None:
        folder = self.root / "source"
        for step in stage.steps:
            if step.cmd == "WORKDIR":
                folder = Path(self.inside(step.value[0]))
                folder.mkdir(parents=True, exist_ok=True)
            elif step.cmd == "COPY":
                self._copy(step, folder)
            elif step.cmd == "RUN":
                self._execute(step.value[0], folder)

    def _copy(self, step: dockerfile.Command, folder: Path) -> None:
        *sources, target = step.value
        origin = self.root if any(flag.startswith("--from=") for flag in step.flags) else REPOSITORY
        destination = folder / self.inside(target)
        for source in sources:
            path = origin / source.lstrip("/")
            # Stages have one root in common here, so what one made may already stand where the next wants it.
            if path == destination:
                continue
            if path.is_dir():
                shutil.copytree(path, destination, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                destination.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, destination)

    def _execute(self, command: str, folder: Path) -> None:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        # Byte code is made when it is first needed: most of what is installed is never imported here.
        env = {**os.environ, "PATH": path, "PIP_COMPILE": "0"}
        run = subprocess.run(
            ["sh", "-ec", self.inside(command)], check=False, capture_output=True, text=True, cwd=folder, env=env
        )
        assert run.returncode == 0, f"{command}\n{run.stdout}\n{run.stderr}"


@pytest.fixture(scope="module")
def scratch(
    stages: dict[str, Stage], server_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scratch]:
    """In memory, where programs may be run from there: an image is thousands of files, and 400 MB."""
    if not os.environ.get("CI"):
        pytest.skip("installs the images' packages from the registry; runs where CI is set: make test CI=true")
    is_for_programs = not os.statvfs(server_folder).f_flag & os.ST_NOEXEC
    root = server_folder / "image" if is_for_programs else tmp_path_factory.mktemp("image")
    scratch = Scratch(root)
    scratch.run(stages["wheel"])
    yield scratch
    shutil.rmtree(root)


@pytest.mark.parametrize("image", ["api", "worker"])
def test_an_image_runs_as_an_unprivileged_user_and_can_be_asked(stages: dict[str, Stage], image: str) -> None:
    stage, common = stages[image], stages[stages[image].base]
    assert stage.last("USER") == ("10001:10001",)
    assert common.last("STOPSIGNAL") == ("SIGTERM",)
    assert common.last("ENTRYPOINT") == ("python", "-m", "service")
    assert stage.last("CMD") == (image,)
    assert stage.last("HEALTHCHECK")[0] == "CMD"
    assert not {"SHELL", "VOLUME", "ADD"} & {step.cmd for each in stages.values() for step in each.steps}


@dataclass(frozen=True)
class Image:
    """`groups` of the settings are all it is given; `port` is the variable that says where it answers."""

    name: str
    port: str
    groups: tuple[str, ...]
    absent: tuple[str, ...]


IMAGES = (
    Image(
        "api",
        "MEDIA_HTTP__PORT",
        ("mongo", "storage", "delivery", "auth", "http"),
        ("PIL", "imagehash", "pyseccomp", "httpx"),
    ),
    Image(
        "worker",
        "MEDIA_WORKER__METRICS_PORT",
        ("mongo", "storage", "worker"),
        ("strawberry", "graphql", "jwt", "httpx"),
    ),
)


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.name)
async def test_what_an_image_installs_starts_answers_and_stops(
    image: Image,
    scratch: Scratch,
    stages: dict[str, Stage],
    settings: Settings,
    ports: Iterator[int],
    children: Children,
    tmp_path: Path,
) -> None:
    stage, common = stages[image.name], stages[stages[image.name].base]
    shutil.rmtree(scratch.root / "opt", ignore_errors=True)
    scratch.run(stages[f"{image.name}-packages"])
    python = scratch.root / "opt" / "media" / "bin" / "python"
    env = {
        **common.variables(),
        **stage.variables(),
        **variables_of(settings, image.groups),
        "PATH": "/usr/bin:/bin",
        "MEDIA_HTTP__HOST": "127.0.0.1",
        image.port: str(next(ports)),
    }
    look = f"import importlib.util as u; print([name for name in {image.absent} if u.find_spec(name)])"
    assert await output(python, "-c", look, env=env, cwd=tmp_path) == (0, "[]")

    _, _, _, question = stage.last("HEALTHCHECK")

    async def is_healthy() -> bool:
        code, _ = await output(python, "-c", question, env=env, cwd=tmp_path)
        return code == 0

    assert not await is_healthy()
    argv = [python, *common.last("ENTRYPOINT")[1:], *stage.last("CMD")]
    child = await children.start(f"{image.name}-image", argv, env=env, cwd=tmp_path, grace_s=15)
    # Each of the image's own questions is a process: none before there is somebody to ask.
    await children.wait_until(child, partial(listens, int(env[image.port])), timeout_s=30)
    await children.wait_until(child, is_healthy, timeout_s=30)
    await children.stop(child)
    # uvicorn ends by the signal it was sent, once it has finished what it had begun.
    assert child.process.returncode in {0, -signal.SIGTERM}, child.last_words()


async def listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def output(*argv: str | Path, env: dict[str, str], cwd: Path) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *argv, env=env, cwd=cwd, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode().strip()
