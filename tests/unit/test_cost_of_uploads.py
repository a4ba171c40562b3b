"""Fields that ask object storage weigh what the question costs, not what the line looks like."""

from __future__ import annotations

import pytest
from graphql import OperationDefinitionNode, parse

from resolvers.api import build_schema
from service.settings import HttpSettings
from service.transport.cost import Scales

SCHEMA = build_schema()._schema


def weight(query: str) -> int:
    document = parse(query)
    [operation] = [each for each in document.definitions if isinstance(each, OperationDefinitionNode)]
    return Scales(SCHEMA, document).weigh(operation).total({})


@pytest.mark.parametrize("asks", ["bytesConfirmed", "parts { number }"])
def test_asking_storage_weighs_more_than_reading_a_document(asks: str) -> None:
    stored = weight('{ upload(id: "x") { byteSize } }')
    assert weight(f'{{ upload(id: "x") {{ {asks} }} }}') >= stored + 200


def test_the_parts_of_many_uploads_at_once_are_refused() -> None:
    ids = ", ".join(f'"{number}"' for number in range(100))
    query = f"{{ nodes(ids: [{ids}]) {{ ... on Upload {{ parts {{ number byteSize etag }} }} }} }}"
    assert weight(query) > HttpSettings().max_query_cost
