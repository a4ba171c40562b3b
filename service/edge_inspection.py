"""Whether edges still answer for objects that are gone: each is asked for as its viewers ask, with a signed URL.

An unsigned request would be refused whatever an edge holds, and prove nothing.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from time import time
from typing import TYPE_CHECKING

from service.cloudfront import Signer
from service.delivery import Signers, load_signers
from service.http_probe import Answer, NoAnswer, probe
from service.models import Visibility
from service.object_keys import visibility_of_rendition

if TYPE_CHECKING:
    from service.settings import Settings

AT_ONCE = 8
_LIFETIME_S = 300
_GONE = frozenset({404, 410})
_SERVED = frozenset({200, 206, 304})
_CODE = re.compile(r"<Code>(\w+)</Code>")
# CloudFront's own refusals, which say nothing of the object; a bucket that has none writes `Access Denied`.
_NOT_LET_IN = frozenset({"MissingKey", "InvalidKey", "MalformedPolicy", "MalformedSignature"})
_SIGNATURE_REFUSED = "<Message>Access denied</Message>"


@dataclass(frozen=True, slots=True)
class EdgeReport:
    """`statuses`: how often each came. `served`: keys that an edge still has. `unclear`: of how many it did not tell.

    `refused`: of those, how many because it does not take the signature.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    served: list[str] = field(default_factory=list)
    unclear: int = 0
    refused: int = 0


class EdgeInspection:
    """Asks the distribution under the signers' base URL, AT_ONCE objects at a time; each within half a minute.

    `signers`: None in a process that was given no keys, and so cannot ask.
    """

    def __init__(self, signers: Signers | None, *, clock: Callable[[], float] = time) -> None:
        self._signers = signers
        self.can_ask = signers is not None
        self._clock = clock

    async def ask(self, keys: Collection[str]) -> EdgeReport:
        """Ask for every one of `keys`; none tells anything where this process has no key to sign with."""
        slots = asyncio.Semaphore(AT_ONCE)

        async def ask_for(key: str) -> Answer | None:
            if self._signers is None:
                return None
            async with slots:
                try:
                    return await probe(_signer(self._signers, key).sign(key, int(self._clock()) + _LIFETIME_S))
                except NoAnswer:
                    return None

        ordered = sorted(keys)
        return _report(ordered, await asyncio.gather(*map(ask_for, ordered)))


def open_edge_inspection(settings: Settings) -> EdgeInspection | None:
    """The edges of the settings' distribution; None where they name none. Raises ConfigurationError for a bad key."""
    if not settings.cdn.distribution_id:
        return None
    return EdgeInspection(None if settings.delivery.public_key is None else load_signers(settings.delivery))


def _signer(signers: Signers, key: str) -> Signer:
    visibility = visibility_of_rendition(key)
    if visibility is None:
        return signers.original
    return signers.public if visibility is Visibility.PUBLIC else signers.private


def _report(keys: Collection[str], answers: Collection[Answer | None]) -> EdgeReport:
    statuses = Counter(answer.status for answer in answers if answer is not None)
    asked = list(zip(keys, answers, strict=True))
    served = [key for key, answer in asked if answer is not None and answer.status in _SERVED]
    refused = sum(answer is not None and _is_refusal(answer) for answer in answers)
    clear = sum(answer is not None and _is_clear(answer) for answer in answers)
    return EdgeReport(statuses, served, len(asked) - clear, refused)


def _is_clear(answer: Answer) -> bool:
    is_gone = answer.status in _GONE or (answer.status == 403 and not _is_refusal(answer))
    return is_gone or answer.status in _SERVED


def _is_refusal(answer: Answer) -> bool:
    code = _CODE.search(answer.body)
    is_not_let_in = code is not None and code.group(1) in _NOT_LET_IN
    return answer.status == 403 and (is_not_let_in or _SIGNATURE_REFUSED in answer.body)
