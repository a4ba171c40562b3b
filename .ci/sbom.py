"""Write what each image installs from PyPI as a CycloneDX document: names, versions and the hashes pip insists on.

What cyclonedx-py is given is the lock without the lines that do not hold in the image, as those for Windows.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

from packaging.requirements import Requirement

IMAGES = ("api", "worker")
_REPOSITORY = Path(__file__).parents[1]
_BASE_IMAGE = re.compile(r"^ARG PYTHON_IMAGE=python:(\d+\.\d+)-", re.MULTILINE)


def installed(lock: str, python: str) -> str:
    """The entries of a lock that are installed on Linux by CPython `python`, such as 3.11."""
    target = {
        "python_version": python,
        "python_full_version": f"{python}.99",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
    }
    kept = []
    for entry in re.split(r"\n(?=[A-Za-z0-9])", lock):
        requirement = Requirement(entry.partition("\\")[0].strip())
        if requirement.marker is None or requirement.marker.evaluate(target):
            kept.append(entry.strip())
    return "\n".join(kept) + "\n"


def write_document(lock: str, written: Path) -> None:
    """Write the document of an image with this lock; cyclonedx-py holds it against CycloneDX's schema."""
    [python] = _BASE_IMAGE.findall((_REPOSITORY / "Dockerfile").read_text())
    options = [f"--pyproject={_REPOSITORY / 'pyproject.toml'}", "--output-reproducible", "--output-format=JSON"]
    # It would warn that the lock does not say who needs whom.
    program = [sys.executable, "-W", "ignore", str(Path(sys.executable).parent / "cyclonedx-py")]
    command = [*program, "requirements", *options, f"--output-file={written}", "-"]
    subprocess.run(command, input=installed(lock, python), text=True, check=True)  # noqa: S603


def main() -> None:
    """Write both documents and say where they are."""
    parser = argparse.ArgumentParser(description="Write what each image installs as a CycloneDX document.")
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for image in IMAGES:
        written = folder / f"{image}.cdx.json"
        write_document((_REPOSITORY / "requirements" / f"{image}.txt").read_text(), written)
        print(written)  # noqa: T201 - what it is for


if __name__ == "__main__":
    main()
