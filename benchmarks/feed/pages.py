"""The page that is asked for, in several variants, and whether an answer is the right one."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

import orjson

from schema.cursors import encode_cursor
from service.dev.edge.verification import PublicKey, Target, verify

FIRST: Final = 30

_QUERY: Final = """query %s($first: Int!, $after: String) {
  feed(purpose: COMMUNITY, first: $first, after: $after) {
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
    """One variant: its GraphQL selection, what of a rendition has to be read for it, and the cursor it comes after."""

    name: str
    title: str
    pictures: str
    rendition_fields: tuple[str, ...]
    after: str | None = None

    @property
    def is_signed(self) -> bool:
        return "url" in self.pictures

    @property
    def body(self) -> bytes:
        """As a GraphQL client posts it."""
        query = _QUERY % (self.name, self.pictures)
        variables = {"first": FIRST, **({} if self.after is None else {"after": self.after})}
        return orjson.dumps({"operationName": self.name, "query": query, "variables": variables})

    @property
    def path(self) -> str:
        """Where servers by hand have it."""
        return f"/{self.name}?first={FIRST}" + ("" if self.after is None else f"&after={self.after}")

    @property
    def projection(self) -> dict[str, int]:
        """All that this page needs of a media, and nothing else."""
        fields = ("title", "alt_text", "created_at", "content.width", "content.height", "placeholder.thumbhash")
        renditions = [f"renditions.{name}" for name in self.rendition_fields]
        purpose = ["purpose"] if "key" in self.rendition_fields else []
        return dict.fromkeys([*fields, *renditions, *purpose], 1)


UNSIGNED: Final = Page("Unsigned", "signing off", _BY_NAME % "", _RENDITION)
CANNED: Final = Page("Canned", "60 URLs, each chosen for a slot", _BY_SLOT, (*_RENDITION, "bytes", "key"))
WILDCARD: Final = Page(
    "Wildcard", "60 URLs, two named renditions of each media", _BY_NAME % " url", (*_RENDITION, "key")
)


def later(page: Page, before: UUID) -> Page:
    """The same with the media before that one: a page that no cache of first pages knows."""
    return replace(
        page, name=f"Later{page.name}", title=f"{page.title}, from the middle of the list", after=encode_cursor(before)
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
