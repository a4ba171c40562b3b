"""The credentials that requests are presigned with: refreshed in a thread, so that signing never waits."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import structlog
from anyio import to_thread
from botocore.exceptions import BotoCoreError

if TYPE_CHECKING:
    from botocore.credentials import Credentials, ReadOnlyCredentials

# A role's credentials are refreshed by botocore from 15 minutes before their end.
REFRESH_S = 60.0
# Without anybody refreshing, as in a command, they are asked for again after this long.
STALE_S = 300.0

log = structlog.get_logger(__name__)


class SigningCredentials:
    """What botocore's chain found (keys, a profile, a role), as of at most REFRESH_S ago while `keep_fresh` runs."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._frozen: ReadOnlyCredentials | None = None
        self._stale_at = 0.0

    def frozen(self) -> ReadOnlyCredentials:
        """Credentials to sign with now."""
        if self._frozen is None or time.monotonic() >= self._stale_at:
            return self._refresh()
        return self._frozen

    def _refresh(self) -> ReadOnlyCredentials:
        self._frozen = self._credentials.get_frozen_credentials()
        self._stale_at = time.monotonic() + STALE_S
        return self._frozen

    async def keep_fresh(self) -> None:
        """Refresh until cancelled. A role that does not answer costs nothing while its last credentials hold."""
        while True:
            try:
                await to_thread.run_sync(self._refresh)
            except BotoCoreError as error:
                log.warning("storage credentials could not be refreshed", error=repr(error))
            await asyncio.sleep(REFRESH_S)
