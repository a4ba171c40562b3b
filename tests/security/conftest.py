"""The real API over real servers, with the settings of production as far as a loopback address allows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from indexes.ensure import ensure
from service.app import create_app
from service.dev.tokens import mint_token
from service.settings import HttpSettings, Settings
from service.stores.database import open_database
from tests.audit_storage import Auditor
from tests.integration.effects import Witness
from tests.security.serving import serving
from tests.servers import ORIGIN


@dataclass(frozen=True, slots=True)
class Api:
    """A running API: where it is, a token of somebody, and who sees everything that is written."""

    url: str
    token: str
    witness: Witness

    @property
    def socket_url(self) -> str:
        return self.url.replace("http", "ws", 1) + "/graphql"

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.url.removeprefix("http://").partition(":")
        return host, int(port)


@pytest.fixture(scope="module")
async def api(settings: Settings) -> AsyncIterator[Api]:
    """Without introspection, with one origin, served as production serves it."""
    closed = settings.model_copy(update={"http": HttpSettings(allowed_origins=(ORIGIN,))})
    auditor = Auditor(closed)
    async with open_database(closed.mongo) as database, serving(create_app(closed)) as url:
        await ensure(database.handle)
        yield Api(url, mint_token(closed.auth.issuers[0], "anna"), Witness(database.handle, auditor))
    auditor.close()
