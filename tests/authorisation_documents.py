"""Documents that ask for every field of the schema, by every way to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from graphql import GraphQLField, GraphQLObjectType, GraphQLSchema, get_named_type, is_leaf_type

from schema.global_id import encode_id
from tests.authorisation_world import CAPTURE, MODEL, OWNER, STORED, World, perceptual_hash_of, sha256_of

# What keeps lists short, and makes a field say more.
_ARGUMENTS: Final = {
    "Media.annotations": "(first: 3)",
    "Media.similar": "(first: 6)",
    "Media.renditions": "(names: [FEED], formats: [JPEG])",
}
# Fields that ask the database again: no compiled function does.
_ASYNCHRONOUS: Final = frozenset({"Media.embeddings", "Media.similar"})


class Selections:
    """Generated from the schema: `media` has every field of Media, `flat` all that are compiled."""

    def __init__(self, schema: GraphQLSchema) -> None:
        self._schema = schema
        self.flat = self._fragment("Flat", "Media", without=_ASYNCHRONOUS)
        self.media = self._fragment("Whole", "Media")
        others = ("Upload", "Deletion", "UploadPolicy", "Viewer")
        self.others = [self._fragment(name, name) for name in others]

    def _fragment(self, name: str, type_name: str, without: frozenset[str] = frozenset()) -> str:
        return f"fragment {name} on {type_name} {{ {self.fields_of(type_name, without)} }}"

    def fields_of(self, type_name: str, without: frozenset[str] = frozenset()) -> str:
        """Every field of a type, and of what it is made of; another media flat."""
        type_ = self._schema.type_map[type_name]
        assert isinstance(type_, GraphQLObjectType)
        return " ".join(("__typename", *self._each(type_, without)))

    def _each(self, type_: GraphQLObjectType, without: frozenset[str]) -> Iterator[str]:
        for name, field in sorted(type_.fields.items()):
            if (place := f"{type_.name}.{name}") not in without:
                yield name + _ARGUMENTS.get(place, "") + self._below(field)

    def _below(self, field: GraphQLField) -> str:
        named: Any = get_named_type(field.type)
        if is_leaf_type(named):
            return ""
        return " { __typename ...Flat }" if named.name == "Media" else f" {{ {self.fields_of(named.name)} }}"


def direct(selections: Selections, world: World) -> str:
    """By id: each media, session and deletion by its own root field, and all of them as nodes."""
    media = " ".join(f'{label}: media(id: "{world.id(label)}") {{ ...Whole }}' for label in world.media)
    uploads = " ".join(
        f'upload_{label}: upload(id: "{world.id(label, "Upload")}") {{ ...Upload }}' for label in ("single", "parts")
    )
    deletion = f'deletion_gone: deletion(id: "{world.id("gone", "Deletion")}") {{ ...Deletion }}'
    rest = "viewer { ...Viewer } uploadPolicy(purpose: COMMUNITY) { ...UploadPolicy }"
    fragments = " ".join((selections.media, selections.flat, *selections.others))
    return f"{{ {media} {uploads} {deletion} {rest} }} {fragments}"


def by_node(selections: Selections, world: World) -> str:
    """The same through the interface, under aliases, in fragments on the interface and within them."""
    ids = node_ids(world)
    listed = ", ".join(f'"{each}"' for each in ids.values())
    single = " ".join(f'{name}: node(id: "{each}") {{ ...Any }}' for name, each in ids.items() if "Media" in name)
    return f"""{{ nodes(ids: [{listed}]) {{ ...Any }} {single} }}
      fragment Any on Node {{ __typename id ... on Node {{ ... on Media {{ ...Flat }} }}
        ... on Upload {{ objectKey media {{ ...Flat }} }}
        ... on Deletion {{ mediaId stage }} ... on Annotation {{ text }} }}
      {selections.flat}"""


def node_ids(world: World) -> dict[str, str]:
    """Global ids of everything that has one, by kind and label."""
    found = {f"Media_{label}": world.id(label) for label in world.media}
    found |= {f"Upload_{label}": world.id(label, "Upload") for label in world.media}
    found |= {f"Deletion_{label}": world.id(label, "Deletion") for label in world.media}
    return found | {f"Annotation_{label}": encode_id("Annotation", each) for label, each in world.annotations.items()}


_PAGE: Final = """{ __typename edges { __typename cursor node { ...Flat } } nodes { ...Flat }
  pageInfo { startCursor endCursor hasNextPage } }"""
_NODES: Final = "{ nodes { ...Flat } }"


def pages(selections: Selections, comment: str = "") -> str:
    """What most clients ask for, compiled as a whole; under another `comment` it is another document."""
    mine = f'mediaList(filter: {{ownerId: "{OWNER}"}})'
    return f"{{ feed(purpose: COMMUNITY, first: 8) {_NODES} {mine} {_NODES} }} {selections.flat} # {comment}"


def listed(selections: Selections) -> str:
    """All that lists and searches find."""
    twins = f'filter: {{ownerId: "{OWNER}", label: "near-duplicate"}}'
    return f"""{{
      feed(purpose: COMMUNITY, first: 8) {_PAGE}
      mine: mediaList(filter: {{ownerId: "{OWNER}"}}, first: 9) {_PAGE}
      walk: mediaList(filter: {{captureId: "{CAPTURE}"}}, first: 9) {_NODES}
      twins: mediaList({twins}, first: 9) {_NODES}
      counts: labelCounts(filter: {{ownerId: "{OWNER}"}}) {{ {selections.fields_of("LabelCounts")} }}
      twinCounts: labelCounts({twins}) {{ mediaCounted }}
      similar: similarMedia(perceptualHash: "{perceptual_hash_of("shut")}") {{ {selections.fields_of("SimilarMedia")} }}
      nearest: nearestMedia(model: "{MODEL}", vector: [1, 2, 3], first: 9) {{ {selections.fields_of("NearestMedia")} }}
    }} {selections.flat}"""


def known_contents(selections: Selections) -> str:
    """What the viewer owns of everybody's contents; the anonymous own nothing and are refused."""
    hashes = ", ".join(f'"{sha256_of(label)}"' for label in STORED)
    return f"{{ findDuplicates(sha256: [{hashes}]) {{ {selections.fields_of('DuplicateMatch')} }} }} {selections.flat}"


def near_to(selections: Selections, world: World, label: str) -> str:
    """The widening argument: what is near to a media that is named."""
    arguments = f'model: "{MODEL}", mediaId: "{world.id(label)}", first: 9'
    return f"{{ nearestMedia({arguments}) {{ similarity media {{ ...Flat }} }} }} {selections.flat}"
