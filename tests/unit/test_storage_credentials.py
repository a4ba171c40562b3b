"""Signing never waits for the role that its credentials come from."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import Any

import pytest
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import CredentialRetrievalError

from service import storage_credentials
from service.storage_credentials import SigningCredentials


class Role:
    """Credentials as a role gives them: new ones each time it is asked."""

    def __init__(self) -> None:
        self.asked_by: list[int] = []
        self.asked = asyncio.Event()
        self.is_away = False
        self._loop = asyncio.get_running_loop()

    def get_frozen_credentials(self) -> Any:
        self.asked_by.append(threading.get_ident())
        self._loop.call_soon_threadsafe(self.asked.set)
        if self.is_away:
            raise CredentialRetrievalError(provider="role", error_msg="no answer")
        return ReadOnlyCredentials(f"key-{len(self.asked_by)}", "secret", "token")


async def test_a_role_is_only_asked_in_a_thread_while_it_is_kept_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_credentials, "REFRESH_S", 0.0)
    role = Role()
    credentials = SigningCredentials(role)  # type: ignore[arg-type]
    keeping = asyncio.create_task(credentials.keep_fresh())
    for _ in range(3):
        role.asked.clear()
        await role.asked.wait()
    assert credentials.frozen().access_key != "key-1"
    assert threading.get_ident() not in role.asked_by
    keeping.cancel()
    with suppress(asyncio.CancelledError):
        await keeping


async def test_a_role_that_is_away_leaves_the_last_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_credentials, "REFRESH_S", 0.0)
    role = Role()
    credentials = SigningCredentials(role)  # type: ignore[arg-type]
    first = credentials.frozen()
    role.is_away = True
    keeping = asyncio.create_task(credentials.keep_fresh())
    for _ in range(3):
        role.asked.clear()
        await role.asked.wait()
    assert credentials.frozen() == first
    keeping.cancel()
    with suppress(asyncio.CancelledError):
        await keeping


async def test_a_command_asks_again_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_credentials, "STALE_S", 0.0)
    credentials = SigningCredentials(Role())  # type: ignore[arg-type]
    assert [credentials.frozen().access_key for _ in range(2)] == ["key-1", "key-2"]
