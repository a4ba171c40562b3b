"""Relay global ids as the schema's scalar."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, cast
from uuid import UUID

import strawberry

from service import global_ids

decode_id: Final = global_ids.decode_id
# The same function: to a page's dozens of ids a wrapper would be a call more each.
encode_id: Final = cast("Callable[[str, UUID], strawberry.ID]", global_ids.encode_id)


def id_of(type_name: str, global_id: str) -> UUID | None:
    """The UUID of an id of that type, or None: to a viewer, a foreign id is an unknown one."""
    decoded = decode_id(global_id)
    return decoded[1] if decoded is not None and decoded[0] == type_name else None
