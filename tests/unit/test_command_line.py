"""What the command line says to those who mistype."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from service.__main__ import app


@pytest.mark.parametrize(
    ("clause", "reason"),
    [("colour=red", "the fields are"), ("purpose=HOLIDAY", "not a value of purpose"), ("pipeline_version<2", "=")],
)
def test_a_wrong_clause_is_told_in_a_sentence(clause: str, reason: str) -> None:
    result = CliRunner().invoke(app, ["reprocess", "--where", clause])
    assert result.exit_code == 2
    assert reason in result.stderr
    assert "Traceback" not in result.output
