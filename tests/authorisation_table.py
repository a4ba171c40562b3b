"""The tables of docs/authorisation.md, made from the rules: `python -m tests.authorisation_table` writes them anew."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, Final

from schema.field_rules import FIELD_RULES, WIDENING, Rule
from service.access import ANONYMOUS, MODERATOR_ROLE, SERVICE_ROLE, Viewer, may
from service.errors import FailureCode
from service.lifecycle import MediaStatus
from service.models import Visibility

PAGE: Final = Path(__file__).parents[1] / "docs" / "authorisation.md"
BEGIN, END = "<!-- made from the rules: begin -->", "<!-- made from the rules: end -->"

_VIEWERS: Final = {
    "anonymous": ANONYMOUS,
    "owner": Viewer("owner"),
    "other": Viewer("other"),
    "moderator": Viewer("moderator", frozenset({MODERATOR_ROLE})),
    "service": Viewer("service", frozenset({SERVICE_ROLE})),
}
_WITHOUT_ACTION: Final = {
    Rule.EVERYBODY: dict.fromkeys(_VIEWERS, "yes"),
    Rule.SIGNED_IN: {**dict.fromkeys(_VIEWERS, "their own"), "anonymous": "no"},
    Rule.UPLOADER: {**dict.fromkeys(_VIEWERS, "no"), "owner": "yes"},
}
_Kind = tuple[MediaStatus, Visibility, FailureCode | None]
_EVERY: Final = set[_Kind](product(MediaStatus, Visibility, (None, *FailureCode)))
_LIVE: Final = {each for each in _EVERY if each[0] is not MediaStatus.DELETED}
_READY: Final = {each for each in _EVERY if each[0] is MediaStatus.READY}
_MODERATED: Final = {each for each in _EVERY if each[::2] == (MediaStatus.QUARANTINED, FailureCode.MODERATED)}
_WORDS: Final = (
    (_EVERY, "all"),
    (_LIVE, "all but DELETED"),
    (_READY, "READY"),
    (_READY | _MODERATED, "READY, and QUARANTINED by a moderator"),
    ({each for each in _READY if each[1] is Visibility.PUBLIC}, "READY and PUBLIC"),
    (set[_Kind](), "no"),
)


def _media(status: MediaStatus, visibility: Visibility, failure: FailureCode | None) -> dict[str, Any]:
    deciding = {"owner_id": "owner", "status": status.value, "visibility": visibility.value}
    return deciding if failure is None else {**deciding, "failure": {"code": failure.value}}


def _cell(rule: Rule, name: str, viewer: Viewer) -> str:
    if rule.action is None:
        return _WITHOUT_ACTION[rule][name]
    shown = {each for each in _EVERY if may(viewer, rule.action, _media(*each))}
    [words] = [words for which, words in _WORDS if which == shown]
    return words


def _audiences() -> Iterator[str]:
    yield f"| Rule | {' | '.join(_VIEWERS)} |"
    yield "|---" * (len(_VIEWERS) + 1) + "|"
    for rule in Rule:
        if rule.action is not None or rule in _WITHOUT_ACTION:
            yield f"| {rule.name} | {' | '.join(_cell(rule, *each) for each in _VIEWERS.items())} |"


def _fields() -> Iterator[str]:
    yield "| Type | Rule | Fields |"
    yield "|---|---|---|"
    for type_name, fields in FIELD_RULES.items():
        for rule, names in fields.items():
            listed = ", ".join(f"`{name}`" for name in sorted(names.split()))
            yield f"| {type_name} | {rule.name} | {listed} |"


def _arguments() -> Iterator[str]:
    yield "| Argument | Rule |"
    yield "|---|---|"
    yield from (f"| `{name}` | {rule.name} |" for name, rule in WIDENING.items())


def tables() -> str:
    """What stands between the marks of the page."""
    parts = ("\n".join(lines) for lines in (_audiences(), _fields(), _arguments()))
    return "\n\n".join((BEGIN, *parts, END))


def renewed(page: str) -> str:
    """The page with its tables as they are now."""
    before, _, rest = page.partition(BEGIN)
    return before + tables() + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text()))
