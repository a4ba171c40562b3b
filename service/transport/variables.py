"""What a request's variables weigh: they are coerced once for every field that uses them, on the event loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# A thousand annotations with boxes and texts hold nine thousand.
MAX_VALUES = 10_000


def count_values(variables: Mapping[str, Any], *, limit: int = MAX_VALUES) -> int:
    """Lists, objects and scalars in `variables`; counting stops just above `limit`."""
    count, pending = 0, [*variables.values()]
    while pending and count <= limit:
        value = pending.pop()
        count += 1
        if isinstance(value, dict):
            pending += value.values()
        elif isinstance(value, list):
            pending += value
    return count
