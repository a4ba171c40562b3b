"""Keeping secrets out of log lines: by the names of fields, and by what text looks like."""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from functools import lru_cache
from typing import Any
from uuid import UUID

REDACTED = "[redacted]"

_SECRET_KEY = re.compile(
    r"authori[sz]ation|token(?!s$)|secret|passw|cookie|credential|(?:private|access|api)_?key|signature|x-amz-|gps|"
    r"(?:^|_)(?:lat|latitude|lng|lon|longitude|location|coordinates)(?:_|$)",
    re.IGNORECASE,
)
_LONGEST_KEY = 64
_SECRETS_IN_TEXT = (
    (re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]+", re.IGNORECASE), rf"\1 {REDACTED}"),
    (re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*"), REDACTED),
    # A secret of a webhook, and a signature made with one (Standard Webhooks).
    (re.compile(r"\bwhsec_[\w+/=-]+"), REDACTED),
    (re.compile(r"\bv1a?,[\w+/-]{20,}={0,2}"), REDACTED),
    (
        re.compile(r"\b(Signature|Policy|X-Amz-[A-Za-z-]+|(?<=[?&])(?:key|sig|code|auth))=[^&\s\"'<>]+", re.IGNORECASE),
        rf"\1={REDACTED}",
    ),
    (
        re.compile(
            r"(token|secret|password|passwd|pwd|passphrase|credentials?|(?:access|private|api)[_-]?key(?:[_-]?id)?)"
            # After a colon alone prose may go on, such as "invalid token: it has expired".
            r"(['\"]\s*[:=]\s*|\s*=\s*|:\s*(?=['\"]|[^\s:]*\d))(?:\"[^\"\n]*\"|'[^'\n]*'|[^&\s\"'<>,;)}]+)",
            re.IGNORECASE,
        ),
        rf"\1\2{REDACTED}",
    ),
    (re.compile(r"(\w://)[^/@\s\"']+@"), rf"\1{REDACTED}@"),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), REDACTED),
    (
        re.compile(
            r"\b(GPS\w*|lat(?:itude)?|lng|lon(?:gitude)?)(['\"]?\s*[:=]\s*)"
            r"(?:\"[^\"\n]*\"|'[^'\n]*'|\([^)\n]*\)?|\[[^\]\n]*\]?|[-+\d.][^,;}\n]*(?:,\s*[-+]?\d[\d.]*)*)",
            re.IGNORECASE,
        ),
        rf"\1\2{REDACTED}",
    ),
    (re.compile(r"(['\"]coordinates['\"]\s*:\s*)\[[^\]]*\]", re.IGNORECASE), rf"\1{REDACTED}"),
)
# Each of the patterns above needs one of these: most values of a line have none, and seven searches cost more than one.
_SUSPECT = re.compile(r"[\s=:@]|eyJ|whsec_|v1a?,")
# Written by processors of ours, whatever the caller gave.
_OWN_KEYS = frozenset({"timestamp", "level"})


def redact(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Structlog processor: no token, signature, password or position leaves in a log line, however deep it hides."""
    return {key: value if key in _OWN_KEYS else _redacted(key, value) for key, value in event.items()}


@lru_cache(maxsize=1024)
def _is_secret(key: str) -> bool:
    return _SECRET_KEY.search(key) is not None


def _redacted(key: str, value: Any) -> Any:
    # Keys that code writes are few and short; others are not worth the memory.
    if _is_secret(key) if len(key) <= _LONGEST_KEY else _SECRET_KEY.search(key):
        return REDACTED
    if isinstance(value, str):
        return _redact_text(value)
    if isinstance(value, dict):
        return {str(inner): _redacted(str(inner), item) for inner, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted("", item) for item in value]
    if value is None or isinstance(value, bool | int | float | UUID):
        return value
    return _redact_text(str(value))


def _redact_text(text: str) -> str:
    if not _SUSPECT.search(text):
        return text
    for pattern, replacement in _SECRETS_IN_TEXT:
        text = pattern.sub(replacement, text)
    return text
