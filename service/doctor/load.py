"""Is so much waiting that the API takes on no more work?"""

from __future__ import annotations

from service.doctor.findings import Finding, ok, problem
from service.models import Lane
from service.settings import LimitsSettings, MongoSettings
from service.stores import bind_stores
from service.stores.database import open_database
from service.stores.inspection import DatabaseUnusable, explained

_CHECK = "load"


async def check_load(settings: LimitsSettings, mongo: MongoSettings) -> list[Finding]:
    """How long the oldest picture that somebody waits for has waited; nothing where the database does not answer."""
    try:
        with explained():
            async with open_database(mongo) as database:
                waiting = await bind_stores(database).job_inspection.waiting_s()
    except DatabaseUnusable:
        # Which has a check of its own.
        return []
    age, most = waiting[Lane.FIRST_VISIBLE], settings.max_queue_age_s
    if most and age > most:
        text = f"A picture has waited {round(age)} s for a worker: no new uploads are taken on beyond {round(most)} s."
        return [problem(_CHECK, text, "See whether workers run, and start more of them.")]
    return [ok(_CHECK, f"The picture that has waited longest for a worker has done so for {round(age)} s.")]
