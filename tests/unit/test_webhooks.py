"""Webhooks without servers: signatures, bodies, addresses, settings, and what docs/webhooks.md says of them."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr, ValidationError
from standardwebhooks.webhooks import Webhook
from typer.testing import CliRunner

from service.__main__ import app
from service.dev.webhook_receiver import webhook_receiver
from service.models import Role
from service.production import unsafe_settings
from service.settings import Environment, ReceiverSettings, Settings, WebhookSettings
from service.settings.webhooks import webhook_key
from service.stores.webhook_receivers import RegisteredReceiver
from service.webhooks import sending
from service.webhooks.addresses import is_public, resolve
from service.webhooks.payload import EVENT_TYPES, json_schema
from service.webhooks.sending import Answer
from service.webhooks.signature import Unverified, signed_headers, verify
from tests.webhook_stand import new_secret

DOCS = Path(__file__).parents[2] / "docs"
GUIDE = (DOCS / "webhooks.md").read_text()
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
KEY = webhook_key(SecretStr(SECRET))
# From the specification's repository: libraries/testdata/signatures.json, and the tests of its libraries.
VECTORS = [
    (
        1696200454,
        (
            b'{"type": "example.created", "timestamp":"2023-09-28T19:20:22+00:00", '
            b'"data":{"str":"string","bool":true,"int":42}}'
        ),
        "v1,GgjvufBlIj71MBIVQotYGb+xEC3LNXCsIZp0HsDC8qs=",
    ),
    (1614265330, b'{"test": 2432232314}', "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
]


def receiver(**changed: Any) -> ReceiverSettings:
    whole: dict[str, Any] = {"name": "orders", "url": "https://x.example/hook", "secrets": (SECRET,)}
    return ReceiverSettings(**{**whole, **changed})


@pytest.mark.parametrize(("timestamp", "body", "expected"), VECTORS)
def test_signatures_are_those_of_the_specification(timestamp: int, body: bytes, expected: str) -> None:
    event_id = "msg_p5jXN8AQM9LWM0D4loKWxJek"
    headers = signed_headers(event_id, timestamp, body, [KEY])
    assert headers["webhook-signature"] == expected
    assert verify(headers, body, [KEY], now=timestamp + 299) == event_id
    for now in (timestamp + 301, timestamp - 301):
        with pytest.raises(Unverified):
            verify(headers, body, [KEY], now=now)


@pytest.mark.parametrize(
    "changed",
    [
        {"webhook-id": "evt_2"},
        {"webhook-timestamp": str(int(time.time()) - 1)},
        {"webhook-timestamp": "x"},
        {"webhook-timestamp": "٣"},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1a,AAAA é"},
        {"webhook-signature": None},
    ],
)
async def test_what_was_altered_is_refused_and_shown_to_nobody(changed: dict[str, str | None]) -> None:
    lines: list[str] = []
    transport = httpx.ASGITransport(webhook_receiver([KEY], lines.append))
    body = b'{"type":"webhook.ping","data":{}}'
    signed = signed_headers("evt_1", int(time.time()), body, [b"x" * 32, KEY])
    altered = {name: value for name, value in {**signed, **changed}.items() if value is not None}
    async with httpx.AsyncClient(transport=transport, base_url="http://receiver") as client:

        async def answer(headers: dict[str, str], content: bytes) -> int:
            raw = {name: value.encode() for name, value in headers.items()}
            return (await client.post("/", content=content, headers=raw)).status_code

        assert [await answer(signed, body) for _ in range(2)] == [204, 204]
        assert lines == ["evt_1  webhook.ping  {}", "again  evt_1  webhook.ping  {}"]
        assert await answer(altered, body) == 401
        assert await answer(signed, body + b" ") == 401
        assert await answer(signed, b"x" * 70_000) == 413
    assert len(lines) == 4
    assert all(line.startswith("refused: ") for line in lines[2:])


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.215.14", True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00:ec2::254", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:93.184.215.14", True),
        ("64:ff9b::a9fe:a9fe", False),
        ("64:ff9b::5db8:d70e", True),
        ("64:ff9b:1::a00:1", False),
        ("::127.0.0.1", False),
        ("::ffff:0:10.0.0.1", False),
        ("fec0::1", False),
        ("192.88.99.1", False),
        ("192.0.0.8", False),
        ("2001:0:a00:1::", False),
        ("2001:db8::1", False),
        ("3fff::1", False),
        ("2002:7f00:1::", False),
        ("ff0e::1", False),
    ],
)
def test_private_addresses_are_known_in_every_dress(address: str, public: bool) -> None:
    assert is_public(address) is public


async def test_what_can_be_no_hosts_name_is_resolved_to_nothing() -> None:
    for host in ("a..b.example", f"{'a' * 64}.example"):
        with pytest.raises(OSError, match="no host's name"):
            await resolve(host, 443)


@pytest.mark.parametrize(
    "changed",
    [
        {"name": "*"},
        {"name": "Two Words"},
        {"url": "ftp://x.example/"},
        {"url": "https://user:pass@x.example/"},
        {"url": "https://x.example/#part"},
        {"url": "https:///hook"},
        {"url": "https://x.example:0/"},
        {"url": "https://x.example/a b"},
        {"url": "https://a..b.example/"},
        {"url": f"https://{'a' * 64}.example/"},
        {"secrets": ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",)},
        {"secrets": ("whsec_AAAA",)},
        {"secrets": ("whsec_%%%",)},
        {"secrets": (SECRET, SECRET)},
        {"secrets": (SECRET, new_secret(), new_secret())},
        {"events": ("*",)},
        {"purposes": ("NONE",)},
    ],
)
def test_receivers_that_make_no_sense_are_refused_without_their_secrets(changed: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as refused:
        WebhookSettings(receivers=(receiver(), receiver(**{"name": "other", **changed})))
    assert all(SECRET[6:] not in error["msg"] for error in refused.value.errors())
    with pytest.raises(ValidationError, match="same name"):
        WebhookSettings(receivers=(receiver(), receiver()))


def test_production_sends_by_https_and_with_keys_that_are_random() -> None:
    def problems(**changed: Any) -> list[str]:
        webhooks = WebhookSettings(receivers=(receiver(**{"secrets": (new_secret(),), **changed}),))
        settings = Settings(environment=Environment.PRODUCTION, webhooks=webhooks)
        return [each for each in unsafe_settings(settings, Role.WORKER) if "webhook" in each]

    assert problems() == []
    assert "must be https" in problems(url="http://x.example/")[0]
    for weak in (b"\0" * 32, b"this secret is not a random one!"):
        assert "guessable" in problems(secrets=(f"whsec_{base64.b64encode(weak).decode()}",))[0]


def test_a_receiver_wants_what_it_was_registered_for() -> None:
    since = datetime(2026, 1, 1, tzinfo=UTC)
    some = RegisteredReceiver("x", since, events=("media.ready", "deletion.*"), purposes=("PROFILE",))
    assert some.wants("media.ready", "PROFILE", since)
    assert some.wants("deletion.verified", "PROFILE", since)
    assert not some.wants("media.failed", "PROFILE", since)
    assert not some.wants("media.ready", "MEDICAL", since)
    assert not some.wants("media.ready", "PROFILE", since - timedelta(milliseconds=1))
    assert RegisteredReceiver("y", since, (), ()).wants("media.changed", "MEDICAL", since)


@pytest.mark.parametrize(
    ("status", "given", "expected"),
    [
        (503, b"120", 120),
        (429, b" 7 ", 7),
        (429, b"9" * 30, 86_400),
        (429, b"Wed, 21 Oct 2015 07:28:00 GMT", 0),
        (503, b"soon", None),
        (503, b"Mon, 01 Jan 99999999999999999999 00:00:00 GMT", None),
        (503, b"Mon, 99999999999999999999 Jan 2026 00:00:00 GMT", None),
        (503, b"-5", None),
        (500, b"120", None),
        (503, None, None),
    ],
)
def test_retry_after_is_heard_where_it_is_asked_for(status: int, given: bytes | None, expected: float | None) -> None:
    assert sending._retry_after(status, given) == expected


def test_what_is_held_against_the_receiver_and_what_against_the_event() -> None:
    down = [status for status in (None, 204, 302, 400, 404, 410, 422, 429, 500, 503) if Answer(status).is_down]
    assert down == [None, 410, 429, 500, 503]
    assert [status for status in (199, 200, 204, 299, 300, None) if Answer(status).is_accepted] == [200, 204, 299]


def test_the_committed_schema_is_that_of_the_bodies() -> None:
    committed = DOCS / "webhook-events.schema.json"
    assert committed.read_bytes() == json_schema(), "service.webhooks.payload.json_schema() makes it"


def test_the_guide_names_every_type_and_its_example_is_one() -> None:
    from service.webhooks.payload import MediaEvent

    assert {*EVENT_TYPES, "webhook.ping"} <= set(re.findall(r"`([a-z]+\.[a-z_]+)`", GUIDE))
    [example] = re.findall(r"```json\n(.*?)```", GUIDE, re.DOTALL)
    MediaEvent.model_validate_json(example)


BODY = b'{"type":"media.ready","data":{"word":"\xc3\xa9"}}'


def given(secret: str, at: float) -> dict[str, str]:
    moment = datetime.fromtimestamp(int(at), UTC)
    signature = Webhook(secret).sign("evt_1", moment, BODY.decode())
    return {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(int(at)),
        "webhook-signature": f"v1,AAAA {signature}",
    }


def cases() -> list[tuple[dict[str, str], bytes, str, bool]]:
    now = time.time()
    return [
        (given(SECRET, now), BODY, SECRET, True),
        (given(SECRET, now), BODY + b" ", SECRET, False),
        (given(new_secret(), now), BODY, SECRET, False),
        (given(SECRET, now - 400), BODY, SECRET, False),
        *(({**given(SECRET, now), "webhook-timestamp": each}, BODY, SECRET, False) for each in ("x", "", "9" * 400)),
        *((_without(given(SECRET, now), each), BODY, SECRET, False) for each in ("id", "timestamp", "signature")),
    ]


def _without(headers: dict[str, str], name: str) -> dict[str, str]:
    return {each: value for each, value in headers.items() if each != f"webhook-{name}"}


def test_the_guides_python_verifies() -> None:
    [code] = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    for headers, body, secret, expected in cases():
        assert names["verified"](headers, body, secret) is expected


def test_the_guides_javascript_verifies() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node.js is not installed.")
    [code] = re.findall(r"```js\n(.*?)```", GUIDE, re.DOTALL)
    asked = [[headers, base64.b64encode(body).decode(), secret] for headers, body, secret, _ in cases()]
    verdicts = "asked.map(([headers, body, secret]) => verified(headers, Buffer.from(body, 'base64'), secret))"
    program = f"{code}\nconst asked = {json.dumps(asked)};\nconsole.log(JSON.stringify({verdicts}));"
    answered = subprocess.run([node, "-e", program], capture_output=True, check=True, text=True)
    assert json.loads(answered.stdout) == [expected for *_, expected in cases()]


@pytest.mark.parametrize(
    "words",
    [["replay"], ["replay", "--media", "nothing"], ["list", "--state", "lost"], ["list", "--media", "QQ=="]],
)
def test_commands_that_make_no_sense_are_usage_errors(words: list[str]) -> None:
    ended = CliRunner().invoke(app, ["webhooks", *words], env={"MEDIA_ENVIRONMENT": "development"})
    assert ended.exit_code == 2
    assert "Settings:" not in ended.output, "nothing was begun"
