"""The edge as clients meet it: it must answer, refuse what is not signed, and open what is."""

from __future__ import annotations

import re
from time import time
from uuid import UUID

from service.cloudfront import Signer
from service.delivery import Signers
from service.doctor.findings import Finding, Level, ok, problem, warning
from service.documents import MediaDocument
from service.http_probe import Answer, NoAnswer, probe
from service.models import MediaFormat, MediaPurpose, RenditionName, Visibility
from service.object_keys import original_key, rendition_key

_LIFETIME_S = 60
_NOBODYS = UUID(int=0)
_PUBLIC, _PRIVATE = (
    rendition_key(MediaPurpose.COMMUNITY, visibility, RenditionName.FEED, _NOBODYS, "doctor", MediaFormat.JPEG)
    for visibility in (Visibility.PUBLIC, Visibility.PRIVATE)
)
_ORIGINAL = original_key(MediaPurpose.COMMUNITY, _NOBODYS, "image/jpeg")

_CODE = re.compile(r"<Code>(\w+)</Code>")
# CloudFront's own words; a bucket that says no writes `Access Denied`.
_SIGNATURE_REFUSED = "<Message>Access denied</Message>"


async def check_edge(base_url: str, signers: Signers, shown: MediaDocument | None) -> list[Finding]:
    """Ask for an unsigned URL, for a signed one of each key, and for a rendition of `shown`, a public READY media."""
    try:
        findings = [_unsigned(await probe(f"{base_url}/{_PUBLIC}"))]
        for key, signer in (
            (_PUBLIC, signers.public),
            (_PUBLIC, signers.private),
            (_PRIVATE, signers.private),
            (_ORIGINAL, signers.original),
        ):
            findings.append(_trusted(signer, await probe(_signed(signer, key))))
        if signers.public.key_pair_id != signers.private.key_pair_id:
            findings.append(_apart(await probe(_signed(signers.public, _PRIVATE))))
        is_trusted = all(finding.level is not Level.PROBLEM for finding in findings)
        if is_trusted and shown is not None and shown["renditions"]:
            findings.append(_opened(await probe(_signed(signers.public, shown["renditions"][0]["key"]))))
    except NoAnswer as error:
        remedy = "Start it, or correct MEDIA_DELIVERY__BASE_URL and its DNS entry."
        return [problem("edge", f"{base_url} does not answer: {error}.", remedy)]
    return list(dict.fromkeys(findings))


def _signed(signer: Signer, key: str) -> str:
    return signer.sign(key, int(time()) + _LIFETIME_S)


def _unsigned(answer: Answer) -> Finding:
    code = _CODE.search(answer.body)
    if answer.status == 403 and code is not None and code.group(1) == "MissingKey":
        return ok("edge", "Refuses what is not signed.")
    remedy = "Restrict viewer access of every behaviour of the distribution to trusted key groups."
    if answer.status == 403:
        return warning("edge", "Refuses an unsigned URL, but not for want of a signature: it may open others.", remedy)
    return problem("edge", f"Answers an unsigned URL with status {answer.status} instead of refusing it.", remedy)


def _trusted(signer: Signer, answer: Answer) -> Finding:
    code = _CODE.search(answer.body)
    if code is not None and code.group(1) in {"InvalidKey", "MissingKey"}:
        remedy = "Add its public key to the trusted key groups of the distribution's behaviours."
        return problem("edge", f"Does not know key {signer.key_pair_id}.", remedy)
    if answer.status == 403 and _SIGNATURE_REFUSED in answer.body:
        remedy = "Upload the public half of the very key that signs; check this clock as well."
        return problem("edge", f"Refuses what {signer.key_pair_id} signs.", remedy)
    if answer.status >= 500:
        remedy = "Check the distribution's origins and the state of storage."
        return problem("edge", f"Answers with status {answer.status} to what {signer.key_pair_id} signs.", remedy)
    return ok("edge", f"Accepts what {signer.key_pair_id} signs.")


def _apart(answer: Answer) -> Finding:
    code = _CODE.search(answer.body)
    if answer.status == 403 and code is not None and code.group(1) == "InvalidKey":
        return ok("edge", "Opens no private rendition to the key of the public ones.")
    remedy = "Let the behaviour of */private/*, before that of */processed/*, trust the private key group alone."
    return problem("edge", "Does not keep private renditions from the key of the public ones.", remedy)


def _opened(answer: Answer) -> Finding:
    if answer.status == 200:
        return ok("edge", "Opens the newest public picture.")
    remedy = "Let the distribution read the media bucket (origin access control), and check its origin."
    return problem("edge", f"Answers with status {answer.status} for the newest public picture.", remedy)
