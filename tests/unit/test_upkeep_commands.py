"""`indexes` and `migrate` on the command line: what does not go together, and a database that is away."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from service.__main__ import app

AWAY = {
    "MEDIA_ENVIRONMENT": "development",
    "MEDIA_MONGO__URI": "mongodb://someone:secret-word@127.0.0.1:1/?replicaSet=rs0",
    "MEDIA_MONGO__TIMEOUT_MS": "100",
}


@pytest.mark.parametrize(
    "words",
    [
        ["migrate", "--up", "--down", "--to", "1"],
        ["migrate", "--up", "--check"],
        ["migrate", "--down"],
        ["migrate", "--recheck"],
        ["migrate", "--up", "--to", "99"],
        ["indexes", "--apply", "--usage"],
        ["indexes", "--apply", "--drop", "media.x"],
        ["indexes", "--usage", "--hide", "media.x"],
    ],
)
def test_what_does_not_go_together_is_a_usage_error(words: list[str]) -> None:
    ended = CliRunner().invoke(app, words, env=AWAY)
    assert ended.exit_code == 2
    assert "Settings:" not in ended.output, "nothing was begun"


@pytest.mark.parametrize(
    "words",
    [
        ["indexes"],
        ["indexes", "--apply"],
        ["indexes", "--usage"],
        ["indexes", "--hide", "media.x"],
        ["migrate"],
        ["migrate", "--up"],
        ["migrate", "--down", "--to", "2"],
    ],
)
def test_a_database_that_is_away_is_one_sentence(words: list[str]) -> None:
    ended = CliRunner().invoke(app, words, env=AWAY)
    assert ended.exit_code == 1
    assert isinstance(ended.exception, SystemExit)
    assert "Stopped: " in ended.output
    assert "secret-word" not in ended.output
