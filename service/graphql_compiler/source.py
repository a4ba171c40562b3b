"""A Python function in the making: its lines, and the objects that they name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# CPython refuses more than 20 loops and handlers in one another; conditions do not count there, but do here.
MAX_BLOCKS = 24


class TooLong(Exception):
    """The function would have more lines than it may."""


class Source:
    """Writes one function. Names from outside never become identifiers, only constants and quoted keys."""

    def __init__(self, max_lines: int) -> None:
        self.names: dict[str, Any] = {}
        self._lines: list[str] = []
        self._max_lines = max_lines
        self._depth = 1
        self._count = 0
        self._prologue: list[str] = []

    @property
    def lines(self) -> int:
        """How many lines there are."""
        return len(self._lines)

    @property
    def blocks(self) -> int:
        """How many blocks the next line is in."""
        return self._depth - 1

    def line(self, text: str) -> None:
        """Add a line at the present indentation; raises TooLong."""
        if len(self._lines) >= self._max_lines:
            raise TooLong
        self._lines.append(" " * self._depth + text)

    def before(self, text: str) -> None:
        """Add a line to the beginning of the function."""
        self._prologue.append(f" {text}")

    @contextmanager
    def block(self, opening: str) -> Iterator[None]:
        """`opening` and an indented block after it."""
        self.line(opening)
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1

    def variable(self) -> str:
        """A new local name."""
        self._count += 1
        return f"v{self._count}"

    def constant(self, kind: str, value: Any) -> str:
        """A new global name for `value`."""
        self._count += 1
        name = f"{kind}_{self._count}"
        self.names[name] = value
        return name

    def function(self, parameters: str, label: str) -> Callable[..., Any]:
        """The finished function. `label` is what a traceback calls its file."""
        text = "\n".join([f"def generated({parameters}):", *self._prologue, *self._lines, ""])
        namespace: dict[str, Any] = dict(self.names)
        code = compile(text, label, "exec")
        exec(code, namespace)  # noqa: S102 - written by this program, from the schema  # nosec B102
        function: Callable[..., Any] = namespace["generated"]
        return function
