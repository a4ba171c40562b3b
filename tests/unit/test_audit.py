"""Audit chains without a database: RFC 8785's own vectors, and every way of changing a chain is found."""

from __future__ import annotations

import copy
import json
import struct
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime
from typing import Any

import pytest

from service.audit import (
    Anchor,
    AuditAction,
    ChainVerifier,
    Finding,
    Head,
    PendingEntry,
    UnreadableFile,
    bucket_of,
    entry_line,
    hash_of,
    heads_line,
    linked,
    read_heads,
    verify_lines,
)
from service.audit.canonical import canonical_json
from service.audit_upkeep import Anchors, days_without_anchor

# RFC 8785, appendix B: the bits of a double, and how it is written.
NUMBERS = """
0000000000000000 0
8000000000000000 0
0000000000000001 5e-324
8000000000000001 -5e-324
7fefffffffffffff 1.7976931348623157e+308
ffefffffffffffff -1.7976931348623157e+308
4340000000000000 9007199254740992
c340000000000000 -9007199254740992
4430000000000000 295147905179352830000
44b52d02c7e14af5 9.999999999999997e+22
44b52d02c7e14af6 1e+23
44b52d02c7e14af7 1.0000000000000001e+23
444b1ae4d6e2ef4e 999999999999999700000
444b1ae4d6e2ef4f 999999999999999900000
444b1ae4d6e2ef50 1e+21
3eb0c6f7a0b5ed8c 9.999999999999997e-7
3eb0c6f7a0b5ed8d 0.000001
41b3de4355555553 333333333.3333332
41b3de4355555554 333333333.33333325
41b3de4355555555 333333333.3333333
41b3de4355555556 333333333.3333334
41b3de4355555557 333333333.33333343
becbf647612f3696 -0.0000033333333333333333
43143ff3c1cb0959 1424953923781206.2
"""
OWNER = "anna"
BUCKET = bucket_of(OWNER)
AT = datetime(2026, 1, 31, 23, 59, 59, 987654, tzinfo=UTC)

Row = tuple[dict[str, Any], str]


@pytest.mark.parametrize(("bits", "written"), [line.split() for line in NUMBERS.strip().splitlines()])
def test_numbers_are_written_as_in_the_rfc(bits: str, written: str) -> None:
    [number] = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical_json(number) == written.encode()


def test_the_sample_of_the_rfc() -> None:
    sample = r"""{
      "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
      "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
      "literals": [null, true, false]
    }"""
    expected = (
        r'{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        r'"string":"€$\u000f\nA' + r"'" + r'B\"\\\\\"/"}'
    )
    assert canonical_json(json.loads(sample)) == expected.encode()


def test_keys_are_in_the_order_of_their_utf_16_code_units() -> None:
    sample = {
        "\u20ac": "Euro Sign",
        "\r": "Carriage Return",
        "\ufb33": "Hebrew Letter Dalet With Dagesh",
        "1": "One",
        "\U0001f600": "Emoji: Grinning Face",
        "\u0080": "Control",
        "\u00f6": "Latin Small Letter O With Diaeresis",
    }
    in_order = list(json.loads(canonical_json(sample)).values())
    assert [each.split()[0] for each in in_order] == ["Carriage", "One", "Control", "Latin", "Euro", "Emoji:", "Hebrew"]


def test_escapes_are_the_shortest() -> None:
    controls = "".join(map(chr, range(0x20)))
    expected = "".join(
        {8: r"\b", 9: r"\t", 10: r"\n", 12: r"\f", 13: r"\r"}.get(code, f"\\u{code:04x}") for code in range(0x20)
    )
    assert canonical_json(controls + "\x7f\u2028/") == f'"{expected}\x7f\u2028/"'.encode()


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), -float("inf"), 2**53, -(2**53), "\ud800", {1: 2}, {"\udc00": 1}, {1}, b"x"]
)
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        canonical_json(value)


def pending(number: int, owner: str = OWNER) -> PendingEntry:
    return {
        "id": f"change:{owner}:{number}",
        "action": "media.changed",
        "actor": "anna",
        "owner": owner,
        "subject": "0197",
        "at": AT,
        "details": {"fields": ["title"], "objects": number},
    }


def chain(length: int = 5, after: Head | None = None) -> list[Row]:
    head = after or Head(BUCKET)
    entries = [pending(number) for number in range(head.sequence, head.sequence + length)]
    return [(dict(entry), hash_) for entry, hash_ in linked(entries, head)]


def head_of(rows: list[Row]) -> Head:
    return Head(BUCKET, len(rows), rows[-1][1])


def verify(rows: Iterable[Row], *anchors: Head) -> list[Finding]:
    verifier = ChainVerifier(BUCKET, [Anchor(head, "an anchor") for head in anchors])
    found = [finding for entry, hash_ in rows for finding in verifier.take(entry, hash_)]
    return [*found, *verifier.end()]


def test_a_whole_chain_is_whole_wherever_it_was_anchored() -> None:
    rows = chain()
    assert verify(rows, *(head_of(rows[:end]) for end in range(1, 6))) == []
    # Appended by several, it is the same chain.
    assert [*chain(2), *chain(3, head_of(chain(2)))] == rows
    assert rows[0][0]["at"] == "2026-01-31T23:59:59.987Z"


@pytest.mark.parametrize("field", [*linked([pending(0)], Head(BUCKET))[0][0], "hash", "new"])
@pytest.mark.parametrize("at", range(5))
def test_every_field_of_every_entry_is_covered(field: str, at: int) -> None:
    values: list[Any] = ["", "x", None, 0, 99, -1, 2.5, True, {}, {"fields": []}, []]
    for value in values:
        rows = copy.deepcopy(chain())
        entry, _ = rows[at]
        if field == "hash":
            rows[at] = (entry, value)
        else:
            entry[field] = value
        found = verify(rows)
        assert found, (field, value)
        assert found[0].sequence == at + 1
    rows = copy.deepcopy(chain())
    if field not in {"hash", "new"}:
        del rows[at][0][field]
        assert verify(rows)


def leaves(value: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of everything in an entry that is no object or list."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if children is None:
        yield path
        return
    for key, child in children:
        yield from leaves(child, (*path, key))


def test_nothing_in_an_entry_of_any_action_can_be_changed() -> None:
    details = {
        "fields": ["title", "tags"],
        "renditions": 3,
        "until": "2026-02-01T00:00:00.000Z",
        "of": {"a": [1, None]},
    }
    for action in AuditAction:
        [(entry, hash_)] = linked([{**pending(0), "action": action, "details": details}], Head(BUCKET))
        assert verify([(dict(entry), hash_)]) == []
        for *parents, last in leaves(entry):
            altered = copy.deepcopy(entry)
            holder: Any = altered
            for key in parents:
                holder = holder[key]
            holder[last] = "another"
            assert verify([(dict(altered), hash_)]), (action, parents, last)


@pytest.mark.parametrize("at", range(5))
def test_an_entry_that_was_altered_with_its_hash_breaks_the_next_or_an_anchor(at: int) -> None:
    rows = copy.deepcopy(chain())
    whole = head_of(rows)
    entry, _ = rows[at]
    entry["actor"] = "somebody else"
    rows[at] = (entry, hash_of(entry))
    assert bool(verify(rows)) == (at < 4), "only what follows it can tell"
    assert verify(rows, whole)


def reordered(rows: list[Row]) -> list[Row]:
    return [rows[0], rows[2], rows[1], *rows[3:]]


def doubled(rows: list[Row]) -> list[Row]:
    return [*rows[:2], rows[1], *rows[2:]]


def without_the_first(rows: list[Row]) -> list[Row]:
    return rows[1:]


def without_one(rows: list[Row]) -> list[Row]:
    return [*rows[:2], *rows[3:]]


def with_one_put_in(rows: list[Row]) -> list[Row]:
    [(entry, hash_)] = linked([pending(9)], head_of(rows[:2]))
    return [*rows[:2], (dict(entry), hash_), *rows[2:]]


def of_another_owner(rows: list[Row]) -> list[Row]:
    stranger = next(name for name in map(str, range(1_000)) if bucket_of(name) != BUCKET)
    [(entry, hash_)] = linked([pending(9, stranger)], head_of(rows))
    return [*rows, (dict(entry), hash_)]


def told_twice(rows: list[Row]) -> list[Row]:
    [(entry, hash_)] = linked([pending(1)], head_of(rows))
    return [*rows, (dict(entry), hash_)]


@pytest.mark.parametrize(
    "change", [reordered, doubled, without_the_first, without_one, with_one_put_in, of_another_owner, told_twice]
)
def test_what_is_dropped_moved_or_put_in_is_found(change: Callable[[list[Row]], list[Row]]) -> None:
    assert verify(change(chain()))


@pytest.mark.parametrize("left", range(5))
def test_an_end_that_was_cut_off_or_rewritten_is_found_by_its_anchor(left: int) -> None:
    rows = chain()
    assert verify(rows[:left]) == []
    assert verify(rows[:left], head_of(rows))
    rewritten = [pending(number) | {"actor": "x"} for number in range(left, 5)]
    head = head_of(rows[:left]) if left else Head(BUCKET)
    forged = [(dict(entry), hash_) for entry, hash_ in linked(rewritten, head)]  # type: ignore[arg-type]
    assert verify([*rows[:left], *forged]) == []
    assert verify([*rows[:left], *forged], head_of(rows))


def exported(*, length: int = 4) -> list[bytes]:
    lines, heads = [], []
    for owner in ("anna", "ben"):
        rows = linked([pending(number, owner) for number in range(length)], Head(bucket_of(owner)))
        lines += [entry_line(entry, hash_) for entry, hash_ in rows]
        heads.append(Head(bucket_of(owner), length, rows[-1][1]))
    return [*lines, heads_line(heads, "2026-01-31T00:00:00.000Z")]


def problems(lines: Iterable[bytes], anchors: Iterable[Anchor] = ()) -> list[object]:
    try:
        return [told for told in verify_lines(lines, list(anchors)) if isinstance(told, Finding)]
    except UnreadableFile as error:
        return [error]


def test_an_export_is_verified_by_itself_and_against_earlier_heads() -> None:
    lines = exported()
    told = list(verify_lines(lines))
    assert {each.bucket: each.sequence for each in told if isinstance(each, Head)} == dict.fromkeys(
        (bucket_of("anna"), bucket_of("ben")), 4
    )
    assert problems(lines, read_heads(exported(length=2)[-1], "yesterday")) == []
    assert problems(lines, read_heads(exported(length=6)[-1], "tomorrow")), "it has been longer"


def test_no_line_of_an_export_can_be_dropped_or_changed() -> None:
    lines = exported()
    for at in range(len(lines)):
        assert problems([*lines[:at], *lines[at + 1 :]]), f"line {at} dropped"
        assert problems([*lines[:at], b"{}\n", *lines[at + 1 :]])
        assert problems([*lines[:at], lines[at].replace(b"a", b"b"), *lines[at + 1 :]])
    assert problems(lines[:4] + lines[-1:]), "a whole chain dropped"
    assert problems([*lines, lines[0]]), "something follows the heads"
    assert problems([])


@pytest.mark.parametrize(
    ("begun", "days", "told"),
    [
        (None, (), []),
        ("2026-01-30T12:00", (), []),
        ("2026-01-30T11:59", (), ["There are entries since 2026-01-30, and no anchor at all"]),
        ("2026-01-30T00:01", (31,), []),
        ("2026-01-30T00:01", (30,), []),
        ("2026-01-25T23:59", (26, 27, 28, 29, 30), []),
        ("2026-01-25T23:59", (25, 27, 30, 31), ["anchor of 2026-01-26:", "anchor of 2026-01-28 to 2026-01-29:"]),
    ],
)
def test_days_without_an_anchor_are_found(begun: str | None, days: tuple[int, ...], told: list[str]) -> None:
    anchors = Anchors([], len(days), [], {date(2026, 1, day) for day in days})
    first = None if begun is None else datetime.fromisoformat(f"{begun}+00:00")
    found = list(days_without_anchor(anchors, first, datetime(2026, 1, 31, 12, tzinfo=UTC)))
    assert len(found) == len(told)
    assert all(each in said for each, said in zip(told, found, strict=True))


@pytest.mark.parametrize("member", ["details", "id", "owner", "hash"])
def test_what_is_nested_too_deeply_to_be_hashed_is_a_finding(member: str) -> None:
    lines, deep = exported(), "[" * 900 + "]" * 900
    row = json.loads(lines[1])
    (row if member == "hash" else row["entry"])[member] = "DEEP"
    lines[1] = json.dumps(row).replace('"DEEP"', deep).encode()
    [first, *_] = problems(lines)
    assert isinstance(first, Finding)
    assert (first.sequence, "altered" in first.problem) == (2, True)
    # No hash beside it makes it one that was put on record.
    assert verify([({**pending(1), "details": json.loads(deep)}, "")])


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"heads":[{}]}', b'{"heads":1}', b"\xff"])
def test_what_is_no_anchor_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(UnreadableFile, match="is no anchor"):
        read_heads(body, "x")
