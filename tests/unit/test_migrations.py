"""What migrations make of one document, and what they leave alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexes.migrations import VERSION
from service.migrations.migration import Edit
from service.migrations.steps import FIRST, LATEST, MIGRATIONS, READS, downgraded, rechecked, upgraded
from service.perceptual_hash import bands_of
from service.stores.media import SCHEMA_VERSION
from service.stores.migrations import PENDING_INDEX

TELLING = 0x0F0F_3C5A_55AA_1234


def annotation(label: str, confidence: float) -> dict[str, Any]:
    return {"id": label, "label": label, "confidence": confidence, "source": "user:anna"}


def test_the_latest_migration_the_store_and_the_index_agree() -> None:
    assert [each.version for each in MIGRATIONS] == list(range(FIRST + 1, LATEST + 1))
    assert LATEST == SCHEMA_VERSION == VERSION
    assert f"pending_{VERSION}" == PENDING_INDEX
    assert "schema_version" not in READS


def test_a_media_of_the_first_release_goes_all_its_way_at_once() -> None:
    media = {
        "schema_version": 1,
        "hashes": {"phash": TELLING},
        "annotations": [annotation("cat", 0.4), annotation("cat", 0.93), annotation("bowl", 1.0)],
    }
    edit = upgraded(media, LATEST)
    assert edit.applied_to(media) == {
        **media,
        "hashes": {"phash": TELLING, "bands": bands_of(TELLING)},
        "labels": [
            {"label": "bowl", "step": 9, "confidence": 1.0},
            {"label": "cat", "step": 9, "confidence": 0.93},
        ],
        "annotation_count": 3,
    }
    assert upgraded({**media, "schema_version": 2}, LATEST).values.keys() == {"labels", "annotation_count"}
    assert upgraded(media, 2).values.keys() == {"hashes.bands"}


@pytest.mark.parametrize("hashes", [None, {}, {"phash": 0}, {"phash": -1}])
def test_what_has_no_telling_hash_gets_no_bands(hashes: dict[str, int] | None) -> None:
    media = {"schema_version": 1} if hashes is None else {"schema_version": 1, "hashes": hashes}
    assert not upgraded(media, LATEST).alters(media)


def test_what_annotations_say_that_have_moved_stays_as_it_was_written_with_them() -> None:
    moved = {
        "annotation_segments": [{"id": 1, "source": "user:anna", "count": 150}],
        "labels": [{"label": "cat", "step": 5, "confidence": 0.5}],
        "annotation_count": 150,
    }
    up, down = upgraded({"schema_version": 2, **moved}, LATEST), downgraded({"schema_version": LATEST, **moved}, FIRST)
    for edit in (up, down):
        assert not moved.keys() & {*edit.values, *edit.removed}


def test_a_document_of_a_later_release_is_not_taken_back() -> None:
    with pytest.raises(ValueError, match="later release"):
        downgraded({"schema_version": LATEST + 1}, FIRST)


media_documents = st.fixed_dictionaries(
    {"title": st.text(max_size=5)},
    optional={
        "hashes": st.one_of(
            st.just({}), st.fixed_dictionaries({"phash": st.integers(-(2**63), 2**63 - 1), "dhash": st.just(1)})
        ),
        "annotations": st.lists(st.builds(annotation, st.sampled_from("abc"), st.floats(0, 1)), max_size=5),
    },
)


@given(media_documents, st.integers(FIRST, LATEST - 1))
def test_up_and_down_again_is_where_it_was(document: dict[str, Any], since: int) -> None:
    media = upgraded(document | {"schema_version": FIRST}, since).applied_to(document)
    up = upgraded(media | {"schema_version": since}, LATEST).applied_to(media)
    assert not upgraded(up | {"schema_version": since}, LATEST).alters(up)
    assert not rechecked(up | {"schema_version": LATEST}, LATEST).alters(up)
    assert downgraded(up | {"schema_version": LATEST}, since).applied_to(up) == media


def test_later_edits_have_their_way() -> None:
    one = Edit({"a.b": 1, "c": 2}, removed=("d",))
    both = one.then(Edit({"d": 3}, removed=("c",)))
    assert both.applied_to({"c": 5, "d": 6, "e": 7}) == {"a": {"b": 1}, "d": 3, "e": 7}
    assert not Edit(removed=("x.y",)).alters({"x": {"z": 1}})
