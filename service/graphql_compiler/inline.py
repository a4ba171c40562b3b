"""Fields that are one Python expression, so that a generated function need not call anything to read them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

_METADATA = "inline"
_SOURCE = "SOURCE"
_numbers = itertools.count()


@dataclass(frozen=True, slots=True, eq=False)
class Inline:
    """A Python `expression` over `SOURCE`, the object, and over `names`. It may bind no names of its own."""

    expression: str
    names: Mapping[str, Any] = field(default_factory=dict)

    def resolver(self) -> Callable[[Any], Any]:
        """The same expression as a function of the object."""
        # Strawberry gives the object to the parameter of this name.
        code = compile(f"lambda root: {over(self, 'root')}", "<inline field>", "eval")
        function: Callable[[Any], Any] = eval(code, dict(self.names))  # noqa: S307 - our own text  # nosec B307
        return function


def inline(expression: str, **names: Any) -> Inline:
    """An expression over `SOURCE`. Each of `names` is made unique, so that expressions can stand in one function."""
    unique = {}
    for name, value in names.items():
        unique[f"{name}_{next(_numbers)}"] = value
        expression = expression.replace(name, list(unique)[-1])
    return Inline(expression, unique)


def inlined(expression: Inline) -> dict[str, Inline]:
    """Field metadata that says so: `strawberry.field(resolver=i.resolver(), metadata=inlined(i))`."""
    return {_METADATA: expression}


def inline_of(metadata: Mapping[Any, Any]) -> Inline | None:
    """The expression that a field's metadata names."""
    found = metadata.get(_METADATA)
    return found if isinstance(found, Inline) else None


def over(expression: Inline, source: str) -> str:
    """The expression with the object under another name."""
    return expression.expression.replace(_SOURCE, source)
