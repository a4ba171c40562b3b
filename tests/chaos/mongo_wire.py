"""What MongoDB's drivers say first on each connection."""

from __future__ import annotations

from bson import decode
from bson.errors import BSONError

from tests.chaos.fault_proxy import ANYONE

_HEADER_BYTES, _SECTION_BYTES = 16, 5


def application_of(first: bytes) -> str:
    """The `appname` in the message with which drivers begin each connection; "" for members of the set and others.

    It is an OP_MSG, whose one section is the command, or an OP_QUERY with it behind the collection's name
    (https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/).
    """
    for begin in (_HEADER_BYTES + _SECTION_BYTES, first.find(b"\0", _HEADER_BYTES + 4) + 9):
        try:
            size = int.from_bytes(first[begin : begin + 4], "little")
            greeting = decode(first[begin : begin + size])
        except BSONError:
            continue
        return str(greeting.get("client", {}).get("application", {}).get("name", ANYONE))
    return ANYONE
