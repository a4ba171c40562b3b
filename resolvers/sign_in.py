"""Nobody changes anything without signing in: held for every mutation of the schema, before its resolver is called."""

from __future__ import annotations

from typing import Any

from graphql import GraphQLField, GraphQLFieldResolver, GraphQLSchema, default_field_resolver, get_named_type
from strawberry.schema.schema_converter import GraphQLCoreConverter

from schema.payloads import user_error
from service.errors import ErrorCode, Problem

_PROBLEM = Problem(ErrorCode.NOT_PERMITTED, "Sign in to change anything: send a token with the request.")


def require_sign_in(schema: GraphQLSchema) -> None:
    """Have every mutation answer NOT_PERMITTED to the anonymous, in the `userErrors` of its own payload."""
    if schema.mutation_type is not None:
        for field in schema.mutation_type.fields.values():
            field.resolve = _signed_in(field, field.resolve or default_field_resolver)


def _signed_in(field: GraphQLField, resolve: GraphQLFieldResolver) -> GraphQLFieldResolver:
    payload: Any = get_named_type(field.type).extensions[GraphQLCoreConverter.DEFINITION_BACKREF].origin

    def resolved(source: Any, info: Any, **arguments: Any) -> Any:
        if info.context.viewer.id is None:
            return payload(user_errors=[user_error(_PROBLEM)])
        return resolve(source, info, **arguments)

    return resolved
