"""Each byte of what is signed counts: change any one of them, and the edge refuses it, or it still says the same."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

import pytest

from service.cloudfront import HashAlgorithm
from tests.edge_vectors import BASE, EC_ID, EXPIRES, RSA_ID, signer, target, verdict

KEY = "community/processed/feed/0199a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b/1.webp"
PATTERN = "community/processed/*/0199a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b/*"
PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))
# Control characters, and bytes that are not ASCII as they are decoded on their way in.
OTHERS = "\x00\t\n\x7f\udc80\udcc3\udcff"
CANNED = {
    "ecdsa": signer().sign(KEY, EXPIRES),
    "rsa": signer(RSA_ID, HashAlgorithm.SHA1).sign(KEY, EXPIRES),
}


def replacements(text: str, index: int, characters: str) -> Iterator[str]:
    for character in characters:
        if character != text[index]:
            yield text[:index] + character + text[index + 1 :]


def neighbours(text: str, index: int) -> Iterator[str]:
    """`text` with one character in another case or one off, missing, doubled, or with another before it."""
    character = text[index]
    yield from replacements(text, index, character.swapcase() + chr(ord(character) ^ 1) + "A&=?*/")
    yield text[:index] + text[index + 1 :]
    for added in (character, "A", "&", "*"):
        yield text[:index] + added + text[index:]


def is_only_an_empty_parameter_more(mutant: str, url: str) -> bool:
    """An `&` too many between parameters changes neither the resource nor any of them."""
    address, _, query = mutant.partition("?")
    return address == url.partition("?")[0] and [each for each in query.split("&") if each] == url.partition("?")[
        2
    ].split("&")


def test_no_byte_of_a_canned_url_can_be_any_other() -> None:
    url = CANNED["ecdsa"]
    assert verdict(url) == "allow"
    for index in range(len("https://"), len(url)):
        for mutant in replacements(url, index, PRINTABLE + OTHERS):
            assert verdict(mutant).startswith("deny:"), mutant


@pytest.mark.parametrize("kind", CANNED)
def test_no_byte_of_a_canned_url_can_be_left_out_or_added(kind: str) -> None:
    url = CANNED[kind]
    assert verdict(url) == "allow"
    for index in range(len("https://"), len(url)):
        for mutant in neighbours(url, index):
            if mutant != url and not is_only_an_empty_parameter_more(mutant, url):
                assert verdict(mutant).startswith("deny:"), mutant
    for end in range(len(url)):
        assert verdict(url[:end]).startswith("deny:"), url[:end]


@pytest.mark.parametrize("key_id", [RSA_ID, EC_ID])
def test_a_byte_of_a_wildcard_url_can_only_change_within_what_the_wildcards_stand_for(key_id: str) -> None:
    url = f"{BASE}/{KEY}?{signer(key_id).sign_pattern(PATTERN, EXPIRES)}"
    question = url.index("?")
    opened = 0
    for index in range(len("https://"), len(url)):
        for mutant in (*neighbours(url, index), *replacements(url, index, OTHERS)):
            if mutant == url or is_only_an_empty_parameter_more(mutant, url):
                continue
            if verdict(mutant) == "allow":
                assert index <= question, mutant
                assert fnmatchcase(mutant.partition("?")[0], f"{BASE}/{PATTERN}"), mutant
                assert mutant.partition("?")[2] == url[question + 1 :], mutant
                opened += 1
    # The rendition's name and what follows the id: all else is fixed.
    assert opened > 0


@pytest.mark.parametrize("of", ["canned", "custom"])
def test_no_byte_of_signed_cookies_can_be_any_other(of: str) -> None:
    query = CANNED["ecdsa"].partition("?")[2] if of == "canned" else signer().sign_pattern(PATTERN, EXPIRES)
    cookie = "; ".join(f"CloudFront-{parameter}" for parameter in query.split("&"))
    assert verdict(target(f"{BASE}/{KEY}", cookie)) == "allow"
    pairs = sorted(cookie.split("; "))
    for index in range(len(cookie)):
        for mutant in neighbours(cookie, index):
            # Spaces and empty pairs between cookies mean nothing.
            if sorted(pair.strip() for pair in mutant.split(";") if pair.strip()) != pairs:
                assert verdict(target(f"{BASE}/{KEY}", mutant)).startswith("deny:"), mutant
