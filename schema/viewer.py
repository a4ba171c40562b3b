"""Who is asking."""

from __future__ import annotations

import strawberry


@strawberry.type
class Viewer:
    id: strawberry.ID
    roles: list[str]
