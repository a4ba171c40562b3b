"""The keys that sign delivery URLs: do they load, and does what they sign verify?"""

from __future__ import annotations

from time import time
from urllib.parse import parse_qs, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from service.cloudfront import HashAlgorithm, Signer, decode, policy_text
from service.delivery import Signers
from service.doctor.findings import Finding, ok, problem, warning

# Under no purpose's prefix: a URL that opens nothing, whoever reads it.
PROBE_KEY = "doctor/probe"
PROBE_LIFETIME_S = 60


def check_keys(signers: Signers, algorithm: HashAlgorithm) -> list[Finding]:
    """Sign a probe with each key and verify it."""
    by_id = {signer.key_pair_id: signer for signer in (signers.public, signers.private, signers.original)}
    findings = [_verified(signer, algorithm) for signer in by_id.values()]
    return [*findings, *_separation(signers)]


def _verified(signer: Signer, algorithm: HashAlgorithm) -> Finding:
    expires = int(time()) + PROBE_LIFETIME_S
    url = signer.sign(PROBE_KEY, expires)
    policy = policy_text(url.split("?")[0], expires).encode()
    signature = decode(parse_qs(urlsplit(url).query)["Signature"][0])
    try:
        _verify(signer.public_key, signature, policy, algorithm)
    except InvalidSignature:
        return problem("keys", f"What {signer.key_pair_id} signs does not verify.", "Replace the key pair.")
    return ok("keys", f"{signer.key_pair_id} signs for {signer.base_url}, and its signature verifies.")


def _verify(public_key: str, signature: bytes, data: bytes, algorithm: HashAlgorithm) -> None:
    key = load_pem_public_key(public_key.encode())
    if isinstance(key, rsa.RSAPublicKey):
        key.verify(signature, data, padding.PKCS1v15(), algorithm.hasher)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(signature, data, ec.ECDSA(algorithm.hasher))
    else:
        raise InvalidSignature


def _separation(signers: Signers) -> list[Finding]:
    ids = [signers.public.key_pair_id, signers.private.key_pair_id, signers.original.key_pair_id]
    if len(set(ids)) == len(ids):
        return []
    remedy = "Set MEDIA_DELIVERY__PRIVATE_KEY and MEDIA_DELIVERY__ORIGINAL_KEY to key pairs of their own."
    return [warning("keys", "Public, private and original objects share a key: none can be revoked alone.", remedy)]
