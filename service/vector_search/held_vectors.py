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
_SMALLEST = 256

Floats = npt.NDArray[np.float32]


def normalised(vectors: Floats) -> Floats:
    """Each row divided by its length, so that a dot product is a cosine; lengths in 64 bits, where none overflows."""
    wide = vectors.astype(np.float64)
    lengths: npt.NDArray[np.float64] = np.linalg.norm(wide, axis=1, keepdims=True)
    return (wide / lengths).astype(np.float32)


class HeldVectors:
    """Rows are only ever appended, and those that go are passed over: rankings may run in threads meanwhile, but one
    thread at a time may `put` or `remove`.
    """

    def __init__(self, dimensions: int) -> None:
        self._vectors: Floats = np.empty((_SMALLEST, dimensions), np.float32)
        self._is_there = np.zeros(_SMALLEST, np.bool_)
        self._codes = np.zeros((len(_ASKED), _SMALLEST), np.int32)
        # What each code stands for, by the field.
        self._meanings: tuple[dict[str, int], ...] = tuple({} for _ in _ASKED)
        self._media: list[UUID] = []
        self._places: dict[UUID, int] = {}

    def __len__(self) -> int:
        """How many are held."""
        return len(self._places)

    @property
    def wasted(self) -> int:
        """Places that rows have left."""
        return len(self._media) - len(self._places)

    def put(self, rows: Sequence[EmbeddingDocument]) -> None:
        """Hold these rows, each instead of the one of the same id."""
        rows = [row for row in rows if row["dimensions"] == self._vectors.shape[1]]
        if not rows:
            return
        self.remove([row["_id"] for row in rows])
        start, end = len(self._media), len(self._media) + len(rows)
        self._make_room(end)
        joined = np.frombuffer(b"".join(numbers(row["vector"]) for row in rows), _FLOATS)
        self._vectors[start:end] = normalised(joined.reshape(len(rows), -1))
        for code, field in enumerate(_ASKED):
            meanings = self._meanings[code]
            self._codes[code, start:end] = [meanings.setdefault(_value(row, field), len(meanings)) for row in rows]
        self._media += [row["media_id"] for row in rows]
        self._places.update({row["_id"]: start + index for index, row in enumerate(rows)})
        self._is_there[start:end] = True

    def remove(self, row_ids: Collection[UUID]) -> None:
        """Hold these no longer; ids that are not held are passed over."""
        for row_id in row_ids:
            place = self._places.pop(row_id, None)
            if place is not None:
                self._is_there[place] = False

    def _make_room(self, count: int) -> None:
        have = len(self._is_there)
        if count <= have:
            return
        size = max(count, 2 * have)
        vectors = np.empty((size, self._vectors.shape[1]), np.float32)
        vectors[:have] = self._vectors
        self._vectors = vectors
        self._is_there = np.concatenate([self._is_there, np.zeros(size - have, np.bool_)])
        self._codes = np.concatenate([self._codes, np.zeros((len(_ASKED), size - have), np.int32)], axis=1)

    def rank(self, vector: bytes, access: AccessFilters) -> Ranking:
        """All that `access` lets through, nearest first. Compares every one: for a thread."""
        count = len(self._media)
        visible = np.flatnonzero(self._visible(count, access))
        vectors = self._vectors[:count]
        asked = normalised(np.frombuffer(vector, _FLOATS).reshape(1, -1))[0]
        # Copying costs more than comparing, unless most are left out.
        similarities = (vectors @ asked)[visible] if 4 * len(visible) > count else vectors[visible] @ asked
        order = np.argsort(-similarities, kind="stable")
        return Ranking(self._media, visible[order], np.clip(similarities[order], -1.0, 1.0))

    def _visible(self, count: int, access: AccessFilters) -> npt.NDArray[np.bool_]:
        through = np.zeros(count, np.bool_)
        for clause in access:
            fits = np.ones(count, np.bool_)
            for field, condition in clause.items():
                fits &= self._fits(field, condition, count)
            through |= fits
        return through & self._is_there[:count]

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
