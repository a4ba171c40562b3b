"""What a migration is: how documents of one version become those of the next, and how they go back. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

Document = Mapping[str, Any]

_MISSING = object()


@dataclass(frozen=True, slots=True)
class Edit:
    """What to write into one document: `values` by path, and the paths that go."""

    values: Mapping[str, Any] = field(default_factory=dict)
    removed: tuple[str, ...] = ()

    def then(self, later: Edit) -> Edit:
        """Both as one; where they disagree, `later` has its way."""
        values = {path: value for path, value in self.values.items() if path not in later.removed}
        removed = tuple(path for path in self.removed if path not in later.values and path not in later.removed)
        return Edit({**values, **later.values}, (*removed, *later.removed))

    def applied_to(self, document: Document) -> dict[str, Any]:
        """A copy of `document` as it would be afterwards."""
        changed = deepcopy(dict(document))
        for path in self.removed:
            parent = _parent(changed, path)
            if parent is not None:
                parent.pop(path.rpartition(".")[2], None)
        for path, value in self.values.items():
            *parents, name = path.split(".")
            place = changed
            for step in parents:
                place = place.setdefault(step, {})
            place[name] = value
        return changed

    def alters(self, document: Document) -> bool:
        """Whether `document` would be another afterwards."""
        return any(_at(document, path) != value for path, value in self.values.items()) or any(
            _at(document, path) is not _MISSING for path in self.removed
        )


def _parent(document: Document, path: str) -> Any:
    place: Any = document
    for step in path.split(".")[:-1]:
        place = place.get(step) if isinstance(place, Mapping) else None
    return place if isinstance(place, Mapping) else None


def _at(document: Document, path: str) -> Any:
    parent = _parent(document, path)
    return _MISSING if parent is None else parent.get(path.rpartition(".")[2], _MISSING)


@dataclass(frozen=True, slots=True)
class Migration:
    """From documents of `version - 1` to those of `version`, and back.

    `up` and `down` decide by the top-level fields that `reads` names and by nothing else, and write to none but these:
    an edit is carried out only while they are what they were. Both may meet documents that have been changed already,
    by a release that writes both forms, and then say the same again.
    """

    version: int
    description: str
    reads: tuple[str, ...]
    up: Callable[[Document], Edit]
    down: Callable[[Document], Edit]


def chained(steps: Iterable[Callable[[Document], Edit]], document: Document) -> Edit:
    """One edit for all of `steps`, each of which sees what those before it have made of `document`."""
    whole = Edit()
    for step in steps:
        edit = step(document)
        document = edit.applied_to(document)
        whole = whole.then(edit)
    return whole
