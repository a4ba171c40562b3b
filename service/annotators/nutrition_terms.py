"""How labels of people's and pets' food say things, in English, German and French.

The mandatory words are those of Regulation (EU) 1169/2011 (annex XV), 21 CFR 101.9 and Regulation (EC) 767/2009 (annex
VII) for pets. All patterns are for text in lower case.
"""

from __future__ import annotations

import re
from typing import Final

# A name that says its unit as well.
CALORIES: Final = "calories"

# Longer names before those they contain: "saturated fat" is no fat. Names of None are known, so that their amounts are
# not taken for the nutrient's before them, and not reported.
_NAMES: Final[tuple[tuple[str | None, str], ...]] = (
    (None, r"calories\s+from\s+fat|fatty\s+acids|omega[\s-]?\d\w*(?:\s+fatty\s+acids)?|vitamin\s+\w+|ingredients"),
    ("monounsaturated_fat", r"mono-?\s?unsaturate[sd](?:\s+fat(?:ty\s+acids|s)?)?|einfach\s+ungesättigte\s+fettsäuren"),
    (
        "polyunsaturated_fat",
        r"poly-?\s?unsaturate[sd](?:\s+fat(?:ty\s+acids|s)?)?|mehrfach\s+ungesättigte\s+fettsäuren",
    ),
    ("trans_fat", r"trans[\s-]fat(?:ty\s+acids|s)?"),
    (
        "saturated_fat",
        r"saturate[sd](?:\s+fat(?:ty\s+acids|s)?)?|sat\.?\s+fats?|gesättigte\s+fettsäuren|acides\s+gras\s+saturés",
    ),
    (
        "fat",
        r"(?:total\s+|crude\s+)?(?:oils?\s+(?:and|&)\s+)?fats?|rohfett|fett|matières?\s+grasses?|lipides",
    ),
    ("cholesterol", r"cholesterol"),
    ("added_sugars", r"added\s+sugars?|includes"),
    ("sugars", r"(?:total\s+)?sugars?|zucker|sucres"),
    ("polyols", r"polyols?"),
    ("starch", r"starch|stärke|amidon"),
    ("carbohydrate", r"(?:total\s+)?(?:carbohydrates?|carbs?)(?:\.|(?!\w))|kohlenhydrate|glucides"),
    ("fibre", r"(?:dietary\s+|crude\s+)?fib(?:re|er)s?|ballaststoffe|rohfaser|fibres\s+alimentaires|cellulose\s+brute"),
    ("protein", r"(?:crude\s+)?proteins?|eiweiss|rohprotein|protéines?(?:\s+brutes?)?"),
    ("sodium", r"sodium|natrium"),
    ("salt", r"salt|salz|sel"),
    ("ash", r"(?:crude\s+|inorganic\s+)?(?:ash|matter)|rohasche|cendres\s+brutes"),
    ("moisture", r"moisture|feuchtigkeit|humidité"),
    ("calcium", r"calcium"),
    ("phosphorus", r"phosphorus|phosphor|phosphore"),
    ("energy", r"(?:metaboli[sz]able\s+)?energy|energie|énergie|brennwert|calorific\s+value"),
    (CALORIES, r"calories"),
)

_GROUPS: Final = {f"n{index}": nutrient for index, (nutrient, _) in enumerate(_NAMES)}
_NAME: Final = re.compile(
    r"(?<![^\W\d_])(?:" + "|".join(f"(?P<n{i}>{words})" for i, (_, words) in enumerate(_NAMES)) + r")(?![^\W\d_])"
)

# "per 100 g", also where the letters were misread; "per serving (30 g)"; "kcal/kg".
BASIS: Final = re.compile(
    r"\b(?:per|pro|je|pour|par)\s*[1il|][0o]{2}\s*(?:[g9q]|(?P<ml>ml))(?!\w)"
    r"|(?<![\w.,])100\s*(?:g|(?P<bare_ml>ml))(?!\w)"
    r"|(?:amount\s+)?\b(?:per|pro|je|par)\s+(?:\S{1,6}\s+)?"
    r"(?P<serving>serving|portion|slice|bar|biscuit|piece|pack|pouch|can|tin|cup)(?!\w)(?:\s*\([^)]*\))?"
    r"|(?:\b(?:per|pro|je|par)\s+|/\s*)(?P<kilogram>kg)(?!\w)"
)

# Only there is a percentage an amount; elsewhere it is a share of what one should eat a day.
PET_FOOD: Final = re.compile(
    r"\b(?:guaranteed\s+analysis|analytical\s+constituents|analytische\s+bestandteile|constituants\s+analytiques|"
    r"crude\s+(?:protein|fat|fib(?:re|er)|ash|oils)|rohprotein|rohfett|rohasche|moisture)"
)

LIMIT: Final = re.compile(r"\b(?P<limit>min|max)(?:\b|imum)")

# Nutrients that are part of another: no label has more of the part than of the whole.
WHOLES: Final = {
    "saturated_fat": "fat",
    "monounsaturated_fat": "fat",
    "polyunsaturated_fat": "fat",
    "trans_fat": "fat",
    "sugars": "carbohydrate",
    "added_sugars": "sugars",
    "polyols": "carbohydrate",
    "starch": "carbohydrate",
    "sodium": "salt",
}


def named_segments(text: str) -> list[tuple[str, str]]:
    """Each nutrient that `text` names, and what follows it up to the next name."""
    found = list(_NAME.finditer(text))
    ends = [match.start() for match in found[1:]] + [len(text)]
    segments = [
        (_GROUPS[match.lastgroup or ""], text[match.end() : end]) for match, end in zip(found, ends, strict=False)
    ]
    return [(nutrient, rest) for nutrient, rest in segments if nutrient is not None]


def first_name_at(text: str) -> int:
    """Where the first name of a nutrient begins; the length of `text` if there is none."""
    match = _NAME.search(text)
    return len(text) if match is None else match.start()
