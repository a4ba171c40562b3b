"""What a worker does for webhooks beside its jobs: gather events, send them, and say how much waits."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import AsyncExitStack

import structlog

from service.errors import ConfigurationError
from service.settings import Environment, Settings, WebhookSettings
from service.stores.webhook_receivers import DOWN_AFTER
from service.stores.webhooks import WebhookStores
from service.telemetry import Metrics
from service.webhooks.courier import Courier
from service.webhooks.gathering import gather_events
from service.webhooks.sending import Sender

log = structlog.get_logger(__name__)

# How long others leave gathering to the process that last did it, and how often what waits is looked at.
_TURN_S = 10.0
_LOOK_S = 10.0


class WebhookDispatch:
    """Opened once for a process; `run` goes on until it is cancelled.

    Raises ConfigurationError for a receiver without secrets: nothing is sent unsigned.
    """

    def __init__(self, settings: Settings, *, webhooks: WebhookStores, metrics: Metrics, holder: str) -> None:
        self._settings = settings.webhooks
        self._only_public = settings.environment is Environment.PRODUCTION
        self._webhooks = webhooks
        self._metrics = metrics
        self._holder = holder
        for receiver in self._settings.receivers:
            if not receiver.secrets:
                raise ConfigurationError(f"Webhook receiver {receiver.name} has no secrets: nothing is sent unsigned.")

    async def run(self) -> None:
        """Gather and send until cancelled; an outage costs rounds, and no event."""
        await self._register()
        async with AsyncExitStack() as stack:
            couriers = []
            for receiver in self._settings.receivers:
                sender = Sender(receiver, self._settings, only_public=self._only_public)
                stack.push_async_callback(sender.close)
                couriers.append(
                    Courier(
                        receiver.name, self._settings, sender=sender, webhooks=self._webhooks, metrics=self._metrics
                    )
                )
            stirred = [asyncio.Event() for _ in couriers]
            async with asyncio.TaskGroup() as group:
                for courier, event in zip(couriers, stirred, strict=True):
                    group.create_task(courier.run(event))
                group.create_task(self._gather(stirred))
                group.create_task(self._look())

    async def _register(self) -> None:
        while True:
            try:
                for each in self._settings.receivers:
                    # Not the address itself: it may hold what only the receiver is to know.
                    address = hashlib.sha256(each.url.encode()).hexdigest()
                    await self._webhooks.receivers.register(
                        each.name, events=each.events, purposes=each.purposes, address=address
                    )
            except Exception:
                log.exception("webhook receivers are not registered yet")
                await asyncio.sleep(self._settings.poll_s)
            else:
                return

    async def _gather(self, stirred: list[asyncio.Event]) -> None:
        while True:
            gathered = 0
            try:
                gathered = await gather_events(
                    self._webhooks, holder=self._holder, lease_s=_TURN_S, metrics=self._metrics
                )
            except Exception:
                log.exception("events wait in their documents; the next round goes on")
            if gathered:
                for event in stirred:
                    event.set()
            else:
                await asyncio.sleep(self._settings.poll_s)

    async def _look(self) -> None:
        while True:
            try:
                await look_at_receivers(self._webhooks, self._settings, self._metrics)
            except Exception:
                log.exception("what waits for receivers was not looked at")
            await asyncio.sleep(_LOOK_S)


async def look_at_receivers(webhooks: WebhookStores, settings: WebhookSettings, metrics: Metrics) -> None:
    """Measure what waits for each receiver, and give up what is too old for one that is down.

    Of one that is up, each event is given up by its own last attempt.
    """
    for receiver in await webhooks.receivers.list_all():
        if receiver.failures >= DOWN_AFTER:
            reason = f"given up unsent, as the receiver was down: {receiver.reason}"
            given_up = await webhooks.deliveries.give_up_older(
                receiver.name, age_s=settings.give_up_s, reason=reason, keep_s=settings.keep_dead_s
            )
            for _ in range(given_up):
                metrics.count_webhook(receiver.name, "dead")
        waiting = await webhooks.inspection.waiting(receiver.name)
        metrics.set_webhooks(receiver.name, waiting=waiting.open, oldest_s=waiting.oldest_s, dead=waiting.dead)
