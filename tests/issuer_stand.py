"""An issuer of tokens on loopback: it signs, publishes its keys at an address, and can be out of order."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from service.settings import AuthSettings, IssuerSettings

ISSUER = "https://idp"

Answering = Callable[[asyncio.StreamWriter], Awaitable[None]]

EC_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(65537, 2048)
ED_KEY = ed25519.Ed25519PrivateKey.generate()

_ALGORITHMS: dict[str, Any] = {
    "RS": jwt.algorithms.RSAAlgorithm,
    "ES": jwt.algorithms.ECAlgorithm,
    "Ed": jwt.algorithms.OKPAlgorithm,
}


def jwk(key: Any, kid: str | None, algorithm: str, **changed: Any) -> dict[str, Any]:
    """The public half of a private key, as an issuer publishes it."""
    whole = json.loads(_ALGORITHMS[algorithm[:2]].to_jwk(key.public_key()))
    whole.pop("key_ops", None)
    whole |= {"kid": kid, "use": "sig", "alg": algorithm, **changed}
    return {name: value for name, value in whole.items() if value is not None}


def token(key: Any, algorithm: str, kid: str | None, **claims: Any) -> str:
    now = int(time.time())
    whole = {"iss": ISSUER, "aud": "media", "sub": "anna", "iat": now, "exp": now + 3_600, **claims}
    return jwt.encode(whole, key, algorithm=algorithm, headers={} if kid is None else {"kid": kid})


class IssuerStand:
    """`answer`, where it is set, says what is sent instead of the keys."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.keys: list[dict[str, Any]] = []
        self.answer: Answering | None = None
        self.asked = 0

    @property
    def settings(self) -> AuthSettings:
        return AuthSettings(issuers=(IssuerSettings(issuer=ISSUER, audience="media", jwks_url=self.url),))

    def answer_with(self, body: bytes, *, status: str = "200 OK", headers: str = "") -> None:
        async def answer(writer: asyncio.StreamWriter) -> None:
            head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
            writer.write(head.encode() + body)
            await writer.drain()

        self.answer = answer

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            self.asked += 1
            if self.answer is None:
                body = json.dumps({"keys": self.keys}).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
                await writer.drain()
            else:
                await self.answer(writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def issuing(tls: Any = None) -> AsyncIterator[IssuerStand]:
    stand: IssuerStand | None = None

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert stand is not None
        await stand.serve(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    stand = IssuerStand(f"{'https' if tls else 'http'}://127.0.0.1:{port}/keys?v=1")
    try:
        yield stand
    finally:
        server.close()
        await server.wait_closed()
