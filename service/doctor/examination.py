"""The order of the checks, and which of them each role needs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection

from service.cloudfront import HashAlgorithm
from service.delivery import load_signers
from service.doctor.audit import check_audit
from service.doctor.cdn import check_agreement, check_distribution, check_key_of_worker
from service.doctor.cookies import check_cookies
from service.doctor.database import check_database, newest_public_media
from service.doctor.edge import check_edge
from service.doctor.findings import Finding, Level, ok, problem
from service.doctor.issuers import check_issuers
from service.doctor.jail import check_jail
from service.doctor.keys import check_keys
from service.doctor.load import check_load, check_proxies
from service.doctor.queue import check_job_queues, check_queue
from service.doctor.scanner import check_scanner
from service.doctor.storage import check_storage
from service.doctor.vectors import check_vectors
from service.doctor.webhooks import check_webhooks
from service.errors import ConfigurationError
from service.models import Role
from service.production import unsafe_settings
from service.settings import Environment, Settings

BOTH = frozenset(Role)


async def examine(settings: Settings, *, roles: Collection[Role] = BOTH) -> AsyncIterator[Finding]:
    """Look at all that processes of `roles` depend on. Seconds; longer where parts do not answer.

    Nothing is written but, for a worker, one test object in the media bucket, which is deleted at once.
    """
    for finding in _check_settings(settings, roles):
        yield finding
    of_database = await check_database(settings.mongo, settings.environment)
    is_readable = all(finding.level is not Level.PROBLEM for finding in of_database if finding.check == "database")
    of_load = await check_load(settings.limits, settings.mongo) if is_readable else []
    of_webhooks = await check_webhooks(settings.webhooks, settings.mongo, settings.environment) if is_readable else []
    for finding in [*of_database, *of_load, *of_webhooks]:
        yield finding
    for finding in await check_storage(settings.storage, writes=Role.WORKER in roles):
        yield finding
    if Role.API in roles:
        of_cdn = await check_agreement(settings.cdn, settings.mongo) if is_readable else []
        of_vectors = await check_vectors(settings.vectors, settings.mongo) if is_readable else []
        of_delivery = await _check_delivery(settings, is_readable=is_readable)
        of_clients = [*await check_issuers(settings.auth), *check_proxies(settings.limits, settings.environment)]
        for finding in [*of_clients, *of_delivery, *of_cdn, *of_vectors]:
            yield finding
    if Role.WORKER in roles:
        of_events = await check_queue(settings.events, settings.storage)
        of_hints = await check_job_queues(settings.jobs, settings.storage)
        of_cdn = await check_distribution(settings.cdn, settings.storage)
        for finding in [*of_events, *of_hints, *of_cdn, *check_key_of_worker(settings)]:
            yield finding
        for finding in [*await check_scanner(settings.scanner, settings.environment), *await check_audit(settings)]:
            yield finding
        yield await check_jail(settings.worker)


def _check_settings(settings: Settings, roles: Collection[Role]) -> list[Finding]:
    if settings.environment is not Environment.PRODUCTION:
        return [ok("settings", f"Complete, for {settings.environment}; the rules for production are not applied.")]
    # A rule may hold for both roles.
    sentences = dict.fromkeys(sentence for role in roles for sentence in unsafe_settings(settings, role))
    return [problem("settings", sentence) for sentence in sentences] or [
        ok("settings", "Complete and safe to go live.")
    ]


async def _check_delivery(settings: Settings, *, is_readable: bool) -> list[Finding]:
    try:
        signers = load_signers(settings.delivery)
    except ConfigurationError as error:
        return [problem("keys", str(error))]
    shown = await newest_public_media(settings.mongo) if is_readable else None
    of_cookies = await check_cookies(settings.delivery, settings.mongo) if is_readable else []
    return [
        *check_keys(signers, HashAlgorithm(settings.delivery.hash_algorithm)),
        *await check_edge(settings.delivery.base_url, signers, shown),
        *of_cookies,
    ]
