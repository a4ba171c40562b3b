"""What a delivery URL costs, against botocore's CloudFrontSigner in the same run: `python -m benchmarks.signing`."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

from botocore.signers import CloudFrontSigner
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from pydantic import SecretStr

from service.cloudfront import HashAlgorithm, Signer
from service.delivery import Delivery
from service.models import MediaFormat, MediaPurpose, RenditionName, Visibility
from service.object_keys import rendition_key
from service.settings import DeliverySettings, SigningKey

BASE = "https://cdn.example.org"
SECONDS = 1.0
NAMES = (RenditionName.THUMBNAIL, RenditionName.FEED, RenditionName.FULL)


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def per_second(work: Callable[[int], object], urls: int = 1) -> float:
    """URLs a second, by the CPU time of this process: others share the machine."""
    count, start, until = 0, time.process_time(), time.monotonic() + SECONDS
    while time.monotonic() < until:
        for _ in range(10):
            work(count)
            count += 1
    return urls * count / (time.process_time() - start)


def main() -> None:
    rsa_key = rsa.generate_private_key(65537, 2048)
    ec_key = ec.generate_private_key(ec.SECP256R1())
    baseline = CloudFrontSigner("K1", lambda message: rsa_key.sign(message, padding.PKCS1v15(), hashes.SHA1()))
    expires = datetime.now(UTC)
    rsa_signer = Signer(BASE, "K1", pem(rsa_key), HashAlgorithm.SHA1)
    ec_signer = Signer(BASE, "K1", pem(ec_key), HashAlgorithm.SHA256)
    delivery = Delivery(
        DeliverySettings(base_url=BASE, public_key=SigningKey(key_pair_id="K1", private_key=SecretStr(pem(ec_key))))
    )
    feed = [
        (
            media_id,
            [(name, rendition_key(MediaPurpose.COMMUNITY, name, media_id, 1, MediaFormat.WEBP)) for name in NAMES],
        )
        for media_id in (uuid4() for _ in range(1_000))
    ]

    def page(index: int) -> object:
        media_id, renditions = feed[index % len(feed)]
        return delivery.rendition_urls(
            media_id=media_id, purpose=MediaPurpose.COMMUNITY, visibility=Visibility.PUBLIC, renditions=renditions
        )

    def single(index: int) -> object:
        media_id, renditions = feed[index % len(feed)]
        return delivery.rendition_url(
            media_id=media_id,
            purpose=MediaPurpose.COMMUNITY,
            visibility=Visibility.PUBLIC,
            rendition=NAMES[0],
            key=renditions[0][1],
        )

    stock = per_second(lambda index: baseline.generate_presigned_url(f"{BASE}/a/{index}.webp", expires))
    for index in range(len(feed)):
        page(index)
        single(index)
    figures = {
        "botocore, RSA canned": stock,
        "RSA canned": per_second(lambda index: rsa_signer.sign(f"a/{index}.webp", 1_800_000_000)),
        "ECDSA canned": per_second(lambda index: ec_signer.sign(f"a/{index}.webp", 1_800_000_000)),
        "ECDSA canned, memoised": per_second(single),
        "ECDSA wildcard, memoised, 3 renditions": per_second(page, urls=len(NAMES)),
    }
    for name, rate in figures.items():
        print(f"{name:40} {rate:12,.0f} URL/s {rate / stock:8.1f} x")


if __name__ == "__main__":
    main()
