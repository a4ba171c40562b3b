"""The client against the real service, over a network that loses answers and connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest

from service.client import (
    ApiError,
    FileDetails,
    MediaClient,
    NotReady,
    Progress,
    Unreachable,
    UploadQueue,
    UploadSession,
    inspect_file,
    see_complete,
)
from tests.clips import clip
from tests.integration.conftest import RunningService
from tests.photos import phone_photo, small_photo

QUICK = (0.01, 0.02, 0.05, 0.05, 0.05)


class LossyNetwork(httpx.AsyncBaseTransport):
    """The real network, with faults: by request method, what happens to the first, the second, ... of them."""

    def __init__(self, **faults: list[str]) -> None:
        self._network = httpx.AsyncHTTPTransport()
        self._faults = faults
        self.requests: list[httpx.Request] = []
        self.puts_at_once = 0
        self._putting = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        faults = self._faults.get(request.method, [])
        fault = faults.pop(0) if faults else "none"
        if fault == "busy":
            return httpx.Response(503, request=request)
        if fault == "refuse":
            raise httpx.ConnectError("Connection refused", request=request)
        self._putting += request.method == "PUT"
        self.puts_at_once = max(self.puts_at_once, self._putting)
        try:
            response = await self._network.handle_async_request(request)
        finally:
            self._putting -= request.method == "PUT"
        if fault == "lose the answer":
            await response.aread()
            await response.aclose()
            raise httpx.ReadError("Connection reset by peer", request=request)
        return response

    async def aclose(self) -> None:
        await self._network.aclose()

    def count(self, method: str) -> int:
        return sum(request.method == method for request in self.requests)


@asynccontextmanager
async def connected(
    service: RunningService,
    subject: str,
    *,
    network: httpx.AsyncBaseTransport | None = None,
    quality: str = "WIFI",
    url: str | None = None,
) -> AsyncIterator[MediaClient]:
    token = service.client(subject).token
    async with MediaClient(url or service.url, token, network=quality, delays_s=QUICK, transport=network) as client:
        yield client


def written(folder: Path, *bodies: bytes) -> list[Path]:
    paths = [folder / f"{number:02}.jpg" for number in range(len(bodies))]
    for path, body in zip(paths, bodies, strict=True):
        path.write_bytes(body)
    return paths


async def media_of(service: RunningService, subject: str) -> int:
    count: int = await service.runtime.database.media.count_documents({"owner_id": subject})
    return count


async def test_a_phone_photo_becomes_ready(service: RunningService, tmp_path: Path, http: httpx.AsyncClient) -> None:
    [path] = written(tmp_path, phone_photo(seed=20))
    seen: list[Progress] = []
    async with service.working(), connected(service, "anna") as client:
        [result] = await client.upload(
            [path],
            purpose="COMMUNITY",
            details=FileDetails(title="Miso", alt_text="A cat", tags=("cat",)),
            on_progress=seen.append,
            all_renditions=True,
        )
    assert result.error is None
    assert result.media is not None
    assert result.media.status == "READY"
    assert result.media.renditions_complete
    made = {(rendition.name, rendition.format) for rendition in result.media.renditions}
    assert made == {(name, form) for name in ("THUMBNAIL", "FEED", "FULL") for form in ("JPEG", "WEBP", "AVIF")}
    for rendition in result.media.renditions:
        assert len((await http.get(rendition.url)).content) == rendition.byte_size
    stages = list(dict.fromkeys(progress.status for progress in seen))
    assert stages[:2] == ["WAITING", "SENDING"]
    assert stages[-1] == "READY"
    assert max(progress.bytes_sent for progress in seen) == path.stat().st_size == seen[-1].byte_size
    query = "query M($id: ID!) { media(id: $id) { title altText tags } }"
    media = (await service.client("anna").run(query, id=result.media_id))["media"]
    assert media == {"title": "Miso", "altText": "A cat", "tags": ["cat"]}


async def test_a_clip_is_ready_with_stills_and_plays_when_complete(
    service: RunningService, tmp_path: Path, http: httpx.AsyncClient
) -> None:
    path = tmp_path / "IMG_0002.MOV"
    path.write_bytes(clip(seconds=1))
    async with connected(service, "filming") as client:
        policy = await client.upload_policy("COMMUNITY")
        assert path.stat().st_size < policy.max_clip_bytes
        assert policy.max_clip_duration_ms == 120_000
        async with service.working():
            results = await client.upload([path], purpose="COMMUNITY")
            [result] = await see_complete(client, results)
        page = await client.feed(purpose="COMMUNITY", first=100)
    assert results[0].media is not None
    assert {("THUMBNAIL", "JPEG"), ("FEED", "JPEG")} <= {
        (each.name, each.format) for each in results[0].media.renditions
    }
    assert result.media is not None
    [preview] = [each for each in result.media.renditions if each.name == "PREVIEW"]
    answer = await http.get(preview.url, headers={"Range": "bytes=0-99"})
    assert (answer.status_code, answer.headers["Content-Type"], len(answer.content)) == (206, "video/mp4", 100)
    [shown] = [media for media in page.media if media.id == result.media_id]
    assert (shown.kind, shown.display and shown.display.format) == ("VIDEO", "JPEG")
    assert shown.duration_ms == pytest.approx(1_000, abs=50)


async def test_lost_answers_cost_time_but_nothing_else(service: RunningService, tmp_path: Path) -> None:
    network = LossyNetwork(
        # createUploads: lost before and after it arrives; then uploadPolicy; completeUpload: lost after.
        POST=["refuse", "lose the answer", "busy", "none", "none", "lose the answer"],
        PUT=["busy", "lose the answer"],
    )
    paths = written(tmp_path, small_photo(21))
    async with service.working(), connected(service, "lossy", network=network) as client:
        [result] = await client.upload(paths, purpose="COMMUNITY")
    assert result.error is None
    assert network.count("PUT") == 3
    assert network.count("POST") == 7
    assert await media_of(service, "lossy") == 1


async def test_only_the_api_gets_the_token(service: RunningService, tmp_path: Path) -> None:
    network = LossyNetwork()
    async with service.working(), connected(service, "careful", network=network) as client:
        await client.upload(written(tmp_path, small_photo(22)), purpose="COMMUNITY")
    asked = {request.method: "authorization" in request.headers for request in network.requests}
    assert asked == {"POST": True, "PUT": False}


async def test_storage_that_stays_away_ends_one_file_retryably(service: RunningService, tmp_path: Path) -> None:
    first, second = written(tmp_path, small_photo(23), small_photo(24))
    # The first file's attempts are all over before the second one's bytes are sent.
    network = LossyNetwork(PUT=["busy"] * 6)
    async with service.working(), connected(service, "patient", network=network) as client:
        [failed] = await client.upload([first], purpose="COMMUNITY", idempotency_key="again")
        assert isinstance(failed.error, Unreachable)
        assert failed.error.retryable
        [later] = await client.upload([first], purpose="COMMUNITY", idempotency_key="again")
        [other] = await client.upload([second], purpose="COMMUNITY")
    assert (later.error, other.error) == (None, None)
    assert later.media_id == failed.media_id
    assert await media_of(service, "patient") == 2


async def test_an_upload_repeated_with_its_key_sends_nothing_twice(service: RunningService, tmp_path: Path) -> None:
    paths = written(tmp_path, small_photo(25), small_photo(26))
    network = LossyNetwork()
    async with service.working(), connected(service, "twice", network=network) as client:
        first = await client.upload(paths, purpose="COMMUNITY", idempotency_key="k")
        again = await client.upload(paths, purpose="COMMUNITY", idempotency_key="k")
    assert [result.error for result in again] == [None, None]
    assert [result.media_id for result in first] == [result.media_id for result in again]
    assert network.count("PUT") == 2
    assert await media_of(service, "twice") == 2


async def test_what_the_owner_has_already_is_not_sent(service: RunningService, tmp_path: Path) -> None:
    first, twin, other = written(tmp_path, small_photo(93), small_photo(93), small_photo(94))
    network = LossyNetwork()
    async with service.working(), connected(service, "sparing", network=network) as client:
        [sent] = await client.upload([first], purpose="COMMUNITY")
        again = await client.upload([twin, other], purpose="COMMUNITY")
        file = await inspect_file(first)
        found = await client.find_duplicates([file.sha256, "0" * 64])
    assert [(result.error, result.is_duplicate) for result in again] == [(None, True), (None, False)]
    assert again[0].media is not None
    assert again[0].media.renditions
    assert (again[0].media_id, found[file.sha256].id, list(found)) == (sent.media_id, sent.media_id, [file.sha256])
    assert network.count("PUT") == 2
    assert await media_of(service, "sparing") == 2
    async with connected(service, "another") as client:
        assert await client.find_duplicates([file.sha256]) == {}


async def test_the_same_bytes_twice_in_a_batch_are_both_ready(service: RunningService, tmp_path: Path) -> None:
    paths = written(tmp_path, small_photo(95), small_photo(95))
    async with service.working(), connected(service, "doubled") as client:
        results = await client.upload(paths, purpose="COMMUNITY")
    assert [(result.error, result.media is not None and result.media.status) for result in results] == [
        (None, "READY"),
        (None, "READY"),
    ]


async def test_an_aborted_upload_is_over(service: RunningService, tmp_path: Path) -> None:
    [path] = written(tmp_path, small_photo(96))
    file, network = await inspect_file(path), LossyNetwork()
    async with connected(service, "fickle", network=network) as client:
        [session] = await client.create_uploads([file], purpose="COMMUNITY", idempotency_key="k")
        assert isinstance(session, UploadSession)
        await client.abort(session.id)
        await client.abort(session.id)
        assert (await client.session(session.id)).status == "EXPIRED"
        with pytest.raises(ApiError) as raised:
            await client.complete(session.id)
    assert raised.value.code == "UPLOAD_EXPIRED"
    assert network.count("PUT") == 0


async def test_more_than_a_batch_keeps_its_order(service: RunningService, tmp_path: Path) -> None:
    paths = written(tmp_path, *(small_photo(seed, 64, 48) for seed in range(30, 53)))
    async with service.working(), connected(service, "many") as client:
        results = await client.upload(paths, purpose="COMMUNITY")
    assert [result.path for result in results] == paths
    assert {result.error for result in results} == {None}
    assert len({result.media_id for result in results}) == len(paths)


@pytest.mark.parametrize(("quality", "at_once"), [("TWO_G", {1}), ("WIFI", {2, 3})])
async def test_files_go_up_as_the_network_bears(
    service: RunningService, tmp_path: Path, quality: str, at_once: set[int]
) -> None:
    subject, network = f"on-{quality}", LossyNetwork()
    paths = written(tmp_path, *(small_photo(seed, 64, 48) for seed in range(60, 66)))
    async with service.working(), connected(service, subject, network=network, quality=quality) as client:
        results = await client.upload(paths, purpose="COMMUNITY")
    assert [result.error for result in results] == [None] * 6
    assert network.puts_at_once in at_once
    sessions = service.runtime.database.uploads.find({"owner_id": subject})
    assert [session["client"]["network"] async for session in sessions] == [quality] * 6


async def test_what_is_queued_as_one_capture_belongs_together(service: RunningService, tmp_path: Path) -> None:
    paths, network = written(tmp_path, small_photo(97, 64, 48), small_photo(98, 64, 48)), LossyNetwork()
    async with UploadQueue(tmp_path / "uploads.db") as queue, connected(service, "walker", network=network) as client:
        for is_again in (False, True):
            await queue.enqueue(paths, purpose="COMMUNITY", capture_id="walk-1")
            assert [result.is_duplicate for result in await queue.run(client)] == [is_again, is_again]
    media = service.runtime.database.media.find({"owner_id": "walker"})
    assert [each["capture_id"] async for each in media] == ["walk-1", "walk-1"]
    assert network.count("PUT") == 2


async def test_a_bad_file_does_not_hold_up_the_others(service: RunningService, tmp_path: Path) -> None:
    good, text, cut, empty = written(tmp_path, small_photo(27), b"just text", small_photo(28)[:2_000], b"")
    paths = [tmp_path / "missing.jpg", text, cut, empty, good]
    async with service.working(), connected(service, "mixed") as client:
        results = await client.upload(paths, purpose="COMMUNITY")
    codes = [None if result.error is None else result.error.code for result in results]
    assert codes == ["UNUSABLE_FILE", "TYPE_NOT_ALLOWED", "CORRUPT_FILE", "UNUSABLE_FILE", None]
    assert isinstance(results[2].error, NotReady)
    assert await media_of(service, "mixed") == 2


async def test_a_wrong_token_opens_no_session(service: RunningService, tmp_path: Path) -> None:
    before = await service.runtime.database.media.count_documents({})
    network = LossyNetwork()
    async with MediaClient(service.url, "no-token-at-all", delays_s=QUICK, transport=network) as client:
        results = await client.upload(written(tmp_path, small_photo(), small_photo(1)), purpose="COMMUNITY")
    assert [result.error and result.error.code for result in results] == ["UNAUTHENTICATED"] * 2
    assert len(network.requests) == 1
    assert await service.runtime.database.media.count_documents({}) == before


async def test_a_wrong_token_follows_nothing(service: RunningService) -> None:
    async with MediaClient(service.url, "no-token-at-all", delays_s=QUICK) as client:
        with pytest.raises(ApiError) as raised:
            [update async for update in client.follow(["any"])]
    assert raised.value.code == "UNAUTHENTICATED"
    assert "get a new one" in raised.value.message


async def test_following_the_unknown_is_an_error_of_the_api(service: RunningService) -> None:
    async with connected(service, "anna") as client:
        with pytest.raises(ApiError) as raised:
            [update async for update in client.follow(["bm90aGluZw=="])]
    assert (raised.value.code, raised.value.retryable) == ("NOT_FOUND", False)


class Cable:
    """A TCP relay to the API that can be pulled out."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._writers: set[asyncio.StreamWriter] = set()
        self.connections = 0

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        there, back = await asyncio.open_connection("127.0.0.1", self._target_port)
        self._writers |= {writer, back}
        await asyncio.gather(self._pump(reader, back), self._pump(there, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
        writer.close()

    def pull(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()


@asynccontextmanager
async def plugged(service: RunningService, port: int) -> AsyncIterator[tuple[str, Cable]]:
    cable = Cable(httpx.URL(service.url).port or 0)
    server = await asyncio.start_server(cable.relay, "127.0.0.1", port)
    async with server:
        yield f"http://127.0.0.1:{port}", cable
        cable.pull()


async def test_a_lost_connection_loses_no_status(service: RunningService, ports: Iterator[int], tmp_path: Path) -> None:
    media_id = await service.client("nomad").send(small_photo(29))
    async with plugged(service, next(ports)) as (url, cable), connected(service, "nomad", url=url) as client:
        updates = client.follow([media_id])
        seen = [await anext(updates)]
        assert seen[0].status == "UPLOADED"
        cable.pull()
        async with service.working():
            await service.client("nomad").wait(media_id)
        seen += [update async for update in updates]
    assert [update.status for update in seen] == ["UPLOADED", "PROCESSING", "READY"]
    assert [update.sequence for update in seen] == sorted({update.sequence for update in seen})
    assert cable.connections == 2


async def test_an_api_that_stays_away_is_given_up(service: RunningService, ports: Iterator[int]) -> None:
    media_id = await service.client("nomad").send(small_photo(60))
    async with connected(service, "nomad", url=f"http://127.0.0.1:{next(ports)}") as client:
        with pytest.raises(Unreachable, match="does not answer"):
            [update async for update in client.follow([media_id])]
        with pytest.raises(Unreachable, match="does not answer"):
            await client.feed(purpose="COMMUNITY")


async def test_processing_that_takes_too_long_is_not_waited_for(service: RunningService, tmp_path: Path) -> None:
    async with connected(service, "hasty") as client:
        [result] = await client.upload(written(tmp_path, small_photo(61)), purpose="COMMUNITY", patience_s=0.05)
    assert isinstance(result.error, NotReady)
    assert (result.error.code, result.error.retryable) == ("STILL_PROCESSING", True)
    assert result.media_id is not None


async def test_the_steps_can_be_taken_one_by_one(service: RunningService, tmp_path: Path) -> None:
    [path] = written(tmp_path, small_photo(62))
    file = await inspect_file(path)
    async with service.working(), connected(service, "steps") as client:
        [session] = await client.create_uploads([file], purpose="PROFILE", idempotency_key="1", visibility="PRIVATE")
        assert not isinstance(session, ApiError)
        await client.send(session, file)
        await client.complete(session.id)
        await client.complete(session.id)
        statuses = [update.status async for update in client.follow([session.media_id])]
    assert statuses[-1] == "READY"
