"""wsfast against Node's ws, in both directions."""

import asyncio
import json
import uuid
from urllib.parse import urlencode

import pytest

import wsfast

pytestmark = pytest.mark.interop

TIMEOUT = 30
SIZES = [0, 1, 125, 126, 65535, 65536, 2**20]
CLOSES = [(1000, ""), (1000, "done"), (1001, "going away"), (3000, "grün"), (4999, "x" * 123)]


async def echo(ws):
    async for message in ws:
        await ws.send(message)


def of_type(result, name):
    return [event for event in result["events"] if event["type"] == name]


# --- A wsfast client and a ws server ---------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
async def test_a_ws_server_echoes_text_of_every_length_form(ws_server, payload, size):
    text = payload(size).decode()
    async with asyncio.timeout(TIMEOUT), wsfast.connect(f"{ws_server}/echo") as ws:
        await ws.send(text)
        assert await ws.recv() == text


@pytest.mark.parametrize("size", SIZES)
async def test_a_ws_server_echoes_bytes_of_every_length_form(ws_server, payload, size):
    async with asyncio.timeout(TIMEOUT), wsfast.connect(f"{ws_server}/echo") as ws:
        await ws.send(payload(size))
        assert await ws.recv() == payload(size)


async def test_a_thousand_messages_in_flight_come_back_from_ws_in_order(ws_server):
    messages = [f"message {number}" for number in range(1000)]
    async with asyncio.timeout(TIMEOUT), wsfast.connect(f"{ws_server}/echo") as ws:

        async def send():
            for message in messages:
                await ws.send(message)

        sending = asyncio.create_task(send())
        assert [await ws.recv() for _ in messages] == messages
        await sending


@pytest.mark.parametrize("count", [2, 3, 7])
@pytest.mark.parametrize("size", [0, 10, 70000])
async def test_fragments_from_ws_with_pings_between_are_one_message(
    ws_server, payload, count, size
):
    url = f"{ws_server}/fragments?count={count}"
    async with asyncio.timeout(TIMEOUT), wsfast.connect(url) as ws:
        await ws.send(payload(size))
        assert await ws.recv() == payload(size)
        await ws.send(payload(size).decode())
        assert await ws.recv() == payload(size).decode()


async def test_fragments_from_ws_can_be_received_one_by_one(ws_server, payload):
    url = f"{ws_server}/fragments?count=3"
    async with asyncio.timeout(TIMEOUT), wsfast.connect(url) as ws:
        await ws.send(payload(3000))
        parts = [part async for part in ws.recv_streaming()]
        assert b"".join(parts) == payload(3000)


async def test_an_iterable_reaches_ws_as_one_message(ws_server):
    async with asyncio.timeout(TIMEOUT), wsfast.connect(f"{ws_server}/echo") as ws:
        await ws.send(["one, ", "", "two, ", "three"])
        assert await ws.recv() == "one, two, three"
        await ws.send([b"\x00", b"\xff\xfe"])
        assert await ws.recv() == b"\x00\xff\xfe"


async def test_manual_fragments_reach_ws_as_one_message(ws_server):
    async with asyncio.timeout(TIMEOUT), wsfast.connect(f"{ws_server}/echo") as ws:
        await ws.send("one, ", fin=False)
        await ws.ping()
        await ws.send("two")
        assert await ws.recv() == "one, two"


async def test_ws_answers_a_ping_and_the_latency_is_known(ws_server):
    async with asyncio.timeout(TIMEOUT), wsfast.connect(f"{ws_server}/echo") as ws:
        latency = await (await ws.ping(b"are you there"))
        assert 0 < latency < TIMEOUT
        assert ws.latency == latency


async def test_a_ping_from_ws_is_answered_with_its_payload(ws_server):
    async with asyncio.timeout(TIMEOUT), wsfast.connect(f"{ws_server}/ping?data=marco") as ws:
        assert await ws.recv() == "pong marco"


@pytest.mark.parametrize(("code", "reason"), CLOSES)
async def test_the_close_code_of_ws_is_told(ws_server, code, reason):
    url = f"{ws_server}/close?{urlencode({'code': code, 'reason': reason})}"
    async with asyncio.timeout(TIMEOUT), wsfast.connect(url) as ws:
        with pytest.raises(wsfast.ConnectionClosed) as caught:
            await ws.recv()
        expected = wsfast.ConnectionClosedOK if code <= 1001 else wsfast.ConnectionClosedError
        assert type(caught.value) is expected
        await ws.wait_closed()
    assert (ws.close_code, ws.close_reason) == (code, reason)


async def test_a_close_of_ws_without_a_code_is_1005(ws_server):
    async with asyncio.timeout(TIMEOUT), wsfast.connect(f"{ws_server}/close") as ws:
        with pytest.raises(wsfast.ConnectionClosedOK):
            await ws.recv()
        await ws.wait_closed()
    assert (ws.close_code, ws.close_reason) == (1005, "")


async def test_a_terminated_ws_is_1006(ws_server):
    async with asyncio.timeout(TIMEOUT), wsfast.connect(f"{ws_server}/terminate") as ws:
        with pytest.raises(wsfast.ConnectionClosedError):
            await ws.recv()
    assert ws.close_code == 1006
    assert not ws.was_clean


@pytest.mark.parametrize(("code", "reason"), CLOSES)
async def test_ws_sees_the_close_code_of_wsfast(ws_server, code, reason):
    name = str(uuid.uuid4())
    async with asyncio.timeout(TIMEOUT), wsfast.connect(f"{ws_server}/observe") as observer:
        assert await observer.recv() == "observing"
        async with wsfast.connect(f"{ws_server}/echo?id={name}") as ws:
            await ws.close(code, reason)
        assert json.loads(await observer.recv()) == {"id": name, "code": code, "reason": reason}
    assert (ws.close_code, ws.close_reason, ws.was_clean) == (code, reason, True)


async def test_ws_sees_a_terminated_wsfast_as_1006(ws_server):
    name = str(uuid.uuid4())
    async with asyncio.timeout(TIMEOUT), wsfast.connect(f"{ws_server}/observe") as observer:
        assert await observer.recv() == "observing"
        async with wsfast.connect(f"{ws_server}/echo?id={name}") as ws:
            ws.terminate()
            await ws.wait_closed()
        assert json.loads(await observer.recv()) == {"id": name, "code": 1006, "reason": ""}
    assert ws.close_code == 1006


async def test_ws_picks_one_of_the_subprotocols(ws_server):
    url = f"{ws_server}/echo"
    async with (
        asyncio.timeout(TIMEOUT),
        wsfast.connect(url, subprotocols=["first", "second"]) as ws,
    ):
        assert ws.subprotocol == "second"


async def test_ws_may_pick_no_subprotocol(ws_server):
    url = f"{ws_server}/echo"
    async with asyncio.timeout(TIMEOUT), wsfast.connect(url, subprotocols=["first"]) as ws:
        assert ws.subprotocol is None


async def test_ws_gets_the_headers_of_the_request(ws_server):
    headers = {"X-Custom": "value", "Cookie": "a=1; b=2"}
    connecting = wsfast.connect(
        f"{ws_server}/request?q=a%20b", additional_headers=headers, origin="https://example.com"
    )
    async with asyncio.timeout(TIMEOUT), connecting as ws:
        seen = json.loads(await ws.recv())
    assert seen["url"] == "/request?q=a%20b"
    assert seen["headers"]["x-custom"] == "value"
    assert seen["headers"]["cookie"] == "a=1; b=2"
    assert seen["headers"]["origin"] == "https://example.com"
    assert seen["headers"]["host"] == ws_server.removeprefix("ws://")
    assert seen["headers"]["sec-websocket-version"] == "13"


@pytest.mark.parametrize("status", [400, 401, 403, 503])
async def test_an_answer_of_ws_that_is_not_101_is_told(ws_server, status):
    async with asyncio.timeout(TIMEOUT):
        with pytest.raises(wsfast.InvalidStatus) as caught:
            await wsfast.connect(f"{ws_server}/refuse?status={status}")
    assert str(caught.value) == f"Unexpected server response: {status}"
    assert caught.value.response.status_code == status
    assert caught.value.response.headers["X-Why"] == "refused"


# --- A ws client and a wsfast server ---------------------------------------------------------


@pytest.mark.parametrize("binary", [False, True])
async def test_wsfast_echoes_messages_of_every_length_form_to_ws(
    serving, ws_client, payload, received, binary
):
    operations = []
    for size in SIZES:
        operations.append({"op": "send", "size": size, "options": {"binary": binary}})
        operations.append({"op": "await", "type": "message"})
    async with asyncio.timeout(TIMEOUT), serving(echo) as url:
        result = await ws_client(url, {"op": "await", "type": "open"}, *operations)
    expected = [payload(size) if binary else payload(size).decode() for size in SIZES]
    assert of_type(result, "message") == [received(message) for message in expected]


async def test_text_that_is_not_ascii_survives_the_way_to_ws_and_back(serving, ws_client, received):
    texts = ["grüße", "日本語", "𝄞 clef", "\x00\x7f\ufeff\uffff"]
    sends = [{"op": "send", "string": text} for text in texts]
    awaits = [{"op": "await", "type": "message"}] * len(texts)
    async with asyncio.timeout(TIMEOUT), serving(echo) as url:
        result = await ws_client(url, {"op": "await", "type": "open"}, *sends, *awaits)
    assert of_type(result, "message") == [received(text) for text in texts]


@pytest.mark.parametrize("binary", [False, True])
async def test_fragments_of_ws_with_a_ping_between_are_one_message(
    serving, ws_client, payload, received, binary
):
    async with asyncio.timeout(TIMEOUT), serving(echo) as url:
        result = await ws_client(
            url,
            {"op": "await", "type": "open"},
            {"op": "send", "size": 70000, "options": {"binary": binary, "fin": False}},
            {"op": "ping", "data": "between"},
            {"op": "send", "size": 0, "options": {"fin": False}},
            {"op": "send", "size": 125, "options": {"fin": True}},
            {"op": "await", "type": "message"},
        )
    whole = payload(70000) + payload(125)
    assert of_type(result, "message") == [received(whole if binary else whole.decode())]
    assert of_type(result, "pong") == [{"type": "pong", "data": "between"}]


async def test_fragments_of_wsfast_are_one_message_to_ws(serving, ws_client, received, watch):
    async def handler(ws):
        await ws.send(["one, ", "two, ", "three"])
        await ws.send(b"four, ", fin=False)
        await ws.ping(b"between")
        await ws.send(b"five")
        await ws.wait_closed()

    watched, done = watch(handler)
    async with asyncio.timeout(TIMEOUT), serving(watched) as url:
        result = await ws_client(url, *[{"op": "await", "type": "message"}] * 2)
        await done
    assert of_type(result, "message") == [received("one, two, three"), received(b"four, five")]
    assert {"type": "ping", "data": "between"} in result["events"]


async def test_pings_and_pongs_are_exchanged_with_a_ws_client(serving, ws_client, received, watch):
    heard = []

    async def handler(ws):
        ws.on("ping", lambda data: heard.append(("ping", bytes(data))))
        ws.on("pong", lambda data: heard.append(("pong", bytes(data))))
        latency = await (await ws.ping(b"from wsfast"))
        assert 0 < latency < TIMEOUT
        await ws.send("answered")
        await ws.wait_closed()

    watched, done = watch(handler)
    async with asyncio.timeout(TIMEOUT), serving(watched) as url:
        result = await ws_client(
            url,
            {"op": "await", "type": "open"},
            {"op": "ping", "data": "from ws"},
            {"op": "pong", "data": "unasked"},
            {"op": "await", "type": "pong"},
            {"op": "await", "type": "message"},
        )
        await done
    assert of_type(result, "ping") == [{"type": "ping", "data": "from wsfast"}]
    assert of_type(result, "pong") == [{"type": "pong", "data": "from ws"}]
    assert of_type(result, "message") == [received("answered")]
    assert sorted(heard) == [("ping", b"from ws"), ("pong", b"from wsfast"), ("pong", b"unasked")]


@pytest.mark.parametrize(("code", "reason"), [*CLOSES, (None, None)])
async def test_wsfast_sees_the_close_code_of_a_ws_client(serving, ws_client, watch, code, reason):
    async def handler(ws):
        await ws.wait_closed()
        return ws.close_code, ws.close_reason, ws.was_clean

    watched, done = watch(handler)
    expected = (1005, "") if code is None else (code, reason)
    close = {"op": "close"} if code is None else {"op": "close", "code": code, "reason": reason}
    async with asyncio.timeout(TIMEOUT), serving(watched) as url:
        result = await ws_client(
            url, {"op": "await", "type": "open"}, close, {"op": "await", "type": "close"}
        )
        assert await done == (*expected, True)
    # The other side's close frame is the answer to its own, with the same code.
    [event] = of_type(result, "close")
    assert (event["code"], event["reason"]) in [expected, (expected[0], "")]


@pytest.mark.parametrize(("code", "reason"), CLOSES)
async def test_a_ws_client_sees_the_close_code_of_wsfast(serving, ws_client, code, reason):
    async def handler(ws):
        await ws.close(code, reason)

    async with asyncio.timeout(TIMEOUT), serving(handler) as url:
        result = await ws_client(url, {"op": "await", "type": "close"})
    assert of_type(result, "close") == [{"type": "close", "code": code, "reason": reason}]


async def test_a_handler_that_returns_closes_a_ws_client_with_1000(serving, ws_client):
    async def handler(ws):
        pass

    async with asyncio.timeout(TIMEOUT), serving(handler) as url:
        result = await ws_client(url, {"op": "await", "type": "close"})
    assert of_type(result, "close") == [{"type": "close", "code": 1000, "reason": ""}]


async def test_a_ws_client_sees_a_terminated_wsfast_as_1006(serving, ws_client):
    async def handler(ws):
        ws.terminate()

    async with asyncio.timeout(TIMEOUT), serving(handler) as url:
        result = await ws_client(url, {"op": "await", "type": "close"})
    assert of_type(result, "close") == [{"type": "close", "code": 1006, "reason": ""}]


async def test_wsfast_sees_a_terminated_ws_client_as_1006(serving, ws_client, watch):
    async def handler(ws):
        await ws.wait_closed()
        return ws.close_code, ws.was_clean

    watched, done = watch(handler)
    async with asyncio.timeout(TIMEOUT), serving(watched) as url:
        await ws_client(url, {"op": "await", "type": "open"}, {"op": "terminate"})
        assert await done == (1006, False)


async def test_a_ws_client_gets_the_subprotocol_that_both_know(serving, ws_client):
    async with (
        asyncio.timeout(TIMEOUT),
        serving(echo, subprotocols=["third", "second"]) as url,
    ):
        result = await ws_client(
            url, {"op": "await", "type": "open"}, protocols=["first", "second"]
        )
    assert result["protocol"] == "second"


async def test_a_ws_client_is_accepted_without_a_common_subprotocol(serving, ws_client, watch):
    async def handler(ws):
        await ws.wait_closed()
        return ws.subprotocol

    watched, done = watch(handler)
    async with asyncio.timeout(TIMEOUT), serving(watched, subprotocols=["second"]) as url:
        result = await ws_client(url, {"op": "await", "type": "close"}, protocols=["first"])
        assert await done is None
    # It is ws that insists.
    assert of_type(result, "error")[0]["message"] == "Server sent no subprotocol"


async def test_wsfast_gets_the_headers_of_a_ws_client(serving, ws_client, watch):
    async def handler(ws):
        return ws.request.path, ws.request.headers

    watched, done = watch(handler)
    async with asyncio.timeout(TIMEOUT), serving(watched) as url:
        await ws_client(
            f"{url}/some/path?q=1",
            {"op": "await", "type": "close"},
            headers={"X-Custom": "value", "Cookie": "a=1; b=2"},
            origin="https://example.com",
        )
        path, headers = await done
    assert path == "/some/path?q=1"
    assert headers["X-Custom"] == "value"
    assert headers["Cookie"] == "a=1; b=2"
    assert headers["Origin"] == "https://example.com"


async def test_an_unmasked_frame_of_a_ws_client_is_a_protocol_error(serving, ws_client, watch):
    async def handler(ws):
        with pytest.raises(wsfast.ConnectionClosedError):
            await ws.recv()
        await ws.wait_closed()
        return ws.close_code, ws.close_sent

    watched, done = watch(handler)
    async with asyncio.timeout(TIMEOUT), serving(watched) as url:
        result = await ws_client(
            url,
            {"op": "await", "type": "open"},
            {"op": "send", "size": 10, "options": {"mask": False}},
            {"op": "await", "type": "close"},
        )
        close_code, close_sent = await done
    assert of_type(result, "message") == []
    assert of_type(result, "close")[0]["code"] == 1002
    assert close_sent.code == 1002
    # ws may or may not have answered before it went away.
    assert close_code in (1002, 1006)


async def test_verify_client_answers_a_ws_client_with_401(serving, ws_client):
    async with asyncio.timeout(TIMEOUT), serving(echo, verify_client=lambda info: False) as url:
        result = await ws_client(url, {"op": "await", "type": "response"})
    [response] = of_type(result, "response")
    assert response["status"] == 401
    assert response["body"]


async def test_an_origin_that_is_not_allowed_answers_a_ws_client_with_403(serving, ws_client):
    async with asyncio.timeout(TIMEOUT), serving(echo, origins=["https://example.com"]) as url:
        result = await ws_client(
            url, {"op": "await", "type": "response"}, origin="https://example.org"
        )
        assert of_type(result, "response")[0]["status"] == 403
        result = await ws_client(url, {"op": "await", "type": "open"}, origin="https://example.com")
        assert of_type(result, "open")


UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


@pytest.mark.parametrize(
    ("method", "headers", "status", "answer"),
    [
        ("GET", UPGRADE | {"Sec-WebSocket-Key": "short"}, 400, {}),
        ("POST", UPGRADE, 405, {"allow": "GET"}),
        ("GET", {}, 426, {"upgrade": "websocket"}),
        ("GET", UPGRADE | {"Sec-WebSocket-Version": "7"}, 426, {"sec-websocket-version": "13, 8"}),
    ],
    ids=["bad key", "POST", "no upgrade", "unknown version"],
)
async def test_a_wrong_request_by_node_is_refused_with_the_reason(
    serving, ws_client, method, headers, status, answer
):
    async with asyncio.timeout(TIMEOUT), serving(echo) as url:
        result = await ws_client(url, request={"method": method, "headers": headers})
    [response] = result["events"]
    assert (response["type"], response["status"]) == ("response", status)
    assert response["body"]
    assert answer.items() <= response["headers"].items()
