"""What one answer weighs on the wire, body and headers, with and without compression."""

from __future__ import annotations

import http.client
from dataclasses import dataclass

from benchmarks.feed.pages import Page
from benchmarks.feed.servers import BROWSERS_ENCODINGS, Row


@dataclass(frozen=True, slots=True)
class Answer:
    """`encoding` is empty where the body is not compressed."""

    body: bytes
    header_bytes: int
    encoding: str

    @property
    def total(self) -> int:
        return len(self.body) + self.header_bytes


def ask(row: Row, page: Page, *, compressed: bool = False) -> Answer:
    """One answer. Raises RuntimeError if it is not a 200."""
    headers = {"Accept-Encoding": BROWSERS_ENCODINGS} if compressed else {}
    connection = http.client.HTTPConnection("127.0.0.1", row.server.port, timeout=30)
    try:
        connection.connect()
        connection.sock.sendall(row.request(page, **headers).encode())
        response = http.client.HTTPResponse(connection.sock, method="POST")
        response.begin()
        body = response.read()
    finally:
        connection.close()
    if response.status != 200:
        raise RuntimeError(f"{row.title}, {page.name}: {response.status}, {body[:300]!r}")
    header_bytes = sum(len(name) + len(value) + 4 for name, value in response.getheaders())
    return Answer(body, header_bytes, response.getheader("Content-Encoding", ""))
