"""CloudFront's 403s: the codes, and the message that goes with each."""

from __future__ import annotations

import enum


class DenialCode(enum.StrEnum):
    """The `<Code>` of CloudFront's 403, each with the message CloudFront sends along."""

    ACCESS_DENIED = "AccessDenied"
    MISSING_KEY = "MissingKey"
    INVALID_KEY = "InvalidKey"
    MALFORMED_POLICY = "MalformedPolicy"
    MALFORMED_SIGNATURE = "MalformedSignature"

    @property
    def message(self) -> str:
        return _MESSAGES[self]


_MESSAGES = {
    DenialCode.ACCESS_DENIED: "Access denied",
    DenialCode.MISSING_KEY: "Missing Key-Pair-Id query parameter or cookie value",
    DenialCode.INVALID_KEY: "Unknown Key",
    DenialCode.MALFORMED_POLICY: "Malformed Policy",
    DenialCode.MALFORMED_SIGNATURE: "Could not unencode Signature",
}


class Denied(Exception):
    """The request is not let in. `reason` is for our log; CloudFront tells clients only the code."""

    def __init__(self, code: DenialCode, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason
