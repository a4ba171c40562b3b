"""Nutrition facts from the lines of a food label, for people's and for pets' food. Pure.

A declaration is a table or a running text: names of nutrients, each followed by its amounts, one for each column. What
the columns are of ("per 100 g", "per serving") stands in a line above or before the first name.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from service.annotators.nutrition_amounts import read_amounts
from service.annotators.nutrition_terms import BASIS, CALORIES, LIMIT, PET_FOOD, WHOLES, first_name_at, named_segments

_MAX_LINE: Final = 500

# Below this it would be a guess.
LEAST_CERTAINTY: Final = 0.2

# As in `nutrition_amounts`: factors that rank doubts.
_COLUMN_MISSING: Final = 0.6
_MORE_THAN_THE_WHOLE: Final = 0.3
_ENERGIES_DIFFER: Final = 0.5

# One kilocalorie in kilojoules, and how far rounding on labels may be off.
_KJ_PER_KCAL: Final = Decimal("4.184")
_ENERGY_TOLERANCE: Final = Decimal("0.06")

_SUFFIXES: Final = {"g": "g", "kcal": "kcal", "kJ": "kj", "%": "percent"}
# What 100 g, or a serving or kilogram of anything, can hold at most.
_MOST_PER_100: Final = {"g": 100, "kcal": 1_000, "kJ": 4_000, "%": 100}
_MOST: Final = {"g": 1_000, "kcal": 10_000, "kJ": 40_000, "%": 100}


@dataclass(frozen=True, slots=True)
class NutritionFact:
    """One declared amount. `basis`: what holds it (`100 g`, `serving`, `kg`), None if the label does not say.

    `limit`: `<`, `min` or `max`. `certainty`: 1 as read, less after repairs. `line`: the index of the line it is from.
    """

    nutrient: str
    value: Decimal
    unit: str
    basis: str | None
    limit: str | None
    certainty: float
    line: int

    @property
    def label(self) -> str:
        """As annotations are labelled, e.g. `nutrition:fat_g`."""
        return f"nutrition:{self.nutrient}_{_SUFFIXES[self.unit]}"

    @property
    def text(self) -> str:
        """The canonical form: `3.5 g per 100 g`, `<0.5 g per serving`, `26 % (min)`."""
        least = "<" if self.limit == "<" else ""
        basis = "" if self.basis is None else f" per {self.basis}"
        limit = f" ({self.limit})" if self.limit in {"min", "max"} else ""
        return f"{least}{_plain(self.value)} {self.unit}{basis}{limit}"


def parse_nutrition(lines: Sequence[str]) -> list[NutritionFact]:
    """The facts that `lines` declare, in their order; the surest reading of each nutrient, unit and basis."""
    normal = [unicodedata.normalize("NFKC", line[:_MAX_LINE]).casefold() for line in lines]
    is_pet_food = any(PET_FOOD.search(line) for line in normal)
    bases: Sequence[str] = ()
    facts: list[NutritionFact] = []
    for index, line in enumerate(normal):
        found, amounts_only = _take_bases(line)
        is_heading = bool(found) and found[0][0] < first_name_at(amounts_only)
        if is_heading:
            bases = [basis for _, basis in found]
        its_own = [basis for _, basis in found] if found and not is_heading else bases
        facts += _facts_of(amounts_only, its_own, is_pet_food=is_pet_food, index=index)
    surest = _surest(fact for fact in facts if _is_possible(fact))
    return [fact for fact in _doubted(surest) if fact.certainty >= LEAST_CERTAINTY]


def _take_bases(line: str) -> tuple[list[tuple[int, str]], str]:
    """What amounts are of, with its place, and the line without it: "100 g" there is no amount."""
    found = [(match.start(), _basis(match)) for match in BASIS.finditer(line)]
    return found, BASIS.sub(lambda match: " " * len(match[0]), line)


def _basis(match: re.Match[str]) -> str:
    if match["serving"]:
        return "serving"
    if match["kilogram"]:
        return "kg"
    return "100 ml" if match["ml"] or match["bare_ml"] else "100 g"


def _facts_of(line: str, bases: Sequence[str], *, is_pet_food: bool, index: int) -> Iterator[NutritionFact]:
    for name, rest in named_segments(line):
        nutrient, implied = ("energy", "kcal") if name == CALORIES else (name, None)
        amounts, limit = read_amounts(rest, implied=implied), LIMIT.search(rest)
        for unit in _units_of(nutrient, is_pet_food=is_pet_food):
            column = [amount for amount in amounts if amount.unit == unit]
            doubt = _COLUMN_MISSING if len(column) < len(bases) else 1
            for basis, amount in zip(bases or (None,), column, strict=False):
                least = "<" if amount.at_most else None if limit is None else limit["limit"]
                yield NutritionFact(nutrient, amount.value, unit, basis, least, amount.certainty * doubt, index)


def _units_of(nutrient: str, *, is_pet_food: bool) -> tuple[str, ...]:
    if nutrient == "energy":
        return ("kJ", "kcal")
    return ("g", "%") if is_pet_food else ("g",)


def _is_possible(fact: NutritionFact) -> bool:
    most = _MOST_PER_100 if fact.basis in {"100 g", "100 ml"} else _MOST
    return fact.value <= most[fact.unit]


def _surest(facts: Iterable[NutritionFact]) -> list[NutritionFact]:
    """One fact for each nutrient, unit and basis; the first of equally sure ones."""
    chosen: dict[tuple[str, str, str | None], NutritionFact] = {}
    for fact in facts:
        key = (fact.nutrient, fact.unit, fact.basis)
        if key not in chosen or fact.certainty > chosen[key].certainty:
            chosen[key] = fact
    return sorted(chosen.values(), key=lambda fact: fact.line)


def _doubted(facts: Sequence[NutritionFact]) -> Iterator[NutritionFact]:
    """The same facts, less certain where two of them contradict each other."""
    values = {(fact.nutrient, fact.unit, fact.basis): fact.value for fact in facts}
    for fact in facts:
        certainty = fact.certainty
        whole = values.get((WHOLES.get(fact.nutrient, ""), fact.unit, fact.basis))
        if whole is not None and fact.value > whole:
            certainty *= _MORE_THAN_THE_WHOLE
        if fact.nutrient == "energy" and not _energies_agree(fact.basis, values):
            certainty *= _ENERGIES_DIFFER
        yield replace(fact, certainty=certainty)


def _energies_agree(basis: str | None, values: Mapping[tuple[str, str, str | None], Decimal]) -> bool:
    kilojoules, kilocalories = values.get(("energy", "kJ", basis)), values.get(("energy", "kcal", basis))
    if kilojoules is None or kilocalories is None:
        return True
    expected = kilocalories * _KJ_PER_KCAL
    # Small amounts are rounded to whole ones.
    return abs(kilojoules - expected) <= max(expected * _ENERGY_TOLERANCE, _KJ_PER_KCAL)


def _plain(value: Decimal) -> str:
    written = f"{value:f}"
    return written.rstrip("0").rstrip(".") if "." in written else written
