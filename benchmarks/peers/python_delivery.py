"""Signed CloudFront URLs for the Python peers: as botocore shows it, and by the service's own Delivery."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from botocore.signers import CloudFrontSigner
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from pydantic import SecretStr

from service.delivery import Delivery
from service.settings import DeliverySettings, SigningKey


class Signing(Protocol):
    """URLs of one rendition, or of several of one media, as stored documents describe them."""

    def one(self, media_id: UUID, rendition: Mapping[str, Any]) -> str: ...

    def together(self, media_id: UUID, renditions: Sequence[Mapping[str, Any]]) -> list[str]: ...


class DocumentedSigning:
    """One RSA signature a URL, by botocore. The key is parsed once, though its documentation parses it each time."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        key = load_pem_private_key(settings["rsa"]["pem"].encode(), password=None)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise TypeError("an RSA key is needed")
        self._base_url = settings["baseUrl"]
        self._signer = CloudFrontSigner(
            settings["rsa"]["id"], lambda message: key.sign(message, padding.PKCS1v15(), hashes.SHA1())
        )

    def one(self, _media_id: UUID, rendition: Mapping[str, Any]) -> str:
        expires = datetime.now(UTC) + timedelta(hours=6)
        return str(self._signer.generate_presigned_url(f"{self._base_url}/{rendition['key']}", expires))

    def together(self, media_id: UUID, renditions: Sequence[Mapping[str, Any]]) -> list[str]:
        return [self.one(media_id, each) for each in renditions]


class OurSigning:
    """The service's own windows and signatures."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        key = SigningKey(key_pair_id=settings["ecdsa"]["id"], private_key=SecretStr(settings["ecdsa"]["pem"]))
        self._delivery = Delivery(DeliverySettings(base_url=settings["baseUrl"], public_key=key))

    def one(self, media_id: UUID, rendition: Mapping[str, Any]) -> str:
        return self._sign(media_id, rendition, together=False)

    def together(self, media_id: UUID, renditions: Sequence[Mapping[str, Any]]) -> list[str]:
        return [self._sign(media_id, each, together=True) for each in renditions]

    def _sign(self, media_id: UUID, rendition: Any, *, together: bool) -> str:
        media: Any = {"_id": media_id, "purpose": "COMMUNITY", "visibility": "PUBLIC"}
        return self._delivery.sign(media, rendition, together=together).url


def signing_of(settings: Mapping[str, Any]) -> Signing:
    """As `settings` of a peer ask for it."""
    return OurSigning(settings) if settings["advantages"] else DocumentedSigning(settings)
