"""The world of the authorisation tests in a running service, upload sessions included."""

from __future__ import annotations

from tests.authorisation_world import OWNER, World, make_world
from tests.integration.conftest import RunningService
from tests.integration.mutation_scenarios import TWO_PARTS, Stage, uuid_of


async def world_of(service: RunningService) -> World:
    """Two sessions are open: one for a file at once, and one of whose two parts storage has the second."""
    stage = Stage(service, service.client(OWNER), OWNER)
    single, parts = await stage.open_upload(), await stage.open_upload(TWO_PARTS)
    await stage.send_parts(parts, 2)
    return await make_world(service.runtime, {"single": uuid_of(single["id"]), "parts": uuid_of(parts["id"])})
