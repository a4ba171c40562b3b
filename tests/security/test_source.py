"""What the source itself must hold to: how secrets are compared, and who connects to where."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from graphql import GraphQLInputObjectType, build_schema, get_named_type

REPOSITORY = Path(__file__).parents[2]
SECRETIVE = re.compile(
    r"secret|token|signature|passw|hmac|digest|credential|cookie|api_?key|bearer|authorization|\bmac\b", re.IGNORECASE
)

# Compared with `==` all the same: the module, the comparison, and why nothing can be learnt from how long that takes.
NO_SECRETS = {
    ("transport/http_request.py", "sha256_hex(query) != digest.lower()"): "the hash of a text that comes with it",
    ("transport/trusted_documents.py", "document.id != digest"): "documents of our own clients, read at the start",
    ("transport/trusted_documents.py", "actual == digest"): "as above",
}
# Where something is compared that must be learnt by nobody.
IN_CONSTANT_TIME = {"transport/storage_webhook.py", "webhooks/signature.py"}

# Modules that open connections, and who says where to. No client of the API ever does.
CONNECTS = {
    "stores/database.py": "MEDIA_MONGO__URI",
    "storage_calls.py": "MEDIA_STORAGE__ENDPOINT",
    "message_queue.py": "MEDIA_EVENTS__ and MEDIA_JOBS__ENDPOINT and queues",
    "invalidation/cloudfront.py": "MEDIA_CDN__ENDPOINT",
    "issuer_keys/fetching.py": "MEDIA_AUTH__ISSUERS",
    "scanner.py": "MEDIA_SCANNER__ADDRESS",
    "http_probe.py": "doctor, and who looks whether an edge has forgotten: addresses of the settings",
    "stores/rate_limits.py": "MEDIA_LIMITS__STORE",
    "webhooks/sending.py": "MEDIA_WEBHOOKS__RECEIVERS",
}
# What runs on the machine of whoever starts it, not in the service.
NOT_SERVICE = ("client/", "dev/", "commands/")
OPENERS = {
    "open_connection", "open_unix_connection", "create_connection", "create_unix_connection", "sock_connect",
    "connect_tcp", "urlopen", "HTTPConnection", "HTTPSConnection",
}  # fmt: skip
LIBRARIES = {
    "httpx", "httpcore", "requests", "aiohttp", "urllib.request", "http.client", "boto3", "motor.motor_asyncio",
    "limits.aio.storage", "redis", "coredis", "pycurl",
}  # fmt: skip


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of the service, by its path within it."""
    return {
        str(path.relative_to(REPOSITORY / "service")): ast.parse(path.read_text())
        for path in sorted((REPOSITORY / "service").rglob("*.py"))
    }


def names_in(node: ast.AST) -> Iterator[str]:
    for each in ast.walk(node):
        if isinstance(each, ast.Name):
            yield each.id
        elif isinstance(each, ast.Attribute):
            yield each.attr


def looks_like_a_secret(node: ast.expr) -> bool:
    # What is written in capitals stands in the source, for everybody to read.
    return any(SECRETIVE.search(name) for name in names_in(node) if not name.isupper())


def unsafe_comparisons(tree: ast.AST) -> Iterator[str]:
    """Comparisons by which the length of a common beginning could be measured."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Compare):
            continue
        operands = (node.left, *node.comparators)
        constants = sum(isinstance(each, ast.Constant) for each in operands)
        if constants or not any(isinstance(each, ast.Eq | ast.NotEq | ast.In | ast.NotIn) for each in node.ops):
            continue
        if any(isinstance(each, ast.In | ast.NotIn) for each in node.ops):
            # Looking a secret up among others is the same; looking for something within one is not.
            operands = (node.left,)
        if any(looks_like_a_secret(each) and not _is_length(each) for each in operands):
            yield ast.unparse(node)


def _is_length(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "len"


def test_secrets_are_compared_in_constant_time() -> None:
    found = {(name, text) for name, tree in modules().items() for text in unsafe_comparisons(tree)}
    assert found - NO_SECRETS.keys() == set(), "compare with hmac.compare_digest, or say in NO_SECRETS why not"


def test_every_exception_is_still_there() -> None:
    for name, text in NO_SECRETS:
        assert text in (REPOSITORY / "service" / name).read_text(), (name, text)


def test_where_secrets_are_compared() -> None:
    assert {name for name, tree in modules().items() if "compare_digest" in set(names_in(tree))} >= IN_CONSTANT_TIME


@pytest.mark.parametrize(
    "bad",
    [
        "presented == expected_token",
        "signature != made(body)",
        "given.api_key == key",
        "self._secret in secrets",
        "mac == x",
    ],
)
def test_a_comparison_that_tells_would_be_found(bad: str) -> None:
    assert list(unsafe_comparisons(ast.parse(bad))) == [bad]


def connects(tree: ast.AST) -> bool:
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in OPENERS:
                return True
            case ast.Import(names=names) if any(each.name in LIBRARIES for each in names):
                return True
            case ast.ImportFrom(module=str(module)) if module in LIBRARIES:
                return True
    return False


def test_who_connects_is_known_and_told_where_by_the_settings() -> None:
    found = {name for name, tree in modules().items() if connects(tree) and not name.startswith(NOT_SERVICE)}
    assert found == CONNECTS.keys()


def test_no_client_can_name_an_address() -> None:
    """Neither as a URL nor under a name that suggests one: there is nothing that the service would fetch for them."""
    schema = build_schema((REPOSITORY / "schema" / "schema.graphql").read_text())
    inputs = [each for each in schema.type_map.values() if isinstance(each, GraphQLInputObjectType)]
    assert inputs
    asked = [(f"{each.name}.{name}", field) for each in inputs for name, field in each.fields.items()]
    roots = (schema.query_type, schema.mutation_type, schema.subscription_type)
    asked += [
        (f"{name}({argument_name})", argument)
        for root in roots
        if root is not None
        for name, field in root.fields.items()
        for argument_name, argument in field.args.items()
    ]
    for place, asked_for in asked:
        assert str(get_named_type(asked_for.type)) != "URL", place
        assert not re.search(r"ur[il]$|href|link|host|endpoint|callback|webhook|domain", place, re.IGNORECASE), place


def test_nothing_runs_text_or_follows_redirects() -> None:
    runs = re.compile(r"shell=True|os\.system|(?:pickle|marshal)\.load|yaml\.\w*load\((?!text, Loader=yaml.BaseLoader)")
    follows = re.compile(r"follow_redirects=True|allow_redirects=True|HTTPRedirectHandler")
    for name in modules():
        text = (REPOSITORY / "service" / name).read_text()
        assert not runs.search(text), name
        assert not follows.search(text), name
