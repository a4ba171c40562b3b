"""Keys and secrets of one development folder: made once, kept readable by their owner alone."""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import orjson
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec


@dataclass(frozen=True, slots=True)
class DevKeys:
    """Everything secret that the embedded stack runs on. The signing keys are ECDSA P-256 as PEM."""

    public_signing_key: str = field(repr=False)
    private_signing_key: str = field(repr=False)
    original_signing_key: str = field(repr=False)
    token_secret: str = field(repr=False)
    storage_access_key: str
    storage_secret_key: str = field(repr=False)
    event_token: str = field(repr=False)


def new_keys() -> DevKeys:
    """Fresh keys."""
    return DevKeys(
        public_signing_key=_new_signing_key(),
        private_signing_key=_new_signing_key(),
        original_signing_key=_new_signing_key(),
        token_secret=secrets.token_urlsafe(48),
        storage_access_key=secrets.token_hex(10).upper(),
        storage_secret_key=secrets.token_urlsafe(30),
        event_token=secrets.token_urlsafe(32),
    )


def kept_keys(path: Path) -> DevKeys:
    """The keys in `path`, made there (mode 0600) if it does not exist or lacks some."""
    if path.exists():
        kept = orjson.loads(path.read_bytes())
        if set(kept) == {each.name for each in fields(DevKeys)}:
            return DevKeys(**kept)
    keys = new_keys()
    path.touch(mode=0o600)
    path.write_bytes(orjson.dumps(asdict(keys), option=orjson.OPT_INDENT_2))
    return keys


def _new_signing_key() -> str:
    return (
        ec.generate_private_key(ec.SECP256R1())
        .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        .decode()
    )
