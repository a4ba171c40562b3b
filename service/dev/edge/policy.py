"""What a signed policy says, and whether it covers a request: resource, time and address.

Rules: Amazon CloudFront Developer Guide, "Create a signed URL using a custom policy". Where the guide is silent the
stricter reading is taken.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Address, ip_address
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError

from service.dev.edge.denials import DenialCode, Denied
from service.dev.edge.patterns import matches


def _network(text: object) -> IPv4Network:
    # CloudFront takes IPv4 alone here. The bits behind the prefix don't matter: its SDKs show 192.168.0.1/24.
    if not isinstance(text, str):
        raise ValueError("not text")  # noqa: TRY004 - pydantic takes ValueError for what is not valid
    return IPv4Network(text, strict=False)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Time(_Part):
    epoch: int = Field(alias="AWS:EpochTime", gt=0)


class _Source(_Part):
    network: Annotated[IPv4Network, PlainValidator(_network)] = Field(alias="AWS:SourceIp")


class _Condition(_Part):
    before: _Time = Field(alias="DateLessThan")
    after: _Time | None = Field(default=None, alias="DateGreaterThan")
    source: _Source | None = Field(default=None, alias="IpAddress")


class Statement(_Part):
    """The one statement of a policy."""

    resource: str = Field(default="*", alias="Resource")
    condition: _Condition = Field(alias="Condition")

    def check(self, address: str, query: str, *, now: float, client_ip: str) -> None:
        """Raises Denied unless this opens `address` (scheme, host and path) with `query` at `now` for `client_ip`."""
        if not _covers(self.resource, address, query):
            raise Denied(DenialCode.ACCESS_DENIED, "resource")
        if now >= self.condition.before.epoch:
            raise Denied(DenialCode.ACCESS_DENIED, "expired")
        if self.condition.after is not None and now <= self.condition.after.epoch:
            raise Denied(DenialCode.ACCESS_DENIED, "not yet valid")
        if self.condition.source is not None and not _is_within(client_ip, self.condition.source.network):
            raise Denied(DenialCode.ACCESS_DENIED, "ip")


class _Policy(_Part):
    statement: Annotated[list[Statement], Field(min_length=1, max_length=1)] | Statement = Field(alias="Statement")


def read_policy(policy: bytes) -> Statement:
    """The statement of a policy. Raises Denied for anything of another shape."""
    try:
        found = _Policy.model_validate_json(policy).statement
    except ValidationError as error:
        raise Denied(DenialCode.MALFORMED_POLICY, "policy shape") from error
    return found[0] if isinstance(found, list) else found


def _covers(resource: str, address: str, query: str) -> bool:
    """Path and query are matched apart: `*` in a path stops at the `?`, unless it ends the resource."""
    path, has_query, pattern = resource.partition("?")
    if has_query:
        return bool(query) and matches(path, address) and matches(pattern, query)
    return (resource.endswith("*") or not query) and matches(path, address)


def _is_within(client_ip: str, network: IPv4Network) -> bool:
    client = ip_address(client_ip)
    if isinstance(client, IPv6Address):
        # A socket that listens for both families shows IPv4 clients like this.
        return client.ipv4_mapped is not None and client.ipv4_mapped in network
    return client in network
