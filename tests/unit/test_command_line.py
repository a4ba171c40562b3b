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


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["reconcile", "--older-than", "1e13"], "--older-than"),
        (["reconcile", "--older-than", "inf"], "--older-than"),
        (["reconcile", "--older-than", "nan"], "--older-than"),
        (["jobs", "drain", "--older-than", "1e13"], "--older-than"),
        (["jobs", "drain", "--older-than", "nan"], "--older-than"),
        (["reprocess", "--rate", "nan"], "--rate"),
        (["reprocess", "--where", "created_at<0001-01-01T00:00:00+23:59"], "created_at"),
        (["migrate", "--up", "--rate", "nan"], "--rate"),
        (["indexes", "--apply", "--max-lag", "nan"], "--max-lag"),
        (["feed", "--dpr", "inf"], "--dpr"),
    ],
)
def test_a_number_that_nothing_can_be_done_with_is_told_in_a_sentence(words: list[str], option: str) -> None:
    result = CliRunner().invoke(app, words, env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert isinstance(result.exception, SystemExit)
    assert option in result.stderr
    assert "Settings:" not in result.stderr, "nothing was begun"


def test_a_missing_source_is_told_with_its_form(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["annotations", "import", str(tmp_path), "--format", "yolo"])
    assert result.exit_code == 2
    assert "model:NAME@VERSION" in result.stderr


def test_a_wrong_clause_about_annotations_is_told_what_they_are_chosen_by() -> None:
    with pytest.raises(InvalidInput, match="the fields are label, source, confidence, id, owner_id"):
        parse_scope(["labels=cat"])
