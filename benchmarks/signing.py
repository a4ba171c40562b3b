"""What a signed URL costs, against botocore in the same run: `python -m benchmarks.signing`.

Delivery URLs against its CloudFrontSigner; a hundred upload parts against its S3 signer and `generate_presigned_url`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import boto3
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.signers import CloudFrontSigner
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from pydantic import SecretStr

from service.cloudfront import HashAlgorithm, Signer
from service.delivery import Delivery
from service.models import MediaFormat, MediaPurpose, RenditionName, Visibility
from service.object_keys import rendition_key
from service.presigning import Part, Presigner
from service.settings import DeliverySettings, SigningKey

BASE = "https://cdn.example.org"
STORAGE, REGION = "https://s3.eu-central-1.amazonaws.com", "eu-central-1"
KEY = "community/raw/01890a5d-ac96-774b-bcce-b302099a8057.jpg"
CHECKSUM = "n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg="
PARTS = 100
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


def print_parts() -> None:
    """CPU time of presigning PARTS parts of one upload, each with its checksum: one call of signUploadParts."""
    credentials = Credentials("AKIDEXAMPLE", "a-secret-key-for-benchmarks-only-0123456")
    session = boto3.session.Session(credentials.access_key, credentials.secret_key, region_name=REGION)
    s3 = session.client("s3", endpoint_url=STORAGE, config=Config(signature_version="s3v4"))
    presigner = Presigner(
        endpoint=STORAGE, region=REGION, bucket="uploads", credentials=credentials.get_frozen_credentials
    )
    parts = [Part(number, 8 * 1024**2, CHECKSUM) for number in range(1, PARTS + 1)]

    def client(_index: int) -> None:
        for part in parts:
            given = {"Bucket": "uploads", "Key": KEY, "UploadId": "upload", "PartNumber": part.number}
            s3.generate_presigned_url("upload_part", Params={**given, "ChecksumSHA256": CHECKSUM}, ExpiresIn=3600)

    def signer(_index: int) -> None:
        signing = S3SigV4QueryAuth(credentials, "s3", REGION, expires=3600)
        for part in parts:
            headers = {"content-length": str(part.byte_size), "x-amz-checksum-sha256": CHECKSUM}
            address = f"{STORAGE}/uploads/{KEY}?partNumber={part.number}&uploadId=upload"
            signing.add_auth(AWSRequest("PUT", address, headers))

    def ours(_index: int) -> None:
        presigner.parts(key=KEY, storage_upload_id="upload", parts=parts, expires_s=3600)

    figures = {
        "boto3 generate_presigned_url": per_second(client),
        "botocore's signer": per_second(signer),
        "ours": per_second(ours),
    }
    stock = figures["boto3 generate_presigned_url"]
    for name, rate in figures.items():
        print(f"{PARTS} parts, {name:30} {1000 / rate:8.2f} ms CPU {rate / stock:8.1f} x")


def main() -> None:
    print_parts()
    rsa_key = rsa.generate_private_key(65537, 2048)
    ec_key = ec.generate_private_key(ec.SECP256R1())
    baseline = CloudFrontSigner("K1", lambda message: rsa_key.sign(message, padding.PKCS1v15(), hashes.SHA1()))
    expires = datetime.now(UTC)
    rsa_signer = Signer(BASE, "K1", pem(rsa_key), HashAlgorithm.SHA1)
    ec_signer = Signer(BASE, "K1", pem(ec_key), HashAlgorithm.SHA256)
    delivery = Delivery(
        DeliverySettings(base_url=BASE, public_key=SigningKey(key_pair_id="K1", private_key=SecretStr(pem(ec_key))))
    )
    # As documents come from the database, with what the feed reads of them.
    feed: list[Any] = [
        {
            "_id": media_id,
            "purpose": "COMMUNITY",
            "visibility": "PUBLIC",
            "renditions": [
                {
                    "name": name.value,
                    "key": rendition_key(
                        MediaPurpose.COMMUNITY, Visibility.PUBLIC, name, media_id, 1, MediaFormat.WEBP
                    ),
                }
                for name in NAMES
            ],
        }
        for media_id in (uuid4() for _ in range(1_000))
    ]

    def page(index: int) -> object:
        media = feed[index % len(feed)]
        return [delivery.sign(media, each, together=True) for each in media["renditions"]]

    def single(index: int) -> object:
        media = feed[index % len(feed)]
        return delivery.sign(media, media["renditions"][0], together=False)

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
