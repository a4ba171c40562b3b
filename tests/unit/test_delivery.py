"""What clients and caches may rely on in delivery URLs: stable in a window, never near their end, one key a class."""

from __future__ import annotations

import json
from functools import cache
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from service.cloudfront import decode
from service.delivery import Delivery, SignedUrl, cache_control, window_end
from service.errors import ConfigurationError
from service.models import MediaFormat, MediaPurpose, RenditionName, Visibility
from service.object_keys import original_key, rendition_key
from service.policies import ORIGINAL_URL_LIFETIME_S, POLICIES, UrlLifetime
from service.settings import DeliverySettings, SigningKey
from tests.documents import ready_media, signed

NOW = 1_767_250_000
ID = UUID("0199a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b")
OTHER = UUID("0199a1b2-c3d4-7e5f-8a9b-ffffffffffff")
PUBLIC, PRIVATE = Visibility.PUBLIC, Visibility.PRIVATE


@cache
def signing_key(key_pair_id: str) -> SigningKey:
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return SigningKey(key_pair_id=key_pair_id, private_key=SecretStr(pem.decode()))


class Clock:
    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def delivery(clock: Clock | None = None, *keys: str) -> Delivery:
    names = ("public_key", "private_key", "original_key")
    given_keys = dict(zip(names, map(signing_key, keys or ("KPUBLIC", "KPRIVATE", "KORIGINAL")), strict=False))
    return Delivery(DeliverySettings(base_url="https://cdn.example.org", **given_keys), clock=clock or Clock())


def key_of(
    name: RenditionName,
    media_id: UUID = ID,
    purpose: MediaPurpose = MediaPurpose.COMMUNITY,
    folder: Visibility = PUBLIC,
) -> str:
    return rendition_key(purpose, folder, name, media_id, 1, MediaFormat.WEBP)


def one(
    signed_by: Delivery,
    media_id: UUID = ID,
    purpose: MediaPurpose = MediaPurpose.COMMUNITY,
    visibility: Visibility = PUBLIC,
    name: RenditionName = RenditionName.FEED,
    folder: Visibility | None = None,
) -> SignedUrl:
    key = key_of(name, media_id, purpose, folder or visibility)
    return signed(signed_by, media_id, key, name, purpose=purpose, visibility=visibility)


def several(
    signed_by: Delivery,
    purpose: MediaPurpose = MediaPurpose.COMMUNITY,
    visibility: Visibility = PUBLIC,
    folder: Visibility | None = None,
    media_id: UUID = ID,
) -> list[SignedUrl]:
    return [
        signed(
            signed_by,
            media_id,
            key_of(name, media_id, purpose, folder or visibility),
            name,
            purpose=purpose,
            visibility=visibility,
            together=True,
        )
        for name in (RenditionName.THUMBNAIL, RenditionName.FEED, RenditionName.FULL)
    ]


def query(url: SignedUrl) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url.url).query, strict_parsing=True).items()}


LIFETIMES = st.builds(UrlLifetime, window_s=st.integers(1, 200_000), minimum_s=st.integers(1, 200_000))
TIMES = st.floats(min_value=0, max_value=4e9, allow_nan=False)


@given(TIMES, st.uuids(), LIFETIMES)
def test_a_url_always_lives_longer_than_the_minimum_and_never_longer_than_a_window_more(
    now: float, media_id: UUID, lifetime: UrlLifetime
) -> None:
    remaining = window_end(now, media_id, lifetime) - now
    assert lifetime.minimum_s < remaining <= lifetime.minimum_s + lifetime.window_s


@given(TIMES, st.uuids(), LIFETIMES, st.floats(0, 1, exclude_max=True))
def test_two_polls_inside_one_window_agree(now: float, media_id: UUID, lifetime: UrlLifetime, part: float) -> None:
    expires = window_end(now, media_id, lifetime)
    window_closes = expires - lifetime.minimum_s
    later = now + (window_closes - now) * part
    assert window_end(later, media_id, lifetime) == expires or later >= window_closes
    assert window_end(window_closes, media_id, lifetime) == expires + lifetime.window_s


@given(st.lists(st.uuids(), min_size=200, max_size=200, unique=True))
@settings(max_examples=10)
def test_urls_of_different_media_roll_over_at_different_times(ids: list[UUID]) -> None:
    day = UrlLifetime(window_s=86_400, minimum_s=3_600)
    assert len({window_end(NOW, media_id, day) for media_id in ids}) > 150


# Every rendition that some purpose makes, with the purpose.
MADE = [(purpose, rendition.name) for purpose, policy in POLICIES.items() for rendition in policy.renditions]


@given(
    st.lists(st.floats(0, 4e9), min_size=1, max_size=5), st.uuids(), st.sampled_from(MADE), st.sampled_from(Visibility)
)
def test_every_rendition_url_keeps_its_policy_whenever_it_is_asked_for(
    times: list[float], media_id: UUID, made: tuple[MediaPurpose, RenditionName], visibility: Visibility
) -> None:
    (purpose, name), clock = made, Clock()
    signed_by, lifetime = delivery(clock), POLICIES[made[0]].rendition(made[1]).url_lifetime
    for moment in times:
        clock.now = moment
        url = one(signed_by, media_id, purpose, visibility, name)
        left = url.expires_at.timestamp() - clock.now
        assert lifetime.minimum_s < left <= lifetime.minimum_s + lifetime.window_s
        assert query(url)["Expires"] == str(int(url.expires_at.timestamp()))
        assert url == one(signed_by, media_id, purpose, visibility, name)


@given(
    st.lists(st.floats(0, 4e9), min_size=1, max_size=5),
    st.uuids(),
    st.sampled_from(MediaPurpose),
    st.sampled_from(Visibility),
)
def test_a_shared_signature_lives_by_the_most_short_lived_rendition_whenever_it_is_asked_for(
    times: list[float], media_id: UUID, purpose: MediaPurpose, visibility: Visibility
) -> None:
    clock = Clock()
    signed_by, lives = delivery(clock), [each.url_lifetime for each in POLICIES[purpose].renditions]
    for moment in times:
        clock.now = moment
        for url in several(signed_by, purpose, visibility, media_id=media_id):
            left = url.expires_at.timestamp() - clock.now
            assert min(each.minimum_s for each in lives) < left <= min(each.minimum_s + each.window_s for each in lives)


def test_polls_in_a_window_give_equal_bytes_from_any_process_and_the_next_window_gives_others() -> None:
    clock = Clock()
    first_process, second_process = delivery(clock), delivery(clock)
    first = [one(first_process), *several(first_process)]
    assert [one(second_process), *several(second_process)] == first
    clock.now = min(url.expires_at for url in first).timestamp()
    assert not {one(first_process).url, *(url.url for url in several(first_process))} & {url.url for url in first}


def test_several_renditions_share_one_signature_that_opens_only_this_media() -> None:
    urls = several(delivery())
    assert len({urlsplit(url.url).query for url in urls}) == 1
    [statement] = json.loads(decode(query(urls[0])["Policy"]))["Statement"]
    assert statement["Resource"] == f"https://cdn.example.org/community/processed/*/{ID}/*"
    shortest = min(rendition.url_lifetime.window_s for rendition in POLICIES[MediaPurpose.COMMUNITY].renditions)
    assert urls[0].expires_at.timestamp() - NOW <= 2 * shortest


@pytest.mark.parametrize("purpose", [MediaPurpose.COMMUNITY, MediaPurpose.MEDICAL])
@pytest.mark.parametrize("visibility", list(Visibility))
def test_documents_are_signed_like_what_they_say(purpose: MediaPurpose, visibility: Visibility) -> None:
    media = ready_media(_id=ID, purpose=purpose.value, visibility=visibility.value)
    stored = [each for each in media["renditions"] if each["format"] == MediaFormat.WEBP]
    signed_by = delivery()
    for _ in range(2):
        alone, together = (
            [signed_by.sign(media, each, together=shared) for each in stored] for shared in (False, True)
        )
        for urls in (alone, together):
            assert [urlsplit(url.url).path for url in urls] == [f"/{each['key']}" for each in stored]
        assert not any("Policy" in query(url) for url in alone)
        assert (alone == together) is (purpose is MediaPurpose.MEDICAL)
        signers = {query(url)["Key-Pair-Id"] for url in (*alone, *together)}
        assert signers == {"KPUBLIC" if visibility is PUBLIC else "KPRIVATE"}


def test_a_document_that_lists_what_is_not_its_own_is_refused() -> None:
    media, other = ready_media(_id=ID), ready_media(_id=OTHER)
    signed_by = delivery()
    for together in (False, True):
        signed_by.sign(other, other["renditions"][0], together=together)
        for key in (other["renditions"][0]["key"], media["original"]["key"]):
            with pytest.raises(ValueError, match="is not rendition"):
                signed_by.sign(media, {**media["renditions"][0], "key": key}, together=together)


def test_medical_pictures_are_signed_one_by_one_for_minutes() -> None:
    urls = several(delivery(), MediaPurpose.MEDICAL, PRIVATE)
    assert len({query(url)["Signature"] for url in urls}) == 3
    assert not any("Policy" in query(url) for url in urls)
    assert all(url.expires_at.timestamp() - NOW <= 600 for url in urls)


def test_each_class_of_object_has_its_own_key() -> None:
    signed_by = delivery()
    original = signed_by.original_url(key=original_key(MediaPurpose.COMMUNITY, ID, "image/jpeg"))
    urls = [one(signed_by), one(signed_by, visibility=PRIVATE), original]
    assert [query(url)["Key-Pair-Id"] for url in urls] == ["KPUBLIC", "KPRIVATE", "KORIGINAL"]
    assert query(several(signed_by, visibility=PRIVATE)[0])["Key-Pair-Id"] == "KPRIVATE"
    assert ORIGINAL_URL_LIFETIME_S < original.expires_at.timestamp() - NOW <= ORIGINAL_URL_LIFETIME_S + 60


def test_keys_left_out_fall_back_to_the_next_wider_one() -> None:
    original = original_key(MediaPurpose.COMMUNITY, ID, "image/jpeg")
    for keys, expected in ((("KPUBLIC",), "KPUBLIC"), (("KPUBLIC", "KPRIVATE"), "KPRIVATE")):
        signed_by = delivery(None, *keys)
        assert query(one(signed_by, visibility=PRIVATE))["Key-Pair-Id"] == expected
        assert query(signed_by.original_url(key=original))["Key-Pair-Id"] == expected


@pytest.mark.parametrize(
    "key",
    [
        original_key(MediaPurpose.COMMUNITY, ID, "image/jpeg"),
        key_of(RenditionName.FEED, OTHER),
        key_of(RenditionName.THUMBNAIL, ID),
        key_of(RenditionName.FEED, ID, MediaPurpose.PROFILE),
        f"community/processed/feed/{ID}/../../../raw/{ID}.jpg",
        "community/processed/feed/1.webp",
        "",
    ],
)
def test_a_rendition_url_is_never_given_for_anything_else(key: str) -> None:
    signed_by = delivery()
    for together in (False, True):
        with pytest.raises(ValueError, match="is not rendition FEED"):
            signed(signed_by, ID, key, RenditionName.FEED, together=together)


def test_what_is_remembered_of_one_media_is_not_given_for_another() -> None:
    signed_by = delivery()
    for key in (key_of(RenditionName.FEED), original_key(MediaPurpose.COMMUNITY, ID, "image/jpeg")):
        one(signed_by), several(signed_by)
        with pytest.raises(ValueError, match="is not"):
            signed(signed_by, OTHER, key, RenditionName.FEED)


@pytest.mark.parametrize(
    ("visibility", "folder", "signer"),
    [
        (PUBLIC, PUBLIC, "KPUBLIC"),
        (PRIVATE, PRIVATE, "KPRIVATE"),
        # From the write on, also while the objects still lie where they were.
        (PRIVATE, PUBLIC, "KPRIVATE"),
        # What opens public objects does not open these.
        (PUBLIC, PRIVATE, "KPRIVATE"),
    ],
)
def test_a_key_signs_only_for_its_folder_and_for_who_may_see_the_media_now(
    visibility: Visibility, folder: Visibility, signer: str
) -> None:
    signed_by = delivery()
    # What was signed before the change is not given out after it.
    several(signed_by, visibility=PUBLIC)
    one(signed_by, visibility=PRIVATE if visibility is PUBLIC else PUBLIC, folder=folder)
    assert query(one(signed_by, visibility=visibility, folder=folder))["Key-Pair-Id"] == signer
    shared = several(signed_by, visibility=visibility, folder=folder)
    assert {query(url)["Key-Pair-Id"] for url in shared} == {signer}
    [statement] = json.loads(decode(query(shared[0])["Policy"]))["Statement"]
    inner = {PUBLIC: "processed", PRIVATE: "private"}[folder]
    assert statement["Resource"] == f"https://cdn.example.org/community/{inner}/*/{ID}/*"


@given(st.lists(st.tuples(st.floats(0, 200_000), st.sampled_from(["one", "several", "original"])), max_size=30))
def test_a_memory_changes_nothing_whatever_the_clock_does(asked: list[tuple[float, str]]) -> None:
    clock = Clock()
    remembering = delivery(clock)
    for offset, kind in asked:
        clock.now = NOW + offset
        fresh = delivery(clock)
        match kind:
            case "one":
                assert one(remembering) == one(fresh)
            case "several":
                assert several(remembering) == several(fresh)
            case _:
                key = original_key(MediaPurpose.COMMUNITY, ID, "image/jpeg")
                ours = remembering.original_url(key=key)
                assert ours == fresh.original_url(key=key)
                assert ours.expires_at.timestamp() - clock.now > ORIGINAL_URL_LIFETIME_S


def test_the_memory_is_bounded_and_forgets_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.delivery.MEMOISED_URLS", 3)
    signed_by = delivery()
    ids = [UUID(int=number) for number in range(10)]
    first = [one(signed_by, media_id) for media_id in ids]
    assert one(signed_by, ids[-1]) is first[-1]
    again = one(signed_by, ids[0])
    assert again == first[0]
    assert again is not first[0]


def test_what_is_signed_anew_is_not_the_next_to_be_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.delivery.MEMOISED_URLS", 3)
    clock = Clock()
    signed_by = delivery(clock)
    first, *others = (UUID(int=number) for number in range(4))
    for media_id in (first, *others[:2]):
        one(signed_by, media_id)
    clock.now += 86_400
    renewed = one(signed_by, first)
    one(signed_by, others[2])
    assert one(signed_by, first) is renewed


@pytest.mark.parametrize("key", [key_of(RenditionName.FEED), f"community/raw/{ID}.jpg/../{OTHER}.jpg", ""])
def test_an_original_url_is_never_given_for_anything_else(key: str) -> None:
    with pytest.raises(ValueError, match="not the original"):
        delivery().original_url(key=key)


def test_a_rendition_that_the_policy_no_longer_lists_still_opens_for_a_short_while() -> None:
    url = one(delivery(), name=RenditionName.PREVIEW)
    assert url.expires_at == several(delivery())[0].expires_at


def test_without_a_key_nothing_starts() -> None:
    with pytest.raises(ConfigurationError, match="MEDIA_DELIVERY__PUBLIC_KEY__KEY_PAIR_ID"):
        Delivery(DeliverySettings())


def test_private_content_is_kept_out_of_shared_caches() -> None:
    assert (
        cache_control(MediaPurpose.COMMUNITY, RenditionName.THUMBNAIL, PUBLIC) == "public, max-age=2592000, immutable"
    )
    assert cache_control(MediaPurpose.COMMUNITY, RenditionName.FEED, PRIVATE) == "private, max-age=604800"
    assert cache_control(MediaPurpose.PROFILE, RenditionName.FEED, PUBLIC) == "public, max-age=86400, immutable"
    assert cache_control(MediaPurpose.MEDICAL, RenditionName.FULL, PRIVATE) == "private, max-age=300"
