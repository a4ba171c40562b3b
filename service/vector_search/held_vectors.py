"""Vectors of one model in memory, each with what is known of its media; compared with another one by one."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt

from service.documents import EmbeddingDocument
from service.stores.embeddings import numbers
from service.stores.media_reads import AccessFilters
from service.vector_search.candidates import Candidate

# What the access table asks of a media.
_ASKED = ("owner_id", "status", "visibility")

_FLOATS = np.dtype("<f4")
# Rows to copy at once where few of them are compared.
_BLOCK = 4_096

Floats = npt.NDArray[np.float32]


def normalised(vectors: Floats) -> Floats:
    """Each row divided by its length, so that a dot product is a cosine; lengths in 64 bits, where none overflows."""
    wide = vectors.astype(np.float64)
    lengths: npt.NDArray[np.float64] = np.linalg.norm(wide, axis=1, keepdims=True)
    return (wide / lengths).astype(np.float32)


class HeldVectors:
    """Room for `capacity` vectors of so many `dimensions`, those included whose place was taken by others since.

    Rankings may run in threads while one other thread calls `replace`: they see all of a change, or nothing of it.
    """

    def __init__(self, dimensions: int, capacity: int) -> None:
        self._vectors: Floats = np.empty((capacity, dimensions), np.float32)
        self._codes = np.zeros((len(_ASKED), capacity), np.int32)
        # What each code stands for, by the field.
        self._meanings: tuple[dict[str, int], ...] = tuple({} for _ in _ASKED)
        self._media: list[UUID] = []
        self._places: dict[UUID, int] = {}
        # Of each place that was ever taken. Another array after each change: whoever has one has a moment of it all.
        self._is_there = np.zeros(0, np.bool_)

    def __len__(self) -> int:
        """How many are held."""
        return len(self._places)

    def __contains__(self, row_id: UUID) -> bool:
        """Whether this row is held; of no use while another thread calls `replace`."""
        return row_id in self._places

    def replace(self, gone: Collection[UUID], rows: Sequence[EmbeddingDocument]) -> bool:
        """Hold `rows`, each instead of the one of the same id, and those of `gone` no longer that are not in `rows`.

        False, and nothing has changed, where there is no room.
        """
        rows = [row for row in rows if row["dimensions"] == self._vectors.shape[1]]
        start = len(self._is_there)
        end = start + len(rows)
        if end > len(self._vectors):
            return False
        if rows:
            self._write(rows, start, end)
        there = np.ones(end, np.bool_)
        there[:start] = self._is_there
        for row_id in {*gone, *(row["_id"] for row in rows)}:
            place = self._places.pop(row_id, None)
            if place is not None:
                there[place] = False
        self._places.update({row["_id"]: start + index for index, row in enumerate(rows)})
        self._is_there = there
        return True

    def _write(self, rows: Sequence[EmbeddingDocument], start: int, end: int) -> None:
        joined = np.frombuffer(b"".join(numbers(row["vector"]) for row in rows), _FLOATS)
        self._vectors[start:end] = normalised(joined.reshape(len(rows), -1))
        for code, field in enumerate(_ASKED):
            meanings = self._meanings[code]
            self._codes[code, start:end] = [meanings.setdefault(_value(row, field), len(meanings)) for row in rows]
        self._media += [row["media_id"] for row in rows]

    def rank(self, vector: bytes, access: AccessFilters) -> Ranking:
        """All that `access` lets through, nearest first. Compares every one: for a thread."""
        there = self._is_there
        visible = np.flatnonzero(there & self._visible(len(there), access))
        asked = normalised(np.frombuffer(vector, _FLOATS).reshape(1, -1))[0]
        similarities = self._compare(asked, visible, len(there))
        order = np.argsort(-similarities, kind="stable")
        return Ranking(self._media, visible[order], np.clip(similarities[order], -1.0, 1.0))

    def _compare(self, asked: Floats, places: npt.NDArray[np.intp], count: int) -> Floats:
        # Copying costs more than comparing, unless most are left out.
        if 4 * len(places) > count:
            every: Floats = self._vectors[:count] @ asked
            return every[places]
        blocks = [self._vectors[places[at : at + _BLOCK]] @ asked for at in range(0, len(places), _BLOCK)]
        return np.concatenate([np.empty(0, np.float32), *blocks])

    def _visible(self, count: int, access: AccessFilters) -> npt.NDArray[np.bool_]:
        through = np.zeros(count, np.bool_)
        for clause in access:
            fits = np.ones(count, np.bool_)
            for field, condition in clause.items():
                fits &= self._fits(field, condition, count)
            through |= fits
        return through

    def _fits(self, field: str, condition: Any, count: int) -> npt.NDArray[np.bool_]:
        code = _ASKED.index(field)
        wanted = condition["$in"] if isinstance(condition, Mapping) else [condition]
        known = [self._meanings[code][each] for each in wanted if each in self._meanings[code]]
        return np.isin(self._codes[code, :count], known)


def _value(row: EmbeddingDocument, field: str) -> str:
    return str(row[field])  # type: ignore[literal-required]


class Ranking:
    """An order of media, from which any part can be taken."""

    def __init__(self, media: Sequence[UUID], places: npt.NDArray[np.intp], similarities: Floats) -> None:
        self._media = media
        self._places = places
        self._similarities = similarities

    def __len__(self) -> int:
        return len(self._places)

    def part(self, start: int, end: int) -> list[Candidate]:
        """Those from `start` up to and without `end`."""
        places, similarities = self._places[start:end].tolist(), self._similarities[start:end].tolist()
        return [
            Candidate(self._media[place], similarity) for place, similarity in zip(places, similarities, strict=True)
        ]


def rank_rows(rows: Sequence[EmbeddingDocument], vector: bytes, access: AccessFilters) -> list[Candidate]:
    """Those of these rows that `access` lets through, nearest first."""
    held = HeldVectors(len(vector) // _FLOATS.itemsize, len(rows))
    held.replace((), rows)
    ranking = held.rank(vector, access)
    return ranking.part(0, len(ranking))


def in_order(candidates: Sequence[Candidate]) -> Ranking:
    """These, nearest first."""
    similarities = np.array([each.similarity for each in candidates], np.float32)
    order = np.argsort(-similarities, kind="stable")
    return Ranking([each.media_id for each in candidates], order, similarities[order])
