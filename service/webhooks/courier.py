"""Sends one receiver what waits for it: each media's events one after the other, different media side by side."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import structlog

from service.settings import WebhookSettings
from service.stores.webhook_deliveries import ClaimedStream, DueDelivery, WebhookDeliveryStore
from service.stores.webhook_receivers import Gate, WebhookReceiverStore
from service.stores.webhooks import WebhookStores
from service.telemetry import Metrics
from service.webhooks.sending import Answer, Sender

log = structlog.get_logger(__name__)

# A receiver that does not want to be asked any more is asked this often whether that was meant.
_GONE_S = 3_600.0
_LET_GO_S = 2.0
# Events of one media that are read at a time, and what the database may take beside them within a lease.
_AT_ONCE = 20
_MARGIN_S = 5


class Courier:
    """One of possibly many for its receiver, in this process and in others: each media is one's at a time."""

    def __init__(
        self, name: str, settings: WebhookSettings, *, sender: Sender, webhooks: WebhookStores, metrics: Metrics
    ) -> None:
        self.name = name
        self._settings = settings
        self._sender = sender
        self._deliveries: WebhookDeliveryStore = webhooks.deliveries
        self._receivers: WebhookReceiverStore = webhooks.receivers
        self._metrics = metrics
        # Two requests may run to their end, and the database may take its time.
        self._lease_s = 3 * settings.timeout_s + 15
        self._sending: set[asyncio.Task[None]] = set()

    async def run(self, stirred: asyncio.Event) -> None:
        """Send until cancelled; looks again every `poll_s` seconds, and when it is `stirred`."""
        try:
            while True:
                try:
                    await self._fill()
                except Exception:
                    log.exception("webhooks interrupted; the next look goes on", receiver=self.name)
                await self._pause(stirred)
        finally:
            for task in self._sending:
                task.cancel()
            await asyncio.gather(*self._sending, return_exceptions=True)

    async def deliver_due(self) -> None:
        """Send all that is due, and what falls due meanwhile."""
        while await self._fill() or self._sending:
            if self._sending:
                await asyncio.wait(self._sending, return_when=asyncio.FIRST_COMPLETED)

    async def _pause(self, stirred: asyncio.Event) -> None:
        news = asyncio.create_task(stirred.wait())
        try:
            await asyncio.wait(
                {news, *self._sending}, timeout=self._settings.poll_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            news.cancel()
        stirred.clear()

    async def _fill(self) -> int:
        """Begin with as many media as there are places for and as are due; how many."""
        begun = 0
        while len(self._sending) < self._settings.concurrency:
            gate = await self._receivers.gate(self.name, probe_s=self._lease_s)
            if gate is Gate.SHUT:
                break
            stream = await self._deliveries.claim(self.name, lease_s=self._lease_s)
            if stream is None:
                if gate is Gate.PROBE:
                    await self._receivers.end_probe(self.name)
                break
            begun += 1
            task = asyncio.create_task(self._work(stream, gate))
            self._sending.add(task)
            task.add_done_callback(self._done)
        return begun

    def _done(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("webhooks of a media interrupted; its lease runs out", receiver=self.name, error=repr(error))

    async def _work(self, stream: ClaimedStream, gate: Gate) -> None:
        begun = time.monotonic()

        def server_time() -> float:
            # By the database's clock, whatever this machine's says: receivers refuse what is signed at another time.
            return stream.claimed_at.timestamp() + time.monotonic() - begun

        try:
            events = await self._deliveries.next_of(stream, limit=_AT_ONCE)
            for due in events:
                if time.monotonic() - begun > self._lease_s - self._settings.timeout_s - _MARGIN_S:
                    await self._deliveries.put_back(stream, delay_s=0)
                    return
                answer = await self._sender.send(due.event_id, due.body, at=server_time())
                if not await self._settle(stream, due, answer, gate, server_time):
                    return
                gate = Gate.OPEN
            if len(events) < _AT_ONCE:
                await self._deliveries.close(stream)
            else:
                await self._deliveries.put_back(stream, delay_s=0)
        except asyncio.CancelledError:
            # So that another process need not wait for the lease to run out.
            with suppress(Exception):
                async with asyncio.timeout(_LET_GO_S):
                    await asyncio.shield(self._deliveries.put_back(stream, delay_s=0))
            raise

    async def _settle(
        self, stream: ClaimedStream, due: DueDelivery, answer: Answer, gate: Gate, server_time: Callable[[], float]
    ) -> bool:
        """Write down what came of an attempt; whether the next event of the media may be sent now."""
        if answer.is_accepted:
            await self._deliveries.note_accepted(due.id, status=answer.status or 200, keep_s=self._settings.keep_s)
            if gate is not Gate.OPEN:
                await self._receivers.note_answer(self.name)
            self._metrics.count_webhook(self.name, "delivered")
            return True
        if answer.is_down:
            pause_s = _GONE_S if answer.status == 410 else answer.retry_after_s
            await self._receivers.note_failure(self.name, reason=answer.reason, pause_s=pause_s)
        elif gate is Gate.PROBE:
            # It answers, if not to this event.
            await self._receivers.note_answer(self.name)
        self._metrics.count_webhook(self.name, "failed")
        age = timedelta(seconds=server_time() - due.opened_at.timestamp())
        if age.total_seconds() >= self._settings.give_up_s:
            await self._deliveries.give_up(due.id, reason=answer.reason, keep_s=self._settings.keep_dead_s)
            self._metrics.count_webhook(self.name, "dead")
            log.warning("webhook given up", receiver=self.name, event_id=due.event_id, reason=answer.reason)
            if not answer.is_down:
                return True
            await self._deliveries.put_back(stream, delay_s=0)
            return False
        await self._deliveries.note_failed(due.id, reason=answer.reason)
        await self._deliveries.put_back(stream, delay_s=self._pause_s(due.failures, answer))
        log.info("webhook failed", receiver=self.name, event_id=due.event_id, reason=answer.reason)
        return False

    def _pause_s(self, failures: int, answer: Answer) -> float:
        planned = self._settings.backoff_s[min(failures, len(self._settings.backoff_s) - 1)]
        # Give or take a quarter, so that what failed together does not come again together.
        return max(planned * (750 + secrets.randbelow(501)) / 1_000, answer.retry_after_s or 0.0)
