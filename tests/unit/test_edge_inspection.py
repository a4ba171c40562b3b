"""What an edge's answers say of objects that should be gone: a refused signature is no proof, nor is silence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit
from uuid import UUID

from service.delivery import load_signers
from service.edge_inspection import EdgeInspection, EdgeReport
from service.models import MediaFormat, MediaPurpose, RenditionName, Visibility
from service.object_keys import original_key, rendition_key
from tests.edge_stand import delivery_settings, xml

ID = UUID("0199a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b")
PUBLIC, PRIVATE = (
    rendition_key(MediaPurpose.COMMUNITY, visibility, RenditionName.FEED, ID, "g", MediaFormat.WEBP)
    for visibility in (Visibility.PUBLIC, Visibility.PRIVATE)
)
ORIGINAL = original_key(MediaPurpose.COMMUNITY, ID, "image/jpeg")
MISSING = xml("AccessDenied", "Access Denied")
REFUSED = xml("AccessDenied", "Access denied")


@contextmanager
def edge(answers: Mapping[str, tuple[int, str]], targets: list[str]) -> Iterator[str]:
    """Answers each path as told; a redirect leads to where everything is 200."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            targets.append(self.path)
            status, body = answers.get(urlsplit(self.path).path.removeprefix("/"), (200, ""))
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "/elsewhere")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class names it
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


async def report(answers: Mapping[str, tuple[int, str]], targets: list[str] | None = None) -> EdgeReport:
    with edge(answers, [] if targets is None else targets) as base_url:
        settings = delivery_settings().model_copy(update={"base_url": base_url})
        return await EdgeInspection(load_signers(settings)).ask(answers.keys())


async def test_each_object_is_asked_for_with_a_signature_of_its_own_class() -> None:
    targets: list[str] = []
    told = await report({PUBLIC: (403, MISSING), PRIVATE: (404, ""), ORIGINAL: (403, "")}, targets)
    assert (told.served, told.unclear, told.statuses) == ([], 0, {403: 2, 404: 1})
    keys = {urlsplit(each).path[1:]: each for each in targets}
    for key, pair in ((PUBLIC, "KPUBLIC"), (PRIVATE, "KPRIVATE"), (ORIGINAL, "KORIGINAL")):
        assert f"Key-Pair-Id={pair}" in keys[key]
        assert "Signature=" in keys[key]


async def test_what_an_edge_has_is_told_and_redirects_are_not_followed() -> None:
    targets: list[str] = []
    told = await report({PUBLIC: (200, "picture"), PRIVATE: (302, ""), ORIGINAL: (206, "p")}, targets)
    assert told.served == sorted([PUBLIC, ORIGINAL])
    assert told.unclear == 1
    assert len(targets) == 3


async def test_a_refused_signature_or_no_sensible_answer_proves_nothing() -> None:
    told = await report({PUBLIC: (403, REFUSED), PRIVATE: (403, xml("InvalidKey", "Unknown Key")), ORIGINAL: (503, "")})
    assert (told.served, told.unclear, told.refused) == ([], 3, 2)
    with edge({}, []) as base_url:
        gone = delivery_settings().model_copy(update={"base_url": base_url})
    silent = await EdgeInspection(load_signers(gone)).ask([PUBLIC])
    assert (silent.served, silent.unclear, silent.statuses) == ([], 1, {})


async def test_without_keys_nothing_is_asked_and_nothing_told() -> None:
    told = await EdgeInspection(None).ask([PUBLIC, PRIVATE])
    assert (told.unclear, told.statuses) == (2, {})
