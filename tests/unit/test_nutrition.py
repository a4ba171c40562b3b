"""Food labels as text recognition reads them: what is declared, of what, and how sure that is."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.annotators.nutrition import NutritionFact, parse_nutrition

Facts = dict[tuple[str, str | None], NutritionFact]


def facts(*lines: str) -> Facts:
    return {(fact.label.removeprefix("nutrition:"), fact.basis): fact for fact in parse_nutrition(lines)}


def texts(*lines: str) -> dict[str, str]:
    """By label; only where no label comes twice."""
    found = parse_nutrition(lines)
    assert len({fact.label for fact in found}) == len(found)
    return {fact.label.removeprefix("nutrition:"): fact.text for fact in found}


def test_a_table_of_two_columns() -> None:
    found = facts(
        "NUTRITION INFORMATION",
        "Typical values per 100 g per serving (30 g)",
        "Energy 1046 kJ / 250 kcal 314 kJ / 75 kcal",
        "Fat 3,5 g 1,1 g",
        "of which saturates 1.2 g <0.5 g",
        "Carbohydrate 42 g 12.6 g",
        "of which sugars 0.9 g 0.3 g",
        "Fibre 6 g 1.8 g",
        "Protein 10 g 3.0 g",
        "Salt 0.8 g 0.24 g",
    )
    assert {key: fact.text for key, fact in found.items()} == {
        ("energy_kj", "100 g"): "1046 kJ per 100 g",
        ("energy_kj", "serving"): "314 kJ per serving",
        ("energy_kcal", "100 g"): "250 kcal per 100 g",
        ("energy_kcal", "serving"): "75 kcal per serving",
        ("fat_g", "100 g"): "3.5 g per 100 g",
        ("fat_g", "serving"): "1.1 g per serving",
        ("saturated_fat_g", "100 g"): "1.2 g per 100 g",
        ("saturated_fat_g", "serving"): "<0.5 g per serving",
        ("carbohydrate_g", "100 g"): "42 g per 100 g",
        ("carbohydrate_g", "serving"): "12.6 g per serving",
        ("sugars_g", "100 g"): "0.9 g per 100 g",
        ("sugars_g", "serving"): "0.3 g per serving",
        ("fibre_g", "100 g"): "6 g per 100 g",
        ("fibre_g", "serving"): "1.8 g per serving",
        ("protein_g", "100 g"): "10 g per 100 g",
        ("protein_g", "serving"): "3 g per serving",
        ("salt_g", "100 g"): "0.8 g per 100 g",
        ("salt_g", "serving"): "0.24 g per serving",
    }
    assert {fact.certainty for fact in found.values()} == {1.0}
    assert found["fat_g", "serving"].line == 3


def test_an_american_panel() -> None:
    assert texts(
        "Nutrition Facts",
        "8 servings per container",
        "Serving size 2/3 cup (55g)",
        "Amount per serving",
        "Calories 239",
        "Calories from Fat 72",
        "Total Fat 8g 10%",
        "Saturated Fat 1g 5%",
        "Trans Fat 0g",
        "Cholesterol 0mg 0%",
        "Sodium 1,160mg 7%",
        "Total Carbohydrate 37g 13%",
        "Dietary Fiber 4g 14%",
        "Includes 10g Added Sugars 20%",
        "Vitamin D 2mcg 10%",
    ) == {
        "energy_kcal": "239 kcal per serving",
        "fat_g": "8 g per serving",
        "saturated_fat_g": "1 g per serving",
        "trans_fat_g": "0 g per serving",
        "cholesterol_g": "0 g per serving",
        "sodium_g": "1.16 g per serving",
        "carbohydrate_g": "37 g per serving",
        "fibre_g": "4 g per serving",
        "added_sugars_g": "10 g per serving",
    }


def test_pet_food() -> None:
    assert texts(
        "Guaranteed Analysis",
        "Crude protein (min) 26 %",
        "Crude Fat (min.) 15.0%",
        "Crude fibre (max) 3%  Moisture (max) 10%",
        "Metabolisable energy 3,650 kcal/kg",
    ) == {
        "protein_percent": "26 % (min)",
        "fat_percent": "15 % (min)",
        "fibre_percent": "3 % (max)",
        "moisture_percent": "10 % (max)",
        "energy_kcal": "3650 kcal per kg",
    }


def test_a_share_of_the_daily_intake_is_no_amount() -> None:
    assert texts("Fat 12 %", "Salt 0.8 g 13 %") == {"salt_g": "0.8 g"}


def test_a_running_text_and_units_in_names() -> None:
    assert texts(
        "Nutrition per 100ml: Energy 1 046 kJ/250 kcal, Fat 3,5 g, of which saturates 0,5 g; Protein (g) 10"
    ) == {
        "energy_kj": "1046 kJ per 100 ml",
        "energy_kcal": "250 kcal per 100 ml",
        "fat_g": "3.5 g per 100 ml",
        "saturated_fat_g": "0.5 g per 100 ml",
        "protein_g": "10 g per 100 ml",
    }


def test_german_and_french() -> None:
    german = texts(
        "Nährwerte je 100 g", "Brennwert 1009 kJ / 241 kcal", "davon gesättigte Fettsäuren 0,5 g", "Eiweiß 3 g"
    )
    assert german == {
        "energy_kj": "1009 kJ per 100 g",
        "energy_kcal": "241 kcal per 100 g",
        "saturated_fat_g": "0.5 g per 100 g",
        "protein_g": "3 g per 100 g",
    }
    assert texts("Matières grasses 4 g", "dont acides gras saturés 1 g", "Glucides 2 g") == {
        "fat_g": "4 g",
        "saturated_fat_g": "1 g",
        "carbohydrate_g": "2 g",
    }


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("Fat 3,59", "3.5"),  # the g was read as a 9
        ("Fibre 69", "6"),
        ("Fibre 1.8 9", "1.8"),
        ("Salt O,8 g", "0.8"),
        ("Sugars l2 g", "12"),
        ("Protein 1O g", "10"),
        ("Protein 10 q", "10"),
        ("Salt 05 g", "0.5"),  # the point was lost
        ("Fat 1,046 g", "1.046"),  # or a thousand
    ],
)
def test_what_was_misread_is_mended_but_less_certain(line: str, value: str) -> None:
    [fact] = parse_nutrition([line])
    assert fact.value == Decimal(value)
    assert fact.unit == "g"
    assert fact.certainty < 1


@pytest.mark.parametrize(
    "line",
    ["Fat", "Fat 35", "Fat 120 g per 100 g", "Salt 1.2.3 g", "contains 12 fatless biscuits", "Protein g", "Fat -", ""],
)
def test_what_cannot_be_told_is_not_told(line: str) -> None:
    assert parse_nutrition([line]) == []


def test_a_part_larger_than_the_whole_is_doubted() -> None:
    found = facts("Fat 3.5 g", "of which saturates 12 g", "Carbohydrate 42 g", "of which sugars 9 g")
    assert found["saturated_fat_g", None].certainty < 0.5
    assert found["fat_g", None].certainty == found["sugars_g", None].certainty == 1
    assert "saturated_fat_g" not in texts("Fat 3.5 g", "of which saturates 129"), "a guess, and one that cannot be"


def test_energies_that_disagree_are_doubted() -> None:
    agreeing, disagreeing = facts("Energy 1046 kJ / 250 kcal"), facts("Energy 1946 kJ / 250 kcal")
    assert {fact.certainty for fact in agreeing.values()} == {1.0}
    assert {fact.certainty for fact in disagreeing.values()} == {0.5}


def test_a_column_that_is_missing_makes_the_others_doubtful() -> None:
    found = facts("per 100 g per serving", "Fat lig 3.5 g", "Salt 1 g 0.3 g")
    assert found["fat_g", "100 g"].certainty < 1
    assert found["salt_g", "100 g"].certainty == 1


WORDS = st.sampled_from(
    [
        "fat",
        "energy",
        "saturates",
        "calories",
        "per 100 g",
        "per serving",
        "(max)",
        "kJ",
        "kcal",
        "g",
        "%",
        "9",
        "1,5",
        "O.1",
        "<",
        "1 046",
        "0,",
        "crude protein",
    ]
)
LINES = st.lists(st.one_of(st.text(max_size=60), st.lists(WORDS, max_size=12).map(" ".join)), max_size=8)


@given(LINES)
def test_any_text_gives_possible_facts(lines: list[str]) -> None:
    for fact in parse_nutrition(lines):
        assert fact.value.is_finite()
        assert fact.value >= 0
        assert 0 < fact.certainty <= 1
        assert 0 <= fact.line < len(lines)
        assert fact.label.startswith("nutrition:")
        assert fact.text


@given(
    st.decimals(min_value=0, max_value=100, places=1),
    st.sampled_from(["Fat", "Carbohydrate", "Protein", "Salt", "Fibre"]),
    st.sampled_from([".", ","]),
    st.sampled_from(["", " "]),
)
def test_what_is_printed_well_is_read_as_it_stands(value: Decimal, name: str, point: str, space: str) -> None:
    [fact] = parse_nutrition(["per 100 g", f"{name} {str(value).replace('.', point)}{space}g"])
    assert (fact.value, fact.unit, fact.basis, fact.certainty) == (value, "g", "100 g", 1.0)
