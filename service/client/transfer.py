"""Bytes of a file on their way to storage, as a presigned PUT."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from service.client.answers import UploadTarget
from service.client.errors import StorageRefused, TargetExpired, Unreachable
from service.client.local_file import LocalFile, shown
from service.client.outages import in_words

# 409: another request for the same key is under way (S3, conditional writes).
_TRY_AGAIN = (408, 409, 425, 429)
_ALREADY_THERE = 412
_CODE, _MESSAGE = re.compile(r"<Code>([^<]+)</Code>"), re.compile(r"<Message>([^<]+)</Message>")
# Every other 403 may mean that time is up: S3 says AccessDenied, a proxy nothing. A role's credentials end with 400.
_BAD_SIGNATURE, _EXPIRED = "SignatureDoesNotMatch", "ExpiredToken"

BytesSent = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class FilePart:
    """`length` bytes from `offset` of a file; `number` counts from 1."""

    number: int
    offset: int
    length: int


async def put(
    http: httpx.AsyncClient, target: UploadTarget, file: LocalFile, part: FilePart, on_bytes: BytesSent
) -> str | None:
    """Send one part of `file`, or all of it, to `target`; `on_bytes` hears how many bytes of it are out.

    Returns the ETag that storage answers with. Returns None if storage has the object already: an earlier attempt
    arrived and only its answer was lost.
    Raises StorageRefused, TargetExpired, UnusableFile, or Unreachable if trying again may help.
    """
    headers = {header.name: header.value for header in target.headers}
    # Signed as well; without it the body would go out in chunked encoding.
    headers["Content-Length"] = str(part.length)
    try:
        async with aclosing(_counted(file, part, on_bytes)) as body:
            response = await http.request(target.method, target.url, headers=headers, content=body)
    except httpx.HTTPError as error:
        cause = in_words(error)
        message = f"{place_of(target)} did not take {shown(file.path)} ({cause})."
        raise Unreachable(message, reason=f"does not answer ({cause})") from error
    if response.is_success or response.status_code == _ALREADY_THERE:
        on_bytes(part.length)
        return response.headers.get("ETag") if response.is_success else None
    raise _refusal(response, file)


def place_of(target: UploadTarget) -> str:
    """Storage, in a sentence: without the path and its signature."""
    parts = urlsplit(target.url)
    return f"Storage at {parts.scheme}://{parts.netloc}"


async def _counted(file: LocalFile, part: FilePart, on_bytes: BytesSent) -> AsyncGenerator[bytes]:
    sent = 0
    async with aclosing(file.chunks(part.offset, part.length)) as chunks:
        async for chunk in chunks:
            on_bytes(sent)
            yield chunk
            # Asked for more: the last chunk has left this process.
            sent += len(chunk)


def _refusal(response: httpx.Response, file: LocalFile) -> StorageRefused | Unreachable:
    status = response.status_code
    code = _found(_CODE, response) or f"HTTP_{status}"
    message = _found(_MESSAGE, response) or f"status {status}"
    # S3 reports a connection that stalled as 400.
    if status >= 500 or status in _TRY_AGAIN or code == "RequestTimeout":
        answer = f"{code}: {message.rstrip('.')}"
        return Unreachable(f"Storage did not take {shown(file.path)} ({answer}).", reason=f"answers {answer}")
    refused = f"Storage refused {shown(file.path)}: {message.rstrip('.')}."
    if code == _EXPIRED or (status == 403 and code != _BAD_SIGNATURE):
        return TargetExpired(code, refused)
    return StorageRefused(code, refused)


def _found(pattern: re.Pattern[str], response: httpx.Response) -> str | None:
    match = pattern.search(response.text)
    return match and match.group(1)
