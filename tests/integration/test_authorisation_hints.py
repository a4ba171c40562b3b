"""What there is and is not theirs tells strangers no more than what never was: the same bytes, by as many questions."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from uuid import UUID

import httpx
import pytest
from pymongo import monitoring
from uuid6 import uuid7

from schema.field_rules import RULE_OF, Rule
from schema.global_id import encode_id
from service.app import create_app
from service.dev.tokens import mint_token
from service.settings import Settings
from tests.authorisation_world import IDENTITIES, SESSIONS, World, generous
from tests.integration.authorised_world import world_of
from tests.integration.conftest import RunningService, served
from tests.integration.mutation_scenarios import INPUTS, KEYED

# Not the stranger's: private, quarantined, deleted; and sessions that are open.
FOREIGN: Final = ("shut", "locked", "moderated", "gone")
_WATCHED: Final = frozenset({"find", "aggregate", "insert", "update", "delete", "findAndModify"})

# An input for each mutation that names something; the kind of what it names stands for its global id.
NAMING: Final[Mapping[str, Mapping[str, Any]]] = {
    "abortUpload": {"uploadId": "Upload"},
    "completeUpload": {"uploadId": "Upload"},
    "signUploadParts": {"uploadId": "Upload", "partNumbers": [1]},
    "signStorageRequest": {"uploadId": "Upload", "method": "POST", "key": "community/raw/x.jpg"},
    "updateMedia": {"id": "Media", "title": "mine"},
    "retryProcessing": {"id": "Media"},
    "moderateMedia": {"id": "Media", "decision": "QUARANTINE", "reason": "none"},
    "annotateMedia": {"mediaId": "Media", "source": "model:m@1", "annotations": [{"label": "cat"}]},
    "deleteAnnotations": {"ids": "[Annotation]"},
    "embedMedia": {"mediaId": "Media", "model": "tell-tale@1", "vector": [1.0, 2.0, 3.0]},
    "deleteEmbeddings": {"mediaId": "Media", "models": ["tell-tale@1"]},
    "deleteMedia": {"ids": "[Media]"},
}
KINDS: Final = {"Media", "Upload", "Annotation"}
NAMES_NOTHING: Final = {"createUploads"}

QUERIES: Final = {
    "media": ("Media", "{ media(id: ID) { id title } }"),
    "node": ("Media", "{ node(id: ID) { id } }"),
    "nodes": ("Media", "{ nodes(ids: [ID]) { id } }"),
    "upload": ("Upload", "{ upload(id: ID) { id } }"),
    "node of an upload": ("Upload", "{ node(id: ID) { id } }"),
    "deletion": ("Deletion", "{ deletion(id: ID) { id stage } }"),
    "node of a deletion": ("Deletion", "{ node(id: ID) { id } }"),
    "node of an annotation": ("Annotation", "{ node(id: ID) { id } }"),
    "nearestMedia": ("Media", '{ nearestMedia(model: "tell-tale@1", mediaId: ID) { similarity } }'),
    "mediaStatus": ("Media", "subscription { mediaStatus(ids: [ID]) { status } }"),
    "deletionProgress": ("Deletion", "subscription { deletionProgress(id: ID) { stage } }"),
}


class Commands(monitoring.CommandListener):
    """What is asked of the database, by command and collection."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.command_name in _WATCHED:
            self.asked[f"{event.command_name} {event.command[event.command_name]}"] += 1

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None: ...

    def failed(self, event: monitoring.CommandFailedEvent) -> None: ...

    def take(self) -> Counter[str]:
        taken, self.asked = self.asked, Counter()
        return taken


@contextmanager
def watching() -> Iterator[Commands]:
    """Hears of the commands of every client that is made within the block."""
    commands = Commands()
    listeners = monitoring._LISTENERS.command_listeners
    monitoring.register(commands)
    try:
        yield commands
    finally:
        listeners.remove(commands)


@pytest.fixture(scope="module")
def settings(settings: Settings) -> Settings:
    return generous(settings)


@pytest.fixture(scope="module")
async def world(service: RunningService) -> World:
    return await world_of(service)


class Stranger:
    """One who asks an API whose database commands are counted."""

    def __init__(self, http: httpx.AsyncClient, commands: Commands, token: str | None) -> None:
        self._http, self._commands = http, commands
        self._headers = {} if token is None else {"authorization": f"Bearer {token}"}

    async def ask(self, query: str, **variables: Any) -> tuple[str, Counter[str]]:
        """The body of the answer, but for the request's own id, and what it took to find out."""
        accept = "text/event-stream" if query.startswith("subscription") else "application/json"
        self._commands.take()
        answer = await self._http.post(
            "/graphql",
            json={"query": query, "variables": variables},
            headers={**self._headers, "accept": accept, "x-request-id": "the-same"},
        )
        return f"{answer.status_code} {answer.text}", self._commands.take()


@pytest.fixture(scope="module")
async def strangers(service: RunningService, ports: Iterator[int]) -> AsyncIterator[dict[str, Stranger]]:
    issuer = service.settings.auth.issuers[0]
    with watching() as commands:
        async with (
            served(create_app(service.settings), next(ports)) as url,
            httpx.AsyncClient(base_url=url, timeout=30) as http,
        ):
            yield {
                name: Stranger(http, commands, None if subject is None else mint_token(issuer, subject, roles=roles))
                for name, (subject, roles) in IDENTITIES.items()
                if name in {"anonymous", "other", "service"}
            }


def foreign(kind: str) -> tuple[str, ...]:
    return SESSIONS if kind == "Upload" else FOREIGN


def ids_of(world: World, kind: str) -> dict[str, str]:
    """Global ids of one kind that a stranger may name: somebody else's, and such as nobody has."""
    stored: Mapping[str, UUID] = world.annotations if kind == "Annotation" else world.media
    unknown = {"unknown": encode_id(kind, uuid7()), "of another kind": encode_id("Viewer", uuid7()), "none": "rubbish"}
    return {**{label: encode_id(kind, stored[label]) for label in foreign(kind)}, **unknown}


Answers = dict[str, tuple[str, Counter[str]]]


def alike(answers: Answers, there: Collection[str], what: str) -> None:
    """All say the same; and what is `there` takes the same to find out as what is not."""
    assert len({text for text, _ in answers.values()}) == 1, (what, answers)
    expected = answers["unknown"][1]
    for label in there:
        assert answers[label][1] == expected, (what, label, answers[label][1], expected)


@pytest.mark.parametrize("identity", ["anonymous", "other"])
async def test_what_is_not_theirs_is_as_unknown_as_what_is_not_there(
    strangers: dict[str, Stranger], world: World, identity: str
) -> None:
    counted: Counter[str] = Counter()
    for name, (kind, query) in QUERIES.items():
        ids = ids_of(world, kind)
        answers = {label: await strangers[identity].ask(query.replace("ID", f'"{ids[label]}"')) for label in ids}
        alike(answers, foreign(kind), f"{name} by {identity}")
        counted += answers["unknown"][1]
    # Else nothing would have been counted.
    assert counted["find media"] > 1


def kind_of(pattern: Mapping[str, Any]) -> str:
    [kind] = {value.strip("[]") for value in pattern.values() if isinstance(value, str)} & KINDS
    return kind


def named(value: Any, kind: str, global_id: str) -> Any:
    """`value`, or what it stands for."""
    if value == kind:
        return global_id
    return [global_id] if value == f"[{kind}]" else value


@pytest.mark.parametrize("identity", ["other", "service"])
async def test_mutations_tell_strangers_nothing_either(
    strangers: dict[str, Stranger], world: World, identity: str
) -> None:
    counted: Counter[str] = Counter()
    for mutation, pattern in NAMING.items():
        query = f"""mutation ($input: {INPUTS[mutation].name}!) {{ {mutation}(input: $input) {{
          __typename userErrors {{ code message field retryable retryAfterMs }} }} }}"""
        kind, answers = kind_of(pattern), Answers()
        is_theirs = identity == "service" and RULE_OF[f"Mutation.{mutation}"] is Rule.ANNOTATORS
        # A service may write to all of these but to what is deleted.
        there = {"gone"} if is_theirs else set(foreign(kind))
        for label, global_id in ids_of(world, kind).items():
            if label in there or label not in foreign(kind):
                given = {name: named(value, kind, global_id) for name, value in pattern.items()}
                key = {"idempotencyKey": f"{mutation}-{label}"} if mutation in KEYED else {}
                answers[label] = await strangers[identity].ask(query, input={**given, **key})
        alike(answers, there, f"{mutation} by {identity}")
        counted += answers["unknown"][1]
    assert counted["find media"] > 1


def test_every_mutation_that_names_something_is_asked() -> None:
    assert NAMING.keys() | NAMES_NOTHING == INPUTS.keys()
