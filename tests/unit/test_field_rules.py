"""Every field of the schema has a rule, which is enforced; what has none is not served."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from graphql import GraphQLSchema

from resolvers.api import build_schema
from resolvers.upload_mutations import UploadMutations
from schema import field_rules, rule_check
from schema.by_rule import by_rule
from schema.field_rules import FIELD_RULES, NARROWING, WIDENING, Rule
from schema.rule_check import RulesDoNotFit, check_rules
from service.access import ANONYMOUS, Viewer


@pytest.fixture(scope="module")
def schema() -> GraphQLSchema:
    return build_schema()._schema


def changed(type_name: str, fields: Mapping[Rule, str] | None) -> dict[str, Any]:
    """The table with other rows for one type, or none."""
    others = {name: rows for name, rows in FIELD_RULES.items() if name != type_name}
    return others if fields is None else {**others, type_name: fields}


_EMBEDDING = "createdAt dimensions model"
_POINT = "latitude longitude"


@pytest.mark.parametrize(
    ("type_name", "fields", "complaint"),
    [
        ("GeoPoint", {Rule.WITH_OBJECT: "latitude"}, "GeoPoint.longitude has no rule"),
        ("GeoPoint", None, "GeoPoint.latitude has no rule"),
        ("GeoPoint", {Rule.WITH_OBJECT: f"{_POINT} altitude"}, "there is no field GeoPoint.altitude"),
        ("GeoPint", {Rule.WITH_OBJECT: "latitude"}, "there is no field GeoPint.latitude"),
        ("GeoPoint", {Rule.WITH_OBJECT: _POINT, Rule.PARTLY: "latitude"}, "GeoPoint.latitude has 2 rules"),
        ("GeoPoint", {Rule.EVERYBODY: _POINT}, "GeoPoint.latitude: EVERYBODY is no rule for a field of an object"),
        # A rule that nothing holds to, and a resolver that asks for a rule the table does not have.
        ("GeoPoint", {Rule.DETAILS: _POINT}, "GeoPoint.latitude: @by_rule belongs"),
        ("Embedding", {Rule.WITH_OBJECT: f"{_EMBEDDING} vector"}, "Embedding.vector: @by_rule belongs"),
        ("Subscription", {Rule.WITH_OBJECT: "feedUpdates"}, "Subscription.feedUpdates: WITH_OBJECT is no rule for a"),
        ("Query", {Rule.MODERATORS: "feed"}, "Query.feed: its rule is MODERATORS, and its resolver holds to EVERYBODY"),
        ("Mutation", {Rule.MODERATORS: "createUploads"}, "Mutation.createUploads: its rule is MODERATORS, and"),
        ("Subscription", {Rule.READERS: "mediaStatus"}, "Subscription.mediaStatus: its rule is READERS, and"),
        ("Mutation", {Rule.EVERYBODY: "deleteMedia"}, "Mutation.deleteMedia: nobody changes anything without signing"),
    ],
)
def test_a_schema_that_does_not_fit_its_rules_is_not_built(
    schema: GraphQLSchema,
    monkeypatch: pytest.MonkeyPatch,
    type_name: str,
    fields: Mapping[Rule, str] | None,
    complaint: str,
) -> None:
    monkeypatch.setattr(field_rules, "FIELD_RULES", changed(type_name, fields))
    with pytest.raises(RulesDoNotFit, match=complaint):
        check_rules(schema)
    with pytest.raises(RulesDoNotFit, match=complaint):
        build_schema()


def test_a_root_field_says_what_it_holds_to(schema: GraphQLSchema, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(UploadMutations.create_uploads, "holds_to_rule")
    with pytest.raises(RulesDoNotFit, match=r"Mutation\.createUploads: .* its resolver does not say what it holds to"):
        check_rules(schema)


def test_arguments_are_declared_too(schema: GraphQLSchema, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, table, complaint in (
        ("NARROWING", {**NARROWING, "Media.srcset": ""}, "Media.srcset.accept is in neither table"),
        ("NARROWING", {**NARROWING, "Media.srcset": "accept quality"}, "there is no argument Media.srcset.quality"),
        ("NARROWING", {**NARROWING, "MediaFilter": "label"}, "MediaFilter.label is in the tables of arguments 2 times"),
        ("WIDENING", {}, "Query.nearestMedia.mediaId is in neither table"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(rule_check, name, table)
            with pytest.raises(RulesDoNotFit, match=complaint):
                check_rules(schema)
    assert WIDENING


def test_the_rule_stands_before_the_resolver_and_keeps_it_from_being_called() -> None:
    calls = []

    class Media:
        @property
        def media_document(self) -> dict[str, str]:
            return {"owner_id": "anna", "status": "READY", "visibility": "PUBLIC"}

        @by_rule
        def sha256(self, _info: Any) -> str:
            calls.append(self)
            return "secret"

    media = Media()
    for viewer, expected in ((ANONYMOUS, None), (Viewer("bert"), None), (Viewer("anna"), "secret")):
        info = SimpleNamespace(context=SimpleNamespace(viewer=viewer))
        assert media.sha256(info) == expected
    assert calls == [media]


def test_a_resolver_without_a_row_is_not_even_defined() -> None:
    class Media:
        def secret(self, _info: Any) -> None: ...

        def title(self, _info: Any) -> None: ...

    with pytest.raises(KeyError, match=r"Media\.secret"):
        by_rule(Media.secret)
    with pytest.raises(TypeError, match=r"Media\.title is shown to whoever was given the object"):
        by_rule(Media.title)
