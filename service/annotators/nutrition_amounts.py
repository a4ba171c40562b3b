"""Amounts as text recognition leaves them: "3,5 g", "1 046 kJ", and "1.8 9" where a g was taken for a 9.

Nothing is guessed in silence: each doubt lowers an amount's `certainty`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

# How far a reading can be trusted after each repair, as a factor. Chosen, not measured: they rank readings, and keep
# repaired ones below what was read as it stands.
_LETTERS_FOR_DIGITS: Final = 0.6
_LOST_POINT: Final = 0.4
_THREE_DECIMALS: Final = 0.7
_UNIT_FROM_Q: Final = 0.8
_UNIT_FROM_9: Final = 0.4

_DIGIT: Final = r"[0-9oli|]"
_AMOUNT: Final = re.compile(
    rf"(?P<less><|less\s+than\s)?\s*(?<![\w.,])"
    rf"(?P<number>(?=[oli|.,]*[0-9]){_DIGIT}{{1,6}}(?:[.,]{_DIGIT}{{1,3}}|\s[0-9]{{3}}(?=\s?k\s?[jc])){{0,2}})"
    r"(?:\s*(?P<unit>k\s?j|k\s?c\s?a\s?[l1i|]|mg|[µμu]g|mcg|g|q|%|(?<=\s)9(?![.,]))(?![^\W_])"
    # Without a unit: all of a number, and not of so many biscuits.
    r"|(?!\s*[^\W\d_]{4})(?![.,]?\w))"
)
_UNIT_IN_NAME: Final = re.compile(r"^\W*(?P<unit>mg|g|kcal|kj)\W")

_GRAMS: Final = {"g": Decimal(1), "mg": Decimal("0.001"), "µg": Decimal("0.000001")}
_AS_DIGITS: Final = str.maketrans("oli|", "0111")
_TENTH: Final = Decimal("0.1")


@dataclass(frozen=True, slots=True)
class Amount:
    """`unit`: g, kJ, kcal or %; None where the label does not say. `certainty` from 0 to 1: how it was read."""

    value: Decimal
    unit: str | None
    certainty: float
    at_most: bool = False


def read_amounts(text: str, *, implied: str | None = None) -> list[Amount]:
    """The amounts in what follows a nutrient's name, in lower case, in order. Masses come in grams.

    `implied`: the unit that the name itself says.
    """
    in_name = _UNIT_IN_NAME.match(text)
    rest, common = (text, None) if in_name is None else (text[in_name.end("unit") :], in_name["unit"])
    common = common or implied
    amounts = [_amount(match, common) for match in _AMOUNT.finditer(rest)]
    return [amount for amount in amounts if amount is not None]


def _amount(match: re.Match[str], common: str | None) -> Amount | None:
    number, certainty = match["number"], 1.0
    unit, trust = _unit(match["unit"] or common)
    certainty *= trust
    digits = number.translate(_AS_DIGITS)
    if digits != number:
        certainty *= _LETTERS_FOR_DIGITS
    if unit is None and len(digits) > 1 and digits.endswith("9"):
        digits, unit, certainty = digits[:-1], "g", certainty * _UNIT_FROM_9
    value, trust = _value(digits, is_large=unit in {"kJ", "kcal", "mg", "µg"})
    if value is None:
        return None
    if unit in _GRAMS:
        value, unit = value * _GRAMS[unit], "g"
    return Amount(value, unit, certainty * trust, at_most=match["less"] is not None)


def _unit(read: str | None) -> tuple[str | None, float]:
    """The unit that was meant, and how far that can be trusted."""
    if read is None:
        return None, 1.0
    read = re.sub(r"\s", "", read)
    if read == "9":
        return "g", _UNIT_FROM_9
    if read == "q":
        return "g", _UNIT_FROM_Q
    if read.startswith("k"):
        return ("kJ" if read == "kj" else "kcal"), 1.0
    return ("µg" if read in {"µg", "μg", "ug", "mcg"} else read), 1.0


def _value(digits: str, *, is_large: bool) -> tuple[Decimal | None, float]:
    """The number that was meant, and how far that can be trusted. `is_large`: its unit is counted in thousands."""
    whole, *rest = re.split(r"[.,\s]", digits)
    match rest:
        case [] if len(whole) > 1 and whole.startswith("0"):
            return Decimal(whole) * _TENTH ** (len(whole) - 1), _LOST_POINT
        case [*groups] if not groups or (is_large and all(len(group) == 3 for group in groups)):
            return Decimal("".join((whole, *groups))), 1.0
        case [decimals]:
            return Decimal(f"{whole}.{decimals}"), _THREE_DECIMALS if len(decimals) == 3 else 1.0
        case [thousands, decimals] if len(thousands) == 3:
            return Decimal(f"{whole}{thousands}.{decimals}"), _THREE_DECIMALS
    return None, 0.0
