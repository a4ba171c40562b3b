"""Answers in fewer bytes: the coding a client accepts that costs the least, for bodies that are worth it.

Not a middleware: the transport knows its body whole and its headers by heart, and streams of events must pass as they
are written. Levels are those beyond which a page of the feed shrinks by less than 3 % for twice the CPU time
(docs/benchmarks.md).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import brotli
import zstandard

# Below this an answer fits one packet either way.
MIN_BYTES = 1_200

_ZSTD_LEVEL = 1
_BROTLI_QUALITY = 1
_GZIP_LEVEL = 1
_GZIP_CONTAINER = 16 + zlib.MAX_WBITS

# Longer headers are read anew each time, so that nobody fills the memory of those that were read.
_REMEMBERED_CHARACTERS = 200

_QUALITY = re.compile(r"q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)")


@dataclass(frozen=True, slots=True)
class Coding:
    """A content coding (RFC 9110): its token, and what encodes a body in it."""

    token: bytes
    encode: Callable[[bytes], bytes]


def _gzip(body: bytes) -> bytes:
    encoder = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_CONTAINER)
    return encoder.compress(body) + encoder.flush()


# The cheapest first: clients that accept several say so with equal weight.
_CODINGS = {
    "zstd": Coding(b"zstd", zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress),
    "br": Coding(b"br", lambda body: brotli.compress(body, quality=_BROTLI_QUALITY)),
    "gzip": Coding(b"gzip", _gzip),
}


def choose_coding(accept_encoding: str | None) -> Coding | None:
    """The coding to answer in; None for the identity, also where the header cannot be read.

    Of what the client weighs highest, the one that costs us least.
    """
    if accept_encoding is None:
        return None
    if len(accept_encoding) > _REMEMBERED_CHARACTERS:
        return _choose(accept_encoding)
    return _choose_remembered(accept_encoding)


def _choose(accept_encoding: str) -> Coding | None:
    weights: dict[str, float] = {}
    for part in accept_encoding.lower().split(","):
        token, _, parameter = (piece.strip() for piece in part.partition(";"))
        if not parameter:
            weights[token] = 1.0
        elif match := _QUALITY.fullmatch(parameter.replace(" ", "")):
            weights[token] = float(match[1])
    others = weights.get("*", 0.0)
    best, best_weight = None, 0.0
    for token, coding in _CODINGS.items():
        if (weight := weights.get(token, others)) > best_weight:
            best, best_weight = coding, weight
    return best


_choose_remembered = lru_cache(maxsize=256)(_choose)
