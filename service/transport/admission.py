"""Whether an operation is run now: the budgets of its viewer, and how much of theirs is under way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from functools import lru_cache
from typing import Final, Protocol

from graphql import OperationType
from starlette.types import Scope

from service.access import ANONYMOUS, Viewer
from service.auth import Unauthenticated
from service.errors import RateLimited
from service.rate_limits import Budget, Portion, RateLimiter, key_of_viewer
from service.settings import LimitsSettings, PerRole
from service.transport.client_address import client_addresses
from service.transport.documents import DocumentRefused, GraphQLRequest, Operation
from service.transport.operations import Operations
from service.transport.reply import RawHeaders, raw_headers

# What reading and refusing a document costs that is not run.
REFUSED_DOCUMENT: Final = 100
# To come back when one of the others may be done.
_ONE_IS_DONE_MS: Final = 1_000
_SOCKETS: Final = "{} sockets of yours are open; use one of them, or close one."

# https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/10/; units of cost are none of its registry's.
EXPOSED_HEADERS: Final = ("ratelimit", "ratelimit-policy", "retry-after")

_BUDGETS: Final = {
    OperationType.QUERY: Budget.READS,
    OperationType.MUTATION: Budget.WRITES,
    OperationType.SUBSCRIPTION: Budget.LIVE,
}


class Seen(Protocol):
    """What a request's context knows of who asks."""

    @property
    def viewer(self) -> Viewer: ...


class OverBudget(RateLimited):
    """A budget is used up. `headers` tell which, and for how long."""

    def __init__(self, error: RateLimited, headers: RawHeaders) -> None:
        super().__init__(error.message, retry_after_ms=error.retry_after_ms or _ONE_IS_DONE_MS)
        self.headers = headers


class UnderWay:
    """An operation, or a socket, that is counted under `key` until the block ends."""

    __slots__ = ("_key", "_running")

    def __init__(self, running: Counter[str], key: str) -> None:
        self._running = running
        self._key = key

    def __enter__(self) -> None:
        return

    def __exit__(self, *_: object) -> None:
        self._leave()

    def move(self, key: str) -> None:
        """Count it under another key from now on."""
        self._leave()
        self._running[key] += 1
        self._key = key

    def _leave(self) -> None:
        self._running[self._key] -= 1
        if not self._running[self._key]:
            del self._running[self._key]


class Admission:
    """Charges operations to their viewers, or to the addresses of those who do not say who they are.

    Nothing is counted before `count_by` names the limiter.
    """

    def __init__(self, settings: LimitsSettings) -> None:
        self._settings = settings
        self._limits = {Budget.READS: settings.reads, Budget.WRITES: settings.writes, Budget.LIVE: settings.live}
        self._address_of = client_addresses(settings.trusted_proxies)
        self._limiter: RateLimiter | None = None
        self._under_way: Counter[str] = Counter()
        self._sockets: Counter[str] = Counter()

    def count_by(self, limiter: RateLimiter) -> None:
        self._limiter = limiter

    async def admit(self, scope: Scope, viewer: Viewer, operation: Operation) -> RawHeaders:
        """Charge an operation; what to say of the budget in the answer's headers. Raises OverBudget."""
        # What a subscription will send is not known; it is counted by its number.
        cost = 1 if operation.type is OperationType.SUBSCRIPTION else max(1, operation.cost)
        return await self._charge(_BUDGETS[operation.type], self._key(scope, viewer), viewer, cost)

    async def begin(self, scope: Scope, viewer: Viewer, operation: Operation, until: ExitStack) -> None:
        """Charge an operation, and count it as under way `until` its end. Raises RateLimited."""
        await self.admit(scope, viewer, operation)
        until.enter_context(self.under_way(scope, viewer))

    async def read(self, scope: Scope, viewer: Viewer, request: GraphQLRequest, operations: Operations) -> Operation:
        """The operation that a request names. Raises DocumentRefused, which is charged, and OverBudget."""
        try:
            if operations.is_new(request):
                self._require_reading(scope, viewer, request.query)
            return operations.prepare(request)
        except DocumentRefused:
            await self._charge_refusal(scope, viewer, request.query)
            raise

    async def _charge_refusal(self, scope: Scope, viewer: Viewer, text: str) -> None:
        for budget in _budgets_of(text):
            try:
                await self._charge(budget, self._key(scope, viewer), viewer, REFUSED_DOCUMENT)
            except OverBudget as error:
                over = error
            else:
                return
        raise over

    def _require_reading(self, scope: Scope, viewer: Viewer, text: str) -> None:
        # Who has used up a budget could have new documents read all the same, one after the other, to be refused.
        limiter = self._limiter
        if limiter is None:
            return
        key, waits = self._key(scope, viewer), []
        for budget in _budgets_of(text):
            limit = widest(self._limits[budget], viewer)
            wait_s = limiter.refused_for_s(budget, key, REFUSED_DOCUMENT, limit=limit) if limit else 0.0
            if not wait_s:
                return
            waits.append((wait_s, budget, limit))
        wait_s, budget, limit = min(waits)
        raise self._over(budget, limit, limiter.refused(budget, wait_s))

    def under_way(self, scope: Scope, viewer: Viewer) -> UnderWay:
        """Count an operation until the end of the block. Raises RateLimited if too many of the viewer's run here."""
        key = self._key(scope, viewer)
        text = "{} operations of yours are under way; send this one again when one of them is done."
        _require_room(self._under_way, key, self._settings.operations_at_once, text)
        self._under_way[key] += 1
        return UnderWay(self._under_way, key)

    def open_socket(self, scope: Scope) -> UnderWay:
        """Count a WebSocket until the end of the block, under its address at first.

        Raises RateLimited if too many are open from there that nobody has signed in on.
        """
        key = self._key(scope, ANONYMOUS)
        _require_room(self._sockets, key, self._settings.sockets_at_once, _SOCKETS)
        self._sockets[key] += 1
        return UnderWay(self._sockets, key)

    async def sign_in(
        self, scope: Scope, token: str, authenticate: Callable[[str | None], Awaitable[Viewer]], socket: UnderWay
    ) -> Viewer:
        """The viewer of the token that was sent on a socket, which is counted as theirs from now on.

        Raises what `guarded` does, and RateLimited if too many of theirs are open.
        """
        viewer = await self.guarded(scope, token, authenticate)
        key = self._key(scope, viewer)
        _require_room(self._sockets, key, self._settings.sockets_at_once, _SOCKETS)
        socket.move(key)
        return viewer

    async def guarded(
        self, scope: Scope, token: str, authenticate: Callable[[str | None], Awaitable[Viewer]]
    ) -> Viewer:
        """The viewer of a token.

        Raises what `authenticate` does, and OverBudget for a token that does not hold where too many from the same
        address did not. One that holds always does: to verify it costs less than to shut out all those who share an
        address with one who guesses.
        """
        try:
            return await authenticate(token)
        except Unauthenticated:
            limit = self._settings.failed_authentications
            if limit and self._limiter is not None:
                await self._take(Budget.FAILED_AUTHENTICATIONS, f"address:{self._address_of(scope)}", 1, limit)
            raise

    def _key(self, scope: Scope, viewer: Viewer) -> str:
        return f"address:{self._address_of(scope)}" if viewer.id is None else key_of_viewer(viewer.id)

    async def _charge(self, budget: Budget, key: str, viewer: Viewer, cost: int) -> RawHeaders:
        limit = widest(self._limits[budget], viewer)
        if not limit or self._limiter is None:
            return ()
        portion = self._limiter.spend(budget, key, cost) or await self._take(budget, key, cost, limit)
        left = b'"%b";r=%d;t=%d' % (
            budget.value.encode(),
            portion.left + portion.shared,
            self._limiter.ends_in_s(portion),
        )
        return (_policy(budget, limit, self._settings.window_s), (b"ratelimit", left))

    async def _take(self, budget: Budget, key: str, cost: int, limit: int) -> Portion:
        limiter = self._limiter
        assert limiter is not None  # noqa: S101 - asked for above, for the type checker
        try:
            return await limiter.take(budget, key, cost, limit=limit)
        except RateLimited as error:
            raise self._over(budget, limit, error) from None

    def _over(self, budget: Budget, limit: int, error: RateLimited) -> OverBudget:
        wait_s = -(-(error.retry_after_ms or 0) // 1_000)
        told = raw_headers({"RateLimit": f'"{budget.value}";r=0;t={wait_s}'})
        return OverBudget(error, (_policy(budget, limit, self._settings.window_s), *told))


def widest(limits: PerRole, viewer: Viewer) -> int:
    """The limit of a viewer: the widest that one of their roles has; 0: none."""
    if viewer.id is None:
        return limits.anonymous
    if not viewer.roles:
        return limits.user
    theirs = [limits.user]
    if viewer.is_moderator:
        theirs.append(limits.moderator)
    if viewer.is_service:
        theirs.append(limits.service)
    return max(theirs) if all(theirs) else 0


def _require_room(counted: Counter[str], key: str, most: int, text: str) -> None:
    if most and counted[key] >= most:
        raise RateLimited(text.format(most), retry_after_ms=_ONE_IS_DONE_MS)


def _budgets_of(text: str) -> tuple[Budget, ...]:
    """Which budgets a document might be charged to, as far as that can be told without reading it."""
    may_write = "mutation" in text or "subscription" in text
    return (Budget.READS, Budget.WRITES) if may_write else (Budget.READS,)


@lru_cache(maxsize=64)
def _policy(budget: Budget, limit: int, window_s: int) -> tuple[bytes, bytes]:
    return (b"ratelimit-policy", f'"{budget.value}";q={limit};w={window_s}'.encode())
