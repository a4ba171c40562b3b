"""How CloudFront reads patterns and paths: `*` for any text, `?` for one character, and RFC 3986's normal form."""

from __future__ import annotations

import re
from functools import lru_cache
from string import ascii_letters, digits

_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset(f"{ascii_letters}{digits}-._~")


def matches(pattern: str, text: str) -> bool:
    """Whether all of `text` fits `pattern`. Case matters; `*` stands for slashes and for nothing as well."""
    return _compiled(pattern).fullmatch(text) is not None


@lru_cache(256)
def _compiled(pattern: str) -> re.Pattern[str]:
    # A run of stars means one star; left as it is, it would cost time that grows with each of them.
    stars = re.sub(r"\*+", "*", pattern)
    return re.compile(re.escape(stars).replace(r"\*", ".*").replace(r"\?", "."), re.DOTALL)


def normal_form(path: str) -> str:
    """A path as behaviours are matched with it: RFC 3986 section 6.2.2, without dot segments and needless escapes.

    Only for choosing a behaviour. What is signed, cached and asked of the origin is the path as it arrived.
    """
    segments: list[str] = []
    for segment in _ESCAPE.sub(_unescaped, path).split("/"):
        if segment == "..":
            # The first, empty segment is the root, and nothing is above it.
            del segments[max(1, len(segments) - 1) :]
        elif segment != ".":
            segments.append(segment)
    return "/".join(segments)


def _unescaped(match: re.Match[str]) -> str:
    character = chr(int(match[1], 16))
    return character if character in _UNRESERVED else match[0].upper()
