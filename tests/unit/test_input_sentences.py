"""What is wrong in an input is told in words that say how it is done right."""

from __future__ import annotations

from typing import Any

import pytest

from service.annotation_request import parse_annotate
from service.embedding_request import EmbedRequest, NearestRequest, parsed
from service.errors import InvalidInput, SeveralInvalid


@pytest.mark.parametrize("request_type", [EmbedRequest, NearestRequest])
@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"vector": []}, "vector: it needs 2 to 4,096 numbers, not 0."),
        ({"vector": [1.0]}, "vector: it needs 2 to 4,096 numbers, not 1."),
        ({"vector": [1.0] * 4_097}, "vector: it needs 2 to 4,096 numbers, not 4,097."),
        ({"vector": [0.0, -0.0]}, "vector: a vector of zeros points nowhere."),
        ({"vector": [1e-60, 0.0]}, "vector: its numbers are too small for 32 bits"),
        ({"model": "clip"}, "model: it is name@version, such as clip@1"),
        ({"model": "clip@1\n"}, "model: it is name@version, such as clip@1"),
    ],
)
def test_what_is_wrong_with_an_embedding_is_said_of_its_input(
    request_type: type[EmbedRequest | NearestRequest], wrong: dict[str, Any], sentence: str
) -> None:
    given = {"model": "clip@1", "vector": [1.0, 2.0], **wrong}
    key = {"idempotency_key": "k"} if request_type is EmbedRequest else {}
    with pytest.raises(InvalidInput) as refusal:
        parsed(request_type, {**given, **key})
    assert refusal.value.message.startswith(sentence)
    assert refusal.value.field == tuple(wrong)


@pytest.mark.parametrize("side", ["x", "y", "width", "height"])
def test_a_box_in_pixels_is_told_from_one_that_is_a_little_wrong(side: str) -> None:
    box = {"x": 0.1, "y": 0.1, "width": 0.1, "height": 0.1, side: 10}
    asked = {"idempotencyKey": "k", "source": "user:anna", "annotations": [{"label": "cat", "boundingBox": box}]}
    with pytest.raises(SeveralInvalid) as refusal:
        parse_annotate(asked)
    [error] = refusal.value.errors
    assert error.message == f"{side} must be 1 or less: boxes are in fractions of the picture, not in pixels."
