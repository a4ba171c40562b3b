"""Addresses of originals, each of them given out once that is on record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from graphql import (
    FieldNode,
    FragmentSpreadNode,
    GraphQLResolveInfo,
    InlineFragmentNode,
    SelectionSetNode,
    get_named_type,
)

from schema.context import Info
from schema.scalars import URL
from schema.selection import is_included
from schema.values import SignedUrl
from service.access import Action, may
from service.delivery import SignedUrl as Signed
from service.documents import MediaDocument
from service.errors import NotPermitted
from service.graphql_compiler import by_selection
from service.original_access import Access

_ORIGINAL_PATH = "original.key"
# What `Media.original` reads: beside the key, what decides of one that is QUARANTINED.
ORIGINAL_FIELDS = (_ORIGINAL_PATH, "failure.code")


def original_of(info: Info, media: MediaDocument) -> Any:
    """The address of the original of `media`: a SignedUrl, or one to be awaited where it is not on record yet.

    Whether the viewer may have it is decided before. Raises NotPermitted for nobody, ValueError for a document that
    names another object than an original.
    """
    original = media.get("original")
    if original is None:
        return None
    signed = info.context.delivery.original_url(key=original["key"])
    access = _access(info, media, signed)
    shown = SignedUrl(url=URL(signed.url), expires_at=signed.expires_at)
    return shown if info.context.originals.is_on_record(access) else _once_on_record(info, access, shown)


async def _once_on_record(info: Info, access: Access, shown: SignedUrl) -> SignedUrl:
    await info.context.originals.put_on_record(access)
    return shown


def _access(info: Info, media: MediaDocument, signed: Signed) -> Access:
    viewer_id = info.context.viewer.id
    if viewer_id is None:
        raise NotPermitted("Sign in to look at originals.")
    return Access(viewer_id, media["owner_id"], media["_id"], signed.expires_at)


async def record_originals(info: Info, documents: Iterable[MediaDocument], fields: frozenset[str]) -> None:
    """Put on record that the originals of a page's media are given out, all together, where this is what was asked for.

    With nothing left to wait for, a generated function can complete the page.
    """
    if _ORIGINAL_PATH not in fields or not _selects_originals(info._raw_info):
        return
    viewer = info.context.viewer
    shown = [media for media in documents if "original" in media and may(viewer, Action.READ_ORIGINAL, media)]
    await info.context.originals.put_all_on_record(_accesses(info, shown))


def _accesses(info: Info, shown: Iterable[MediaDocument]) -> Iterator[Access]:
    for media in shown:
        # One that cannot be signed is not given out, and fails by itself when its field is completed.
        with suppress(ValueError):
            yield _access(info, media, info.context.delivery.original_url(key=media["original"]["key"]))


@by_selection
def _selects_originals(raw: GraphQLResolveInfo[Any]) -> bool:
    """Whether originals are selected of the media of a page themselves, and not of others that look like them."""
    return any(
        node.selection_set is not None and _selects(raw, node.selection_set, get_named_type(raw.return_type))
        for node in raw.field_nodes
    )


def _selects(raw: GraphQLResolveInfo[Any], selections: SelectionSetNode, parent: Any) -> bool:
    for selection in selections.selections:
        if not is_included(raw, selection):
            continue
        match selection:
            case FieldNode() if parent.name == "Media":
                found = selection.name.value == "original"
            case FieldNode():
                field = parent.fields.get(selection.name.value)
                inner = selection.selection_set
                found = field is not None and inner is not None and _selects(raw, inner, get_named_type(field.type))
            case InlineFragmentNode():
                found = _selects(raw, selection.selection_set, parent)
            case FragmentSpreadNode():
                fragment = raw.fragments[selection.name.value]
                definition = getattr(fragment, "definition", fragment)
                found = _selects(raw, definition.selection_set, parent)
            case _:
                found = False
        if found:
            return True
    return False
