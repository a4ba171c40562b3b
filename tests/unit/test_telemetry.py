"""Logs without secrets, metrics without globals, and what the middleware adds to every answer."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import structlog
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from service.lifecycle import MediaStatus
from service.log_lines import configure_logging, current_request_id
from service.models import JobKind, Lane, MediaPurpose
from service.redaction import REDACTED
from service.telemetry import Metrics
from service.transport.middleware import SecurityHeadersMiddleware, TelemetryMiddleware


@contextmanager
def configured_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    configure_logging("INFO")
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


@pytest.fixture
def logs(capsys: pytest.CaptureFixture[str]) -> Iterator[pytest.CaptureFixture[str]]:
    with configured_logging():
        yield capsys


def logged(logs: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in logs.readouterr().out.splitlines()]


def test_a_line_is_json_with_the_ids_of_what_is_going_on(logs: pytest.CaptureFixture[str]) -> None:
    with structlog.contextvars.bound_contextvars(request_id="r", media_id="m", job_id="j"):
        structlog.get_logger("service.worker").info("claimed", attempt=2)
    [line] = logged(logs)
    assert {key: line[key] for key in ("event", "level", "logger", "request_id", "media_id", "job_id", "attempt")} == {
        "event": "claimed", "level": "info", "logger": "service.worker",
        "request_id": "r", "media_id": "m", "job_id": "j", "attempt": 2,
    }  # fmt: skip
    assert str(line["timestamp"]).endswith("Z")


def test_a_log_that_nobody_reads_any_more_fails_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with configured_logging(), (tmp_path / "log").open("w") as gone:
        gone.close()
        monkeypatch.setattr("sys.stdout", gone)
        structlog.get_logger("service.http").info("request")


def test_lines_of_libraries_look_the_same(logs: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("uvicorn.error").warning("slow %s", "start")
    logging.getLogger("pymongo.command").debug("everything, positions included")
    [line] = logged(logs)
    assert (line["event"], line["logger"], line["level"]) == ("slow start", "uvicorn.error", "warning")


def test_a_library_that_configured_itself_before_is_redacted_too(capsys: pytest.CaptureFixture[str]) -> None:
    library = logging.getLogger("library.configured.before")
    library.addHandler(logging.StreamHandler())
    library.propagate = False
    with configured_logging():
        library.warning("refused Bearer c2VjcmV0")
    out, err = capsys.readouterr()
    assert json.loads(out)["event"] == f"refused Bearer {REDACTED}"
    assert "c2VjcmV0" not in err


TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl"
SECRETS = {
    "a bearer token": f"got Authorization: Bearer {TOKEN}",
    "a bare token": f"token was {TOKEN}, refused",
    "a signed url": "GET https://cdn/x.jpg?Expires=1&Signature=c2VjcmV0&Key-Pair-Id=K1&Policy=c2VjcmV0 failed",
    "a presigned url": "PUT https://s3/x?X-Amz-Signature=c2VjcmV0&X-Amz-Credential=c2VjcmV0%2F2026&X-Amz-Date=c2VjcmV0",
    "a database password": "cannot reach mongodb://admin:c2VjcmV0@db.internal:27017/?tls=true",
    "a private key": "loaded -----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY----- ok",
    "a position": "EXIF {'GPSLatitude': (52.5170365, 0), 'GPSLongitude': 13.3888599}",
    "a position in words": "latitude=52.5170365 lon: 13.3888599",
    "a secret of a webhook": "whsec_c2VjcmV0",
    "a signature of a webhook": "webhook-signature: v1,c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2U=",
    "tokens in a query": "GET https://x/?access_token=c2VjcmV0&page=2&key=c2VjcmV0 failed",
    "a password": "user=ada password=c2VjcmV0, refused",
    "a password in JSON": '{"password": "c2VjcmV0 c2VjcmV0", "user": "ada"}',
    "a position in JSON": '{"gpsPosition": "52.5170365,13.3888599"}',
    "a pair": "GPS: 52.5170365, 13.3888599 far",
    "a GeoJSON point": "{'type': 'Point', 'coordinates': [13.3888599, 52.5170365]}",
}
LEAKS = ("c2VjcmV0", "c2lnbmF0dXJl", "52.517", "13.388")


@pytest.mark.parametrize("what", SECRETS)
def test_secrets_in_text_are_redacted_wherever_it_stands(logs: pytest.CaptureFixture[str], what: str) -> None:
    log = structlog.get_logger("service")
    log.info(SECRETS[what])
    log.info("event", detail=SECRETS[what])
    log.info("event", nested={"deep": [{"detail": SECRETS[what]}]}, object=ValueError(SECRETS[what]))
    logging.getLogger("lib").warning("said %s", SECRETS[what])
    try:
        raise ValueError(SECRETS[what])
    except ValueError:
        log.exception("crashed")
    out = logs.readouterr().out
    assert len(out.splitlines()) == 5
    assert out.count(REDACTED) >= 6
    assert not [leak for leak in LEAKS if leak in out]


@pytest.mark.parametrize(
    "key", ["authorization", "Authorization", "auth_token", "secret_key", "password", "cookie", "latitude", "lat",
            "gps_position", "gpsPosition", "access_key_id", "location", "coordinates",
            "X-Amz-Signature", "signature", "private_key"],
)  # fmt: skip
def test_secret_fields_are_redacted_by_name(logs: pytest.CaptureFixture[str], key: str) -> None:
    structlog.get_logger("service").info("event", **{key: "52.517", "nested": {key: [13.388]}})
    [line] = logged(logs)
    assert (line[key], line["nested"]) == (REDACTED, {key: REDACTED})


def test_harmless_fields_stay(logs: pytest.CaptureFixture[str]) -> None:
    fields = {
        "platform": "x", "max_query_tokens": 2000, "latency_ms": 3, "translation": "y", "key": "media/raw/1.jpg",
        "reason": "invalid token: it has expired", "stored": "POST key=media/raw/1.jpg",
    }  # fmt: skip
    structlog.get_logger("service").info("latency is fine", **fields)
    [line] = logged(logs)
    assert {**line, **fields} == line
    assert line["event"] == "latency is fine"


def test_no_value_costs_a_line(logs: pytest.CaptureFixture[str]) -> None:
    structlog.get_logger("service").info("odd", text="\ud800", huge=10**40, raw=b"\xff", nan=float("nan"))
    [line] = logged(logs)
    assert "odd" in str(line["event"])


def test_registries_are_independent_and_complete() -> None:
    first, second = Metrics(), Metrics()
    first.count_upload(MediaPurpose.PROFILE, "created")
    first.count_job(JobKind.PROCESS, "done", 1.5)
    first.set_queue_age(Lane.FIRST_VISIBLE, 2)
    first.observe_first_viewable(MediaPurpose.PROFILE, 2.5)
    first.count_status(MediaStatus.READY, MediaPurpose.PROFILE)
    text = first.render()[0].decode()
    for line in (
        'media_uploads_total{outcome="created",purpose="PROFILE"} 1.0',
        'media_jobs_total{kind="process",outcome="done"} 1.0',
        'media_queue_age_seconds{lane="first_visible"} 2.0',
        'media_time_to_first_viewable_seconds_bucket{le="3.0",purpose="PROFILE"} 1.0',
        'media_status_entered_total{purpose="PROFILE",status="READY"} 1.0',
    ):
        assert line in text
    assert "media_uploads_total{" not in second.render()[0].decode()


async def _echo(request: Request) -> Response:
    return Response(
        current_request_id() or "none",
        headers={"Content-Security-Policy": "img-src *"} if request.path_params["id"] == "own" else {},
    )


async def _crash(_request: Request) -> Response:
    raise RuntimeError("mongodb://admin:c2VjcmV0@db")


async def _break(_request: Request) -> Response:
    async def half() -> AsyncIterator[bytes]:
        yield b"half"
        raise RuntimeError("lost")

    return StreamingResponse(half())


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def client(metrics: Metrics) -> AsyncIterator[httpx.AsyncClient]:
    app = Starlette(
        routes=[Route("/media/{id}", _echo), Route("/crash", _crash), Route("/break", _break)],
        middleware=[
            Middleware(TelemetryMiddleware, metrics=metrics),
            Middleware(SecurityHeadersMiddleware, content_security_policy="default-src 'self'", https_only=True),
        ],
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api.example") as client:
        yield client


async def test_a_sane_request_id_is_kept_and_any_other_replaced(client: httpx.AsyncClient) -> None:
    kept = await client.get("/media/1", headers={"x-request-id": "trace-1.2:3"})
    assert kept.headers["x-request-id"] == kept.text == "trace-1.2:3"
    for bad in ("", "a b", "x" * 65, '"}{"', "<script>"):
        replaced = await client.get("/media/1", headers={"x-request-id": bad})
        assert replaced.headers["x-request-id"] == replaced.text != bad
        assert replaced.text[14] == "7"


async def test_answers_are_counted_by_route_not_by_path(client: httpx.AsyncClient, metrics: Metrics) -> None:
    for path in ("/media/1", "/media/2", "/nowhere/1", "/nowhere/2"):
        await client.get(path)
    await client.request("BREW", "/media/1")
    text = metrics.render()[0].decode()
    assert 'media_http_requests_total{method="GET",operation="none",route="/media/{id}",status="200"} 2.0' in text
    assert 'media_http_requests_total{method="GET",operation="none",route="unmatched",status="404"} 2.0' in text
    assert 'method="OTHER"' in text
    assert 'media_http_request_duration_seconds_count{operation="none",route="/media/{id}"} 3.0' in text


async def test_each_answer_leaves_one_access_log_line(
    client: httpx.AsyncClient, logs: pytest.CaptureFixture[str]
) -> None:
    response = await client.get("/media/1?access_token=c2VjcmV0")
    [line] = [line for line in logged(logs) if line["event"] == "request"]
    assert (line["route"], line["method"], line["status"]) == ("/media/{id}", "GET", 200)
    assert line["request_id"] == response.headers["x-request-id"]
    assert "c2VjcmV0" not in json.dumps(line)


async def test_a_crash_is_a_masked_500_with_its_id_and_a_trace(
    client: httpx.AsyncClient, logs: pytest.CaptureFixture[str]
) -> None:
    response = await client.get("/crash")
    assert response.status_code == 500
    [error] = response.json()["errors"]
    assert error["extensions"] == {"code": "INTERNAL", "requestId": response.headers["x-request-id"]}
    crash, access = (line for line in logged(logs) if line["logger"] == "service.http")
    assert "RuntimeError" in str(crash["exception"])
    assert "c2VjcmV0" not in str(crash)
    assert access["status"] == 500


async def test_an_answer_that_breaks_off_is_not_passed_off_as_whole(client: httpx.AsyncClient) -> None:
    with pytest.raises(RuntimeError, match="lost"):
        await client.get("/break")


async def test_security_headers_are_added_and_a_routes_own_policy_stays(client: httpx.AsyncClient) -> None:
    headers = (await client.get("/media/1")).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["content-security-policy"] == "default-src 'self'; frame-ancestors 'none'"
    assert headers["strict-transport-security"].startswith("max-age=")
    assert (await client.get("/media/own")).headers["content-security-policy"] == "img-src *"
