"""What docs/authorisation.md says of the rules."""

from __future__ import annotations

from tests.authorisation_table import PAGE, renewed


def test_the_tables_are_those_of_the_rules() -> None:
    page = PAGE.read_text()
    assert page == renewed(page), "run `.venv/bin/python -m tests.authorisation_table` and commit the result"
