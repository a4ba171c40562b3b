"""Where resolvers say which rule of the table is theirs: root fields, and fields of objects that are shown to some."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from strawberry.utils.str_converters import to_camel_case

from schema.field_rules import RULE_OF, Rule
from service.access import may

_MARK = "is_shown_by_rule"
_HELD = "holds_to_rule"

_Resolver = TypeVar("_Resolver", bound=Callable[..., Any])


def by_rule(resolver: Callable[..., Any]) -> Callable[..., Any]:
    """The resolver of a nullable field, `self` and `info` first, behind the rule of its field: null where it denies.

    Its object has `media_document`: what decides of the media that it belongs to. Raises KeyError where the table has
    no row for the field, and TypeError where that row leaves nothing to decide.
    """
    *_, owner, name = resolver.__qualname__.split(".")
    field = f"{owner}.{to_camel_case(name)}"
    action = RULE_OF[field].action
    if action is None:
        raise TypeError(f"{field} is shown to {RULE_OF[field].audience}: there is nothing to decide")

    def denies(holder: Any, info: Any) -> bool:
        media: Mapping[str, Any] = holder.media_document
        return not may(info.context.viewer, action, media)

    if inspect.iscoroutinefunction(resolver):

        @functools.wraps(resolver)
        async def shown_later(self: Any, info: Any, **arguments: Any) -> Any:
            return None if denies(self, info) else await resolver(self, info, **arguments)

        shown: Callable[..., Any] = shown_later
    else:

        @functools.wraps(resolver)
        def shown_at_once(self: Any, info: Any, **arguments: Any) -> Any:
            return None if denies(self, info) else resolver(self, info, **arguments)

        shown = shown_at_once
    setattr(shown, _MARK, True)
    return shown


def is_shown_by_rule(resolver: object) -> bool:
    """Whether `by_rule` stands before it."""
    return getattr(resolver, _MARK, False)


def holds_to(rule: Rule) -> Callable[[_Resolver], _Resolver]:
    """Said before the resolver of a root field: whom the queries and use cases that it calls let through.

    The resolver is the same as without. Where the table has another rule for its field, the schema is not built.
    """

    def said(resolver: _Resolver) -> _Resolver:
        setattr(resolver, _HELD, rule)
        return resolver

    return said


def rule_held_by(resolver: object) -> Rule | None:
    """What `holds_to` said of it."""
    return getattr(resolver, _HELD, None)
