"""What the command line says to those who mistype."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.__main__ import app
from service.annotation_exchange.scope import parse_scope
from service.errors import InvalidInput


@pytest.mark.parametrize(
    ("clause", "reason"),
    [("colour=red", "the fields are"), ("purpose=HOLIDAY", "not a value of purpose"), ("pipeline_version<2", "=")],
)
def test_a_wrong_clause_is_told_in_a_sentence(clause: str, reason: str) -> None:
    result = CliRunner().invoke(app, ["reprocess", "--where", clause])
    assert result.exit_code == 2
    assert reason in result.stderr
    assert "Traceback" not in result.output


def test_a_missing_source_is_told_with_its_form(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["annotations", "import", str(tmp_path), "--format", "yolo"])
    assert result.exit_code == 2
    assert "model:NAME@VERSION" in result.stderr


def test_a_wrong_clause_about_annotations_is_told_what_they_are_chosen_by() -> None:
    with pytest.raises(InvalidInput, match="the fields are label, source, confidence, id, owner_id"):
        parse_scope(["labels=cat"])
