"""The page that is asked for, in three variants, and whether an answer is the right one."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from service.dev.edge.verification import PublicKey, Target, verify

FIRST: Final = 30

_QUERY: Final = """query %s($first: Int!) {
  feed(purpose: COMMUNITY, first: $first) {
    edges {
      cursor
      node { id title altText createdAt width height thumbhash %s }
    }
    pageInfo { hasNextPage endCursor }
  }
}"""
_BY_NAME: Final = "renditions(names: [THUMBNAIL, FEED], formats: [JPEG]) { name format width height%s }"
_BY_SLOT: Final = (
    "thumbnail: display(hint: {width: 200}) { width height url } "
    "picture: display(hint: {width: 720, accept: [WEBP]}) { width height url }"
)
_RENDITION: Final = ("name", "format", "width", "height")


@dataclass(frozen=True, slots=True)
class Page:
    """One variant: its GraphQL selection, and what of a rendition has to be read for it."""

    name: str
    title: str
    pictures: str
    rendition_fields: tuple[str, ...]

    @property
    def is_signed(self) -> bool:
        return "url" in self.pictures

    @property
    def body(self) -> bytes:
        """As a GraphQL client posts it."""
        query = _QUERY % (self.name, self.pictures)
        return orjson.dumps({"operationName": self.name, "query": query, "variables": {"first": FIRST}})

    @property
    def projection(self) -> dict[str, int]:
        """All that this page needs of a media, and nothing else."""
        fields = ("title", "alt_text", "created_at", "content.width", "content.height", "placeholder.thumbhash")
        renditions = [f"renditions.{name}" for name in self.rendition_fields]
        purpose = ["purpose"] if "key" in self.rendition_fields else []
        return dict.fromkeys([*fields, *renditions, *purpose], 1)


PAGES: Final = (
    Page("Unsigned", "signing off", _BY_NAME % "", _RENDITION),
    Page("Canned", "60 URLs, each chosen for a slot", _BY_SLOT, (*_RENDITION, "bytes", "key")),
    Page("Wildcard", "60 URLs, two named renditions of each media", _BY_NAME % " url", (*_RENDITION, "key")),
)


def check(answer: bytes, keys: Mapping[str, PublicKey]) -> Any:
    """The data of `answer` with each URL up to its signature, every one of which has been verified with `keys`.

    Raises ValueError for an answer with errors or without its media, Denied for a URL that would not open.
    """
    body = orjson.loads(answer)
    if "errors" in body or len(body["data"]["feed"]["edges"]) != FIRST:
        raise ValueError(f"not a page: {answer[:500]!r}")
    for rendition in _signed(body["data"]):
        parts = urlsplit(rendition["url"])
        target = Target(parts.scheme, parts.netloc, parts.path, parts.query)
        verify(target, keys, now=time.time(), client_ip="127.0.0.1")
        rendition["url"] = parts.path
    return body["data"]


def _signed(value: Any) -> Iterator[dict[str, Any]]:
    """Every object with a URL."""
    if isinstance(value, dict):
        if "url" in value:
            yield value
        for each in value.values():
            yield from _signed(each)
    elif isinstance(value, list):
        for each in value:
            yield from _signed(each)
