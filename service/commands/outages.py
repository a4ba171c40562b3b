"""Saying on stderr who does not answer: silence looks like a slow network, whatever is wrong."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from service.client import OnOutage, Outage
from service.commands.printing import printable


def telling_outages(console: Console, *, then: str = "Trying again.") -> OnOutage:
    """A line for each change; `then` says what becomes of what was under way."""

    def tell(outage: Outage) -> None:
        said = f"{outage.reason}. {then}" if outage.reason is not None else "answers again."
        console.print(Text(printable(f"{outage.place} {said}")))

    return tell
