from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mongomock.filtering import filter_applies

from service.access import MODERATOR_ROLE, SERVICE_ROLE, Action, Viewer, granted_filters
from service.stores.restriction import restrict

OWNERS, STATUSES, VISIBILITIES = ("anna", "bert"), ("READY", "FAILED", "DELETED"), ("PUBLIC", "PRIVATE")
CODES = ("MODERATED", "MALWARE_FOUND")
EVERY = [
    {"owner_id": owner, "status": status, "visibility": visibility, "failure": {"code": code}}
    for owner, status, visibility, code in product(OWNERS, STATUSES, VISIBILITIES, CODES)
]
VALUES = {"owner_id": OWNERS, "status": STATUSES, "visibility": VISIBILITIES, "failure.code": CODES}


def conditions(values: tuple[str, ...]) -> st.SearchStrategy[Any]:
    several = st.lists(st.sampled_from(values), min_size=1, unique=True).map(lambda chosen: {"$in": chosen})
    return st.one_of(st.sampled_from(values), several)


clauses = st.fixed_dictionaries({}, optional={field: conditions(values) for field, values in VALUES.items()})


def test_every_field_that_grants_speak_of_is_tried() -> None:
    viewer = Viewer("anna", frozenset({MODERATOR_ROLE, SERVICE_ROLE}))
    filters = [
        clause for action in Action for who in (viewer, Viewer("bert")) for clause in granted_filters(who, action)
    ]
    fields = {field for clause in filters for field in clause}
    assert fields == VALUES.keys()


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
