"""Key groups by class of object, and their rotation, judged by the edge that trusts them."""

from __future__ import annotations

from functools import cache

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pydantic import SecretStr

from service.cloudfront import HashAlgorithm, Signer
from service.delivery import Delivery
from service.dev.edge import Edge
from service.dev.edge.configuration import edge_settings
from service.errors import ConfigurationError
from service.key_groups import path_rules
from service.models import MediaFormat, MediaPurpose, RenditionName, Visibility
from service.object_keys import original_key, rendition_key
from service.policies import POLICIES
from service.settings import DeliverySettings, Settings, SigningKey, StorageSettings, TrustedKey
from tests.documents import signed
from tests.edge_stand import BASE, ID, NOW, PICTURE, Bucket, Clock

PUBLIC, PRIVATE = Visibility.PUBLIC, Visibility.PRIVATE
PUBLIC_KEY, PRIVATE_KEY = (
    rendition_key(MediaPurpose.COMMUNITY, visibility, RenditionName.FEED, ID, 1, MediaFormat.WEBP)
    for visibility in (PUBLIC, PRIVATE)
)
ORIGINAL = original_key(MediaPurpose.COMMUNITY, ID, "image/jpeg")
LONGEST_LIFE_S = max(policy.longest_url_life.total_seconds() for policy in POLICIES.values())


@cache
def pem(name: str) -> str:
    key = rsa.generate_private_key(65537, 2048) if name.startswith("KRSA") else ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def public_half(name: str) -> str:
    return Signer(BASE, name, pem(name), HashAlgorithm.SHA256).public_key


def signing(name: str, *also: str) -> SigningKey:
    trusted = tuple(TrustedKey(key_pair_id=each, public_key=public_half(each)) for each in also)
    return SigningKey(key_pair_id=name, private_key=SecretStr(pem(name)), also_trusted=trusted)


def settings(**keys: SigningKey) -> Settings:
    classes = {"public_key": signing("KPUBLIC"), "private_key": signing("KPRIVATE"), "original_key": signing("KORIG")}
    return Settings(
        storage=StorageSettings(upload_bucket="uploads", media_bucket="media"),
        delivery=DeliverySettings(base_url=BASE, **(classes | keys)),
    )


def edge(of: Settings, clock: Clock) -> tuple[Bucket, httpx.AsyncClient]:
    bucket = Bucket()
    bucket.objects = {("media", PUBLIC_KEY): PICTURE, ("media", PRIVATE_KEY): PICTURE, ("uploads", ORIGINAL): PICTURE}
    app = Edge(edge_settings(of), bucket, clock=clock)
    return bucket, httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BASE)


def handed_out(of: Settings, clock: Clock) -> set[str]:
    delivery = Delivery(of.delivery, clock=clock)
    return {
        signed(delivery, ID, PUBLIC_KEY, visibility=PUBLIC).url,
        signed(delivery, ID, PRIVATE_KEY, visibility=PRIVATE).url,
        delivery.original_url(key=ORIGINAL).url,
    }


@pytest.mark.parametrize(
    ("key", "openers"),
    [(PUBLIC_KEY, {"KPUBLIC", "KPRIVATE"}), (PRIVATE_KEY, {"KPRIVATE"}), (ORIGINAL, {"KORIG"})],
)
async def test_each_class_of_object_is_opened_by_its_own_keys_alone(key: str, openers: set[str]) -> None:
    clock = Clock()
    bucket, client = edge(settings(), clock)
    expires = int(NOW) + 60
    for name in ("KPUBLIC", "KPRIVATE", "KORIG"):
        signer = Signer(BASE, name, pem(name), HashAlgorithm.SHA256)
        purpose, folder, *_ = key.split("/")
        for url in (signer.sign(key, expires), f"{BASE}/{key}?{signer.sign_pattern(f'{purpose}/*', expires)}"):
            before = list(bucket.asked)
            assert ((await client.get(url)).status_code == 200) is (name in openers), (name, folder)
            assert name in openers or bucket.asked == before


async def test_everything_handed_out_opens_under_the_rules_of_the_same_settings() -> None:
    clock = Clock()
    shared = settings(private_key=signing("KPUBLIC"), original_key=signing("KPUBLIC"))
    for of in (settings(), shared):
        _, client = edge(of, clock)
        for url in handed_out(of, clock):
            assert (await client.get(url)).status_code == 200


@pytest.mark.parametrize(
    ("name", "old", "new"), [("public_key", "KPUBLIC", "KNEXT"), ("original_key", "KORIG", "KRSA")]
)
async def test_no_address_breaks_while_a_key_is_rotated(name: str, old: str, new: str) -> None:
    clock = Clock()
    before, announced, signing_anew, after = (
        settings(**{name: key}) for key in (signing(old), signing(old, new), signing(new, old), signing(new))
    )
    given_out: set[str] = set()
    # Whose rules edge locations follow, and whose settings API processes run with: each change takes a while.
    for locations, processes in (
        ([before, announced], [before, announced]),
        ([announced, signing_anew], [announced, signing_anew]),
    ):
        clock.now += 60
        for process in processes:
            given_out |= handed_out(process, clock)
        for location in locations:
            _, client = edge(location, clock)
            assert {(await client.get(url)).status_code for url in given_out} == {200}
    assert any(f"Key-Pair-Id={old}&" in url for url in given_out)
    assert any(f"Key-Pair-Id={new}&" in url for url in given_out)
    clock.now += LONGEST_LIFE_S
    for location in (signing_anew, after):
        _, client = edge(location, clock)
        alive = handed_out(signing_anew, clock) | handed_out(after, clock)
        assert {(await client.get(url)).status_code for url in alive} == {200}


async def test_a_key_that_is_trusted_no_longer_opens_nothing() -> None:
    clock = Clock()
    leaked = handed_out(settings(private_key=signing("KOLD")), clock)
    bucket, client = edge(settings(private_key=signing("KPRIVATE")), clock)
    [url] = [url for url in leaked if "KOLD" in url]
    assert (await client.get(url)).status_code == 403
    assert bucket.asked == []


@pytest.mark.parametrize(
    "trusted",
    [
        TrustedKey(key_pair_id="KPUBLIC", public_key=public_half("KOTHER")),
        TrustedKey(key_pair_id="KPRIVATE", public_key=public_half("KOTHER")),
        TrustedKey(key_pair_id="K 1", public_key=public_half("KOTHER")),
        TrustedKey(key_pair_id="K1", public_key="-----BEGIN PUBLIC KEY-----\nnonsense\n-----END PUBLIC KEY-----"),
        TrustedKey(
            key_pair_id="K1",
            public_key=ec.generate_private_key(ec.SECP384R1())
            .public_key()
            .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
            .decode(),
        ),
    ],
)
def test_keys_that_cannot_be_trusted_are_refused(trusted: TrustedKey) -> None:
    key = signing("KPUBLIC").model_copy(update={"also_trusted": (trusted,)})
    with pytest.raises(ConfigurationError):
        path_rules(settings(public_key=key))
