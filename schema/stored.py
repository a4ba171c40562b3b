"""Fields that come out of a stored document, each naming the paths it needs: what a projection is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import strawberry

_PATHS = "stored_paths"


def needs(*paths: str) -> dict[str, Any]:
    """Field metadata: the document paths that the field's resolver reads."""
    return {_PATHS: paths}


def paths_of(type_: type) -> Mapping[str, tuple[str, ...]]:
    """For each field of a GraphQL type, by its Python name, the document paths it needs."""
    fields: Iterable[Any] = type_.__strawberry_definition__.fields  # type: ignore[attr-defined]
    return {field.python_name: field.metadata.get(_PATHS, ()) for field in fields}


def stored(path: str, convert: Callable[[Any], Any] | None = None, *, description: str | None = None) -> Any:
    """A field that is one dotted `path` of `self.document`, or null; `convert` maps a value that is there."""
    keys = path.split(".")

    def resolve(root: Any) -> Any:
        value = root.document
        for key in keys:
            value = value.get(key)
            if value is None:
                return None
        return value if convert is None else convert(value)

    return strawberry.field(resolver=resolve, metadata=needs(path), description=description)


def stored_list(path: str, *, description: str | None = None) -> Any:
    """A list of `self.document`; one that was never written is empty."""

    def resolve(root: Any) -> list[Any]:
        return root.document.get(path) or []

    return strawberry.field(resolver=resolve, metadata=needs(path), description=description)
