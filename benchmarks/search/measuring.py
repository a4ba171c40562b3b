"""One population, measured: what the API answers, what MongoDB looks at for it, and what others take for the same."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from anyio import to_thread

from benchmarks.search.asking import Api, Work, asking, examine
from benchmarks.search.baselines import check, naive_look_alikes, pages, places, visible
from benchmarks.search.loading import Loaded, Population
from benchmarks.search.population import owner_name
from benchmarks.search.questions import (
    DISTANCES,
    VIEWER,
    Asked,
    Question,
    asked_hashes,
    crowded_hashes,
    exact_look_alikes,
    lists,
    look_alikes,
)
from benchmarks.search.stage import Stage
from benchmarks.stack import REPOSITORY, machine
from service.dev.tokens import mint_token

BENCH_PYTHON: Final = REPOSITORY / ".venv-bench/bin/python"
_PAGE: Final = 1_000
_REMEMBERED: Final = ("similar_3", "similar_6", "similar_8", "similar_10", "feed_1")
_CURSORS: Final = 200
# A graph of more than so many takes minutes to build.
_MOST_IN_A_GRAPH: Final = 300_000


@dataclass(frozen=True, slots=True)
class Plan:
    """How often each question is asked; `exact`: how many look-alikes are compared with brute force, a distance."""

    times: int
    examined: int
    exact: int
    naive: int


def feed_page(count: int) -> int:
    """Page 1,000 where there are so many media, else one in the last third of the feed."""
    return min(_PAGE, count // 50)


async def measure(stage: Stage, loaded: Loaded, plan: Plan, say: Callable[[str], None]) -> dict[str, Any]:
    """All figures of the population with so many media, as JSON has them."""
    count, name = loaded.count, stage.at(loaded.count).mongo.database
    token = mint_token(stage.settings.auth.issuers[0], owner_name(VIEWER))
    population = stage.population(count)
    page = feed_page(count)
    cursors = await to_thread.run_sync(places, stage.uri, name, page, _CURSORS // 2)
    child, port = await stage.start_api(count, in_memory=False)
    with asking(port, token) as api:
        questions = [*look_alikes(population, plan.times), *lists(population, cursors, plan.times)]
        asked = await to_thread.run_sync(_ask, api, stage.uri, name, questions, plan, say)
        exact = await to_thread.run_sync(_exact, api, population, plan.exact)
    await stage.children.stop(child)
    child, port = await stage.start_api(count, in_memory=True)
    with asking(port, token) as api:
        remembered = [each for each in questions if each.name in _REMEMBERED]
        for each in remembered:
            asked[f"{each.name}_memory"] = await to_thread.run_sync(_ask_one, api, each)
    await stage.children.stop(child)
    say(f"{count:,}: baselines")
    return {
        "count": count,
        "machine": machine(),
        "page": page,
        "loaded": asdict(loaded),
        "sizes": loaded.sizes,
        "asked": asked,
        "exact": exact,
        "pages": await to_thread.run_sync(_pages, stage.uri, name, cursors, page),
        "naive": await to_thread.run_sync(_naive, stage.uri, name, population, plan.naive),
        "peers": await to_thread.run_sync(_peers, population, plan.times, stage.folder),
    }


def _ask(
    api: Api, uri: str, database: str, questions: list[Question], plan: Plan, say: Callable[[str], None]
) -> dict[str, Any]:
    found = {}
    for question in questions:
        times, work = api.time(question), examine(api, uri, database, question, plan.examined)
        found[question.name] = _row(question, asdict(times), work)
        say(f"{database}: {question.title}: p50 {times.p50:.1f} ms, {times.worst:.1f} ms at most of {times.count}")
    return found


def _row(question: Question, times: dict[str, Any], work: Work) -> dict[str, Any]:
    return {"title": question.title, "times": times, "work": asdict(work)}


def _ask_one(api: Api, question: Question) -> dict[str, Any]:
    return {"title": f"{question.title}, from memory", "times": asdict(api.time(question)), "work": None}


def _exact(api: Api, population: Population, times: int) -> dict[str, Any]:
    return {
        str(distance): asdict(check(api, *exact_look_alikes(population, distance, times), population))
        for distance in DISTANCES
    }


def _pages(uri: str, database: str, cursors: list[Any], page: int) -> dict[str, Any]:
    return {name: asdict(times) for name, times in pages(uri, database, cursors, page).items()}


def _naive(uri: str, database: str, population: Population, times: int) -> dict[str, Any]:
    return asdict(naive_look_alikes(uri, database, [Asked(each, 6) for each in asked_hashes(population, times)]))


def _peers(population: Population, times: int, folder: Path) -> list[dict[str, Any]]:
    timed, checked = asked_hashes(population, times), crowded_hashes(population, times)
    hashes = population.hashes[visible(population)]
    with tempfile.TemporaryDirectory() as name:
        given = Path(name) / "given.npz"
        asked = {"timed": np.array(timed, np.int64), "checked": np.array(checked, np.int64)}
        np.savez(given, hashes=hashes, distances=np.array(DISTANCES), **asked)
        graph = folder / f"graph-{len(hashes)}.usearch" if len(hashes) <= _MOST_IN_A_GRAPH else None
        done = subprocess.run(
            [str(BENCH_PYTHON), "-m", "benchmarks.search.peers", str(given), *([] if graph is None else [str(graph)])],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            check=True,
        )
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows
