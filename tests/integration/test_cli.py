"""`upload` and `feed` as people and scripts run them."""

from __future__ import annotations

import asyncio
import io
import os
import re
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from rich.console import Console

from service.dev.folder import write_urls
from service.dev.processes import Children
from service.dev.sample_upload import upload_samples
from tests.integration.conftest import RunningService
from tests.photos import phone_photo, small_photo

REPOSITORY = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    def lines(self) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in self.out.splitlines()]


async def run(*words: str | Path, launcher: Sequence[str] = (sys.executable,), **variables: str) -> Ended:
    """The command with only `variables` of ours, in a folder's name where no stack runs unless they say so."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MEDIA_", "DEV_"))}
    process = await asyncio.create_subprocess_exec(
        *(*launcher, "-m", "service", *map(str, words)),
        cwd=REPOSITORY,
        env={**kept, "DEV_FOLDER": "/nonexistent", **variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert b"Traceback" not in err, err.decode()
    return Ended(process.returncode or 0, out.decode(), err.decode())


def as_user(service: RunningService, subject: str) -> dict[str, str]:
    return {"MEDIA_URL": service.url, "MEDIA_TOKEN": service.client(subject).token or ""}


@pytest.fixture
async def worker(service: RunningService) -> AsyncIterator[None]:
    async with service.working():
        yield


async def title_of(service: RunningService, media_id: str) -> str | None:
    query = "query M($id: ID!) { media(id: $id) { title } }"
    title: str | None = (await service.client("cli").run(query, id=media_id))["media"]["title"]
    return title


async def test_upload_prints_one_url_a_photo_that_opens(
    service: RunningService, worker: None, tmp_path: Path, http: httpx.AsyncClient
) -> None:
    photos = [tmp_path / "Miso asleep.jpg", tmp_path / "x.y.jpg"]
    for number, photo in enumerate(photos):
        photo.write_bytes(small_photo(63 + number))
    ended = await run("upload", *photos, **as_user(service, "cli"))
    assert ended.code == 0, ended.err
    *lines, closing = ended.out.splitlines()
    assert [line.split("  ")[:2] for line in lines[::2]] == [[str(photo), "READY"] for photo in photos]
    for url in lines[1::2]:
        assert (await http.get(url)).headers["Content-Type"] == "image/jpeg"
    assert "--all" in closing
    assert [await title_of(service, line.split()[-1]) for line in lines[::2]] == ["Miso asleep", "x.y"]


async def test_a_title_of_ones_own_or_none_replaces_the_file_name(
    service: RunningService, worker: None, tmp_path: Path
) -> None:
    photo = tmp_path / "DSC_0001.jpg"
    for seed, words, title in ((65, ("--title", "Cat"), "Cat"), (66, ("--no-title",), None)):
        photo.write_bytes(small_photo(seed))
        [line] = (await run("upload", photo, "--json", *words, **as_user(service, "cli"))).lines()
        assert await title_of(service, line["id"]) == title


async def test_upload_prints_all_urls_on_request(
    service: RunningService, worker: None, tmp_path: Path, http: httpx.AsyncClient
) -> None:
    photo = tmp_path / "cat [1].jpg"
    photo.write_bytes(phone_photo(seed=40))
    ended = await run("upload", photo, "--purpose", "community", "--all", **as_user(service, "cli"))
    assert ended.code == 0, ended.err
    heading, columns, *rows = ended.out.splitlines()
    assert heading.startswith(f"{photo}  READY  ")
    assert columns.split() == ["Rendition", "Format", "Pixels", "Bytes", "URL"]
    assert [row.split()[:2] for row in rows] == [
        [name, media_format] for name in ("THUMBNAIL", "FEED", "FULL") for media_format in ("JPEG", "WEBP", "AVIF")
    ]
    for row in rows:
        assert (await http.get(row.split()[-1])).status_code == 200


async def test_upload_speaks_json_to_scripts(service: RunningService, worker: None, tmp_path: Path) -> None:
    good, text = tmp_path / "good.jpg", tmp_path / "text.jpg"
    good.write_bytes(small_photo(41))
    text.write_text("not a photo")
    missing = tmp_path / "missing.jpg"
    ended = await run("upload", missing, text, good, "--json", "--private", **as_user(service, "script"))
    assert ended.code == 1
    lines = ended.lines()
    assert [line["file"] for line in lines] == [str(missing), str(text), str(good)]
    assert [line.get("error", {}).get("code") for line in lines] == ["UNUSABLE_FILE", "TYPE_NOT_ALLOWED", None]
    assert (lines[2]["status"], lines[2]["renditionsComplete"]) == ("READY", True)
    assert {rendition["name"] for rendition in lines[2]["renditions"]} == {"THUMBNAIL", "FEED", "FULL"}
    query = "query M($id: ID!) { media(id: $id) { visibility } }"
    assert (await service.client("script").run(query, id=lines[2]["id"]))["media"] == {"visibility": "PRIVATE"}
    assert (await service.client("other").run(query, id=lines[2]["id"]))["media"] is None


async def test_upload_says_why_a_file_failed_and_goes_on(service: RunningService, worker: None, tmp_path: Path) -> None:
    cut, good = tmp_path / "cut.jpg", tmp_path / "good.jpg"
    cut.write_bytes(small_photo(42)[:2_000])
    good.write_bytes(small_photo(43))
    ended = await run("upload", cut, good, tmp_path, **as_user(service, "cli"))
    assert ended.code == 1
    assert f"{good}  READY" in ended.out
    failed = re.search(r"Uploaded, but could not be processed: (.+) \(id (\S+)\)\n  CORRUPT_FILE: ", ended.err)
    assert failed is not None, ended.err
    assert failed[1] == str(cut)
    status = await service.client("cli").run("query M($id: ID!) { media(id: $id) { status } }", id=failed[2])
    assert status["media"] == {"status": "FAILED"}
    assert f"Not uploaded: {tmp_path}\n" in ended.err
    assert "is a folder; name the photos in it." in ended.err


async def test_a_photo_that_may_not_be_read_does_not_hold_up_the_others(
    service: RunningService, worker: None, tmp_path: Path
) -> None:
    locked, good = tmp_path / "locked.jpg", tmp_path / "good.jpg"
    for seed, photo in ((67, locked), (68, good)):
        photo.write_bytes(small_photo(seed))
    locked.chmod(0)
    # Root reads everything, unless that capability is taken from it.
    without_rights = () if os.geteuid() else ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
    ended = await run("upload", locked, good, launcher=(*without_rights, sys.executable), **as_user(service, "cli"))
    assert ended.code == 1
    assert f"{good}  READY" in ended.out
    assert f"Not uploaded: {locked}\n  UNUSABLE_FILE: {locked} may not be read by this user." in ended.err


async def test_a_wrong_token_is_one_clear_sentence(service: RunningService, tmp_path: Path) -> None:
    photos = [tmp_path / f"{number}.jpg" for number in range(2)]
    for photo in photos:
        photo.write_bytes(small_photo(44))
    before = await service.runtime.database.media.count_documents({})
    ended = await run("upload", *photos, MEDIA_URL=service.url, MEDIA_TOKEN="wrong")
    assert ended.code == 1
    assert ended.out == ""
    assert ended.err.count("UNAUTHENTICATED: The token is not valid.") == 1
    assert await service.runtime.database.media.count_documents({}) == before


async def test_nowhere_to_go_is_explained(tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(small_photo())
    for words in (("feed",), ("upload", photo)):
        ended = await run(*words)
        assert ended.code == 1
        assert "make run" in ended.err
        assert "MEDIA_URL" in ended.err


async def test_the_running_stack_is_found_in_its_folder(service: RunningService, tmp_path: Path) -> None:
    token = service.client("cli").token or ""
    write_urls(tmp_path, {"graphql": f"{service.url}/graphql", "token": token})
    ended = await run("feed", "--json", DEV_FOLDER=str(tmp_path))
    assert ended.code == 0, ended.err
    assert "media" in ended.lines()[0]


async def test_feed_pages_through_what_is_ready(
    service: RunningService, worker: None, tmp_path: Path, http: httpx.AsyncClient
) -> None:
    owner = service.client("feeder")
    sent = [
        await owner.send(small_photo(seed), purpose="COVER", details={"title": f"No\n{seed}"}) for seed in (45, 46, 47)
    ]
    await owner.wait(*sent)
    feed = ("feed", "--purpose", "cover", "--first", "2", "--width", "360", "--dpr", "2", "--json")
    [first] = (await run(*feed, **as_user(service, "reader"))).lines()
    [second] = (await run(*feed, "--after", first["nextCursor"], **as_user(service, "reader"))).lines()
    assert [media["id"] for media in (*first["media"], *second["media"])] == sent[::-1]
    assert "nextCursor" not in second
    shown = first["media"][0]["display"]
    assert len((await http.get(shown["url"])).content) == shown["byteSize"]

    ended = await run("feed", "--purpose", "cover", "--first", "2", **as_user(service, "reader"))
    headings, newest, _, more = ended.out.splitlines()
    assert headings.split() == ["ID", "Created", "Owner", "Title", "Pixels", "Length", "Display", "Bytes", "URL"]
    assert newest.startswith(f"{first['media'][0]['id']}  ")
    assert "feeder  No 47  320 x 240" in newest
    assert (await http.get(newest.split()[-1])).status_code == 200
    assert more == f"There is more: --after {first['nextCursor']}"


async def test_an_unknown_purpose_is_a_usage_error() -> None:
    ended = await run("feed", "--purpose", "holiday")
    assert ended.code == 2
    assert "food_label" in ended.err.lower()
    assert "Value error" not in ended.err


async def test_a_python_without_the_packages_is_told_which_one_to_use() -> None:
    ended = await run("feed", launcher=(sys.executable, "-S"))
    assert ended.code == 1
    assert ".venv/bin/python -m service" in ended.err


@pytest.mark.parametrize("command", ["buckets", "indexes", "reconcile", "doctor"])
async def test_settings_that_are_not_those_of_the_stack_are_said_to_be_others(command: str, tmp_path: Path) -> None:
    write_urls(tmp_path, {"graphql": "http://127.0.0.1:9/graphql"})
    # Meant for the stack in the folder, and unfit for any other.
    origin = "http://localhost:5173"
    # There is no database, and no instance whose role could be asked: nothing to wait long for.
    given = {"MEDIA_MONGO__TIMEOUT_MS": "100", "MEDIA_STORAGE__ALLOWED_ORIGINS": f'["{origin}"]'}
    ended = await run(command, DEV_FOLDER=str(tmp_path), AWS_EC2_METADATA_DISABLED="true", **given)
    assert ended.code == 1
    assert ended.err.startswith(f"Settings: from the environment ({', '.join(given)}), not those of a stack")
    assert "Allowed origins must be https" in ended.out + ended.err
    assert origin not in ended.err


@pytest.mark.parametrize("words", [("feed",), ("doctor",)])
async def test_a_port_that_is_none_is_named(words: tuple[str, ...]) -> None:
    ended = await run(*words, DEV_API_PORT="foo")
    assert ended.code == 1
    assert "DEV_API_PORT" in ended.out + ended.err


async def test_a_wrong_cursor_is_the_apis_own_sentence(service: RunningService) -> None:
    ended = await run("feed", "--after", "nonsense", **as_user(service, "reader"))
    assert ended.code == 1
    assert ended.err.startswith("INVALID_INPUT: ")


async def test_samples_go_to_the_stack_and_nowhere_else(
    service: RunningService, worker: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ports: Iterator[int]
) -> None:
    write_urls(tmp_path, {"graphql": f"{service.url}/graphql", "token": service.client("samples").token or ""})
    monkeypatch.setenv("MEDIA_URL", f"http://127.0.0.1:{next(ports)}")
    monkeypatch.setenv("MEDIA_TOKEN", "of-another-deployment")
    children = Children(tmp_path / "logs")
    await upload_samples(children, tmp_path, Console(file=io.StringIO()))
    await upload_samples(children, tmp_path, Console(file=io.StringIO()))
    await children.stop_all()
    media = service.runtime.database.media
    assert await media.count_documents({"owner_id": "samples", "status": "READY"}) == 7
    titles = await media.distinct("title", {"owner_id": "samples"})
    assert sorted(titles) == ["cat", "coffee", "galaxies", "launch", "raccoon", "rocket", "whiskers"]
