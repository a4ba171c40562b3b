"""Who is asking, and how much they may have stored."""

from __future__ import annotations

import strawberry

from schema.context import Info
from schema.scalars import ByteSize
from service.quotas import byte_limits


@strawberry.type
class Viewer:
    id: strawberry.ID
    roles: list[str]

    @strawberry.field(description="Bytes of originals that are stored. Failed and deleted media have none.")
    async def bytes_stored(self, info: Info) -> ByteSize:
        return ByteSize(await info.context.runtime.stores.quotas.stored(self.id))

    @strawberry.field(description="Bytes that may be stored, with those of open uploads; null for any.")
    def bytes_allowed(self, info: Info) -> ByteSize | None:
        allowed = byte_limits(info.context.viewer, info.context.runtime.settings.limits).total
        return None if allowed is None else ByteSize(allowed)
