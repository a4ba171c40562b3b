"""What a field may ask of the request it is answered for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from strawberry.types import Info as StrawberryInfo

from service.access import Viewer
from service.change_feed import ChangeFeed
from service.delivery import Delivery
from service.first_pages import FirstPages
from service.media_memory import MediaMemory
from service.runtime import Runtime


@dataclass(slots=True)
class Context:
    """One a request; on a WebSocket, one an operation or event."""

    runtime: Runtime
    delivery: Delivery
    change_feed: ChangeFeed
    viewer: Viewer
    first_pages: FirstPages | None = None
    media_memory: MediaMemory | None = None


if TYPE_CHECKING:
    Info = StrawberryInfo[Context, None]
else:
    Info = StrawberryInfo
