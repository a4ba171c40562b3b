"""docs/operations.md stays true: its metrics, outcomes, settings and commands are those of the code."""

from __future__ import annotations

import json
import re
from pathlib import Path

from typer.main import get_group

from service.__main__ import app
from service.settings import Settings
from service.stores.audit import OUTBOXES
from service.telemetry import Metrics

TEXT = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()


def test_every_metric_is_there_and_no_other() -> None:
    metrics = [each for each in Metrics().registry.collect() if each.name.startswith("media_")]
    names = {f"{each.name}_total" if each.type == "counter" else each.name for each in metrics}
    assert set(re.findall(r"`(media_[a-z_]+)`", TEXT)) - {"media_id"} == names


def test_every_setting_it_names_exists() -> None:
    groups = {f"MEDIA_{name.upper()}": field.annotation for name, field in Settings.model_fields.items()}
    for variable in re.findall(r"MEDIA_[A-Z]+__[A-Z_]+[A-Z]\b", TEXT):
        group, _, name = variable.partition("__")
        assert name.lower() in getattr(groups[group], "model_fields", {}), variable


def test_every_command_it_names_exists() -> None:
    commands = set(get_group(app).commands)
    assert set(re.findall(r"python -m service ([\w-]+)", TEXT)) <= commands


def test_its_policies_are_complete_json() -> None:
    documents = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)]
    policies = [document for document in documents if "Statement" in document]
    assert len(policies) >= 4
    assert {policy["Version"] for policy in policies} == {"2012-10-17"}


def test_an_auditors_rights_are_those_that_verify_needs() -> None:
    [read] = re.findall(r"`verify` for an auditor needs `find` on (.*?), `s3:", TEXT, re.DOTALL)
    assert set(re.findall(r"`(\w+)`", read)) == {*OUTBOXES, "audit"}
