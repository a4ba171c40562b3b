"""docs/security.md stays true: files and tests that it names exist, requirements are the standard's."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
HERE = Path(__file__).parent
TEXT = (REPOSITORY / "docs" / "security.md").read_text()
# Taken from the English edition of the standard, 5.0.0, and from the headings of both cheat sheets.
REQUIREMENTS = set((HERE / "asvs-5.0.0.txt").read_text().split())
SECTIONS = set((HERE / "cheat-sheets.txt").read_text().splitlines())
COLUMNS = 5


def rows() -> list[list[str]]:
    """The cells of every row about a protection."""
    lines = [line for line in TEXT.splitlines() if line.startswith("|") and line.count("|") == COLUMNS + 1]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if row[0] not in {"What is done", "---"}]


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_every_protection_has_code_tests_and_requirements_that_exist() -> None:
    assert len(rows()) > 40
    for what, code, tests, requirements, sections in rows():
        assert quoted(code), what
        assert quoted(tests), what
        assert quoted(requirements), what
        for path in quoted(code):
            assert (REPOSITORY / path).is_file(), path
        for named in quoted(tests):
            path, _, test = named.partition("::")
            assert path.startswith("tests/"), named
            assert not test or re.search(rf"def {test}\(", (REPOSITORY / path).read_text()), named
            assert (REPOSITORY / path).is_file(), named
        assert not set(quoted(requirements)) - REQUIREMENTS, what
        assert not {each.strip() for each in sections.split(";") if each.strip()} - SECTIONS, what


def test_every_number_is_one_of_the_standards() -> None:
    assert len(REQUIREMENTS) == 345
    named = re.findall(r"v5\.0\.0-[\d.]*\d", TEXT)
    assert named
    assert set(named) <= REQUIREMENTS
    assert not re.findall(r"\bV\d+\.\d+\.\d+\b", TEXT), "numbers have the form v5.0.0-x.y.z"


def test_the_cheat_sheets_are_mapped() -> None:
    """All but what cannot apply: there is no extension to block, and the dataloaders' section is about speed."""
    elsewhere = {"File Upload: Block Extensions", "GraphQL: Server-side Batching and Caching"}
    mapped = {section for section in SECTIONS if section in TEXT}
    assert SECTIONS - mapped == elsewhere


def test_every_suite_of_this_folder_is_named() -> None:
    for path in HERE.glob("test_*.py"):
        assert path.name == Path(__file__).name or f"tests/security/{path.name}" in TEXT, path.name
