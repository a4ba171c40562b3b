"""Token issuers: can the API verify what they sign?"""

from __future__ import annotations

from service.doctor.findings import Finding, ok, problem, warning
from service.errors import ConfigurationError
from service.issuer_keys.fetching import FetchFailed, fetch
from service.issuer_keys.key_set import KeySetRefused, parse_key_set
from service.issuer_keys.verification_key import configured_key
from service.settings import AuthSettings, IssuerSettings

_UNREACHABLE = "Correct its jwks_url in MEDIA_AUTH__ISSUERS, or let this machine reach it: nobody can sign in with it."


async def check_issuers(settings: AuthSettings) -> list[Finding]:
    """A finding or two for each issuer; seconds where one does not answer."""
    found = []
    for issuer in settings.issuers:
        if issuer.jwks_url is None:
            found.append(_judge_configured(issuer))
        else:
            found += await _judge_published(issuer.issuer, issuer.jwks_url)
    return found


def _judge_configured(issuer: IssuerSettings) -> Finding:
    try:
        configured_key(issuer)
    except ConfigurationError as error:
        return problem("issuers", str(error))
    return ok("issuers", f"{issuer.issuer} signs with {issuer.algorithm}.")


async def _judge_published(name: str, url: str) -> list[Finding]:
    try:
        key_set = parse_key_set(await fetch(url))
    except (FetchFailed, KeySetRefused) as error:
        return [problem("issuers", f"The keys of {name} cannot be had: {error}.", _UNREACHABLE)]
    algorithms = ", ".join(sorted({key.algorithm for key in key_set.keys.values()}))
    found = [ok("issuers", f"{name} publishes {len(key_set.keys)} keys that can be used ({algorithms}).")]
    if key_set.refused:
        reasons = "; ".join(key_set.refused[:3])
        remedy = (
            "Tokens that are signed with them are refused; tell whoever runs the issuer, if they are meant for that."
        )
        found.append(warning("issuers", f"Keys of {name} are not used: {reasons}.", remedy))
    return found
