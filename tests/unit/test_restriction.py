from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mongomock.filtering import filter_applies

from service.stores.restriction import restrict

OWNERS, STATUSES, VISIBILITIES = ("anna", "bert"), ("READY", "FAILED", "DELETED"), ("PUBLIC", "PRIVATE")
EVERY = [
    {"owner_id": owner, "status": status, "visibility": visibility}
    for owner, status, visibility in product(OWNERS, STATUSES, VISIBILITIES)
]


def conditions(values: tuple[str, ...]) -> st.SearchStrategy[Any]:
    several = st.lists(st.sampled_from(values), min_size=1, unique=True).map(lambda chosen: {"$in": chosen})
    return st.one_of(st.sampled_from(values), several)


clauses = st.fixed_dictionaries(
    {},
    optional={"owner_id": conditions(OWNERS), "status": conditions(STATUSES), "visibility": conditions(VISIBILITIES)},
)


@given(clauses, st.lists(clauses, max_size=3))
def test_lets_through_what_query_and_grants_let_through(query: dict[str, Any], access: list[dict[str, Any]]) -> None:
    restricted = restrict(query, access)
    for media in EVERY:
        allowed = filter_applies(query, media) and any(filter_applies(clause, media) for clause in access)
        assert allowed == (restricted is not None and filter_applies(restricted, media))


@pytest.mark.parametrize("access", [[], [{"status": "FAILED"}]])
def test_nothing_asked_for_is_allowed(access: list[dict[str, Any]]) -> None:
    assert restrict({"status": "READY"}, access) is None


def test_a_branch_inside_another_is_dropped() -> None:
    access = [{"status": "READY", "visibility": "PUBLIC"}, {"owner_id": "anna", "status": {"$in": ["READY", "FAILED"]}}]
    assert restrict({"owner_id": "anna"}, access) == {"owner_id": "anna", "status": {"$in": ["FAILED", "READY"]}}


def test_what_branches_share_stands_outside() -> None:
    access = [{"visibility": "PUBLIC"}, {"owner_id": "anna"}]
    assert restrict({"status": "READY", "tags": "cat"}, access) == {
        "tags": "cat",
        "status": "READY",
        "$or": [{"visibility": "PUBLIC"}, {"owner_id": "anna"}],
    }
