"""graphql-transport-ws: the protocol's messages, its close codes, and what a socket may not do."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_socket
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from service.settings import HttpSettings
from service.transport.documents import GraphQLRequest
from tests.graphql_app import GraphQLApp, Listener, listening

PROTOCOL = "graphql-transport-ws"


class Client:
    """A socket that speaks JSON."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def send(self, message: object) -> None:
        await self.socket.send(json.dumps(message))

    async def receive(self) -> Any:
        return json.loads(await asyncio.wait_for(self.socket.recv(), 5))

    async def subscribe(self, query: str, *, operation_id: str = "1", **payload: Any) -> None:
        await self.send({"id": operation_id, "type": "subscribe", "payload": {"query": query, **payload}})

    async def closed_with(self) -> int:
        """The code the server closes with; messages before it are passed over."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                await self.receive()
        assert self.socket.close_code is not None
        return self.socket.close_code


@pytest.fixture(scope="module")
async def listener() -> AsyncIterator[Listener]:
    async with listening() as listener:
        yield listener


@pytest.fixture
def app(listener: Listener) -> GraphQLApp:
    return listener.serve(GraphQLApp())


@asynccontextmanager
async def connect(app: GraphQLApp, *, subprotocols: list[str] | None = None, **options: Any) -> AsyncIterator[Client]:
    names = [Subprotocol(name) for name in (subprotocols if subprotocols is not None else [PROTOCOL])]
    async with open_socket(app.socket_url, subprotocols=names or None, **options) as socket:
        yield Client(socket)


@asynccontextmanager
async def initialised(app: GraphQLApp, payload: dict[str, Any] | None = None) -> AsyncIterator[Client]:
    async with connect(app) as client:
        await client.send({"type": "connection_init", "payload": payload})
        assert await client.receive() == {"type": "connection_ack"}
        yield client


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is awaited happens in the server's tasks
            await asyncio.sleep(0.005)


async def test_a_subscription_streams_and_completes(app: GraphQLApp) -> None:
    async with initialised(app) as client:
        await client.subscribe("subscription($n: Int!) { count(upto: $n) }", variables={"n": 2})
        assert await client.receive() == {"id": "1", "type": "next", "payload": {"data": {"count": 0}}}
        assert await client.receive() == {"id": "1", "type": "next", "payload": {"data": {"count": 1}}}
        assert await client.receive() == {"id": "1", "type": "complete"}


async def test_a_subscription_costs_no_memory_for_events_that_are_over(app: GraphQLApp) -> None:
    operation = app.operations.prepare(GraphQLRequest("subscription { steps(upto: 3000) { cursor } }"))

    async def make_context() -> object:
        return {}

    async with contextlib.aclosing(app.operations.follow(operation, make_context)) as answers:
        for _ in range(1_000):
            await anext(answers)
        tracemalloc.start()
        try:
            for _ in range(1_000):
                await anext(answers)
            kept, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    # Less than a tenth of what one event takes, for each.
    assert kept < 100_000


async def test_queries_and_mutations_work_too(app: GraphQLApp) -> None:
    async with initialised(app, {"authorization": "Bearer good"}) as client:
        await client.subscribe("{ viewerId }")
        assert (await client.receive())["payload"] == {"data": {"viewerId": "ada"}}
        assert (await client.receive())["type"] == "complete"
        await client.subscribe('mutation { rename(title: "x") }')
        assert (await client.receive())["payload"] == {"data": {"rename": "x"}}
    assert app.renamed == ["x"]


async def test_each_operation_and_each_event_has_a_context_of_its_own(app: GraphQLApp) -> None:
    async with initialised(app) as client:
        numbers = []
        for operation_id in ("1", "2"):
            await client.subscribe("{ contextNumber }", operation_id=operation_id)
            numbers.append((await client.receive())["payload"]["data"]["contextNumber"])
            assert (await client.receive())["type"] == "complete"
        assert numbers == [1, 2]
        await client.subscribe("subscription { numbers { id title } }")
        while (await client.receive())["type"] != "complete":
            pass
    # One to subscribe, one for each of the two events.
    assert app.contexts == 5


@pytest.mark.parametrize("subprotocols", [["graphql-ws"], [], ["something"]])
async def test_other_protocols_are_refused(app: GraphQLApp, subprotocols: list[str]) -> None:
    async with connect(app, subprotocols=subprotocols) as client:
        assert client.socket.subprotocol is None
        assert await client.closed_with() == 4406


@pytest.mark.parametrize(
    "payload",
    [{"authorization": "Bearer bad"}, {"Authorization": "good"}, {"authToken": "bad"}, {"authToken": 7},
     {"authorization": ["Bearer good"]}, {"authorization": "Bearer "}],
)  # fmt: skip
async def test_a_bad_token_is_forbidden_and_nothing_runs(app: GraphQLApp, payload: dict[str, Any]) -> None:
    async with connect(app) as client:
        await client.send({"type": "connection_init", "payload": payload})
        await client.subscribe('mutation { rename(title: "x") }')
        assert await client.closed_with() == 4403
    assert app.renamed == []


@pytest.mark.parametrize(
    "payload", [{"authorization": "bearer good"}, {"AUTHORIZATION": "Bearer good"}, {"authToken": "good"}]
)
async def test_the_token_may_come_as_clients_send_it(app: GraphQLApp, payload: dict[str, Any]) -> None:
    async with initialised(app, payload) as client:
        await client.subscribe("{ viewerId }")
        assert (await client.receive())["payload"] == {"data": {"viewerId": "ada"}}


@pytest.mark.parametrize("origin", [None, "https://app.example", "https://APP.example:443", "same"])
async def test_expected_origins_are_served(app: GraphQLApp, origin: str | None) -> None:
    own = app.socket_url.removesuffix("/graphql").replace("ws:", "http:")
    async with connect(app, origin=own if origin == "same" else origin) as client:
        assert client.socket.subprotocol == PROTOCOL


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://app.example", "null", "https://app.example.evil.example", "", "http://["]
)
async def test_other_origins_are_refused_in_the_handshake(app: GraphQLApp, origin: str) -> None:
    with pytest.raises(InvalidStatus, match="403"):
        async with connect(app, additional_headers={"Origin": origin}):
            pass


async def test_nothing_runs_before_the_connection_is_initialised(app: GraphQLApp) -> None:
    async with connect(app) as client:
        await client.subscribe('mutation { rename(title: "x") }')
        assert await client.closed_with() == 4401
    assert app.renamed == []


async def test_a_silent_client_is_timed_out(listener: Listener) -> None:
    app = listener.serve(GraphQLApp(HttpSettings(socket_init_timeout_s=0.05)))
    async with connect(app) as client:
        await client.send({"type": "ping"})
        assert await client.receive() == {"type": "pong"}
        assert await client.closed_with() == 4408


async def test_the_timeout_ends_with_the_initialisation(listener: Listener) -> None:
    app = listener.serve(GraphQLApp(HttpSettings(socket_init_timeout_s=0.05)))
    async with initialised(app) as client:
        await asyncio.sleep(0.1)
        await client.subscribe("{ hello }")
        assert (await client.receive())["type"] == "next"


async def test_sockets_are_bounded_and_room_is_made_again(listener: Listener) -> None:
    app = listener.serve(GraphQLApp(HttpSettings(max_sockets=1)))
    async with initialised(app):
        with pytest.raises(InvalidStatus) as refused:
            async with connect(app):
                pass
    assert (refused.value.response.status_code, refused.value.response.headers["Retry-After"]) == (503, "1")
    await eventually(lambda: not app.sockets._sessions)
    async with initialised(app):
        pass


async def test_a_second_initialisation_is_refused(app: GraphQLApp) -> None:
    async with initialised(app) as client:
        await client.send({"type": "connection_init"})
        assert await client.closed_with() == 4429


async def test_an_id_in_use_is_refused_and_a_finished_one_is_free(app: GraphQLApp) -> None:
    async with initialised(app) as client:
        for _ in range(3):
            await client.subscribe("{ hello }")
            assert [(await client.receive())["type"] for _ in range(2)] == ["next", "complete"]
        await client.subscribe("subscription { forever }")
        await client.subscribe("{ hello }")
        assert await client.closed_with() == 4409
    await eventually(lambda: app.alive == [])


QUERY = {"query": "{ hello }"}


@pytest.mark.parametrize(
    "message",
    [
        "",
        "nonsense",
        "null",
        "1",
        "[]",
        '"x"',
        "{}",
        '{"type": 1}',
        '{"type": "nope"}',
        '{"type": "start", "id": "1"}',
        '{"type": "ping", "payload": 1}',
        '{"type": NaN}',
        '{"type": "\\ud800"}',
        "[" * 100_000,
        {"type": "subscribe"},
        {"type": "subscribe", "id": 1, "payload": QUERY},
        {"type": "subscribe", "id": [], "payload": QUERY},
        {"type": "subscribe", "id": "", "payload": QUERY},
        {"type": "subscribe", "id": "x" * 201, "payload": QUERY},
        {"type": "subscribe", "id": "1"},
        {"type": "subscribe", "id": "1", "payload": []},
        {"type": "subscribe", "id": "1", "payload": {}},
        {"type": "subscribe", "id": "1", "payload": {"query": 1}},
        {"type": "subscribe", "id": "1", "payload": {**QUERY, "variables": []}},
        {"type": "subscribe", "id": "1", "payload": {**QUERY, "operationName": {}}},
        {"type": "complete"},
        {"type": "complete", "id": {}},
    ],
)
async def test_an_invalid_message_closes_with_4400(app: GraphQLApp, message: str | dict[str, Any]) -> None:
    async with initialised(app) as client:
        await client.socket.send(message if isinstance(message, str) else json.dumps(message))
        assert await client.closed_with() == 4400


async def test_a_binary_message_closes_with_4400(app: GraphQLApp) -> None:
    async with initialised(app) as client:
        await client.socket.send(b'{"type": "ping"}')
        assert await client.closed_with() == 4400


async def test_an_initialisation_payload_must_be_an_object(app: GraphQLApp) -> None:
    async with connect(app) as client:
        await client.send({"type": "connection_init", "payload": "token"})
        assert await client.closed_with() == 4400


async def test_a_message_over_the_limit_closes_with_1009(app: GraphQLApp) -> None:
    async with initialised(app) as client:
        await client.socket.send(json.dumps({"type": "ping", "payload": {"x": "y" * 300_000}}))
        assert await client.closed_with() == 1009


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("{ " + "x" * 500 + "! }", "GRAPHQL_PARSE_FAILED"),
        ("{ nope }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { count count2: count }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ " + "hello " * 3000 + "}", "QUERY_TOO_LONG"),
        ("{ photos(first: 1) " + "{ similar(first: 1) " * 20 + "{ id }" + "}" * 21, "QUERY_TOO_DEEP"),
        ("{ photos(first: 1000) { similar(first: 1000) { id } } }", "QUERY_TOO_COMPLEX"),
        ("{ " + " ".join(f"a{n}: hello" for n in range(21)) + "}", "TOO_MANY_ROOT_FIELDS"),
        ("query($n: Int!) { photos(first: $n) { id } }", "BAD_USER_INPUT"),
        ("subscription($n: Int!) { count(upto: $n) }", "BAD_USER_INPUT"),
        ("subscription { refused }", "NOT_FOUND"),
    ],
)
async def test_a_refused_operation_is_an_error_and_the_socket_goes_on(app: GraphQLApp, query: str, code: str) -> None:
    async with initialised(app) as client:
        await client.subscribe(query)
        error = await client.receive()
        if error["type"] == "next":
            error = {**error, "payload": error["payload"]["errors"]}
            assert (await client.receive())["type"] == "complete"
        assert error["payload"][0]["extensions"]["code"] == code
        await client.subscribe("{ hello }")
        assert (await client.receive())["payload"] == {"data": {"hello": "hello world"}}


async def test_bugs_are_masked_as_over_http(app: GraphQLApp) -> None:
    async with initialised(app) as client:
        for query in ("{ bug }", "subscription { photos }"):
            await client.subscribe(query)
            received = [await client.receive()]
            while received[-1]["type"] not in ("complete", "error"):
                received.append(await client.receive())
            text = json.dumps(received)
            assert "Internal error" in text
            assert "requestId" in text
            assert "hunter2" not in text


async def test_complete_stops_the_operation_and_frees_its_id(app: GraphQLApp) -> None:
    async with initialised(app) as client:
        await client.subscribe("subscription { forever }")
        assert (await client.receive())["type"] == "next"
        await client.send({"id": "1", "type": "complete"})
        await eventually(lambda: app.alive == [])
        await client.send({"id": "1", "type": "complete"})
        await client.subscribe("{ hello }")
        assert [(await client.receive())["type"] for _ in range(2)] == ["next", "complete"]


async def test_a_client_that_leaves_takes_its_operations_along(app: GraphQLApp) -> None:
    async with initialised(app) as client:
        for operation_id in ("1", "2"):
            await client.subscribe("subscription { forever }", operation_id=operation_id)
            await client.receive()
        assert app.alive == [1, 1]
    await eventually(lambda: app.alive == [])


async def test_operations_of_one_socket_are_bounded(listener: Listener) -> None:
    app = listener.serve(GraphQLApp(HttpSettings(max_socket_operations=2)))
    async with initialised(app) as client:
        for operation_id in ("1", "2"):
            await client.subscribe("subscription { forever }", operation_id=operation_id)
            await client.receive()
        await client.subscribe('mutation { rename(title: "x") }', operation_id="3")
        refused = await client.receive()
        assert (refused["id"], refused["type"]) == ("3", "error")
        assert refused["payload"][0]["extensions"]["code"] == "TOO_MANY_OPERATIONS"
        await client.send({"id": "1", "type": "complete"})
        await eventually(lambda: app.alive == [1])
        await client.subscribe("{ hello }", operation_id="3")
        assert (await client.receive())["type"] == "next"
    assert app.renamed == []


async def test_sockets_and_their_operations_are_counted(app: GraphQLApp) -> None:
    async with initialised(app) as client:
        await client.subscribe("{ hello }")
        await client.receive()
        text = app.metrics.render()[0].decode()
    assert "media_websocket_connections 1.0" in text
    assert 'media_websocket_operations_total{operation="query"} 1.0' in text


async def test_a_socket_does_not_outlive_its_token(app: GraphQLApp) -> None:
    async with initialised(app, {"authToken": "brief"}) as client:
        await client.subscribe("subscription { forever }")
        await client.receive()
        assert await client.closed_with() == 4403
    await eventually(lambda: app.alive == [])


async def test_a_server_that_stops_sends_clients_away_with_1001() -> None:
    async with contextlib.AsyncExitStack() as server:
        app = (await server.enter_async_context(listening())).serve(GraphQLApp())
        async with initialised(app) as client:
            await client.subscribe("subscription { forever }")
            await client.receive()
            stopping = asyncio.create_task(server.aclose())
            assert await client.closed_with() == 1001
            await stopping
    assert app.alive == []


async def test_a_draining_server_sends_clients_away_and_takes_no_more(app: GraphQLApp) -> None:
    async with initialised(app) as client:
        await client.subscribe("subscription { forever }")
        await client.receive()
        await app.sockets.drain()
        assert await client.closed_with() == 1001
    await eventually(lambda: app.alive == [])
    with pytest.raises(InvalidStatus, match="503"):
        async with connect(app):
            pass


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    messages=st.lists(
        st.text(max_size=20)
        | st.fixed_dictionaries(
            {"type": st.sampled_from(["connection_init", "ping", "pong", "subscribe", "complete"])},
            optional={
                "id": st.sampled_from(["1", "2", 3, None]),
                "payload": st.none()
                | st.just({"query": "subscription { forever }"})
                | st.just({"query": "subscription { photos }"})
                | st.dictionaries(st.sampled_from(["query", "variables"]), st.text(max_size=8) | st.none()),
            },
        ),
        max_size=8,
    )
)
async def test_no_sequence_of_messages_breaks_the_protocol(app: GraphQLApp, messages: list[Any]) -> None:
    async with connect(app) as client:
        with contextlib.suppress(ConnectionClosed):
            await client.send({"type": "connection_init"})
            for message in messages:
                await client.socket.send(message if isinstance(message, str) else json.dumps(message))
            await client.send({"type": "connection_init"})
        assert await client.closed_with() in (4400, 4409, 4429)
    await eventually(lambda: app.alive == [])
