"""Plans of faults: drawn alike from one seed, repeated from their file, with room for what is measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.plan import Fault, Kind, draw_plan, read_plan, write_plan

SHORT_PLAN = Path(__file__).parents[1] / "chaos" / "short.json"


def test_a_seed_gives_the_same_plan_again_and_another_seed_another() -> None:
    assert draw_plan(5, seconds=600) == draw_plan(5, seconds=600)
    assert draw_plan(5, seconds=600) != draw_plan(6, seconds=600)
    # A longer round begins as a shorter one does.
    assert draw_plan(5, seconds=600)[:10] == draw_plan(5, seconds=300)[:10]


def test_a_plan_outlives_its_round_as_a_file(tmp_path: Path) -> None:
    plan = draw_plan(1, seconds=120)
    write_plan(plan, tmp_path / "plan.json")
    assert read_plan(tmp_path / "plan.json") == plan


@pytest.mark.parametrize("seed", range(5))
def test_ten_minutes_hold_every_kind_and_nothing_lies_over_an_election(seed: int) -> None:
    plan = draw_plan(seed, seconds=600)
    assert {each.kind for each in plan} == set(Kind)
    assert max(each.at_s + each.lasts_s for each in plan) <= 600
    elections = [each for each in plan if each.is_failover]
    assert len(elections) >= 4
    for election in elections:
        assert not [each for each in plan if each is not election and _meet(each, election)]


def _meet(one: Fault, other: Fault) -> bool:
    return one.at_s < other.at_s + other.lasts_s and other.at_s < one.at_s + one.lasts_s


def test_the_plan_of_the_suite_kills_a_worker_and_a_primary_and_takes_storage_away() -> None:
    assert [(each.kind, each.target) for each in read_plan(SHORT_PLAN)] == [
        (Kind.KILL, "worker-1"),
        (Kind.KILL, "primary"),
        (Kind.ANSWER_503, "worker to storage"),
    ]
