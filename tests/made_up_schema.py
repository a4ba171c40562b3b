"""A schema of all that Strawberry can do and this service does not: unions, permissions, extensions, lists of lists.

Each resolver looks into the context for a mishap that is to befall its field: an exception, a null, a wrong value.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, NewType

import strawberry
from graphql import GraphQLError
from strawberry.extensions import FieldExtension
from strawberry.permission import BasePermission
from strawberry.schema.config import StrawberryConfig


@dataclass(slots=True)
class World:
    """The context: what goes wrong, by `Type.field`, and which fields were resolved, in order."""

    mishaps: dict[str, str] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)


_INSTEAD: Final = {"null": None, "text": "x", "number": 7, "list": [None, 1], "object": World(), "nan": float("nan")}
MISHAPS: Final = ("error", "coded", "exception as value", *_INSTEAD)


@strawberry.enum
class Colour(enum.Enum):
    RED = "r"
    GREEN = strawberry.enum_value("g", name="VERDANT")
    BLUE = 3


@strawberry.enum
class Mood(enum.StrEnum):
    CALM = "calm"
    WILD = "WILD"


def _even(value: Any) -> int:
    if not isinstance(value, int) or value % 2:
        raise GraphQLError("An even number, please.", extensions={"code": "ODD"})
    return value


Even = NewType("Even", int)


def befall(info: strawberry.Info, value: Any) -> Any:
    """`value`, or what the context has in store for the field."""
    name = f"{info._raw_info.parent_type.name}.{info.field_name}"
    info.context.calls.append(name)
    match info.context.mishaps.get(name):
        case "error":
            raise ValueError(name)
        case "coded":
            raise GraphQLError("As agreed.", extensions={"code": "AGREED", "at": name})
        case "exception as value":
            return KeyError(name)
        case None:
            return value
        case kind:
            return _INSTEAD[kind]


class Grown(BasePermission):
    message = "For grown-ups."

    def has_permission(self, source: Any, info: strawberry.Info, **arguments: Any) -> bool:
        return "Grown" not in info.context.mishaps


class Awake(BasePermission):
    message = "Asleep."
    error_extensions = {"code": "ASLEEP"}  # noqa: RUF012 - Strawberry's own attribute

    async def has_permission(self, source: Any, info: strawberry.Info, **arguments: Any) -> bool:
        await asyncio.sleep(0)
        return "Awake" not in info.context.mishaps


class Shouting(FieldExtension):
    def resolve(self, next_: Callable[..., Any], source: Any, info: strawberry.Info, **arguments: Any) -> Any:
        answer = next_(source, info, **arguments)
        return answer.upper() if isinstance(answer, str) else answer


@strawberry.input
class Size:
    width: int
    height: int | None = 2
    unit: str | None = strawberry.UNSET
    colours: list[Colour] = strawberry.field(default_factory=lambda: [Colour.RED, Colour.GREEN])


@strawberry.input(one_of=True)
class Choice:
    name: strawberry.Maybe[str]
    age: strawberry.Maybe[int]


@strawberry.interface
class Named:
    name: str

    @strawberry.field
    def shouted(self, info: strawberry.Info, times: int = 1) -> str:
        return befall(info, self.name.upper() * min(times, 3))


@strawberry.interface
class Living(Named):
    age: int | None = 3

    @strawberry.field
    async def friends(self, info: strawberry.Info, first: int | None = 2) -> list[Living]:
        await asyncio.sleep(0)
        return befall(info, [Cat(name="Tom"), Dog(name="Rex")][: max(0, first or 0)])


@strawberry.type
class Toy:
    price: Even

    @strawberry.field
    def colour(self, info: strawberry.Info, fallback: Colour = Colour.BLUE) -> Colour | None:
        return befall(info, fallback)

    @strawberry.field
    def moods(self, info: strawberry.Info) -> list[Mood]:
        return befall(info, [Mood.CALM, "WILD"])


@strawberry.type
class Cat(Living):
    lives: int = 9

    @strawberry.field
    def toy(self, info: strawberry.Info) -> Toy:
        return befall(info, Toy(price=Even(len(self.name))))

    @strawberry.field
    def prey(self, info: strawberry.Info, size: Size | None = None) -> list[list[str | None]]:
        unit = size.unit if size else None
        return befall(info, [["mouse", None], [], [str(size and size.width), repr(unit), repr(size and size.colours)]])

    @strawberry.field(permission_classes=[Grown])
    def secret(self, info: strawberry.Info) -> str:
        return befall(info, "purr")


@strawberry.type
class Dog(Living):
    good: bool = True

    @strawberry.field
    async def bark(self, info: strawberry.Info, loud: float = 0.5, mood: Mood = Mood.CALM) -> str | None:
        for _ in range(2):
            await asyncio.sleep(0)
        return befall(info, f"{mood.value} {loud}")

    @strawberry.field(extensions=[Shouting()])
    def growl(self, info: strawberry.Info) -> str | None:
        return befall(info, "grr")

    @strawberry.field
    def home(self, info: strawberry.Info) -> Home:
        return befall(info, Home())


@strawberry.type
class Robot(Named):
    serial: strawberry.ID = strawberry.ID("r2")
    weight: float = 1

    @strawberry.field(permission_classes=[Awake])
    async def thought(self, info: strawberry.Info) -> int:
        return befall(info, 42)


@strawberry.type
class Stranger(Named):
    """Of the schema, but in no union."""


class Ghost:
    """Of no type at all."""


Thing = Annotated[Cat | Dog | Robot | Toy, strawberry.union("Thing")]


@strawberry.type
class Home:
    @strawberry.field
    def inhabitants(self, info: strawberry.Info) -> list[Thing | None] | None:
        return befall(info, [Cat(name="Kit", age=None), None, Robot(name="Bit"), Toy(price=Even(4))])

    @strawberry.field
    def grid(self, info: strawberry.Info) -> list[list[Named] | None] | None:
        return befall(info, [[Cat(name="A"), Robot(name="B")], None, []])

    @strawberry.field
    def haunted(self, info: strawberry.Info) -> Named | None:
        return befall(info, Ghost())

    @strawberry.field
    def numbers(self, info: strawberry.Info) -> list[int | None]:
        return befall(info, (1, None, 2**31, 3))

    @strawberry.field
    def lazily(self, info: strawberry.Info) -> list[str]:
        return befall(info, (letter for letter in "abc"))

    @strawberry.field
    def promised(self, info: strawberry.Info) -> list[int | None]:
        return befall(info, None) or [_later(1), 2, _later(ValueError("late"))]

    @strawberry.field
    def stream(self, info: strawberry.Info) -> list[int]:
        return befall(info, _flowing())


async def _later(value: Any) -> Any:
    await asyncio.sleep(0)
    if isinstance(value, Exception):
        raise value
    return value


async def _flowing() -> AsyncIterator[int]:
    for number in range(3):
        yield number


def _made(kind: str) -> Any:
    return {"Cat": Cat(name="Tom"), "Dog": Dog(name="Rex"), "Robot": Robot(name="Bit"), "Toy": Toy(price=Even(3))}.get(
        kind
    )


@strawberry.type
class Query:
    @strawberry.field
    def home(self, info: strawberry.Info) -> Home:
        return befall(info, Home())

    @strawberry.field
    async def maybe_home(self, info: strawberry.Info) -> Home | None:
        await asyncio.sleep(0)
        return befall(info, Home())

    @strawberry.field
    def thing(self, info: strawberry.Info, kind: str = "Cat") -> Thing | None:
        return befall(info, _made(kind) or Stranger(name="Who"))

    @strawberry.field
    async def named(self, info: strawberry.Info, kind: str = "Dog", even: Even = Even(2)) -> Named:
        await asyncio.sleep(0)
        return befall(info, _made(kind))

    @strawberry.field
    def cats(self, info: strawberry.Info, names: list[str] | None = None, size: Size | None = None) -> list[Cat]:
        return befall(info, [Cat(name=name) for name in (["Tom", "Kit"] if names is None else names)])

    @strawberry.field
    def chosen(self, info: strawberry.Info, choice: Choice) -> str:
        return befall(info, repr(choice))

    @strawberry.field(permission_classes=[Grown, Awake])
    async def den(self, info: strawberry.Info) -> Cat:
        return befall(info, Cat(name="Leo"))


@strawberry.type
class Mutation:
    @strawberry.mutation
    async def adopt(self, info: strawberry.Info, name: str) -> Cat:
        await asyncio.sleep(0)
        return befall(info, Cat(name=name))

    @strawberry.mutation
    def feed(self, info: strawberry.Info, amount: Even = Even(2)) -> Thing | None:
        return befall(info, Toy(price=amount))


def build_made_up_schema() -> strawberry.Schema:
    """The schema, with one scalar of its own."""
    even = strawberry.scalar(name="Even", serialize=_even, parse_value=_even)
    config = StrawberryConfig(scalar_map={Even: even})
    return strawberry.Schema(Query, Mutation, types=[Cat, Dog, Robot, Stranger], config=config)
