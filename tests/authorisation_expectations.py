"""What an answer may hold: every object in it held against the rules, field by field."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from schema.field_rules import RULE_OF, Rule
from schema.global_id import encode_id
from service.models import NEAR_DUPLICATE
from tests.authorisation_world import SHOWN, World

Object = dict[str, Any]

# Presigned and signed for some minutes: there or not there is all that can be compared.
_FLEETING: Final = frozenset({"original", "target", "urlExpiresAt"})
_SIGNATURE: Final = re.compile(r"\?[^ ,]+")


def lasting(value: Any) -> Any:
    """An answer without what differs between two moments: signatures, and moments of expiry."""
    if isinstance(value, dict):
        return {
            key: "is there" if key in _FLEETING and inner is not None else lasting(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [lasting(each) for each in value]
    return _SIGNATURE.sub("", value) if isinstance(value, str) and value.startswith("http") else value


def objects(value: Any) -> Iterator[Object]:
    """Every object in an answer, at whatever depth."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from objects(inner)
    elif isinstance(value, list):
        for each in value:
            yield from objects(each)


def answered(answer: Any) -> set[str]:
    """`Type.field` of whatever has a value in an answer that is not null and not empty."""
    return {
        f"{each['__typename']}.{name}"
        for each in objects(answer)
        if "__typename" in each
        for name, value in each.items()
        if value not in (None, [])
    }


@dataclass(frozen=True)
class Expectation:
    """`truth`: every field of every media by label, as whoever may see all of it was answered."""

    world: World
    identity: str
    truth: Mapping[str, Object]

    def labels(self, rule: Rule) -> frozenset[str]:
        return SHOWN[rule][self.identity]

    def hold(self, answer: Any) -> set[str]:
        """Check every media in an answer; their labels. It names no `gone` one unless the viewer follows it."""
        found = set()
        for each in objects(lasting(answer)):
            if each.get("__typename") == "Media" and "title" in each:
                label = self._label(each)
                self._check(label, each)
                found.add(label)
        return found

    def _label(self, media: Object) -> str:
        [label] = [label for label in self.truth if self.world.id(label) == media.get("id")]
        return label

    def _check(self, label: str, media: Object) -> None:
        assert label in self.labels(Rule.READERS), f"{self.identity} was shown {label}"
        for name, value in media.items():
            if name != "__typename":
                expected = self._expected(label, name)
                assert value == expected, f"{self.identity} was shown {label}.{name} = {value}, not {expected}"

    def _expected(self, label: str, name: str) -> Any:
        rule, value = RULE_OF[f"Media.{name}"], self.truth[label][name]
        shows_details = label in self.labels(Rule.DETAILS)
        if name == "embeddings":
            shows_vector = label in self.labels(Rule.ANNOTATORS)
            return [each if shows_vector else {**each, "vector": None} for each in value]
        if name == "similar":
            seen = {self.world.id(each) for each in self.labels(Rule.READERS)}
            return [self._flat(each) for each in value if each["media"]["id"] in seen]
        if rule is Rule.PARTLY and not shows_details:
            # All that the world knows of when a picture was taken is what files say.
            return None if name == "capturedAt" else _without_twins(value)
        return value if rule is Rule.WITH_OBJECT or rule is Rule.PARTLY or label in self.labels(rule) else None

    def _flat(self, similar: Object) -> Object:
        """One that looks like another, with a media that is judged by itself."""
        media = similar["media"]
        label = self._label(media)
        return {
            **similar,
            "media": {
                name: value if name == "__typename" else self._expected(label, name) for name, value in media.items()
            },
        }


def _without_twins(connection: Object) -> Object:
    edges = [each for each in connection["edges"] if each["node"]["label"] != NEAR_DUPLICATE]
    cursors = {"startCursor": edges[0]["cursor"], "endCursor": edges[-1]["cursor"]} if edges else {}
    return {
        **connection,
        "edges": edges,
        "nodes": [each["node"] for each in edges],
        "pageInfo": {**connection["pageInfo"], **cursors},
    }


def visible_nodes(world: World, identity: str) -> set[str]:
    """Global ids of what an identity is shown as a node."""
    rules = {"Media": Rule.READERS, "Upload": Rule.UPLOADER}
    shown = {world.id(label, kind) for kind, rule in rules.items() for label in SHOWN[rule][identity]}
    if "gone" in SHOWN[Rule.DELETERS][identity]:
        shown.add(world.id("gone", "Deletion"))
    annotated = SHOWN[Rule.READERS][identity] & world.annotations.keys()
    return shown | {encode_id("Annotation", world.annotations[label]) for label in annotated}
