"""For every mutation of the schema: something valid to ask, in each of the ways it goes about it."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from graphql import GraphQLInputObjectType, GraphQLNonNull, GraphQLObjectType, build_schema
from uuid6 import uuid7

from resolvers.api import export_schema
from schema.global_id import decode_id, encode_id
from service.lifecycle import MediaStatus
from tests.api_client import ApiClient
from tests.documents import ready_media
from tests.integration.conftest import RunningService
from tests.photos import small_photo

Input = dict[str, Any]

# One byte above the threshold of COMMUNITY, and on a fast network two parts, the second a short one.
TWO_PARTS = 16_000_001

_seeds = itertools.count(1)


@dataclass
class Stage:
    """Where a scenario is set up: as `client`, signed in as `owner`."""

    service: RunningService
    client: ApiClient
    owner: str

    async def ready_media(self, **changed: Any) -> str:
        document = ready_media(**{"owner_id": self.owner, **changed})
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
        """A session to which nothing was sent; one of TWO_PARTS is sent in two."""
        given = batch(new_file(byteSize=byte_size), idempotencyKey=uuid4().hex, client={"network": "WIFI"})
        query = """mutation ($input: CreateUploadsInput!) {
          createUploads(input: $input) { outcomes { upload { id objectKey byteSize partSize } } } }"""
        created = await self.client.run(query, input=given)
        upload: dict[str, Any] = created["createUploads"]["outcomes"][0]["upload"]
        return upload

    async def send_parts(self, upload: dict[str, Any], *numbers: int) -> list[dict[str, Any]]:
        """Send parts of zeros; what completeUpload is to be told of them."""
        query = """mutation ($input: SignUploadPartsInput!) {
          signUploadParts(input: $input) { parts { byteSize target { method url headers { name value } } } } }"""
        signed = await self.client.run(query, input={"uploadId": upload["id"], "partNumbers": list(numbers)})
        sent = []
        for number, part in zip(numbers, signed["signUploadParts"]["parts"], strict=True):
            answer = await self.client.put(part, bytes(part["byteSize"]))
            assert answer.status_code == 200, answer.text
            sent.append({"number": number, "etag": answer.headers["etag"]})
        return sent

    async def known_content(self, **changed: Any) -> dict[str, Any]:
        """A file that the owner has as a READY media, of the capture `walk` unless `changed`; its original is there."""
        body, store = uuid4().bytes, self.service.runtime.object_store
        sha256, media_id = hashlib.sha256(body).hexdigest(), uuid7()
        content = {"type": "image/jpeg", "bytes": len(body), "sha256": sha256}
        original = {"bucket": store.upload_bucket, "key": f"community/raw/{media_id}.jpg"}
        await store.put(
            *original.values(),
            body,
            content_type="image/jpeg",
            cache_control="no-store",
            metadata={},
            sha256=sha256,
        )
        await self.ready_media(_id=media_id, content=content, original=original, **changed)
        await self.service.runtime.stores.contents.register(
            self.owner, sha256, media_id, byte_size=len(body), **original
        )
        return {"contentType": "image/jpeg", "byteSize": len(body), "sha256": sha256}

    async def failed_media(self) -> str:
        """A media that failed through a fault of storage, its original in place."""
        media_id = await self.client.send(small_photo(next(_seeds)))
        await self.fail(media_id)
        return media_id

    async def fail(self, media_id: str, code: str = "STORAGE_UNAVAILABLE") -> None:
        """Let an UPLOADED media fail as a worker would."""
        stores = self.service.runtime.stores
        failure = {"code": code, "message": "It failed.", "retryable": code == "STORAGE_UNAVAILABLE"}
        for status, values in ((MediaStatus.PROCESSING, {}), (MediaStatus.FAILED, {"failure": failure})):
            assert await stores.media.transition(uuid_of(media_id), status, values=values) is not None
        # As the sweeper does, which here runs only where a test has it run.
        await stores.audit.settle_all()


def new_file(**changed: Any) -> dict[str, Any]:
    """A file that nobody has."""
    sha256 = hashlib.sha256(uuid4().bytes).hexdigest()
    return {"contentType": "image/jpeg", "byteSize": 1_000, "sha256": sha256, **changed}


def batch(*files: dict[str, Any], **more: Any) -> Input:
    return {"purpose": "COMMUNITY", "files": list(files), **more}


def uuid_of(global_id: str) -> UUID:
    decoded = decode_id(global_id)
    assert decoded is not None
    return decoded[1]


Make = Callable[[Stage], Awaitable[Input]]


@dataclass(frozen=True)
class Scenario:
    """`make` sets something up and gives an input for `mutation`, without its key, that changes something.

    It takes an owner who also has these `roles`.
    """

    mutation: str
    make: Make
    roles: tuple[str, ...] = ()


async def _new_file(_stage: Stage) -> Input:
    return batch(new_file(title="Miso"), captureId="walk")


async def _known_file(stage: Stage) -> Input:
    known = await stage.known_content()
    return batch(known, known, captureId="elsewhere")


async def _sent_upload(stage: Stage) -> Input:
    return {"uploadId": await stage.sent_upload()}


async def _sent_parts(stage: Stage) -> Input:
    upload = await stage.open_upload(TWO_PARTS)
    return {"uploadId": upload["id"], "parts": await stage.send_parts(upload, 1, 2)}


async def _open_upload(stage: Stage) -> Input:
    return {"uploadId": (await stage.open_upload())["id"]}


async def _first_part_sent(stage: Stage) -> Input:
    upload = await stage.open_upload(TWO_PARTS)
    await stage.send_parts(upload, 2)
    return {"uploadId": upload["id"]}


async def _parts_to_sign(stage: Stage) -> Input:
    return {"uploadId": (await stage.open_upload(TWO_PARTS))["id"], "partNumbers": [1, 2]}


async def _storage_request(stage: Stage) -> Input:
    upload = await stage.open_upload()
    return {"uploadId": upload["id"], "method": "PUT", "key": upload["objectKey"], "contentType": "image/jpeg"}


async def _storage_request_of_a_part(stage: Stage) -> Input:
    """As an upload library asks that has begun the multipart upload itself."""
    upload = await stage.open_upload(TWO_PARTS)
    begun = await stage.service.runtime.object_store.multipart.begin(upload["objectKey"], "image/jpeg", checksums=False)
    part = {"method": "PUT", "storageUploadId": begun, "partNumber": 1}
    return {"uploadId": upload["id"], "key": upload["objectKey"], **part}


async def _ready_media(stage: Stage) -> Input:
    return {"id": await stage.ready_media(), "title": "Tofu", "tags": ["dog"]}


async def _failed_media(stage: Stage) -> Input:
    return {"id": await stage.failed_media()}


async def _media_to_quarantine(stage: Stage) -> Input:
    return {"id": await stage.ready_media(), "decision": "QUARANTINE", "reason": "Not a pet."}


async def _media_to_release(stage: Stage) -> Input:
    """What was shown of it is gone already."""
    media_id = await stage.client.send(small_photo(next(_seeds)))
    stores = stage.service.runtime.stores
    for status in (MediaStatus.PROCESSING, MediaStatus.QUARANTINED):
        assert await stores.media.transition(uuid_of(media_id), status) is not None
    await stores.audit.settle_all()
    return {"id": media_id, "decision": "RELEASE", "reason": "It is a pet after all."}


async def _media_to_annotate(stage: Stage) -> Input:
    given = [{"label": "cat", "confidence": 0.5}, {"label": "dog", "text": "Rex"}]
    return {"mediaId": await stage.ready_media(), "source": "model:detector@1", "annotations": given}


async def _media_to_annotate_much(stage: Stage) -> Input:
    """So that the annotations move out of the media's document."""
    given = await _media_to_annotate(stage)
    return {**given, "annotations": given["annotations"] * 60, "replace": True}


async def _annotations_to_delete(stage: Stage) -> Input:
    ids = []
    for make in (_media_to_annotate, _media_to_annotate_much):
        payload = await send(stage.client, "annotateMedia", await make(stage), key=uuid4().hex)
        ids += [each["id"] for each in payload["annotations"][:2]]
    return {"ids": ids}


async def _media_to_delete(stage: Stage) -> Input:
    return {"ids": [await stage.ready_media(), await stage.ready_media()]}


async def _vector(stage: Stage) -> Input:
    await stage.service.runtime.stores.embeddings.introduce("clip@1", 3)
    return {"mediaId": await stage.ready_media(), "model": "clip@1", "vector": [1.0, 2.0, 3.0]}


async def _embedded_media(stage: Stage) -> Input:
    given = await _vector(stage)
    await send(stage.client, "embedMedia", given, key=uuid4().hex)
    return {"mediaId": given["mediaId"], "models": ["clip@1", "other@1"]}


_MODERATOR = ("moderator",)

SCENARIOS: Mapping[str, Scenario] = {
    "createUploads": Scenario("createUploads", _new_file),
    "createUploads of known content": Scenario("createUploads", _known_file),
    "completeUpload": Scenario("completeUpload", _sent_upload),
    "completeUpload in parts": Scenario("completeUpload", _sent_parts),
    "abortUpload": Scenario("abortUpload", _open_upload),
    "abortUpload in parts": Scenario("abortUpload", _first_part_sent),
    "signUploadParts": Scenario("signUploadParts", _parts_to_sign),
    "signStorageRequest": Scenario("signStorageRequest", _storage_request),
    "signStorageRequest of a part": Scenario("signStorageRequest", _storage_request_of_a_part),
    "updateMedia": Scenario("updateMedia", _ready_media),
    "retryProcessing": Scenario("retryProcessing", _failed_media),
    "moderateMedia": Scenario("moderateMedia", _media_to_quarantine, _MODERATOR),
    "moderateMedia to release": Scenario("moderateMedia", _media_to_release, _MODERATOR),
    "annotateMedia": Scenario("annotateMedia", _media_to_annotate),
    "annotateMedia with many": Scenario("annotateMedia", _media_to_annotate_much),
    "deleteAnnotations": Scenario("deleteAnnotations", _annotations_to_delete),
    "deleteMedia": Scenario("deleteMedia", _media_to_delete),
    "embedMedia": Scenario("embedMedia", _vector),
    "deleteEmbeddings": Scenario("deleteEmbeddings", _embedded_media),
}

# What each answers with, apart from its userErrors: what a repeat must answer again.
_ANSWERS: Mapping[str, str] = {
    "createUploads": """outcomes {
        upload { id method byteSize media { ...Changed captureId } } duplicate { ...Changed captureId }
        userErrors { code message field }
      }""",
    "completeUpload": "media { ...Changed }",
    "abortUpload": "media { ...Changed }",
    "signUploadParts": "parts { number byteSize target { method headers { name value } } }",
    "signStorageRequest": "target { method headers { name value } }",
    "updateMedia": "media { ...Changed albumIds position visibility subject { type id } location { latitude } }",
    "retryProcessing": "media { ...Changed }",
    "moderateMedia": "media { ...Changed failure { code } moderation { decision by at reason } }",
    "annotateMedia": "media { ...Changed } annotations { id label confidence text source createdAt }",
    "deleteAnnotations": "deletedIds",
    "deleteMedia": "deletions { id mediaId requestedAt objectsTotal }",
    "embedMedia": "media { ...Changed } embedding { model dimensions createdAt vector }",
    "deleteEmbeddings": "media { ...Changed } deletedModels",
}
_CHANGED = "fragment Changed on Media { id status statusSequence updatedAt title altText tags }"


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
      {mutation}(input: $input) {{ {answer} userErrors {{ code message field retryable }} }} }}
      {_CHANGED if "...Changed" in answer else ""}"""
    keyed = given if key is None else {**given, "idempotencyKey": key}
    payload: dict[str, Any] = (await client.run(query, input=keyed))[mutation]
    return payload


def one_answer(answers: list[dict[str, Any]]) -> dict[str, Any]:
    """The answer that all of them are, but for those that were asked to try again."""
    final = [answer for answer in answers if not any(error["retryable"] for error in answer["userErrors"])]
    assert final, answers
    assert all(answer == final[0] for answer in final), final
    return final[0]
