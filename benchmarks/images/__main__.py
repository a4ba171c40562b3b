"""Ours, plain Pillow, pyvips and sharp on the same photos, in turns: `make bench-images`; ARGS="5" for 5 rounds."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).parents[2]
BENCH_PYTHON: Final = REPOSITORY / ".venv-bench/bin/python"
PHOTOS: Final = ("raccoon-12.jpg", "coffee-12.jpg", "raccoon-48.jpg", "raccoon-12.heic", "raccoon-12.png")
TINY: Final = "raccoon-tiny.jpg"
TASKS: Final = {
    "first": "first viewable (200 and 720, JPEG; ours with hash, placeholder and colour)",
    "six": "200, 720 and 1080 in JPEG and WebP",
    "nine": "200, 720 and 1080 in JPEG, WebP and AVIF",
}


@dataclass(frozen=True)
class Contestant:
    """One library, with its settings; `tasks` says where it takes part."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    tasks: tuple[str, ...] = tuple(TASKS)


_OURS = (sys.executable, "-m", "benchmarks.images.ours")
_PYVIPS = (str(BENCH_PYTHON), "-m", "benchmarks.images.libvips")
_SHARP = ("node", str(REPOSITORY / "benchmarks/sharp/contest.js"))
CONTESTANTS: Final = (
    Contestant("ours", _OURS),
    Contestant("ours, as served", _OURS, {"SERVED": "base"}, ("six", "nine")),
    Contestant("ours, served from the original twice", _OURS, {"SERVED": "twice"}, ("six", "nine")),
    Contestant("plain Pillow", (sys.executable, "-m", "benchmarks.images.naive")),
    Contestant("pyvips", _PYVIPS),
    Contestant("pyvips, 1 thread", _PYVIPS, {"VIPS_CONCURRENCY": "1"}),
    Contestant("pyvips, our efforts", _PYVIPS, {"VIPS_CONCURRENCY": "1", "EFFORT": "same"}, ("six", "nine")),
    Contestant("sharp", _SHARP),
    Contestant("sharp, 1 thread", _SHARP, {"THREADS": "1"}),
    Contestant("sharp, our efforts", _SHARP, {"THREADS": "1", "EFFORT": "same"}, ("six", "nine")),
    Contestant("sharp, mozjpeg", _SHARP, {"THREADS": "1", "EFFORT": "mozjpeg"}, ("first", "six")),
)


@dataclass(frozen=True)
class Figures:
    """One run: CPU and wall in seconds, resident memory in MB when warm and at its highest."""

    tool: str
    cpu_s: float
    wall_s: float
    start_mb: float
    peak_mb: float

    @property
    def growth_mb(self) -> float:
        return self.peak_mb - self.start_mb


def run(contestant: Contestant, photo: Path, task: str, folder: Path) -> Figures | None:
    """In a process of its own; None if the library cannot read the photo."""
    folder.mkdir(parents=True, exist_ok=True)
    arguments = (str(photo), task, str(photo.parent / TINY), str(folder))
    done = subprocess.run(
        (*contestant.command, *arguments),
        cwd=REPOSITORY,
        env={**os.environ, **contestant.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "rror: " in line] or ["no reason given"]
        print(f"{contestant.name} gave up on {photo.name}: {lines[-1][:150]}", file=sys.stderr)
        return None
    return Figures(**json.loads(done.stdout))


def compare(photo: Path, task: str, rounds: int, scratch: Path) -> None:
    """Print how each contestant did on `photo`, the median of `rounds` that they take in turns."""
    runs: dict[str, list[Figures]] = {each.name: [] for each in CONTESTANTS if task in each.tasks}
    folders = {name: scratch / f"{photo.name}-{task}" / name for name in runs}
    for turn in range(rounds):
        for contestant in CONTESTANTS:
            if contestant.name not in runs or (turn and not runs[contestant.name]):
                continue
            figures = run(contestant, photo, task, folders[contestant.name])
            if figures is not None:
                runs[contestant.name].append(figures)
    finished = {name: figures for name, figures in runs.items() if figures}
    scores = scored(photo, [folders[name] for name in finished])
    print(f"\n{photo.name} ({photo.stat().st_size / 1e6:.1f} MB): {TASKS[task]}")
    print("| | CPU s | x ours | wall s | MB grown by | MB when warm | kB (SSIMULACRA2) |")
    print("|---|---|---|---|---|---|---|")
    own = median(finished["ours"], "cpu_s")
    for name, done in finished.items():
        cpu = median(done, "cpu_s")
        quality = ", ".join(
            f"{kind} {each['bytes'] / 1e3:.0f} ({each['score']:.1f})" for kind, each in sorted(scores[name].items())
        )
        print(
            f"| {name} | {cpu:.3f} | {cpu / own:.2f} | {median(done, 'wall_s'):.2f} "
            f"| {median(done, 'growth_mb'):.0f} | {median(done, 'start_mb'):.0f} | {quality} |",
            flush=True,
        )


def median(figures: Sequence[Figures], name: str) -> float:
    return float(statistics.median(getattr(each, name) for each in figures))


def scored(photo: Path, folders: list[Path]) -> dict[str, dict[str, dict[str, float]]]:
    """By contestant and format: bytes, and the mean SSIMULACRA2."""
    command = (str(BENCH_PYTHON), "-m", "benchmarks.images.quality", str(photo), *map(str, folders))
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    scores: dict[str, dict[str, dict[str, float]]] = json.loads(done.stdout)
    return scores


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    only = sys.argv[2:] or PHOTOS
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        # In a process of its own, so that this one stays small.
        subprocess.run(
            (sys.executable, "-m", "benchmarks.images.scenes", folder, TINY, *only), cwd=REPOSITORY, check=True
        )
        for name in only:
            for task in TASKS:
                compare(scratch / name, task, rounds, scratch / "outputs")


if __name__ == "__main__":
    main()
