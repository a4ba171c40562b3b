"""What clients were promised, held against what the service exports."""

from __future__ import annotations

from pathlib import Path

from graphql import build_schema, find_breaking_changes

from resolvers.api import export_schema
from schema.media import Media
from schema.stored import paths_of

REPOSITORY = Path(__file__).parents[2]
CONTRACT = REPOSITORY / "tests" / "fixtures" / "contract.graphql"
COMMITTED = REPOSITORY / "schema" / "schema.graphql"

# Parts of the contract that are still to come. This list only ever shrinks.
NOT_YET: set[str] = set()


def test_contract_is_kept_but_for_what_is_still_to_come() -> None:
    promised, exported = build_schema(CONTRACT.read_text()), build_schema(export_schema())
    broken = {change.description for change in find_breaking_changes(promised, exported)}
    assert broken - NOT_YET == set(), "the contract is broken"
    assert NOT_YET - broken == set(), "these have come: take them off the list"


def test_committed_schema_is_what_the_service_exports() -> None:
    assert COMMITTED.read_text() == export_schema(), "run `python -m service schema` and commit the result"


def test_every_stored_field_says_what_it_reads() -> None:
    without = {name for name, paths in paths_of(Media).items() if not paths}
    # The id is always loaded; the other two are not fields of the schema.
    assert without == {"id", "document", "feed_hint"}
