"""The executable schema, assembled once from the three roots."""

from __future__ import annotations

import strawberry
from graphql import lexicographic_sort_schema, print_schema
from strawberry.schema.config import StrawberryConfig

from resolvers.mutations import Mutation
from resolvers.queries import Query
from resolvers.sign_in import require_sign_in
from resolvers.subscriptions import Subscription
from schema.annotations import Annotation
from schema.deletion import Deletion
from schema.media import Media
from schema.rule_check import check_rules
from schema.scalars import SCALAR_MAP
from schema.upload import Upload


def build_schema() -> strawberry.Schema:
    """The schema that both transports execute. Raises RulesDoNotFit where no rule says who may have a field."""
    schema = strawberry.Schema(
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        types=[Media, Upload, Deletion, Annotation],
        config=StrawberryConfig(scalar_map=SCALAR_MAP),
    )
    check_rules(schema._schema)
    require_sign_in(schema._schema)
    return schema


def export_schema() -> str:
    """The schema in SDL, sorted, as it is committed in `schema/schema.graphql`."""
    return print_schema(lexicographic_sort_schema(build_schema()._schema)) + "\n"
