"""Object keys: built in one place, recognised again, and never outside their alphabet."""

from __future__ import annotations

from fnmatch import fnmatchcase
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.models import MediaFormat, MediaPurpose, RenditionName, Visibility
from service.object_keys import (
    ORIGINALS_PATTERN,
    RENDITIONS_PATTERNS,
    generation_of_rendition,
    is_kept_rendition,
    is_probe,
    is_safe_key,
    kept_rendition_key,
    media_of_original,
    media_of_rendition,
    original_key,
    parse_key,
    probe_key,
    rendition_key,
    rendition_prefix,
    visibility_of_rendition,
)
from service.policies import POLICIES

PURPOSES = st.sampled_from(MediaPurpose)
_NOBODY = UUID(int=0)


@given(
    PURPOSES,
    st.sampled_from(Visibility),
    st.sampled_from(RenditionName),
    st.uuids(),
    st.integers(0),
    st.sampled_from(MediaFormat),
)
def test_rendition_keys_are_safe_and_tell_their_media(
    purpose: MediaPurpose,
    visibility: Visibility,
    name: RenditionName,
    media_id: UUID,
    generation: int,
    media_format: MediaFormat,
) -> None:
    key = rendition_key(purpose, visibility, name, media_id, generation, media_format)
    assert is_safe_key(key)
    assert visibility_of_rendition(key) is visibility
    assert generation_of_rendition(key) == str(generation)
    assert key.startswith(rendition_prefix(purpose, visibility, name, media_id))
    assert [each for each, pattern in RENDITIONS_PATTERNS.items() if fnmatchcase(key, pattern)] == [visibility]
    assert not fnmatchcase(key, ORIGINALS_PATTERN)
    assert parse_key(key) == media_id
    assert media_of_rendition(key) == str(media_id)
    assert media_of_original(key) is None
    assert not is_kept_rendition(key)

    kept = kept_rendition_key(key, "secret")
    assert is_kept_rendition(kept)
    assert is_safe_key(kept)
    assert kept.startswith(rendition_prefix(purpose, Visibility.PRIVATE, name, media_id))
    assert kept.endswith(f".{media_format.extension}")
    assert kept == kept_rendition_key(key, "secret")
    assert kept != kept_rendition_key(key, "another")


@given(PURPOSES, st.uuids())
def test_original_keys_are_safe_and_tell_their_media(purpose: MediaPurpose, media_id: UUID) -> None:
    for content_type in POLICIES[purpose].content_types:
        key = original_key(purpose, media_id, content_type)
        assert is_safe_key(key)
        assert parse_key(key) == media_id
        assert media_of_original(key) == str(media_id)
        assert media_of_rendition(key) is None
        assert visibility_of_rendition(key) is None
        assert fnmatchcase(key, ORIGINALS_PATTERN)
        assert not any(fnmatchcase(key, pattern) for pattern in RENDITIONS_PATTERNS.values())


def test_keys_read_as_documented() -> None:
    media_id = UUID("0199a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b")
    assert original_key(MediaPurpose.PET_TAG, media_id, "image/jpeg") == f"pet-tag/raw/{media_id}.jpg"
    assert (
        rendition_key(MediaPurpose.COVER, Visibility.PUBLIC, RenditionName.FEED, media_id, 2, MediaFormat.WEBP)
        == f"cover/processed/feed/{media_id}/2.webp"
    )
    assert (
        rendition_key(MediaPurpose.COVER, Visibility.PRIVATE, RenditionName.FEED, media_id, 2, MediaFormat.WEBP)
        == f"cover/private/feed/{media_id}/2.webp"
    )


@pytest.mark.parametrize("generation", ["", "..", "a/b", "a b", "*"])
def test_a_generation_outside_the_alphabet_is_refused(generation: str) -> None:
    with pytest.raises(ValueError, match="generation"):
        rendition_key(
            MediaPurpose.COVER, Visibility.PUBLIC, RenditionName.FEED, UUID(int=0), generation, MediaFormat.WEBP
        )


@pytest.mark.parametrize(
    "key", ["", "x", "community/raw/x.jpg", ".uploads/1", f"community/raw/{UUID(int=1)}", "a/raw/../b"]
)
def test_keys_of_others_belong_to_no_media(key: str) -> None:
    assert parse_key(key) is None


def test_probes_lie_where_workers_may_write_and_belong_to_no_media() -> None:
    key = probe_key()
    assert is_probe(key)
    assert is_safe_key(key)
    assert fnmatchcase(key, "*/processed/*")
    assert parse_key(key) is None
    assert probe_key() != key
    assert not is_probe(f"{key}/x")
    assert not is_probe("readiness/notes.txt")
