"""Is so much waiting that the API takes on no more work, and does it know whom it refuses?"""

from __future__ import annotations

import time

from service.doctor.findings import Finding, ok, problem, warning
from service.models import Lane
from service.settings import Environment, LimitsSettings, MongoSettings
from service.stores import bind_stores
from service.stores.database import open_database
from service.stores.inspection import DatabaseUnusable, explained

_CHECK = "load"
_UNSAMPLED = "Until it can be, the API takes on new work however much is waiting; see its log."


async def check_load(settings: LimitsSettings, mongo: MongoSettings) -> list[Finding]:
    """What the API looks at by itself: how long the oldest picture has waited, and how long it takes to ask that."""
    try:
        with explained():
            async with open_database(mongo) as database:
                await database.ping()
                asked = time.monotonic()
                waiting = await bind_stores(database).job_inspection.waiting_s()
    except DatabaseUnusable as error:
        return [problem(_CHECK, f"What is waiting cannot be asked: {error}", _UNSAMPLED)]
    took_ms = (time.monotonic() - asked) * 1_000
    if settings.max_database_ms and took_ms > settings.max_database_ms:
        text = f"The database takes {round(took_ms)} ms to say what waits: no new work is taken on like that."
        return [problem(_CHECK, text, "See what keeps it busy, and whether indexes are missing.")]
    age, most = waiting[Lane.FIRST_VISIBLE], settings.max_queue_age_s
    if most and age > most:
        text = f"A picture has waited {round(age)} s for a worker: no new uploads are taken on beyond {round(most)} s."
        return [problem(_CHECK, text, "See whether workers run, and start more of them.")]
    return [ok(_CHECK, f"The picture that has waited longest for a worker has done so for {round(age)} s.")]


def check_proxies(settings: LimitsSettings, environment: Environment) -> list[Finding]:
    """Whether clients behind a load balancer can be told apart; in production there is one, since we speak no TLS."""
    if environment is not Environment.PRODUCTION or settings.trusted_proxies:
        return []
    text = "No proxy is trusted: behind a load balancer all who have no token share the budgets of one address."
    return [warning("proxies", text, "Name its networks in MEDIA_LIMITS__TRUSTED_PROXIES.")]
