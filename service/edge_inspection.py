"""Whether edges still answer for objects that are gone: each is asked for as its viewers ask, with a signed URL.

An unsigned request would be refused whatever an edge holds, and prove nothing. Neither would a host that has nothing at
all: so an object that storage was just given is asked for beside them, and must be served.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import time
from typing import TYPE_CHECKING

import structlog

from service.cloudfront import Signer
from service.delivery import Signers, load_signers
from service.http_probe import Answer, NoAnswer, probe
from service.models import Visibility
from service.object_keys import probe_key, visibility_of_rendition

if TYPE_CHECKING:
    from service.object_store import ObjectStore
    from service.settings import Settings

AT_ONCE = 8
_LIFETIME_S = 300
_SERVED = frozenset({200, 206, 304})
_ERROR = re.compile(r"<Error>\s*<Code>(\w+)</Code>\s*<Message>([^<]*)</Message>")
# CloudFront's own refusals of a signature; it writes `denied` small where S3 writes it large.
_NOT_LET_IN = frozenset({"MissingKey", "InvalidKey", "MalformedPolicy", "MalformedSignature"})
_SIGNATURE_REFUSED = "Access denied"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class EdgeReport:
    """`statuses`: how often each came. `served`: keys that an edge still has. `unclear`: of how many it did not tell.

    Where it does not serve what storage has, that is all the others. `refused`: of those, how many because it does not
    take the signature.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    served: list[str] = field(default_factory=list)
    unclear: int = 0
    refused: int = 0


class EdgeInspection:
    """Asks the distribution under the signers' base URL, AT_ONCE objects at a time; each within half a minute.

    `signers`: None in a process that was given no keys, and so cannot ask. `object_store`: what the edges stand before.
    """

    def __init__(
        self, signers: Signers | None, object_store: ObjectStore, *, clock: Callable[[], float] = time
    ) -> None:
        self._signers = signers
        self.can_ask = signers is not None
        self._object_store = object_store
        self._clock = clock

    async def ask(self, keys: Collection[str]) -> EdgeReport:
        """Ask for every one of `keys`; none tells anything where this process has no key to sign with.

        Raises TemporarilyUnavailable if storage is away.
        """
        if self._signers is None or not keys:
            return EdgeReport(unclear=len(keys))
        signers, slots = self._signers, asyncio.Semaphore(AT_ONCE)

        async def ask_for(key: str, signer: Signer) -> Answer | None:
            async with slots:
                try:
                    return await probe(signer.sign(key, int(self._clock()) + _LIFETIME_S))
                except NoAnswer:
                    return None

        ordered, control = sorted(keys), probe_key()
        async with _stored(control, self._object_store):
            known, *answers = await asyncio.gather(
                ask_for(control, signers.public), *(ask_for(key, _signer(signers, key)) for key in ordered)
            )
        is_served = known is not None and (known.status, known.body) == (200, control)
        if not is_served:
            log.warning("the edge does not serve what storage has", status=None if known is None else known.status)
        return _report(ordered, answers, can_tell=is_served)


def open_edge_inspection(settings: Settings, object_store: ObjectStore) -> EdgeInspection | None:
    """The edges of the settings' distribution; None where they name none. Raises ConfigurationError for a bad key."""
    if not settings.cdn.distribution_id:
        return None
    signers = None if settings.delivery.public_key is None else load_signers(settings.delivery)
    return EdgeInspection(signers, object_store)


@asynccontextmanager
async def _stored(key: str, object_store: ObjectStore) -> AsyncIterator[None]:
    """For as long as this lasts, the media bucket has an object whose text is its key. No cache may keep it."""
    bucket, body = object_store.media_bucket, key.encode()
    digest = hashlib.sha256(body).hexdigest()
    await object_store.put(
        bucket, key, body, content_type="text/plain", cache_control="no-store", metadata={}, sha256=digest
    )
    try:
        yield
    finally:
        await object_store.delete(bucket, [key])


def _signer(signers: Signers, key: str) -> Signer:
    visibility = visibility_of_rendition(key)
    if visibility is None:
        return signers.original
    return signers.public if visibility is Visibility.PUBLIC else signers.private


def _report(keys: Collection[str], answers: Collection[Answer | None], *, can_tell: bool) -> EdgeReport:
    statuses = Counter(answer.status for answer in answers if answer is not None)
    asked = list(zip(keys, answers, strict=True))
    served = [key for key, answer in asked if answer is not None and answer.status in _SERVED]
    refused = sum(answer is not None and _is_refusal(answer) for answer in answers)
    gone = sum(answer is not None and _is_gone(answer) for answer in answers) if can_tell else 0
    return EdgeReport(statuses, served, len(asked) - len(served) - gone, refused)


def _is_gone(answer: Answer) -> bool:
    """Whether a bucket says that it has no such object: 404 to whoever may list it, 403 to who may only read.

    So S3 does (https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html). Any other refusal says nothing of
    the object: a firewall's page, a clock that is off, a bucket that is closed to all.
    """
    code, message = _error_of(answer)
    return (
        answer.status == 410
        or (answer.status, code) == (404, "NoSuchKey")
        or (answer.status, code, message) == (403, "AccessDenied", "Access Denied")
    )


def _is_refusal(answer: Answer) -> bool:
    code, message = _error_of(answer)
    return answer.status == 403 and (code in _NOT_LET_IN or message == _SIGNATURE_REFUSED)


def _error_of(answer: Answer) -> tuple[str | None, str | None]:
    """Code and message of an error as S3 and CloudFront write it."""
    found = _ERROR.search(answer.body)
    return (None, None) if found is None else (found[1], found[2])
