"""What people install: the wheel holds our four packages whole, nobody else's names, and no tests."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PACKAGES = ("service", "schema", "resolvers", "indexes")
OUR_NAME = "media-metadata-service"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source distribution, and the wheel that was built from it."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(REPOSITORY)]
    run = subprocess.run(command, check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return out


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    [wheel] = built.glob("*.whl")
    return wheel


def test_the_wheel_holds_every_file_of_ours_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    files = [path for package in PACKAGES for path in (REPOSITORY / package).rglob("*") if path.is_file()]
    ours = {path.relative_to(REPOSITORY).as_posix() for path in files if "__pycache__" not in path.parts}
    browser_client = {f"service/dev/demo/client/{path.name}" for path in (REPOSITORY / "clients/js/src").iterdir()}
    assert packed == ours | browser_client
    assert {
        "service/py.typed",
        "schema/schema.graphql",
        "service/dev/demo/static/index.html",
        "service/dev/samples/cat.jpg",
    } <= packed


def test_the_wheel_says_what_it_is_and_cannot_be_published_by_accident(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        [metadata] = [archive.read(n).decode() for n in archive.namelist() if n.endswith(".dist-info/METADATA")]
        licences = [name for name in archive.namelist() if name.endswith("/licenses/LICENSE")]
    assert "\nClassifier: Private :: Do Not Upload\n" in metadata
    assert "\nLicense-Expression: Apache-2.0\n" in metadata
    assert licences


def test_the_source_distribution_holds_no_tests_and_no_secrets(built: Path) -> None:
    [sdist] = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        tops = {Path(name).parts[1] for name in archive.getnames()}
    meta = {"README.md", "LICENSE", "CHANGELOG.md", "pyproject.toml", "PKG-INFO", ".gitignore"}
    assert tops <= {*PACKAGES, "clients", *meta}


def test_the_installed_wheel_runs_without_the_repository(wheel: Path, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", scratch], check=True)
    install = ["install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", "--python", scratch, *install], check=True)
    libraries = sysconfig.get_path("purelib")
    run = subprocess.run(
        [scratch / "bin" / "media-service", "schema", "--check"],
        check=False, capture_output=True, text=True, cwd=tmp_path, env={"PYTHONPATH": libraries},
    )  # fmt: skip
    assert (run.returncode, run.stderr) == (0, "")
    code = "from service.dev.demo.assets import CLIENT; print((CLIENT / 'index.js').resolve(strict=True))"
    run = subprocess.run(
        [scratch / "bin" / "python", "-c", code],
        check=True, capture_output=True, text=True, cwd=tmp_path, env={"PYTHONPATH": libraries},
    )  # fmt: skip
    assert Path(run.stdout.strip()).is_relative_to(scratch)


def test_no_other_distribution_brings_our_names() -> None:
    # PyPI has packages called schema, service and indexes: one of them as a dependency would shadow ours.
    brought = packages_distributions()
    assert not {name: brought[name] for name in PACKAGES if set(brought.get(name, [])) - {OUR_NAME}}


def locked(name: str) -> dict[str, set[str]]:
    """The versions that `requirements/{name}.txt` allows, by distribution (several: one for each Python)."""
    versions: dict[str, set[str]] = {}
    for found in re.finditer(
        r"^([a-z0-9._-]+)==([^ ;\\]+)", (REPOSITORY / f"requirements/{name}.txt").read_text(), re.M
    ):
        versions.setdefault(found[1], set()).add(found[2])
    return versions


def test_what_the_images_install_is_what_was_tested() -> None:
    tested = locked("test")
    for image in ("build", "api", "worker"):
        lock = locked(image)
        assert lock
        assert {name: versions for name, versions in lock.items() if tested[name] != versions} == {}


def test_the_api_installs_no_decoders_and_the_worker_no_graphql() -> None:
    assert not locked("api").keys() & {"pillow", "imagehash", "scipy", "thumbhash", "pyseccomp"}
    assert not locked("worker").keys() & {"strawberry-graphql", "graphql-core", "pyjwt", "httpx"}


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("service.app", {"PIL", "numpy", "imagehash", "pyseccomp", "httpx"}),
        ("service.worker_process", {"strawberry", "graphql", "jwt", "httpx", "PIL"}),
        ("service.dev.edge", {"strawberry", "graphql", "PIL"}),
        ("service.commands.annotations", {"strawberry", "graphql", "jwt", "httpx", "PIL", "numpy"}),
    ],
)
def test_a_process_loads_only_what_it_needs(module: str, absent: set[str]) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=REPOSITORY)
    assert not absent & set(run.stdout.split())
