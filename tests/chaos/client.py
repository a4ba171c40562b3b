"""What the load asks of the API beside uploads, through the same public functions that the Python client is made of."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from itertools import chain, repeat
from typing import Any, Final, TypeVar

import httpx

from service.client import ApiError, ClientError
from service.client.connection import Connection
from service.client.graphql_http import run_operation
from service.client.mutations import run_mutation
from tests.chaos.ledger import Ledger

T = TypeVar("T")

_ERRORS: Final = "userErrors { code message field retryable retryAfterMs }"
UPDATE: Final = f"mutation($input: UpdateMediaInput!) {{ updateMedia(input: $input) {{ media {{ id }} {_ERRORS} }} }}"
ANNOTATE: Final = f"""mutation($input: AnnotateMediaInput!) {{
  annotateMedia(input: $input) {{ annotations {{ id text }} {_ERRORS} }} }}"""
REMOVE: Final = f"""mutation($input: DeleteAnnotationsInput!) {{
  deleteAnnotations(input: $input) {{ deletedIds {_ERRORS} }} }}"""
DELETE: Final = f"""mutation($input: DeleteMediaInput!) {{
  deleteMedia(input: $input) {{ deletions {{ id stage }} {_ERRORS} }} }}"""
MEDIA: Final = (
    """query($id: ID!) { media(id: $id) { id status title annotations(first: 100) { nodes { id text } } } }"""
)
FEED: Final = "{ feed(purpose: COMMUNITY, first: 20) { nodes { id display(hint: {width: 200}) { url } } } }"
OWN: Final = "{ mediaList(first: 20) { nodes { id status title } } }"

# Pauses between tries, in seconds; the last one repeats. Short at first, since what is measured is how soon the service
# is back; longer then, so that those who wait do not keep it from coming back.
PAUSES_S = (0.25, 0.5, 1.0, 2.0)
# No answer within this is as good as none; longer than any deadline of the service's own.
TIMEOUT = httpx.Timeout(20, connect=5, pool=None)


class Caller:
    """One signed-in user. `stop` ends what is tried again and again without success."""

    def __init__(self, url: str, token: str, ledger: Ledger, stop: Callable[[], bool]) -> None:
        self._connection, self._ledger, self._stop = Connection.to(url, token), ledger, stop
        self._http = httpx.AsyncClient(timeout=TIMEOUT, trust_env=False)

    async def close(self) -> None:
        await self._http.aclose()

    async def write(self, document: str, field: str, given: Mapping[str, Any]) -> dict[str, Any] | None:
        """The payload of a mutation, repeated under its key until it is acknowledged; None if it was not to be had."""
        began = time.monotonic()
        payload = await self.insist(field, lambda: run_mutation(self._http, self._connection, document, field, given))
        if payload is not None:
            self._ledger.note(field, began)
        return payload

    async def read(self, document: str, **variables: Any) -> dict[str, Any] | None:
        """The data of one query, asked once; None in an outage."""
        began = time.monotonic()
        try:
            data = await run_operation(self._http, self._connection, document, variables)
        except ClientError as error:
            self.take(error, "query")
            return None
        self._ledger.read_latencies_s.append(time.monotonic() - began)
        return data

    async def insist(self, operation: str, attempt: Callable[[], Awaitable[T]]) -> T | None:
        """The result of `attempt`, repeated through every outage; None once it is refused or there is no time left."""
        for pause_s in chain(PAUSES_S, repeat(PAUSES_S[-1])):
            try:
                return await attempt()
            except ClientError as error:
                if not self.take(error, operation) or self._stop():
                    return None
                await asyncio.sleep(pause_s)
        return None

    def take(self, error: ClientError, operation: str) -> bool:
        """Write an error down; whether it is an outage, after which the same may be asked again."""
        self._ledger.outages[f"{operation}: {error.code}"] += 1
        # A masked error is a bug, although clients may try again.
        if not error.retryable or error.code == "INTERNAL":
            told = error.message if isinstance(error, ApiError) else repr(error)
            self._ledger.refused.append(f"{operation} was refused: {error.code}, {told}")
        return error.retryable
