"""Fields that come out of a stored document, each naming the paths it needs: what a projection is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from types import MappingProxyType
from typing import Any

import strawberry

from service.graphql_compiler import Inline, inline, inlined

_PATHS = "stored_paths"
_EMPTY: Mapping[str, Any] = MappingProxyType({})


def needs(*paths: str) -> dict[str, Any]:
    """Field metadata: the document paths that the field's resolver reads."""
    return {_PATHS: paths}


def paths_of(type_: type) -> Mapping[str, tuple[str, ...]]:
    """For each field of a GraphQL type, by its Python name, the document paths it needs."""
    fields: Iterable[Any] = type_.__strawberry_definition__.fields  # type: ignore[attr-defined]
    return {field.python_name: field.metadata.get(_PATHS, ()) for field in fields}


def stored(path: str, convert: Callable[[Any], Any] | None = None, *, description: str | None = None) -> Any:
    """A field that is one dotted `path` of `self.document`, or null; `convert` maps a value that is there.

    An enum as `convert` refuses values that it does not have with a KeyError.
    """
    *parents, last = path.split(".")
    holder = "SOURCE.document"
    for each in parents:
        holder = f"({holder}.get({each!r}) or EMPTY)"
    value = f"{holder}.get({last!r})"
    if convert is None:
        expression = inline(value, EMPTY=_EMPTY)
    elif isinstance(convert, type) and issubclass(convert, Enum):
        # GraphQL takes an enum by its value too, and looking that up is quicker than finding the member.
        known = {None: None, **{member.value: member.value for member in convert}}
        expression = inline(f"KNOWN[{value}]", EMPTY=_EMPTY, KNOWN=known)
    else:
        expression = inline(f"CONVERT({value})", EMPTY=_EMPTY, CONVERT=_unless_null(convert))
    return _field(expression, [path], description)


def stored_list(path: str, *, description: str | None = None) -> Any:
    """A list of `self.document`; one that was never written is empty."""
    return _field(inline(f"SOURCE.document.get({path!r}) or []"), [path], description)


def computed(expression: str, *, needed: Sequence[str] = (), description: str | None = None, **names: Any) -> Any:
    """A field that is an expression over `SOURCE`, its object, and `names`; `needed` are the paths that it reads."""
    return _field(inline(expression, **names), needed, description)


def _field(expression: Inline, paths: Sequence[str], description: str | None) -> Any:
    metadata = {**needs(*paths), **inlined(expression)}
    return strawberry.field(resolver=expression.resolver(), metadata=metadata, description=description)


def _unless_null(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def converted(value: Any) -> Any:
        return None if value is None else convert(value)

    return converted
