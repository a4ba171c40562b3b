"""What a field may ask of the request it is answered for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from strawberry.types import Info as StrawberryInfo

from service.access import Viewer
from service.backpressure import Backpressure
from service.change_feed import ChangeFeed
from service.delivery import Delivery
from service.first_pages import FirstPages
from service.look_alikes import HashSearch
from service.media_memory import MediaMemory
from service.original_access import OriginalAccess
from service.runtime import Runtime
from service.vector_search import VectorSearch


@dataclass(slots=True)
class Context:
    """One a request; on a WebSocket, one an operation or event."""

    runtime: Runtime
    delivery: Delivery
    change_feed: ChangeFeed
    viewer: Viewer
    originals: OriginalAccess
    backpressure: Backpressure
    first_pages: FirstPages | None = None
    media_memory: MediaMemory | None = None
    vector_search: VectorSearch | None = None
    # Where hashes are held in memory; the store otherwise.
    look_alike_memory: HashSearch | None = None
    # What gathers the questions of many objects into one, by name.
    loaders: dict[str, Any] = field(default_factory=dict)


if TYPE_CHECKING:
    Info = StrawberryInfo[Context, None]
else:
    Info = StrawberryInfo
