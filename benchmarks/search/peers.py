"""The same look-alikes by what searches in memory: `python -m benchmarks.search.peers FILE [GRAPH]`.

FILE (npz): `hashes` that the viewer may see, `timed` ones that are asked for, others that are only `checked`, and
`distances`. GRAPH: where usearch's is kept between
runs, for building it takes minutes; without it usearch is left out. Runs in the benchmarks' own environment, one
thread, and writes JSON. What is compared is finding: nothing here knows who may see what, or survives its process.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from usearch.index import Index, MetricKind, ScalarKind

FIRST = 100
_GRAPH = f"usearch (HNSW), nearest {FIRST}"

# From a hash and a distance to the places of what was found.
Search = Callable[[Any, int], Any]


def _bytes(hashes: Any) -> Any:
    return hashes.astype(">i8").view(np.uint8).reshape(-1, 8)


def contestants(hashes: Any) -> Iterator[tuple[str, float, int, Search]]:
    """Each with the seconds it took to build and its bytes (0: unknown)."""
    unsigned, packed = hashes.view(np.uint64), _bytes(hashes)

    def scan(asked: Any, distance: int) -> Any:
        return np.flatnonzero(np.bitwise_count(unsigned ^ asked.view(np.uint64)) <= distance)

    yield "numpy: xor and bitwise_count over all", 0.0, unsigned.nbytes, scan

    started = time.perf_counter()
    flat = faiss.IndexBinaryFlat(64)
    flat.add(packed)

    def by_flat(asked: Any, distance: int) -> Any:
        return flat.range_search(_bytes(asked), distance + 1)[2]

    yield "faiss IndexBinaryFlat", time.perf_counter() - started, packed.nbytes, by_flat

    started = time.perf_counter()
    tables = faiss.IndexBinaryMultiHash(64, 3, 21)
    tables.add(packed)

    def by_tables(asked: Any, distance: int) -> Any:
        tables.nflip = distance // 3
        return tables.range_search(_bytes(asked), distance + 1)[2]

    yield "faiss IndexBinaryMultiHash, 3 x 21 bits", time.perf_counter() - started, 0, by_tables


def with_graph(packed: Any, kept: Path) -> tuple[str, float, int, Search]:
    """usearch's HNSW graph, as its documentation has it for binary vectors; built if it was not kept."""
    graph = Index(ndim=64, metric=MetricKind.Hamming, dtype=ScalarKind.B1)
    took = kept.with_suffix(".seconds")
    if kept.exists():
        graph.load(str(kept))
    else:
        started = time.perf_counter()
        graph.add(np.arange(len(packed), dtype=np.uint64), packed, threads=2)
        took.write_text(str(time.perf_counter() - started))
        graph.save(str(kept))

    def by_graph(asked: Any, distance: int) -> Any:
        found = graph.search(_bytes(asked)[0], FIRST, threads=1)
        return found.keys[found.distances <= distance]

    return _GRAPH, float(took.read_text()), graph.memory_usage, by_graph


def measure(search: Search, given: Any, distance: int, most: int | None) -> dict[str, float]:
    """p50 and the worst in ms; the share of what there is, of `most` at most, that was found; what is too far away."""
    hashes, timed = given["hashes"], given["timed"]
    seconds, found, expected, wrong = [], 0, 0, 0
    for number, each in enumerate([*timed, *given["checked"]]):
        one = each.reshape(1)
        started = time.perf_counter()
        places = search(one, distance)
        if number < len(timed):
            seconds.append(time.perf_counter() - started)
        there = np.flatnonzero(np.bitwise_count(hashes.view(np.uint64) ^ one.view(np.uint64)) <= distance)
        right = len(np.intersect1d(places.astype(np.int64), there))
        found, wrong = found + right, wrong + len(places) - right
        expected += len(there) if most is None else min(len(there), most)
    p50, worst = np.percentile(1e3 * np.array(seconds), (50, 100))
    recall = found / expected if expected else 1.0
    return {
        "p50": float(p50),
        "worst": float(worst),
        "count": len(seconds),
        "recall": recall,
        "expected": expected,
        "wrong": wrong,
    }


def main() -> None:
    faiss.omp_set_num_threads(1)
    with np.load(sys.argv[1]) as file:
        given = dict(file)
    hashes = given["hashes"]
    rows = []
    taking_part = [*contestants(hashes)]
    if len(sys.argv) > 2:
        taking_part.append(with_graph(_bytes(hashes), Path(sys.argv[2])))
    for name, build_s, size, search in taking_part:
        search(given["timed"][:1], 10)
        most = FIRST if name == _GRAPH else None
        cells = {str(each): measure(search, given, int(each), most) for each in given["distances"]}
        rows.append({"name": name, "build_s": build_s, "bytes": size, "at": cells})
    json.dump(rows, sys.stdout)


if __name__ == "__main__":
    main()
