"""The compiled functions of an operation: made once it has been run often enough, kept as long as its document is."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Hashable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    DocumentNode,
    GraphQLObjectType,
    OperationType,
    get_named_type,
    is_abstract_type,
)
from graphql.execution import Executor
from graphql.execution.collect_fields import FieldDetailsList, GroupedFieldSet

from service.graphql_compiler.root_call import RootCall
from service.graphql_compiler.selection import (
    MAX_SPECIALISATIONS,
    NotCompilable,
    PerOperation,
    Selection,
    directives_of,
    variables_of,
)
from service.graphql_compiler.source import TooLong
from service.graphql_compiler.unit import Completion, UnitWriter

# Of all functions of a program: about 300 fields, and some 10 ms to compile. Whoever asks for more waits longer for
# the database than for the executor.
MAX_LINES = 2_000

# Of all programs of a process; a line takes one to two kilobytes.
MAX_KEPT_LINES = 20_000


# What selected the fields of an object, by identity, and the name of its type.
UnitKey = tuple[int, str]


@dataclass(frozen=True, slots=True)
class Road:
    """Which way an operation goes. `reason` says what keeps it, or a part of it, from being compiled."""

    compiled: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Program:
    """What an operation runs, for one set of values of the variables in its directives.

    `units` complete objects, by the identity of what selected them, which `root_fields` keep alive, and by type.
    `calls` are the root fields, by response key, whose resolvers are called straight. `selections` keeps what the units
    were made for: as long as a list lives, no other has its identity.
    """

    root_fields: GroupedFieldSet
    units: dict[UnitKey, Completion]
    calls: dict[str, RootCall]
    selections: tuple[FieldDetailsList, ...]
    lines: int
    road: Road


@dataclass(slots=True, eq=False, weakref_slot=True)
class _Variant:
    """An operation with one set of values of the variables in its directives."""

    runs: int = 0
    program: Program | None = None


class _Shelf:
    """Keeps programs to MAX_KEPT_LINES in all: those that were run longest ago are taken from their variants."""

    def __init__(self) -> None:
        self._variants: OrderedDict[int, tuple[weakref.ref[_Variant], int]] = OrderedDict()
        self._lines = 0

    def put(self, variant: _Variant, program: Program) -> None:
        """Give `variant` its program."""
        key = id(variant)
        variant.program = program
        self._variants[key] = (weakref.ref(variant, lambda _: self._remove(key)), program.lines)
        self._lines += program.lines
        while self._lines > MAX_KEPT_LINES:
            oldest = next(iter(self._variants))
            dropped = self._variants[oldest][0]()
            self._remove(oldest)
            if dropped is not None:
                dropped.program, dropped.runs = None, 0

    def touch(self, variant: _Variant) -> None:
        """Note that the program of `variant` is run."""
        self._variants.move_to_end(id(variant))

    def _remove(self, key: int) -> None:
        if (entry := self._variants.pop(key, None)) is not None:
            self._lines -= entry[1]


@dataclass(slots=True)
class _Known:
    variables: tuple[str, ...] | None = None
    variants: dict[Hashable, _Variant] = field(default_factory=dict)
    refusal: str | None = None


class Programs:
    """The programs of one schema. An operation is compiled when it is run for the `after`-th time, counted from 1.

    Compiling costs as much as a few runs, and anybody may send an operation that nobody sends again.
    """

    def __init__(self, *, after: int = 3) -> None:
        self._after = after
        self._operations: PerOperation[_Known] = PerOperation(_Known)
        self._shelf = _Shelf()

    def of(self, executor: Executor[Any]) -> Program | None:
        """What to run for an executor that is about to begin, or None: nothing but the executor itself."""
        variant = self._variant(executor)
        if variant is None:
            return None
        if variant.program is not None:
            self._shelf.touch(variant)
            return variant.program
        variant.runs += 1
        if variant.runs >= self._after and (program := self._compile(executor)) is not None:
            self._shelf.put(variant, program)
        return variant.program

    def road(self, executor: Executor[Any]) -> Road:
        """Which way the executor would go if the operation had been run often enough."""
        variant = self._variant(executor)
        program = None if variant is None else variant.program or self._compile(executor)
        if program is not None:
            return program.road
        return Road(
            compiled=False, reason=self._operations.of(executor.operation).refusal or "a variant that is not kept"
        )

    def _variant(self, executor: Executor[Any]) -> _Variant | None:
        known = self._operations.of(executor.operation)
        if known.refusal is not None:
            return None
        if known.variables is None:
            try:
                known.variables = _deciding_variables(executor)
            except NotCompilable as refusal:
                known.refusal = str(refusal)
                return None
        coerced = executor.variable_values.coerced
        key = tuple([coerced.get(name) for name in known.variables])
        if None in key:
            # A condition that is null is refused where it stands, and only if that is reached.
            return None
        variant = known.variants.get(key)
        if variant is None and len(known.variants) < MAX_SPECIALISATIONS:
            variant = known.variants[key] = _Variant()
        return variant

    def _compile(self, executor: Executor[Any]) -> Program | None:
        try:
            return compile_program(executor)
        except NotCompilable as refusal:
            self._operations.of(executor.operation).refusal = str(refusal)
            return None


def _deciding_variables(executor: Executor[Any]) -> tuple[str, ...]:
    if executor.operation.operation is not OperationType.QUERY:
        raise NotCompilable("only queries are compiled")
    if executor.middleware_manager is not None:
        raise NotCompilable("middleware")
    strawberry_schema = getattr(executor.schema, "_strawberry_schema", None)
    if strawberry_schema is None or strawberry_schema.schema_converter._exception_handler_specs:
        raise NotCompilable("not a Strawberry schema, or one that handles exceptions")
    document = DocumentNode(definitions=(executor.operation, *executor.fragment_definitions.values()))
    return variables_of((*(executor.operation.directives or ()), *directives_of(executor.operation, document)))


def compile_program(executor: Executor[Any]) -> Program:
    """The program of an operation with the variables of this executor. Raises NotCompilable."""
    selection = Selection(executor)
    root_type = executor.schema.query_type
    if root_type is None:
        raise NotCompilable("no query type")
    compiling = _Compiling(selection, selection.root_fields(root_type), executor.operation)
    calls = {}
    for key, selected_by in compiling.root_fields.items():
        definition = executor.schema.get_field(root_type, selected_by[0].node.name.value)
        if definition is None:
            raise NotCompilable("unknown field")
        compiling.need_values_of(get_named_type(definition.type), selected_by)
        with suppress(NotCompilable):
            calls[key] = RootCall(executor, definition, selected_by)
    compiling.finish()
    return Program(
        compiling.root_fields,
        compiling.units,
        calls,
        tuple(compiling.selections),
        MAX_LINES - compiling.lines_left,
        compiling.road,
    )


class _Compiling:
    def __init__(self, selection: Selection, root_fields: GroupedFieldSet, operation: Any) -> None:
        self.root_fields = root_fields
        self.units: dict[UnitKey, Completion] = {}
        self._selection = selection
        self._label = f"<compiled {operation.name.value if operation.name else 'operation'}>"
        self._waiting: list[tuple[GraphQLObjectType, FieldDetailsList]] = []
        # What each unit hands objects to, besides itself.
        self._needs: dict[UnitKey, set[UnitKey]] = {}
        self._reasons: list[str] = []
        self.selections: list[FieldDetailsList] = []
        self.lines_left = MAX_LINES

    @property
    def road(self) -> Road:
        return Road(compiled=bool(self.units) and not self._reasons, reason="; ".join(self._reasons))

    def need_values_of(self, type_: Any, selected_by: FieldDetailsList) -> None:
        """Ask for units that complete values of a type, as far as they are objects."""
        if is_abstract_type(type_):
            for object_type in self._selection.schema.get_possible_types(type_):
                self._need(object_type, selected_by)
        elif isinstance(type_, GraphQLObjectType):
            self._need(type_, selected_by)

    def _need(self, object_type: GraphQLObjectType, selected_by: FieldDetailsList) -> UnitKey:
        key = (id(selected_by), object_type.name)
        if key not in self._needs:
            self._needs[key] = set()
            self.selections.append(selected_by)
            self._waiting.append((object_type, selected_by))
        return key

    def finish(self) -> None:
        """Write every unit that is needed, and those that they need."""
        while self._waiting:
            self._write(*self._waiting.pop())
        # A unit that hands objects to the executor after all would get something back that has to be awaited.
        while lost := [key for key in self.units if not self._needs[key] <= self.units.keys()]:
            for key in lost:
                del self.units[key]

    def _write(self, object_type: GraphQLObjectType, selected_by: FieldDetailsList) -> None:
        key = (id(selected_by), object_type.name)

        def need(type_: GraphQLObjectType, selecting: FieldDetailsList) -> None:
            self._needs[key].add(self._need(type_, selecting))

        fields = self._selection.fields_of(object_type, selected_by)
        writer = UnitWriter(self._selection, need, max_lines=self.lines_left)
        try:
            self.units[key] = writer.write(object_type, fields, self._label)
        except (NotCompilable, TooLong) as refusal:
            self._reasons.append(str(refusal) or "too many fields")
        self.lines_left -= writer.lines
