"""The Relay interface: anything that can be asked for again by its id."""

from __future__ import annotations

import strawberry


@strawberry.interface(description="Anything that can be asked for again by its id.")
class Node:
    id: strawberry.ID
