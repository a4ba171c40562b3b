"""What other people's signers sign opens at the dev edge, as what ours signs does: botocore's and the AWS SDK's."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Network
from itertools import product
from pathlib import Path
from string import ascii_letters, digits
from typing import Any

import pytest
from botocore.signers import CloudFrontSigner
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from service.cloudfront import HashAlgorithm
from service.object_keys import is_safe_key
from tests.edge_vectors import BASE, EC_ID, EXPIRES, IP, NOW, RSA_ID, private_pem, signer, target, verdict

SIGNERS = Path(__file__).parents[1] / "edge-signers"
DIRECTIONS = f"needs Node.js 20 or later and its one package: run `npm ci` in {SIGNERS.relative_to(Path.cwd())}"
ALPHABET = f"{ascii_letters}{digits}_.-"
CUSTOM = {"dateGreaterThan": NOW - 1, "ipAddress": f"{IP}/32"}


def generated_keys(count: int) -> Iterator[str]:
    """Object keys of all lengths out of the whole alphabet, the same in every run."""
    choose = random.Random(20260101)
    while count:
        segments = ["".join(choose.choices(ALPHABET, k=choose.randint(1, 40))) for _ in range(choose.randint(1, 6))]
        if is_safe_key(key := "/".join(segments)):
            yield key
            count -= 1


KEYS = list(generated_keys(60))


@dataclass(frozen=True)
class Case:
    """One key, signed one way."""

    key: str
    key_id: str
    algorithm: HashAlgorithm
    is_custom: bool
    kind: str

    @property
    def url(self) -> str:
        return f"{BASE}/{self.key}"

    @property
    def as_input(self) -> dict[str, Any]:
        """As the AWS SDK takes it."""
        return {
            "kind": self.kind,
            "url": self.url,
            "keyPairId": self.key_id,
            "privateKey": private_pem(self.key_id),
            "algorithm": str(self.algorithm),
            "dateLessThan": EXPIRES,
            **(CUSTOM if self.is_custom else {}),
        }


CASES = [Case(*each) for each in product(KEYS, (RSA_ID, EC_ID), HashAlgorithm, (False, True), ("url", "cookies"))]


@pytest.fixture(scope="module")
def signed_by_sdk() -> list[Any]:
    """What @aws-sdk/cloudfront-signer makes of each case."""
    node = shutil.which("node")
    if node is None or not (SIGNERS / "node_modules" / "@aws-sdk" / "cloudfront-signer").is_dir():
        if os.environ.get("CI"):
            pytest.fail(DIRECTIONS)
        pytest.skip(DIRECTIONS)
    inputs = json.dumps([case.as_input for case in CASES])
    run = subprocess.run(
        [node, SIGNERS / "sign.mjs"], input=inputs, check=True, capture_output=True, text=True, timeout=120
    )
    return list(json.loads(run.stdout))


def verdicts(url: str, cookie: str) -> list[str]:
    """Now, a second before and at its end, before its start, from elsewhere, and for the next object."""
    asked = target(url, cookie)
    address, question, query = url.partition("?")
    moments = [verdict(asked, now=moment) for moment in (NOW, EXPIRES - 1, EXPIRES, NOW - 1)]
    other = target(f"{address}x{question}{query}", cookie)
    return [*moments, verdict(asked, ip="198.51.100.1"), verdict(other, now=NOW)]


OPENED = {
    False: ["allow", "allow", "deny:AccessDenied:expired", "allow", "allow", "deny:AccessDenied:signature"],
    True: [
        "allow",
        "allow",
        "deny:AccessDenied:expired",
        "deny:AccessDenied:not yet valid",
        "deny:AccessDenied:ip",
        "deny:AccessDenied:resource",
    ],
}


def test_everything_the_aws_sdk_signs_opens_exactly_as_far_as_it_says(signed_by_sdk: list[Any]) -> None:
    for case, signed in zip(CASES, signed_by_sdk, strict=True):
        cookie = "; ".join(f"{name}={value}" for name, value in signed.items()) if case.kind == "cookies" else ""
        url = case.url if cookie else signed
        assert verdicts(url, cookie) == OPENED[case.is_custom], (case, signed)


def test_rsa_urls_of_ours_are_those_of_the_aws_sdk_but_for_the_order_of_parameters(signed_by_sdk: list[Any]) -> None:
    for case, signed in zip(CASES, signed_by_sdk, strict=True):
        if case.key_id == RSA_ID and case.kind == "url" and not case.is_custom:
            ours = signer(case.key_id, case.algorithm).sign(case.key, EXPIRES)
            assert sorted(ours.partition("?")[2].split("&")) == sorted(signed.partition("?")[2].split("&"))


@pytest.mark.parametrize("is_custom", [False, True])
@pytest.mark.parametrize("key_id", [RSA_ID, EC_ID])
def test_everything_botocore_signs_opens_exactly_as_far_as_it_says(key_id: str, is_custom: bool) -> None:
    pem = load_pem_private_key(private_pem(key_id).encode(), None)
    hasher = HashAlgorithm.SHA1.hasher

    def sign(message: bytes) -> bytes:
        if isinstance(pem, rsa.RSAPrivateKey):
            return pem.sign(message, padding.PKCS1v15(), hasher)
        assert isinstance(pem, ec.EllipticCurvePrivateKey)
        return pem.sign(message, ec.ECDSA(hasher))

    theirs = CloudFrontSigner(key_id, sign)
    expires, starts = (datetime.fromtimestamp(moment, UTC) for moment in (EXPIRES, NOW - 1))
    for key in KEYS:
        url = f"{BASE}/{key}"
        policy = theirs.build_policy(url, expires, date_greater_than=starts, ip_address=f"{IP}/32")
        signed = theirs.generate_presigned_url(
            url, **({"policy": policy} if is_custom else {"date_less_than": expires})
        )
        assert verdicts(signed, "") == OPENED[is_custom], signed


@pytest.mark.parametrize("algorithm", HashAlgorithm)
@pytest.mark.parametrize("key_id", [RSA_ID, EC_ID])
def test_everything_we_sign_opens_exactly_as_far_as_it_says(key_id: str, algorithm: HashAlgorithm) -> None:
    ours, source = signer(key_id, algorithm), IPv4Network(f"{IP}/32")
    for key in KEYS:
        url, folder = f"{BASE}/{key}", key.rpartition("/")[0]
        assert verdicts(ours.sign(key, EXPIRES), "") == OPENED[False], key
        query = ours.sign_pattern(key, EXPIRES, starts=NOW - 1, source=source)
        assert verdicts(f"{url}?{query}", "") == OPENED[True], key
        if folder:
            cookie = "; ".join(f"{name}={value}" for name, value in ours.cookies(f"{folder}/*", EXPIRES).items())
            for asked in (target(f"{url}?{ours.sign_pattern(f'{folder}/*', EXPIRES)}"), target(url, cookie)):
                assert [verdict(asked), verdict(asked, now=EXPIRES)] == ["allow", "deny:AccessDenied:expired"], url
            assert verdict(target(f"{BASE}/x{key}", cookie)) == "deny:AccessDenied:resource"
