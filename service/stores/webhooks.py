"""The stores of webhooks, together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from service.stores.database import Database
from service.stores.erasures import ErasureStore
from service.stores.webhook_deliveries import WebhookDeliveryStore
from service.stores.webhook_inspection import WebhookInspection
from service.stores.webhook_outbox import WebhookOutbox
from service.stores.webhook_receivers import WebhookReceiverStore


@dataclass(frozen=True, slots=True)
class WebhookStores:
    outbox: WebhookOutbox
    receivers: WebhookReceiverStore
    deliveries: WebhookDeliveryStore
    inspection: WebhookInspection
    erasures: ErasureStore

    async def forget_owner(self, owner_id: str) -> None:
        """Remove what is kept of somebody's media; events that still wait go once they are sent, and hold ids only."""
        await self.deliveries.forget_owner(owner_id)

    async def forget_erased(self, owner_ids: Iterable[str]) -> None:
        """The same of those among these owners who are erased: what has been made of their media's events since.

        To be called after it was made: an erasure that begins later finds it by itself.
        """
        for owner_id in await self.erasures.begun_among(owner_ids):
            await self.forget_owner(owner_id)

    async def forget_receiver(self, name: str) -> int | None:
        """Remove a receiver and everything that is kept for it; how many deliveries, None if nobody knows it."""
        known = await self.receivers.forget(name)
        removed = await self.deliveries.forget_receiver(name)
        return removed if known or removed else None


def bind_webhooks(database: Database) -> WebhookStores:
    """The stores of `database`."""
    deliveries = WebhookDeliveryStore(database)
    return WebhookStores(
        outbox=WebhookOutbox(database),
        receivers=WebhookReceiverStore(database),
        deliveries=deliveries,
        inspection=WebhookInspection(database, deliveries=deliveries),
        erasures=ErasureStore(database),
    )
