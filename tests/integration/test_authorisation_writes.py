"""Every mutation by everybody who may not, which changes nothing, and by everybody who may."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import httpx
import pytest

from schema.field_rules import RULE_OF, Rule
from service.settings import Settings
from tests.api_client import ApiClient
from tests.authorisation_world import IDENTITIES, OWNER, generous
from tests.bad_tokens import bad_tokens
from tests.integration.conftest import RunningService
from tests.integration.effects import Witness, effects
from tests.integration.mutation_scenarios import INPUTS, KEYED, SCENARIOS, Input, Stage, send

_CHANGES = frozenset({"owner", "moderator"})
# Who may make use of what belongs to OWNER: written down here a second time, without the access table.
MAY = {
    Rule.SIGNED_IN: frozenset(IDENTITIES) - {"anonymous"},
    Rule.UPLOADER: frozenset({"owner"}),
    Rule.CHANGERS: _CHANGES,
    Rule.DELETERS: _CHANGES,
    Rule.ANNOTATORS: _CHANGES | {"service"},
    Rule.MODERATORS: frozenset({"moderator"}),
}


class PrivateStage(Stage):
    """Sets everything up with PRIVATE media, which nobody else may see."""

    async def ready_media(self, **changed: Any) -> str:
        return await super().ready_media(**{"visibility": "PRIVATE", **changed})


def allowed(name: str) -> frozenset[str]:
    return MAY[RULE_OF[f"Mutation.{SCENARIOS[name].mutation}"]]


def keyed(name: str) -> dict[str, str]:
    """A key of its own, where the mutation takes one."""
    return {"key": uuid4().hex} if SCENARIOS[name].mutation in KEYED else {}


@pytest.fixture(scope="module")
def settings(settings: Settings) -> Settings:
    return generous(settings)


@pytest.fixture(scope="module")
def stage(service: RunningService) -> PrivateStage:
    # A moderator may set up what only moderators decide.
    return PrivateStage(service, service.client(OWNER, roles=("moderator",)), OWNER)


@pytest.fixture(scope="module")
def clients(service: RunningService) -> dict[str, ApiClient]:
    return {
        identity: service.client(OWNER if identity == "owner" else subject, roles=roles)
        for identity, (subject, roles) in IDENTITIES.items()
    }


def request_of(mutation: str, given: Input) -> dict[str, Any]:
    query = f"mutation ($input: {INPUTS[mutation].name}!) {{ {mutation}(input: $input) {{ __typename }} }}"
    return {"query": query, "variables": {"input": given}}


@pytest.fixture(scope="module")
async def inputs(stage: PrivateStage) -> dict[str, Input]:
    """Something that each scenario could do."""
    made = await asyncio.gather(*(scenario.make(stage) for scenario in SCENARIOS.values()))
    return dict(zip(SCENARIOS, made, strict=True))


def test_every_mutation_has_a_rule_that_is_known_here() -> None:
    assert {RULE_OF[f"Mutation.{mutation}"] for mutation in INPUTS} <= MAY.keys()


async def test_who_may_not_is_refused_and_nothing_happens(
    stage: PrivateStage, clients: dict[str, ApiClient], inputs: dict[str, Input], witness: Witness
) -> None:
    before = await witness.look()
    for identity, client in clients.items():
        for name in (each for each in SCENARIOS if identity not in allowed(each)):
            payload = await send(client, SCENARIOS[name].mutation, inputs[name], **keyed(name))
            codes = {error["code"] for error in payload.pop("userErrors")}
            # Who sees a media is told that it is not theirs to change; others, that there is none.
            sees = identity in {"anonymous", "owner", "moderator"} and allowed(name) != MAY[Rule.UPLOADER]
            assert codes == {"NOT_PERMITTED" if identity == "anonymous" or sees else "NOT_FOUND"}, (identity, name)
            assert not any(payload.values()), (identity, name, payload)
    assert effects(before, await witness.look()) == {}


async def test_tokens_that_do_not_hold_change_nothing(
    service: RunningService, inputs: dict[str, Input], witness: Witness
) -> None:
    before = await witness.look()
    async with httpx.AsyncClient(base_url=service.url) as http:
        for why, token in bad_tokens(service.settings.auth.issuers[0], OWNER, ("moderator",)).items():
            bearer = {"authorization": f"Bearer {token}"}
            for name, scenario in SCENARIOS.items():
                given = {**inputs[name], **({"idempotencyKey": each} if (each := keyed(name).get("key")) else {})}
                answer = await http.post("/graphql", json=request_of(scenario.mutation, given), headers=bearer)
                assert (answer.status_code, answer.json().keys()) == (401, {"errors"}), (why, name)
    assert effects(before, await witness.look()) == {}


async def test_who_may_is_let(stage: PrivateStage, clients: dict[str, ApiClient]) -> None:
    """That owners are is what every other test of a mutation shows."""

    async def one(identity: str, name: str) -> None:
        given = await SCENARIOS[name].make(stage)
        if identity == "moderator" and "source" in given:
            # Moderators say what they see, and never speak for a model.
            given["source"] = f"user:{IDENTITIES[identity][0]}"
        payload = await send(clients[identity], SCENARIOS[name].mutation, given, **keyed(name))
        assert payload["userErrors"] == [], (identity, name)

    others = ("other", "moderator", "service")
    await asyncio.gather(*(one(who, name) for name in SCENARIOS for who in others if who in allowed(name)))
