"""Which annotations of which media are exported."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from service.documents import AnnotationDocument
from service.errors import InvalidInput
from service.labels import composed
from service.models import NEAR_DUPLICATE
from service.reprocessing import parse_where

_FIELDS: Final = ("label", "source", "confidence")
_CLAUSE: Final = re.compile(rf"\s*({'|'.join(_FIELDS)})\s*(!=|>=|<=|=|<|>)\s*(\S.*?)\s*")


@dataclass(frozen=True, slots=True)
class Scope:
    """`query`: of media. Of their annotations those with one of `labels` and of `sources` (none given: with any)."""

    query: Mapping[str, Any] = field(default_factory=dict)
    labels: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()
    min_confidence: float = 0.0

    def admits(self, annotation: AnnotationDocument) -> bool:
        """Whether an annotation is exported. Near-duplicates name other media: only where they are asked for."""
        if annotation["label"] not in self.labels and (self.labels or annotation["label"] == NEAR_DUPLICATE):
            return False
        return (not self.sources or annotation["source"] in self.sources) and (
            annotation["confidence"] >= self.min_confidence
        )


def parse_scope(clauses: Sequence[str]) -> Scope:
    """A scope from clauses such as `label=cat`, `confidence>=0.5`, `source=model:x@2` and those of `parse_where`.

    All must hold; of several labels or sources one. Raises InvalidInput that says what is understood.
    """
    labels, sources, confidences, others = set(), set(), [0.0], []
    for clause in clauses:
        parts = _CLAUSE.fullmatch(clause)
        match parts and parts.groups():
            case ("label", "=", label):
                labels.add(composed(label))
            case ("source", "=", source):
                sources.add(source)
            case ("confidence", ">=", least):
                confidences.append(_confidence(least))
            case None:
                others.append(clause)
            case _:
                raise InvalidInput(f"{clause!r} is not understood: write label=, source= or confidence>=.")
    return Scope(parse_where(others, besides=_FIELDS), frozenset(labels), frozenset(sources), max(confidences))


def _confidence(text: str) -> float:
    try:
        confidence = float(text)
    except ValueError:
        confidence = -1.0
    if not 0 <= confidence <= 1:
        raise InvalidInput(f"{text!r} is not a confidence from 0 to 1.", field=["where"])
    return confidence
