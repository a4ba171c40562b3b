"""Ask advisory databases about every locked dependency, and tell "nothing known" from "nobody could be asked".

Python's locks are held against OSV by pip-audit, Node's by `npm audit`. Exit status: 0 for PASSED, 1 for VULNERABLE,
2 for NOT AUDITED, where some dependency could not be looked up and none that could is vulnerable. pip-audit itself says
"No known vulnerabilities found", with status 0, where its service knows none of the packages; `npm audit` fails with
the same status for a vulnerability as for a server that does not answer. So only their reports count here.
"""

from __future__ import annotations

import argparse
import enum
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)
# Several hundred questions, one after the other.
_TIMEOUT_S = 600


class Outcome(enum.IntEnum):
    """What an audit came to; the value is the exit status."""

    PASSED = 0
    VULNERABLE = 1
    NOT_AUDITED = 2


@dataclass(frozen=True, slots=True)
class Audit:
    """One report: what was looked at, what came of it, and why, a line each."""

    subject: str
    outcome: Outcome
    reasons: tuple[str, ...] = ()

    def __str__(self) -> str:
        verdict = self.outcome.name.replace("_", " ")
        return "\n".join([f"{verdict:<11}  {self.subject}", *(f"             {reason}" for reason in self.reasons)])


def overall(audits: Iterable[Audit]) -> Outcome:
    """VULNERABLE if any is, else NOT AUDITED if any is: what was not looked up has not passed."""
    found = {audit.outcome for audit in audits}
    return next((each for each in (Outcome.VULNERABLE, Outcome.NOT_AUDITED) if each in found), Outcome.PASSED)


def pins(locks: Iterable[str]) -> list[list[tuple[str, str]]]:
    """Each name and version of the locks once, for whatever platform, in lists that name no package twice."""
    versions: dict[str, set[str]] = {}
    for name, version in (pin for lock in locks for pin in _PIN.findall(lock)):
        versions.setdefault(name.lower(), set()).add(version)
    most = max(map(len, versions.values()), default=0)
    ordered = {name: sorted(held) for name, held in sorted(versions.items())}
    return [[(name, held[turn]) for name, held in ordered.items() if turn < len(held)] for turn in range(most)]


def read_pip_audit(subject: str, report: str, said: str) -> Audit:
    """What pip-audit's JSON comes to. `said` is its stderr, for where there is no report."""
    try:
        dependencies: list[dict[str, Any]] = list(json.loads(report)["dependencies"])
    except (ValueError, KeyError, TypeError):
        return Audit(subject, Outcome.NOT_AUDITED, (_last_line(said),))
    vulnerable = tuple(
        f"{each['name']} {each['version']}: {found['id']}, fixed in {', '.join(found['fix_versions']) or 'no release'}"
        for each in dependencies
        for found in each.get("vulns", ())
    )
    if vulnerable:
        return Audit(subject, Outcome.VULNERABLE, vulnerable)
    if skipped := [each["skip_reason"] for each in dependencies if "skip_reason" in each]:
        return Audit(subject, Outcome.NOT_AUDITED, (f"{len(skipped)} of {len(dependencies)}: {skipped[0]}",))
    return Audit(subject, Outcome.PASSED) if dependencies else Audit(subject, Outcome.NOT_AUDITED, ("an empty report",))


def read_npm_audit(subject: str, report: str, said: str) -> Audit:
    """What the JSON of `npm audit` comes to. `said` is its stderr, for where there is no report."""
    try:
        found: dict[str, Any] = json.loads(report)
        total = int(found["metadata"]["vulnerabilities"]["total"])
    except (ValueError, KeyError, TypeError):
        return Audit(subject, Outcome.NOT_AUDITED, (_last_line(said),))
    if not total:
        return Audit(subject, Outcome.PASSED)
    return Audit(
        subject,
        Outcome.VULNERABLE,
        tuple(f"{each['name']}: {each['severity']}" for each in found["vulnerabilities"].values()),
    )


def _last_line(said: str) -> str:
    """An error as its last line that says anything, without addresses: those differ from machine to machine."""
    lines = [line.strip() for line in said.splitlines() if line.strip() and "complete log of this run" not in line]
    return re.sub(r"https?://\S+", "[address]", lines[-1])[:200] if lines else "no report"


def _run(command: Sequence[str | Path]) -> tuple[str, str]:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return "", f"no answer within {_TIMEOUT_S} s"
    return done.stdout, done.stderr


def audit_python(folder: Path, osv_url: str | None) -> Iterator[Audit]:
    """Each list of pins of `folder/requirements/*.txt`."""
    program = Path(sys.executable).parent / "pip-audit"
    options = ["--no-deps", "--disable-pip", "--progress-spinner=off", "--format=json", "--vulnerability-service=osv"]
    options += [] if osv_url is None else [f"--osv-url={osv_url}"]
    locks = (lock.read_text() for lock in sorted(folder.glob("requirements/*.txt")))
    with tempfile.TemporaryDirectory() as scratch:
        for held in pins(locks):
            listed = Path(scratch) / "pins.txt"
            listed.write_text("".join(f"{name}=={version}\n" for name, version in held))
            yield read_pip_audit(f"Python, {len(held)} packages", *_run([program, *options, "--requirement", listed]))


def audit_node(folder: Path) -> Iterator[Audit]:
    """Each `package-lock.json` of `folder`."""
    for lock in sorted(folder.rglob("package-lock.json")):
        if "node_modules" in lock.parts:
            continue
        subject = f"Node.js, {lock.parent.relative_to(folder)}"
        npm = shutil.which("npm")
        if npm is None:
            yield Audit(subject, Outcome.NOT_AUDITED, ("npm is not installed",))
            continue
        yield read_npm_audit(subject, *_run([npm, "audit", "--json", "--package-lock-only", "--prefix", lock.parent]))


def main() -> Outcome:
    """Audit every lock of a folder, print what came of each, and return what came of all."""
    parser = argparse.ArgumentParser(description="Ask advisory databases about every locked dependency.")
    parser.add_argument("--folder", type=Path, default=Path(__file__).parents[1], help="with the locks")
    parser.add_argument("--osv-url", help="another database that speaks OSV's protocol")
    asked = parser.parse_args()
    audits = []
    for audit in (*audit_python(asked.folder, asked.osv_url), *audit_node(asked.folder)):
        print(audit, flush=True)  # noqa: T201 - what it is for
        audits.append(audit)
    outcome = overall(audits)
    print(f"Dependencies: {outcome.name.replace('_', ' ')}")  # noqa: T201
    return outcome


if __name__ == "__main__":
    sys.exit(main())
