"""`python -m benchmarks.widened api|worker`: the service, with community photos allowed to be as large as any file."""

from __future__ import annotations

from types import MappingProxyType

from service import policies
from service.models import MediaPurpose

COMMUNITY = MediaPurpose.COMMUNITY


def widen() -> None:
    """Policies are data: before anybody has read them they may be others."""
    widened = policies.POLICIES[COMMUNITY].model_copy(update={"max_bytes": policies.MAX_BYTES})
    policies.POLICIES = MappingProxyType({**policies.POLICIES, COMMUNITY: widened})


if __name__ == "__main__":
    widen()
    from service.__main__ import app

    app()
