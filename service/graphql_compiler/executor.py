"""graphql-core's executor, but for selections on objects, which generated functions complete."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from graphql import GraphQLObjectType
from graphql.execution import Executor
from graphql.execution.collect_fields import DeferUsage, FieldDetailsList, GroupedFieldSet
from graphql.pyutils import AwaitableOrValue, Path

from service.graphql_compiler.programs import Program, Programs
from service.graphql_compiler.runtime import NeedsExecutor


class CompilingExecutor(Executor[Any]):
    """Looks up the program of its operation and lets its functions complete objects. Made by `compiling`."""

    programs: ClassVar[Programs]
    _program: Program | None = None

    def execute_collected_root_fields(
        self,
        root_type: GraphQLObjectType,
        root_value: Any,
        grouped_field_set: GroupedFieldSet,
        serially: bool,
        new_defer_usages: Sequence[DeferUsage],
    ) -> AwaitableOrValue[dict[str, Any]]:
        """Execute the root fields as graphql-core does, on the selection that the program was made from."""
        self._program = self.programs.of(self)
        if self._program is not None:
            grouped_field_set = self._program.root_fields
        return super().execute_collected_root_fields(
            root_type, root_value, grouped_field_set, serially, new_defer_usages
        )

    def execute_field(
        self,
        parent_type: GraphQLObjectType,
        source: Any,
        field_details_list: FieldDetailsList,
        path: Path,
        position_context: Any,
    ) -> Any:
        """Resolve and complete a field; that of the root by a straight call, if the program has one for it."""
        program = self._program
        call = program.calls.get(str(path.key)) if program is not None and path.prev is None else None
        if call is None:
            return super().execute_field(parent_type, source, field_details_list, path, position_context)
        return_type, info = call.definition.type, call.info(self, parent_type, path)
        try:
            result = call(self, source, info)
        except Exception as error:  # noqa: BLE001 - whatever refuses the arguments is an error of the field
            self.handle_field_error(error, return_type, field_details_list, path)
            return None
        return self.complete_awaitable_value(return_type, field_details_list, info, path, result, position_context)

    def collect_and_execute_subfields(
        self,
        return_type: GraphQLObjectType,
        field_details_list: FieldDetailsList,
        path: Path,
        result: Any,
        position_context: Any,
    ) -> AwaitableOrValue[dict[str, Any]]:
        """Complete the fields of one object, by a generated function if there is one."""
        program = self._program
        if program is not None:
            key = (id(field_details_list), return_type.name)
            unit = program.units.get(key)
            if unit is not None:
                errors = self.collected_errors
                count, positions = len(errors.errors), set(errors._error_positions)
                try:
                    return unit(self, result, path)
                except NeedsExecutor:
                    # What was read so far is read again; a query changes nothing by that.
                    program.units.pop(key, None)
                    del errors.errors[count:]
                    errors._error_positions = positions
        return super().collect_and_execute_subfields(return_type, field_details_list, path, result, position_context)


def compiling(executor_class: type[Executor[Any]], programs: Programs) -> type[CompilingExecutor]:
    """`executor_class` with compiled completions; to be given to graphql-core's `execute`."""
    return type(f"Compiling{executor_class.__name__}", (CompilingExecutor, executor_class), {"programs": programs})
