"""What is said of dependencies: three outcomes that are told apart, and documents that follow the schema."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tests.security.serving import serving

REPOSITORY = Path(__file__).parents[2]


def load(name: str) -> ModuleType:
    """A script of the continuous integration, as a module."""
    specification = importlib.util.spec_from_file_location(name, REPOSITORY / ".ci" / f"{name}.py")
    assert specification is not None
    assert specification.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


audits = load("audit_dependencies")
sbom = load("sbom")
Outcome = audits.Outcome

PIN = re.compile(r"\w\S*==")
SKIPPED = {"name": "a", "skip_reason": "Dependency not found on PyPI and could not be audited: a (1)"}
FINE = {"name": "b", "version": "1", "vulns": []}
BAD = {"name": "c", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"]}]}


@pytest.mark.parametrize(
    ("dependencies", "outcome"),
    [
        ([FINE], Outcome.PASSED),
        ([FINE, BAD, SKIPPED], Outcome.VULNERABLE),
        ([FINE, SKIPPED], Outcome.NOT_AUDITED),
        ([], Outcome.NOT_AUDITED),
    ],
)
def test_what_pip_audit_skips_has_not_passed(dependencies: list[object], outcome: object) -> None:
    report = json.dumps({"dependencies": dependencies, "fixes": []})
    assert audits.read_pip_audit("Python", report, "No known vulnerabilities found").outcome is outcome


@pytest.mark.parametrize("report", ["", "[]", "{}", '{"dependencies": null}', '{"message": "405", "statusCode": 405}'])
def test_no_report_is_no_pass(report: str) -> None:
    for read in (audits.read_pip_audit, audits.read_npm_audit):
        audit = read("x", report, "Traceback\nNameResolutionError: https://registry.test/secret failed\n")
        assert audit.outcome is Outcome.NOT_AUDITED
        assert "[address]" in str(audit)
        assert "registry.test" not in str(audit)


def test_of_all_audits_the_worst_counts() -> None:
    passed, vulnerable, unknown = (audits.Audit("x", outcome) for outcome in Outcome)
    assert audits.overall([passed, passed]) is Outcome.PASSED
    assert audits.overall([passed, unknown]) is Outcome.NOT_AUDITED
    assert audits.overall([unknown, vulnerable, passed]) is Outcome.VULNERABLE


def test_every_version_of_every_lock_is_asked_about() -> None:
    locks = [lock.read_text() for lock in REPOSITORY.glob("requirements/*.txt")]
    asked = [pin for held in audits.pins(locks) for pin in held]
    assert len(asked) == len(set(asked))
    pinned = {line.split(" ")[0].lower() for lock in locks for line in lock.splitlines() if PIN.match(line)}
    assert {f"{name}=={version}" for name, version in asked} == pinned


async def test_the_script_asks_databases_and_tells_three_outcomes_apart(tmp_path: Path) -> None:
    """Both tools as they are, against databases of our own: one knows of a vulnerability, one is not there."""
    vulnerable = {"id": "PYSEC-2026-1", "modified": "2026-01-01T00:00:00Z", "details": "bad", "affected": [
        {"package": {"name": "colorama", "ecosystem": "PyPI"}, "versions": ["0.4.6"],
         "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "0.4.7"}]}]}]}  # fmt: skip

    async def osv(request: Request) -> JSONResponse:
        return JSONResponse({"vulns": [vulnerable]} if (await request.json())["package"]["name"] == "colorama" else {})

    async def npm(_request: Request) -> JSONResponse:
        return JSONResponse({})

    def folder(name: str, lock: str) -> Path:
        (made := tmp_path / name / "requirements").mkdir(parents=True)
        (made / "test.txt").write_text(lock)
        return made.parent

    async def audited(where: Path, database: str) -> tuple[int | None, str]:
        environment = {**os.environ, "npm_config_registry": database, "npm_config_fetch_retries": "0"}
        arguments = [sys.executable, str(REPOSITORY / ".ci/audit_dependencies.py"), "--folder", str(where)]
        child = await asyncio.create_subprocess_exec(
            *arguments, f"--osv-url={database}/osv", env=environment, stdout=subprocess.PIPE
        )
        said, _ = await child.communicate()
        return child.returncode, said.decode()

    some, one = folder("some", "colorama==0.4.6 ; x\nnumpy==2.4.6\n"), folder("one", "numpy==2.4.6\n")
    for name in ("package-lock.json", "package.json"):
        shutil.copy(REPOSITORY / "tests/edge-signers" / name, some)
    routes = [
        Route("/osv", osv, methods=["POST"]),
        Route("/-/npm/v1/security/advisories/bulk", npm, methods=["POST"]),
    ]
    async with serving(Starlette(routes=routes)) as database:
        answered, unreachable = await asyncio.gather(audited(some, database), audited(one, "http://127.0.0.1:1"))
    assert answered[0] == 1
    for line in (
        "VULNERABLE   Python, 2 packages",
        "             colorama 0.4.6: PYSEC-2026-1, fixed in 0.4.7",
        "PASSED       Node.js, .",
        "Dependencies: VULNERABLE",
    ):
        assert line in answered[1].splitlines()
    assert unreachable[0] == 2
    assert unreachable[1].count("NOT AUDITED") == 2
    assert "PASSED" not in unreachable[1]


def test_the_continuous_integration_claims_no_pass_where_nothing_was_audited() -> None:
    steps = (REPOSITORY / ".ci" / "run").read_text().split("\nstep ")
    # A step of its own, in which the outcome stands by its name, and only that of vulnerable ones ends the run.
    [audit] = [each for each in steps if ".ci/audit_dependencies.py" in each]
    assert ".ci/audit_dependencies.py || audited=$?" in audit
    assert '[ "$audited" -ne 2 ]; then exit "$audited"; fi' in audit
    assert "holds" not in audit


@pytest.mark.parametrize("image", sbom.IMAGES)
def test_a_document_is_about_all_that_an_image_installs(image: str) -> None:
    lock = (REPOSITORY / "requirements" / f"{image}.txt").read_text()
    lines = [line for line in lock.splitlines() if PIN.match(line)]
    elsewhere = ("win32", "python_full_version >= '3.12'")
    assert [line for line in sbom.installed(lock, "3.11").splitlines() if PIN.match(line)] == [
        line for line in lines if not any(mark in line for mark in elsewhere)
    ]


def test_a_document_follows_the_schema_and_holds_the_hashes(tmp_path: Path) -> None:
    lock = (REPOSITORY / "requirements" / "worker.txt").read_text()
    start = lock.index("colorama==")
    sbom.write_document(lock[start : lock.index("dnspython==")], tmp_path / "some.json")
    written = (tmp_path / "some.json").read_text()
    # Nothing is written that does not follow it: cyclonedx-py looks, unless it is told not to.
    assert "--no-validate" not in (REPOSITORY / ".ci" / "sbom.py").read_text()
    document = json.loads(written)
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    assert document["metadata"]["component"]["name"] == "media-metadata-service"
    components = document["components"]
    assert components
    assert "colorama" not in written
    for component in components:
        assert component["purl"] == f"pkg:pypi/{component['name']}@{component['version']}"
        [distribution] = component["externalReferences"]
        assert {f"--hash=sha256:{each['content']}" in lock for each in distribution["hashes"]} == {True}


def test_no_document_of_the_project_names_a_registry() -> None:
    for lock in (REPOSITORY / "requirements").iterdir():
        assert "://" not in lock.read_text(), f"{lock.name} names where packages come from"
