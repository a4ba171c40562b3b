"""The bytes of one file on their way to storage, as a presigned PUT."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable

import httpx

from service.client.answers import UploadTarget
from service.client.errors import StorageRefused, Unreachable
from service.client.local_file import LocalFile, shown

# 409: another request for the same key is under way (S3, conditional writes).
_TRY_AGAIN = (408, 409, 425, 429)
_ALREADY_THERE = 412
_CODE, _MESSAGE = re.compile(r"<Code>([^<]+)</Code>"), re.compile(r"<Message>([^<]+)</Message>")

BytesSent = Callable[[int], None]


async def put_file(http: httpx.AsyncClient, target: UploadTarget, file: LocalFile, on_bytes: BytesSent) -> None:
    """Send `file` to `target`; `on_bytes` hears how many bytes of it are out.

    Returns as well if storage has the object already: an earlier attempt arrived and only its answer was lost.
    Raises StorageRefused, UnusableFile, or Unreachable if trying again may help.
    """
    headers = {header.name: header.value for header in target.headers}
    # Signed as well; without it the body would go out in chunked encoding.
    headers["Content-Length"] = str(file.byte_size)
    try:
        response = await http.request(target.method, target.url, headers=headers, content=_counted(file, on_bytes))
    except httpx.HTTPError as error:
        raise Unreachable(f"Storage did not take {shown(file.path)} ({str(error) or type(error).__name__}).") from error
    if response.is_success or response.status_code == _ALREADY_THERE:
        on_bytes(file.byte_size)
        return
    raise _refusal(response, file)


async def _counted(file: LocalFile, on_bytes: BytesSent) -> AsyncIterator[bytes]:
    sent = 0
    async for chunk in file.chunks():
        on_bytes(sent)
        yield chunk
        # Asked for more: the last chunk has left this process.
        sent += len(chunk)


def _refusal(response: httpx.Response, file: LocalFile) -> StorageRefused | Unreachable:
    code = _found(_CODE, response) or f"HTTP_{response.status_code}"
    message = _found(_MESSAGE, response) or f"status {response.status_code}"
    # S3 reports a connection that stalled as 400.
    if response.status_code >= 500 or response.status_code in _TRY_AGAIN or code == "RequestTimeout":
        return Unreachable(f"Storage did not take {shown(file.path)} ({code}: {message}).")
    return StorageRefused(code, f"Storage refused {shown(file.path)}: {message.rstrip('.')}.")


def _found(pattern: re.Pattern[str], response: httpx.Response) -> str | None:
    match = pattern.search(response.text)
    return match and match.group(1)
