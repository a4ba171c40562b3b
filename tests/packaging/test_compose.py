"""docker-compose.yml: valid, hardened, without default secrets, and each process knows only what it must."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

REPOSITORY = Path(__file__).parents[2]
COMPOSE = REPOSITORY / "docker-compose.yml"
LOOPBACK_PORT = re.compile(r"127\.0\.0\.1:\d+:\d+")
REQUIRED = re.compile(r"\$\{(\w+):\?[^}]+\}")


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE.read_text())["services"]
    return found


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A `.env` as docker/new-env writes it."""
    if shutil.which("openssl") is None:
        directions = "docker/new-env needs openssl: sudo apt-get install openssl"
        pytest.fail(directions) if os.environ.get("CI") else pytest.skip(directions)
    folder = tmp_path_factory.mktemp("compose")
    script = folder / "docker" / "new-env"
    script.parent.mkdir()
    shutil.copy(REPOSITORY / "docker" / "new-env", script)
    subprocess.run([script], check=True, capture_output=True)
    written = folder / ".env"
    assert written.stat().st_mode & 0o077 == 0
    again = subprocess.run([script], check=False, capture_output=True, text=True)
    assert again.returncode == 1
    assert "is there already" in again.stderr
    lines = (line.partition("=") for line in written.read_text().splitlines())
    return {name: value.strip("'") for name, _, value in lines}


def test_it_is_a_valid_compose_file() -> None:
    merged = yaml.safe_dump(yaml.safe_load(COMPOSE.read_text()))
    names = PyCompose.from_yaml(merged).service_names()
    assert {"mongo", "seaweedfs", "edge", "api", "worker"} <= set(names)


def test_every_container_is_confined(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not service.get("privileged"), name
        assert all(LOOPBACK_PORT.fullmatch(port) for port in service.get("ports", [])), name
        if service.get("user", "").startswith("0"):
            assert (name, service["network_mode"]) == ("objects-owner", "none")


def test_the_worker_reaches_only_database_and_storage(services: dict[str, dict[str, Any]]) -> None:
    networks = yaml.safe_load(COMPOSE.read_text())["networks"]
    assert services["worker"]["networks"] == ["database", "storage"]
    assert all(networks[name]["internal"] for name in services["worker"]["networks"])


def test_no_secret_has_a_default(secrets: dict[str, str]) -> None:
    text = COMPOSE.read_text()
    needed = set(REQUIRED.findall(text))
    assert re.sub(r"\$\$\w+", "", REQUIRED.sub("", text)).count("$") == 0
    assert needed == secrets.keys()
    assert len(set(secrets.values())) == len(secrets)


def environment(service: dict[str, Any], secrets: dict[str, str]) -> dict[str, str]:
    """What the process would find in its environment."""
    return {
        name: REQUIRED.sub(lambda found: secrets[found[1]], str(value))
        for name, value in service.get("environment", {}).items()
    }


def test_each_process_starts_from_its_environment(services: dict[str, dict[str, Any]], secrets: dict[str, str]) -> None:
    checks = {
        "api": "load_signers(load_settings(Role.API).delivery); assert load_settings(Role.API).auth.issuers",
        "edge": "load_signers(load_settings(Role.WORKER).delivery)",
        "worker": "load_settings(Role.WORKER)",
        "indexes": "load_settings(Role.WORKER)",
        "migrations": "load_settings(Role.WORKER)",
        "buckets": "load_settings(Role.WORKER)",
    }
    imports = (
        "from service.models import Role; from service.production import load_settings; "
        "from service.delivery import load_signers; "
    )
    for name, check in checks.items():
        run = subprocess.run(
            [sys.executable, "-c", imports + check],
            check=False, capture_output=True, text=True, cwd=REPOSITORY, env=environment(services[name], secrets),
        )  # fmt: skip
        assert run.returncode == 0, f"{name}: {run.stderr}"


def test_each_process_knows_only_its_own_secrets(services: dict[str, dict[str, Any]], secrets: dict[str, str]) -> None:
    def known(name: str) -> set[str]:
        return set(REQUIRED.findall(str(services[name].get("environment", {}))))

    storage = {"STORAGE_ACCESS_KEY", "STORAGE_SECRET_KEY"}
    signing = {"SIGNING_KEY_PUBLIC", "SIGNING_KEY_PRIVATE", "SIGNING_KEY_ORIGINAL"}
    assert known("worker") == {"MONGO_WORKER_PASSWORD", *storage}
    assert known("api") == {"MONGO_API_PASSWORD", "TOKEN_SECRET", "STORAGE_EVENT_TOKEN", *storage, *signing}
    assert known("edge") == {*storage, *signing}
    assert known("buckets") == storage
    assert known("indexes") == known("migrations") == {"MONGO_API_PASSWORD"}
