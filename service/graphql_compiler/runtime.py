"""What generated functions call where a value is not the usual one."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

from graphql import GraphQLError, GraphQLObjectType, GraphQLOutputType, Undefined
from graphql.execution import Executor
from graphql.execution.collect_fields import FieldDetailsList
from graphql.execution.executor import invalid_return_type_error
from graphql.pyutils import Path, is_iterable


class NeedsExecutor(Exception):
    """A synchronous resolver returned something to wait for: only graphql-core's executor can complete that."""


def refuse_awaitable(value: Any) -> None:
    """Raises NeedsExecutor for what would have to be awaited."""
    if inspect.isawaitable(value) or hasattr(value, "__aiter__"):
        if inspect.iscoroutine(value):
            value.close()
        raise NeedsExecutor


def is_null(value: Any, null_message: str | None) -> bool:
    """Whether `value` is null; raises what graphql-core would raise for an error that was returned instead of raised,
    and for null where there is a `null_message`, and NeedsExecutor for what has to be awaited.
    """
    if isinstance(value, Exception):
        raise value
    if value is None or value is Undefined:
        if null_message is not None:
            raise TypeError(null_message)
        return True
    refuse_awaitable(value)
    return False


class Place:
    """Where a value stands in the response, below the object that a generated function completes.

    `keys` are response keys with the names of the types that they are fields of; None stands for an index of a list.
    """

    __slots__ = ("_keys", "return_type", "selected_by")

    def __init__(
        self,
        keys: tuple[tuple[str, str] | None, ...],
        return_type: GraphQLOutputType,
        selected_by: FieldDetailsList,
    ) -> None:
        self._keys = keys
        self.return_type = return_type
        self.selected_by = selected_by

    def path(self, base: Path, indexes: tuple[int, ...]) -> Path:
        """The path of the value, with these indexes."""
        path, left = base, iter(indexes)
        for key in self._keys:
            path = path.add_key(next(left), None) if key is None else path.add_key(*key)
        return path

    def item_failed(
        self, executor: Executor[Any], base: Path, indexes: tuple[int, ...], error: Exception, items: Iterable[Any]
    ) -> None:
        """The same for an item of a list: those that come after it will not be awaited either."""
        if isinstance(error, NeedsExecutor):
            for item in items:
                if inspect.iscoroutine(item):
                    item.close()
        self.failed(executor, base, indexes, error)

    def failed(self, executor: Executor[Any], base: Path, indexes: tuple[int, ...], error: Exception) -> None:
        """Record an error here, or raise it further where null is not allowed."""
        if isinstance(error, NeedsExecutor):
            raise error
        executor.handle_field_error(error, self.return_type, self.selected_by, self.path(base, indexes))


class ObjectCheck:
    """Whether a value can stand for an object of one type."""

    __slots__ = ("_null_message", "_selected_by", "_type")

    def __init__(self, type_: GraphQLObjectType, selected_by: FieldDetailsList, null_message: str | None) -> None:
        self._type = type_
        self._selected_by = selected_by
        self._null_message = null_message

    def __call__(self, executor: Executor[Any], value: Any) -> Any:
        """`value`, or None where that is allowed; raises what graphql-core would raise."""
        if is_null(value, self._null_message):
            return None
        if self._type.is_type_of is not None:
            # Strawberry's own predicate looks at the value alone.
            answer = self._type.is_type_of(value, None)  # type: ignore[arg-type]
            refuse_awaitable(answer)
            if not answer:
                raise invalid_return_type_error(self._type, value, self._selected_by)
        return value


class ListCheck:
    """Whether a value can be completed as a list."""

    __slots__ = ("_name", "_null_message")

    def __init__(self, name: str, null_message: str | None) -> None:
        self._name = name
        self._null_message = null_message

    def __call__(self, value: Any) -> Iterable[Any] | None:
        """Its items, or None where that is allowed; raises what graphql-core would raise."""
        if is_null(value, self._null_message):
            return None
        if not is_iterable(value):
            raise GraphQLError(f"Expected Iterable, but did not find one for field '{self._name}'.")
        if iter(value) is value:
            # It can be read once, and the executor may have to read it after all.
            raise NeedsExecutor
        return value


class AbstractValue:
    """Completes a value whose type only the value tells, by the executor itself."""

    __slots__ = ("_definition", "_parent_type", "_place")

    def __init__(self, definition: Any, parent_type: GraphQLObjectType, place: Place) -> None:
        self._definition = definition
        self._parent_type = parent_type
        self._place = place

    def __call__(self, executor: Executor[Any], base: Path, indexes: tuple[int, ...], value: Any) -> Any:
        place, path = self._place, self._place.path(base, indexes)
        nodes = [details.node for details in place.selected_by]
        info = executor.build_resolve_info(self._definition, nodes, self._parent_type, path)
        completed = executor.complete_value(place.return_type, place.selected_by, info, path, value, None)
        refuse_awaitable(completed)
        return completed


class DeepObject:
    """Completes an object by a function of its own, where blocks would be nested too deeply in one."""

    __slots__ = ("_check", "_place", "_type")

    def __init__(self, type_: GraphQLObjectType, check: ObjectCheck, place: Place) -> None:
        self._type = type_
        self._check = check
        self._place = place

    def __call__(self, executor: Executor[Any], base: Path, indexes: tuple[int, ...], value: Any) -> Any:
        value = self._check(executor, value)
        if value is None:
            return None
        path = self._place.path(base, indexes)
        completed = executor.collect_and_execute_subfields(self._type, self._place.selected_by, path, value, None)
        refuse_awaitable(completed)
        return completed
