"""The words for people, held against what they describe: settings, commands, targets, links, limits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import BaseModel, SecretStr
from typer.main import get_group

from service.__main__ import app
from service.dev.folder import DevOptions
from service.errors import ErrorCode, FailureCode
from service.policies import POLICIES
from service.settings import Settings

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text()
CLIENT_GUIDE = (REPOSITORY / "docs" / "client-guide.md").read_text()
PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])


def _leaves(model: type[BaseModel], prefix: str, given: BaseModel | None = None) -> Iterator[tuple[str, Any]]:
    """What each variable stands for without it. `given`: what the group around the model has for it."""
    for name, field in model.model_fields.items():
        variable = f"{prefix}{name.upper()}"
        default = field.default if given is None else getattr(given, name)
        if isinstance(default, BaseModel):
            yield from _leaves(type(default), f"{variable}__", default)
        else:
            yield variable, default


def _as_written(default: object) -> str:
    value = default.get_secret_value() if isinstance(default, SecretStr) else default
    if value is None or value == "":
        return ""
    return f"`{value if isinstance(value, str) else orjson.dumps(value, default=str).decode()}`"


def _described() -> dict[str, str]:
    """Defaults by variable, as the README's tables give them."""
    rows = re.findall(r"^\| `((?:MEDIA|DEV)_\w+)` \|([^|]*)\|", README, re.MULTILINE)
    assert len(rows) == len(dict(rows)), "a variable is described twice"
    return {variable: default.strip() for variable, default in rows}


def test_readme_describes_every_setting_with_its_default() -> None:
    expected = {
        variable: _as_written(default)
        for variable, default in [*_leaves(Settings, "MEDIA_"), *_leaves(DevOptions, "DEV_")]
    }
    expected["DEV_FOLDER"] = "`.dev`"
    # Separated by commas, where a MEDIA_* list is JSON.
    expected["DEV_ORIGINS"] = ""
    assert _described() == expected


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_everything_a_page_names_exists(page: Path) -> None:
    text = page.read_text()
    targets = set(re.findall(r"^([a-z-]+):.*## ", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)(?![\w.-])", text, re.MULTILINE)) <= targets
    commands = set(get_group(app).commands)
    assert set(re.findall(r"-m service ([a-z-]+)", text)) <= commands
    for benchmark in re.findall(r"-m benchmarks\.(\w+)", text):
        module = REPOSITORY / "benchmarks" / benchmark
        assert module.with_suffix(".py").exists() or (module / "__main__.py").exists()
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (page.parent / link).exists(), link


def test_readme_names_every_command() -> None:
    commands = set(get_group(app).commands)
    assert commands == set(re.findall(r"-m service ([a-z-]+)", README))


def test_client_guide_explains_every_code_and_limit() -> None:
    rows = {cells[0]: cells for cells in re.findall(r"^\| `(\w+)` \|(.*)\|$", CLIENT_GUIDE, re.MULTILINE)}
    assert {*ErrorCode, *FailureCode} <= rows.keys()
    for purpose, policy in POLICIES.items():
        _, said = rows[purpose]
        assert f" {policy.max_bytes // 1_000_000} MB " in said
        assert f" {policy.default_visibility} " in said
        assert f" {policy.display} " in said
