"""What the Python client talks to, in memory: the API's upload operations and storage, with faults to order."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson

from service.client import MediaClient

PART_BYTES = 1_000
API, STORAGE = "api.example", "storage.example"
# Files and parts at once, by network.
PACES = {"WIFI": (3, 2), "THREE_G": (2, 2), "TWO_G": (1, 1)}


@dataclass
class Session:
    id: str
    announced: dict[str, Any]
    status: str = "INITIATED"
    parts: dict[int, bytes] = field(default_factory=dict)
    # The whole: in storage as one object.
    body: bytes | None = None
    # The signatures that storage still takes.
    good: int = 0

    @property
    def is_multipart(self) -> bool:
        size: int = self.announced["byteSize"]
        return size > PART_BYTES

    def assemble(self) -> None:
        """Make one object of the parts that there are."""
        self.body = b"".join(part for _, part in sorted(self.parts.items()))


@dataclass(frozen=True)
class Seen:
    """One request: the operation (`createUploads`), or `PUT` with the part's number, 0 for a whole file."""

    name: str
    number: int = 0


Fault = Callable[[Seen], httpx.Response | Exception | None]


class UploadStand(httpx.AsyncBaseTransport):
    """Sessions live as long as this does; `fault` is asked before each request, `afterwards` before each answer."""

    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}
        self.owned: dict[str, str] = {}
        self.seen: list[Seen] = []
        self.given: list[tuple[str, dict[str, Any]]] = []
        self.fault: Fault = lambda seen: None
        self.afterwards: Callable[[Seen], None] = lambda seen: None
        # Nothing arrives and nothing is answered any more.
        self.is_stopped = False
        self.puts_at_once = 0
        # The first PUTs are held until so many are under way.
        self.held_for = 1
        self._enough = asyncio.Event()
        self._putting = 0
        self._keys: dict[str, str] = {}

    def client(self, *, network: str = "WIFI", delays_s: Sequence[float] | None = (0, 0)) -> MediaClient:
        return MediaClient(f"https://{API}", "token", network=network, delays_s=delays_s, transport=self)

    def puts(self) -> list[int]:
        """The parts that arrived or were refused, by number, in order of number."""
        return sorted(seen.number for seen in self.seen if seen.name == "PUT")

    def asked(self, name: str) -> list[dict[str, Any]]:
        return [given for each, given in self.given if each == name]

    @property
    def session(self) -> Session:
        [session] = self.sessions.values()
        return session

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        seen = self._seen(request) if request.url.host == STORAGE else self._operation(await request.aread())
        self.seen.append(seen)
        self._putting += seen.name == "PUT"
        self.puts_at_once = max(self.puts_at_once, self._putting)
        if self.puts_at_once >= self.held_for:
            self._enough.set()
        try:
            await asyncio.sleep(0)
            if seen.name == "PUT":
                await self._enough.wait()
            fault = self.fault(seen)
            await self._stop_if_told()
            if isinstance(fault, Exception):
                raise fault
            answer = fault or await self._answer(seen, request)
            self.afterwards(seen)
            await self._stop_if_told()
            return answer
        finally:
            self._putting -= seen.name == "PUT"

    async def _stop_if_told(self) -> None:
        if self.is_stopped:
            await asyncio.Event().wait()

    def _seen(self, request: httpx.Request) -> Seen:
        return Seen("PUT", int(request.url.params["part"]))

    def _operation(self, body: bytes) -> Seen:
        match = re.search(r"\{\s*(\w+)", orjson.loads(body)["query"])
        assert match is not None
        return Seen(match[1])

    async def _answer(self, seen: Seen, request: httpx.Request) -> httpx.Response:
        if seen.name == "PUT":
            return await self._store(request)
        variables = orjson.loads(request.content)["variables"]
        given = variables.get("input", variables)
        self.given.append((seen.name, given))
        answer = getattr(self, "_" + re.sub(r"[A-Z]", lambda upper: "_" + upper[0].lower(), seen.name))(given)
        return httpx.Response(200, json={"data": {seen.name: answer}})

    async def _store(self, request: httpx.Request) -> httpx.Response:
        session = self.sessions[request.url.path.strip("/")]
        number, signature = int(request.url.params["part"]), int(request.url.params["signature"])
        body = await request.aread()
        if signature < session.good:
            return xml(403, "AccessDenied", "Request has expired")
        if request.headers["x-sha256"] != hashlib.sha256(body).hexdigest():
            return xml(400, "BadDigest", "The bytes are others.")
        assert request.headers["content-length"] == str(len(body))
        if session.status != "INITIATED" or (number and session.body is not None):
            return xml(404, "NoSuchUpload", "The upload is over.")
        if number == 0 and session.body is not None:
            return xml(412, "PreconditionFailed", "It is there.")
        if number == 0:
            session.body = body
        else:
            session.parts[number] = body
        return httpx.Response(200, headers={"ETag": etag(body)})

    def _create_uploads(self, given: dict[str, Any]) -> dict[str, Any]:
        [file] = given["files"]
        outcome: dict[str, Any] = {"upload": None, "duplicate": None, "userErrors": []}
        upload_id = self._keys.get(given["idempotencyKey"])
        if file["contentType"] == "text/plain":
            outcome["userErrors"] = [problem("TYPE_NOT_ALLOWED")]
        elif upload_id is None and (media_id := self.owned.get(file["sha256"])):
            outcome["duplicate"] = {"id": media_id, "status": "READY", "title": None}
        else:
            upload_id = self._keys.setdefault(given["idempotencyKey"], f"u{len(self.sessions) + 1}")
            session = self.sessions.setdefault(upload_id, Session(upload_id, file))
            if session.announced != file:
                return {"outcomes": [], "userErrors": [problem("IDEMPOTENCY_KEY_REUSED")]}
            outcome["upload"] = self._shown(session)
        return {"outcomes": [outcome], "userErrors": []}

    def _upload(self, given: dict[str, Any]) -> dict[str, Any]:
        session = self.sessions[given["id"]]
        parts = [
            {"number": number, "byteSize": len(body), "etag": etag(body)}
            for number, body in sorted(session.parts.items())
            if session.body is None
        ]
        confirmed = sum(part["byteSize"] for part in parts) if session.body is None else len(session.body)
        return {**self._shown(session), "parts": parts, "bytesConfirmed": confirmed}

    def _sign_upload_parts(self, given: dict[str, Any]) -> dict[str, Any]:
        session = self.sessions[given["uploadId"]]
        if session.body is not None:
            return {"parts": [], "userErrors": [problem("STATE_CONFLICT")]}
        digests = {each["number"]: each["sha256"] for each in given["partChecksums"]}
        parts = [{"number": n, "target": self._target(session, n, digests[n])} for n in given["partNumbers"]]
        return {"parts": parts, "userErrors": []}

    def _complete_upload(self, given: dict[str, Any]) -> dict[str, Any]:
        session = self.sessions[given["uploadId"]]
        if session.status == "EXPIRED":
            return {"userErrors": [problem("UPLOAD_EXPIRED")]}
        claimed = {part["number"]: part["etag"] for part in given.get("parts", [])}
        if session.is_multipart and session.body is None:
            stored = {number: etag(part) for number, part in session.parts.items()}
            if claimed == stored and sum(map(len, session.parts.values())) == session.announced["byteSize"]:
                session.assemble()
        if session.body is None:
            return {"userErrors": [{**problem("UPLOAD_INCOMPLETE"), "retryable": True}]}
        session.status = "UPLOADED"
        self.owned.setdefault(session.announced["sha256"], f"m-{session.id}")
        return {"userErrors": []}

    def _abort_upload(self, given: dict[str, Any]) -> dict[str, Any]:
        self.sessions[given["uploadId"]].status = "EXPIRED"
        return {"userErrors": []}

    def _find_duplicates(self, given: dict[str, Any]) -> list[dict[str, Any]]:
        found = {sha256: self.owned[sha256] for sha256 in given["sha256"] if sha256 in self.owned}
        return [{"sha256": each, "media": {"id": id_, "status": "READY"}} for each, id_ in found.items()]

    def _upload_policy(self, given: dict[str, Any]) -> dict[str, Any]:
        files, parts = PACES[given["network"]]
        return {
            "contentTypes": ["image/jpeg"],
            "maxBytes": 1_000_000,
            "maxDimension": 1_080,
            "jpegQuality": 75,
            "multipartThreshold": PART_BYTES,
            "partSize": PART_BYTES,
            "maxConcurrentUploads": files,
            "maxConcurrentParts": parts,
            "retryDelaysMs": [10, 20, 40],
        }

    def _shown(self, session: Session) -> dict[str, Any]:
        whole = not session.is_multipart and session.status == "INITIATED" and session.body is None
        return {
            "id": session.id,
            "media": {"id": f"m-{session.id}", "status": session.status},
            "method": "MULTIPART" if session.is_multipart else "SINGLE",
            "byteSize": session.announced["byteSize"],
            "partSize": PART_BYTES if session.is_multipart else None,
            "target": self._target(session, 0, session.announced["sha256"]) if whole else None,
        }

    def _target(self, session: Session, number: int, sha256: str) -> dict[str, Any]:
        # Each signature is newer than those before.
        signature = len(self.seen)
        url = f"https://{STORAGE}/{session.id}?part={number}&signature={signature}"
        return {"method": "PUT", "url": url, "headers": [{"name": "x-sha256", "value": sha256}]}


def etag(body: bytes) -> str:
    return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'


def xml(status: int, code: str, message: str) -> httpx.Response:
    return httpx.Response(status, text=f"<Error><Code>{code}</Code><Message>{message}</Message></Error>")


def problem(code: str) -> dict[str, Any]:
    return {"code": code, "message": "No.", "field": None, "retryable": False, "retryAfterMs": None}


def busy() -> httpx.Response:
    return httpx.Response(503)


def times(count: int, answer: Callable[[], httpx.Response | Exception], name: str = "PUT", number: int = 0) -> Fault:
    """A fault of the first `count` requests of this name and part (0: any)."""
    left = [count]

    def fault(seen: Seen) -> httpx.Response | Exception | None:
        if seen.name != name or number not in {0, seen.number} or not left[0]:
            return None
        left[0] -= 1
        return answer()

    return fault
