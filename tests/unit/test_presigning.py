"""Presigned requests against botocore's own signer, byte for byte."""

from __future__ import annotations

from datetime import UTC, datetime
from unittest.mock import patch
from urllib.parse import parse_qsl, urlsplit

import botocore.auth
import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import given
from hypothesis import strategies as st

from service.presigning import Part, PresignedRequest, Presigner

MOMENT = datetime(2026, 11, 21, 9, 30, 15, tzinfo=UTC)
KEY = "community/raw/0193.jpg"

credentials = st.builds(
    ReadOnlyCredentials,
    access_key=st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=16, max_size=20),
    secret_key=st.text("abcXYZ0189/+", min_size=20, max_size=40),
    token=st.one_of(st.none(), st.text("abcXYZ0189/+=", min_size=8, max_size=80)),
)
endpoints = st.sampled_from(
    ["http://127.0.0.1:8333", "https://s3.eu-central-1.amazonaws.com", "https://store.example:443", "http://[::1]:9000"]
)
# Ids that real servers give: base64 with its dots, slashes and equals signs among them.
storage_ids = st.text("abcXYZ0189_.-~/+=", min_size=1, max_size=120)


def botocore_signed(frozen: ReadOnlyCredentials, request: PresignedRequest, byte_size: int | None) -> str:
    """The URL that botocore signs for the same request."""
    query = [pair for pair in parse_qsl(urlsplit(request.url).query, keep_blank_values=True) if "X-Amz" not in pair[0]]
    expires = int(dict(parse_qsl(urlsplit(request.url).query))["X-Amz-Expires"])
    length = {} if byte_size is None else {"Content-Length": str(byte_size)}
    unsigned = AWSRequest(
        request.method, request.url.split("?")[0], headers={**request.headers, **length}, params=dict(query)
    )
    with patch.object(botocore.auth, "get_current_datetime", lambda: MOMENT.replace(tzinfo=None)):
        S3SigV4QueryAuth(frozen, "s3", "eu-central-1", expires=expires).add_auth(unsigned)
    return str(unsigned.url)


def parameters(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))


def presigner(endpoint: str, frozen: ReadOnlyCredentials) -> Presigner:
    return Presigner(endpoint=endpoint, region="eu-central-1", bucket="uploads", credentials=lambda: frozen)


@given(credentials, endpoints, st.integers(1, 5 * 2**30), st.integers(1, 604_800))
def test_a_single_upload_is_signed_as_botocore_signs_it(
    frozen: ReadOnlyCredentials, endpoint: str, byte_size: int, expires_s: int
) -> None:
    request = presigner(endpoint, frozen).put(
        key=KEY, content_type="image/jpeg", byte_size=byte_size, checksum="q83v", expires_s=expires_s, now=MOMENT
    )
    assert parameters(request.url) == parameters(botocore_signed(frozen, request, byte_size))


@given(credentials, endpoints, storage_ids, st.integers(1, 10_000), st.sampled_from([None, "q83vEjRWeJA="]))
def test_a_part_is_signed_as_botocore_signs_it(
    frozen: ReadOnlyCredentials, endpoint: str, storage_id: str, number: int, checksum: str | None
) -> None:
    [request] = presigner(endpoint, frozen).parts(
        key=KEY, storage_upload_id=storage_id, parts=[Part(number, 8_388_608, checksum)], expires_s=900, now=MOMENT
    )
    assert parameters(request.url) == parameters(botocore_signed(frozen, request, 8_388_608))


@given(credentials, endpoints, storage_ids)
def test_the_calls_around_the_parts_are_signed_as_botocore_signs_them(
    frozen: ReadOnlyCredentials, endpoint: str, storage_id: str
) -> None:
    signer = presigner(endpoint, frozen)
    requests = [signer.create_multipart(key=KEY, content_type="image/png", expires_s=60, now=MOMENT)]
    requests += [
        signer.on_multipart(method, key=KEY, storage_upload_id=storage_id, expires_s=60, now=MOMENT)
        for method in ("GET", "POST", "DELETE")
    ]
    for request in requests:
        assert parameters(request.url) == parameters(botocore_signed(frozen, request, None))


def test_a_request_ends_when_it_says() -> None:
    frozen = ReadOnlyCredentials("AKIDEXAMPLE000000", "secret", None)
    request = presigner("http://127.0.0.1:8333", frozen).put(
        key=KEY, content_type="image/jpeg", byte_size=1, checksum="q83v", expires_s=90, now=MOMENT
    )
    assert request.expires_at == datetime(2026, 11, 21, 9, 31, 45, tzinfo=UTC)
    assert "secret" not in repr(request)


@pytest.mark.parametrize("number", [1, 2])
def test_each_part_has_a_signature_of_its_own(number: int) -> None:
    frozen = ReadOnlyCredentials("AKIDEXAMPLE000000", "secret", None)
    signed = presigner("http://127.0.0.1:8333", frozen).parts(
        key=KEY, storage_upload_id="u", parts=[Part(1, 10), Part(2, 10), Part(2, 9)], expires_s=90, now=MOMENT
    )
    assert len({parameters(request.url)["X-Amz-Signature"] for request in signed}) == 3
    assert parameters(signed[number - 1].url)["partNumber"] == str(number)
