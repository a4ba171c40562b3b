"""The invariants of jobs, whatever happens and in whatever order."""

from __future__ import annotations

import asyncio

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from indexes.ensure import ensure
from tests.job_machine import JobMachine
from tests.worker_stand import ObjectsInMemory, open_motor, open_stand

# The same runs every time; raise both numbers to look for more, and add Phase.shrink to see what a failure needs.
RUNS = settings(
    phases=[Phase.generate],
    max_examples=20,
    stateful_step_count=40,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def test_no_order_of_things_breaks_a_promise(mongod: str, database_name: str) -> None:
    loop, objects = asyncio.new_event_loop(), ObjectsInMemory()
    client, database = open_motor(mongod, database_name, loop)
    try:
        loop.run_until_complete(ensure(database.handle))
        runtime = open_stand(mongod, database, objects)
        run_state_machine_as_test(lambda: JobMachine(runtime, objects, loop), settings=RUNS)
    finally:
        client.close()
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
