"""For every mutation of the schema: something valid to ask, and something else that would be valid too."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from graphql import GraphQLInputObjectType, GraphQLNonNull, GraphQLObjectType, build_schema

from resolvers.api import export_schema
from schema.global_id import decode_id, encode_id
from service.lifecycle import MediaStatus
from tests.api_client import ApiClient
from tests.documents import ready_media
from tests.integration.conftest import RunningService
from tests.photos import small_photo

Input = dict[str, Any]

_seeds = itertools.count(1)


@dataclass(frozen=True)
class Scenario:
    """Two valid inputs, without their keys, that would each change something."""

    input: Input
    other: Input


@dataclass
class Stage:
    """Where a scenario is set up: as `client`, signed in as `owner`."""

    service: RunningService
    client: ApiClient
    owner: str

    async def ready_media(self, **changed: Any) -> str:
        document = ready_media(owner_id=self.owner, **changed)
        await self.service.runtime.database.media.insert_one(document)
        return encode_id("Media", document["_id"])

    async def sent_upload(self) -> str:
        """An upload whose bytes are in storage, and that nobody has completed."""
        photo = small_photo(next(_seeds))
        [outcome] = (await self.client.create(photo))["outcomes"]
        assert (await self.client.put(outcome["upload"], photo)).status_code == 200
        upload_id: str = outcome["upload"]["id"]
        return upload_id

    async def open_upload(self, byte_size: int = 1_000) -> dict[str, Any]:
        """A session to which nothing was sent."""
        file = {
            "contentType": "image/jpeg",
            "byteSize": byte_size,
            "sha256": hashlib.sha256(uuid4().bytes).hexdigest(),
        }
        given = {"idempotencyKey": uuid4().hex, "purpose": "COMMUNITY", "files": [file]}
        query = """mutation ($input: CreateUploadsInput!) {
          createUploads(input: $input) { outcomes { upload { id objectKey } } } }"""
        created = await self.client.run(query, input=given)
        upload: dict[str, Any] = created["createUploads"]["outcomes"][0]["upload"]
        return upload

    async def failed_media(self) -> str:
        """A media that failed through a fault of storage, its original in place."""
        media_id = await self.client.send(small_photo(next(_seeds)))
        await self.fail(media_id)
        return media_id

    async def fail(self, media_id: str) -> None:
        """Let an UPLOADED media fail as a worker would."""
        media = self.service.runtime.stores.media
        failure = {"code": "STORAGE_UNAVAILABLE", "message": "Storage failed.", "retryable": True}
        assert await media.transition(uuid_of(media_id), MediaStatus.PROCESSING) is not None
        assert await media.transition(uuid_of(media_id), MediaStatus.FAILED, values={"failure": failure}) is not None


def uuid_of(global_id: str) -> UUID:
    decoded = decode_id(global_id)
    assert decoded is not None
    return decoded[1]


async def _create_uploads(_stage: Stage) -> Scenario:
    file = {"contentType": "image/jpeg", "byteSize": 1_000, "sha256": hashlib.sha256(uuid4().bytes).hexdigest()}
    asked = {"purpose": "COMMUNITY", "captureId": "walk", "files": [{**file, "title": "Miso"}]}
    return Scenario(asked, {**asked, "files": [{**file, "title": "Tofu"}]})


async def _complete_upload(stage: Stage) -> Scenario:
    return Scenario({"uploadId": await stage.sent_upload()}, {"uploadId": await stage.sent_upload()})


async def _abort_upload(stage: Stage) -> Scenario:
    first, second = await stage.open_upload(), await stage.open_upload()
    return Scenario({"uploadId": first["id"]}, {"uploadId": second["id"]})


async def _sign_upload_parts(stage: Stage) -> Scenario:
    upload = await stage.open_upload(20_000_000)
    return Scenario({"uploadId": upload["id"], "partNumbers": [1, 2]}, {"uploadId": upload["id"], "partNumbers": [1]})


async def _sign_storage_request(stage: Stage) -> Scenario:
    upload = await stage.open_upload(20_000_000)
    asked = {"uploadId": upload["id"], "method": "POST", "key": upload["objectKey"], "contentType": "image/jpeg"}
    return Scenario(asked, asked)


async def _update_media(stage: Stage) -> Scenario:
    media_id = await stage.ready_media()
    return Scenario({"id": media_id, "title": "Tofu", "tags": ["dog"]}, {"id": media_id, "title": "Miso, asleep"})


async def _retry_processing(stage: Stage) -> Scenario:
    return Scenario({"id": await stage.failed_media()}, {"id": await stage.failed_media()})


async def _delete_media(stage: Stage) -> Scenario:
    return Scenario({"ids": [await stage.ready_media()]}, {"ids": [await stage.ready_media()]})


SCENARIOS: Mapping[str, Callable[[Stage], Awaitable[Scenario]]] = {
    "createUploads": _create_uploads,
    "completeUpload": _complete_upload,
    "abortUpload": _abort_upload,
    "signUploadParts": _sign_upload_parts,
    "signStorageRequest": _sign_storage_request,
    "updateMedia": _update_media,
    "retryProcessing": _retry_processing,
    "deleteMedia": _delete_media,
}

# What each answers with, apart from its userErrors: what a repeat must answer again.
_ANSWERS: Mapping[str, str] = {
    "createUploads": "outcomes { upload { id media { id captureId } } userErrors { code } }",
    "completeUpload": "media { id }",
    "abortUpload": "media { id status }",
    "signUploadParts": "parts { number byteSize }",
    "signStorageRequest": "target { method }",
    "updateMedia": "media { id title tags }",
    "retryProcessing": "media { id }",
    "deleteMedia": "deletions { id mediaId requestedAt }",
}


def _mutations() -> dict[str, GraphQLInputObjectType]:
    """Every mutation that the service exports, with the type of its input."""
    root = build_schema(export_schema()).mutation_type
    assert isinstance(root, GraphQLObjectType)
    inputs = {}
    for name, field in root.fields.items():
        required = field.args["input"].type
        assert isinstance(required, GraphQLNonNull)
        assert isinstance(required.of_type, GraphQLInputObjectType)
        inputs[name] = required.of_type
    return inputs


INPUTS = _mutations()
KEYED = sorted(name for name, given in INPUTS.items() if "idempotencyKey" in given.fields)


async def send(client: ApiClient, mutation: str, given: Input, *, key: str | None = None) -> dict[str, Any]:
    """The payload of one mutation."""
    answer = _ANSWERS.get(mutation, "")
    query = f"""mutation ($input: {INPUTS[mutation].name}!) {{
      {mutation}(input: $input) {{ {answer} userErrors {{ code message field retryable }} }} }}"""
    keyed = given if key is None else {**given, "idempotencyKey": key}
    payload: dict[str, Any] = (await client.run(query, input=keyed))[mutation]
    return payload
