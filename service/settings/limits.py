"""How much one viewer may ask for, store and have under way, and when the service takes on no more work."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from typing import Annotated

from pydantic import Field, SecretStr, field_validator

from service.settings.group import Group

# 0 turns a limit off.
Limit = Annotated[int, Field(ge=0)]


class PerRole(Group):
    """A limit for each kind of viewer; 0: none. Whoever has several roles has the widest of theirs."""

    anonymous: Limit = 0
    user: Limit = 0
    moderator: Limit = 0
    service: Limit = 0


class PerOwner(Group):
    """A limit for each kind of owner; 0: none. Whoever has several roles has the widest of theirs."""

    user: Limit = 0
    moderator: Limit = 0
    service: Limit = 0


class LimitsSettings(Group):
    store: SecretStr = Field(
        default=SecretStr(""), description="redis:// or rediss:// address that counts; empty: MongoDB does"
    )
    window_s: int = Field(default=60, ge=1, le=3_600, description="Over how long budgets are counted")
    reads: PerRole = Field(
        default=PerRole(anonymous=600_000, user=1_200_000, moderator=2_400_000), description="Cost of queries a window"
    )
    writes: PerRole = Field(
        default=PerRole(anonymous=120_000, user=1_200_000, moderator=2_400_000),
        description="Cost of mutations a window",
    )
    live: PerRole = Field(
        default=PerRole(anonymous=600, user=600, moderator=600), description="Subscriptions begun a window"
    )
    failed_authentications: Limit = Field(default=300, description="Tokens that do not hold, of one address, a window")
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = Field(
        default=(), description="Whose word is taken on where a request comes from (X-Forwarded-For)"
    )
    operations_at_once: Limit = Field(default=1_000, description="Of one viewer in one process")
    sockets_at_once: Limit = Field(
        default=100,
        description="WebSockets of one viewer, or of an address without a token, in one process",
    )
    daily_bytes: PerOwner = Field(
        default=PerOwner(user=50_000_000_000, moderator=50_000_000_000),
        description="Bytes an owner may send a day",
    )
    total_bytes: PerOwner = Field(default=PerOwner(), description="Bytes an owner may have stored")
    max_queue_age_s: float = Field(
        default=900.0, ge=0, description="No more uploads while somebody's picture waits longer for a worker; 0: never"
    )
    max_database_ms: float = Field(
        default=2_000.0, ge=0, description="No more work while the database takes longer to answer; 0: never"
    )

    @field_validator("store")
    @classmethod
    def _is_known(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value() and not value.get_secret_value().startswith(("redis://", "rediss://")):
            raise ValueError("store must be a redis:// or rediss:// address, or empty for MongoDB")
        return value
