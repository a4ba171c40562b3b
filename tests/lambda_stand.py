"""A process that is a Lambda container for as long as a block lasts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from service import lambda_handler


@dataclass
class LambdaContext:
    """What is used of Lambda's context object."""

    remaining_ms: int = 60_000

    def get_remaining_time_in_millis(self) -> int:
        return self.remaining_ms


@contextmanager
def in_container(environment: Mapping[str, str]) -> Iterator[None]:
    """A container's environment, and a container that is closed afterwards. Not inside a running event loop."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.setattr(lambda_handler, "configure_logging", lambda level: None)
        yield
        lambda_handler.container().close()
        lambda_handler.container.cache_clear()
