"""What a server calls during the opening handshake, and what becomes of what it returns."""

import asyncio
import logging
from email.utils import parsedate_to_datetime

import pytest
from peers import (
    PATIENCE,
    TEXT,
    Accepted,
    client_of,
    echo,
    exchange,
    frame,
    raw_client,
    request,
    until,
    uri_of,
)

import wsfast


def serve(handler=echo, **options):
    return wsfast.serve(handler, "127.0.0.1", 0, **options)


# --- Subprotocols -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offered", "selected"),
    [
        ("chat", "chat"),
        ("superchat, chat", "superchat"),
        ("chat, superchat", "superchat"),
        ("CHAT", None),
        ("other", None),
        (None, None),
    ],
)
async def test_the_servers_order_chooses_the_subprotocol(offered, selected):
    """SV10, M5."""
    handler = Accepted()
    headers = {} if offered is None else {"Sec-WebSocket-Protocol": offered}
    async with (
        serve(handler, subprotocols=["superchat", "chat"]) as server,
        raw_client(server, request(**headers)) as peer,
    ):
        assert (await peer.head()).headers.get("sec-websocket-protocol") == selected
        assert (await handler.get()).subprotocol == selected


async def test_a_server_without_subprotocols_selects_none():
    """SV10: ws takes the first that is offered."""
    data = request(sec_websocket_protocol="chat")
    async with serve() as server, raw_client(server, data) as peer:
        assert "sec-websocket-protocol" not in (await peer.head()).headers


@pytest.mark.parametrize("is_async", [False, True])
async def test_select_subprotocol_chooses(is_async):
    """SV10, M5."""
    seen = []

    def select(ws, offered):
        seen.append((ws.path, offered))
        return offered[-1]

    async def select_async(ws, offered):
        await asyncio.sleep(0)
        return select(ws, offered)

    async with (
        serve(select_subprotocol=select_async if is_async else select) as server,
        client_of(server, "/x", sec_websocket_protocol="a, b"),
    ):
        pass
    assert seen == [("/x", ["a", "b"])]


async def test_select_subprotocol_cannot_choose_what_the_client_did_not_offer(caplog):
    """SV10: ws does not look."""
    async with serve(select_subprotocol=lambda ws, offered: "mine") as server:
        head, body = await exchange(server, request(sec_websocket_protocol="a"))
    assert head.status == 500
    assert "mine" not in body
    assert "chose 'mine', which the client did not offer" in caplog.text


# --- Hooks of the handshake -------------------------------------------------------------------


def teapot(ws, request):
    return wsfast.Response(418, "I'm a teapot", wsfast.Headers({"X-Tea": "green"}), b"tea\n")


async def wait_and_teapot(ws, request):
    await asyncio.sleep(0)
    return teapot(ws, request)


@pytest.mark.parametrize("process_request", [teapot, wait_and_teapot])
async def test_process_request_answers_in_plain_http(process_request):
    """M2"""
    async with serve(process_request=process_request) as server:
        head, body = await exchange(server, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert head.line == "HTTP/1.1 418 I'm a teapot"
    assert parsedate_to_datetime(head.headers.pop("date"))
    assert head.headers == {"x-tea": "green", "connection": "close", "content-length": "4"}
    assert body == "tea\n"


async def test_hooks_may_be_coroutine_functions_that_wait_for_nothing():
    """With eager tasks they are done before their task is known."""
    called = []

    def hook(name, result):
        async def call(*arguments):
            called.append(name)
            return result

        return call

    asyncio.get_running_loop().set_task_factory(getattr(asyncio, "eager_task_factory", None))
    hooks = {
        "process_request": hook("process_request", None),
        "verify_client": hook("verify_client", True),
        "select_subprotocol": hook("select_subprotocol", None),
        "process_response": hook("process_response", None),
    }
    async with serve(**hooks) as server, client_of(server) as peer:
        peer.send(TEXT, "hello")
        assert (await peer.frame()).payload == b"hello"
    assert called == list(hooks)


async def test_process_request_sees_the_connection_and_lets_it_pass():
    seen = {}

    def process_request(ws, request):
        ws.user = request.headers["X-User"]
        seen.update(state=ws.state, peer=ws.remote_address, path=ws.path, response=ws.response)

    handler = Accepted()
    async with (
        serve(handler, process_request=process_request) as server,
        client_of(server, "/x", x_user="me") as peer,
    ):
        ws = await handler.get()
        assert ws.user == "me"
        assert seen == {
            "state": wsfast.State.CONNECTING,
            "peer": peer.socket.getsockname(),
            "path": "/x",
            "response": None,
        }


def add_header(ws, request, response):
    response.headers["Set-Cookie"] = "a=1"
    response.headers["Set-Cookie"] = "b=2"


def replace(ws, request, response):
    return wsfast.Response(403, "No", wsfast.Headers(), b"no\n")


async def replace_later(ws, request, response):
    await asyncio.sleep(0)
    return replace(ws, request, response)


async def test_process_response_may_change_the_response():
    """SE3."""
    handler = Accepted()
    async with (
        serve(handler, process_response=add_header) as server,
        wsfast.connect(uri_of(server)) as ws,
    ):
        assert ws.response.headers.get_all("Set-Cookie") == ["a=1", "b=2"]
        assert (await handler.get()).response.headers == ws.response.headers


def without_extensions(ws, request, response):
    del response.headers["Sec-WebSocket-Extensions"]


def with_other_extensions(ws, request, response):
    del response.headers["Sec-WebSocket-Extensions"]
    response.headers["Sec-WebSocket-Extensions"] = "permessage-deflate; client_max_window_bits=9"


async def test_process_response_may_leave_extensions_out():
    handler = Accepted()
    async with (
        serve(handler, compression=True, process_response=without_extensions) as server,
        wsfast.connect(uri_of(server)) as ws,
    ):
        accepted = await handler.get()
        assert ws.extensions == accepted.extensions == ()
        await accepted.send("a" * 1000)
        assert await ws.recv() == "a" * 1000


async def test_process_response_cannot_agree_to_other_extensions(caplog):
    options = {"compression": True, "process_response": with_other_extensions}
    async with serve(**options) as server:
        with pytest.raises(wsfast.InvalidStatus) as caught:
            await wsfast.connect(uri_of(server))
    assert caught.value.response.status_code == 500
    assert "cannot change Sec-WebSocket-Extensions" in caplog.text


@pytest.mark.parametrize("process_response", [replace, replace_later])
async def test_process_response_may_refuse(process_response):
    handler = Accepted()
    async with serve(handler, process_response=process_response) as server:
        head, body = await exchange(server, request())
    assert (head.status, body) == (403, "no\n")
    assert handler.connections.empty()


def unauthorized():
    return wsfast.Response(407, "Pay first", wsfast.Headers(), b"")


@pytest.mark.parametrize(
    ("verdict", "status", "text"),
    [
        (True, 101, ""),
        (False, 401, "The server refused the client.\n"),
        (unauthorized(), 407, ""),
    ],
)
@pytest.mark.parametrize("is_async", [False, True])
async def test_verify_client_decides(verdict, status, text, is_async):
    """SV7, SV8, M8: a function or a coroutine function; a bool or a response."""
    seen = []

    def verify(info):
        seen.append((info.origin, info.request.path, info.secure))
        return verdict

    async def verify_later(info):
        await asyncio.sleep(0)
        return verify(info)

    async with (
        serve(verify_client=verify_later if is_async else verify) as server,
        raw_client(server, request("/x", origin="https://a")) as peer,
    ):
        head = await peer.head()
        assert head.status == status
        if status != 101:
            assert (await peer.rest()).decode() == text
    assert seen == [("https://a", "/x", False)]


def fail(*arguments):
    raise RuntimeError("the database password is hunter2")


async def fail_later(*arguments):
    await asyncio.sleep(0)
    fail()


@pytest.mark.parametrize("failing", [fail, fail_later])
@pytest.mark.parametrize(
    "hook", ["process_request", "verify_client", "select_subprotocol", "process_response"]
)
async def test_a_hook_that_raises_is_answered_with_500_and_logged(hook, failing, caplog):
    async with serve(**{hook: failing}) as server:
        head, body = await exchange(server, request())
    assert head.status == 500
    assert body == "Failed to open a WebSocket connection: the server has an internal error.\n"
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.getMessage() == "opening handshake failed"
    assert "hunter2" in caplog.text


def cancelled(*arguments):
    raise asyncio.CancelledError("hunter2")


async def cancelled_later(*arguments):
    await asyncio.sleep(0)
    cancelled()


@pytest.mark.parametrize("hook", [cancelled, cancelled_later])
async def test_a_hook_that_asks_for_what_was_cancelled_is_answered_with_500_and_logged(
    hook, caplog
):
    """It is an exception as any other: nobody cancels the handshake."""
    async with serve(verify_client=hook) as server:
        head, body = await exchange(server, request())
    assert head.status == 500
    assert "hunter2" in caplog.text
    assert "hunter2" not in body
    assert server.stats.errors == {"CancelledError": 1}


@pytest.mark.parametrize("verdict", [None, 1, "yes", wait_and_teapot])
async def test_verify_client_must_decide_by_a_bool(verdict, caplog):
    """SV7, SV8: what is only true, as a function not called, must not let everybody in."""
    async with serve(verify_client=lambda info: verdict) as server:
        head, _ = await exchange(server, request())
    assert head.status == 500
    assert "verify_client must return a bool or a Response" in caplog.text


@pytest.mark.parametrize("hook", ["process_request", "process_response"])
async def test_a_hook_that_returns_something_else_is_answered_with_500(hook, caplog):
    async with serve(**{hook: lambda *arguments: (200, "OK")}) as server:
        head, _ = await exchange(server, request())
    assert head.status == 500
    assert f"{hook} must return a Response or None, not (200, 'OK')" in caplog.text


@pytest.mark.parametrize("status", [101, 200])
async def test_a_response_that_cannot_be_sent_is_answered_with_500(status, caplog):
    """M14"""
    broken = wsfast.Response(status, "a\r\nX: b", wsfast.Headers())
    async with serve(process_response=lambda ws, request, response: broken) as server:
        head, body = await exchange(server, request())
    assert head.status == 500
    assert "x" not in head.headers
    assert body == "Failed to open a WebSocket connection: the server has an internal error.\n"
    assert "invalid reason phrase" in caplog.text


@pytest.mark.parametrize("status", ["200", None, 20])
async def test_a_response_without_a_status_is_answered_with_500(status, caplog):
    """Also where refusals are logged."""
    caplog.set_level(logging.DEBUG, "wsfast.server")
    broken = wsfast.Response(status, "OK", wsfast.Headers())
    async with serve(process_request=lambda ws, request: broken) as server:
        head, _ = await exchange(server, request())
    assert head.status == 500


async def test_a_101_has_no_body(caplog):
    """The client would take it for frames."""

    def process_response(ws, request, response):
        response.body = b"\x81\x02hi"

    async with serve(process_response=process_response) as server:
        head, _ = await exchange(server, request())
    assert head.status == 500
    assert "a 101 has no body" in caplog.text


async def test_what_a_client_sends_while_a_hook_is_awaited_comes_through_in_order():
    handler = Accepted()
    go = asyncio.Event()

    async def process_request(ws, request):
        await go.wait()

    async with (
        serve(echo, process_request=process_request) as server,
        raw_client(server, request()) as peer,
    ):
        peer.send(TEXT, "one")
        await until(lambda: server._handshakes)
        await asyncio.sleep(0)
        peer.send(TEXT, "two")
        await peer.writer.drain()
        go.set()
        assert (await peer.head()).status == 101
        assert [(await peer.frame()).payload for _ in range(2)] == [b"one", b"two"]
    assert handler.connections.empty()


async def test_messages_that_came_during_a_hook_are_held_back_like_any_others():
    """The queue is full of what came with the request: reading must not go on."""
    handler = Accepted()

    async def process_request(ws, request):
        await asyncio.sleep(0)

    glued = b"".join(frame(TEXT, "x" * 100, mask=b"abcd") for _ in range(40))
    async with (
        serve(handler, process_request=process_request, max_queue=4) as server,
        raw_client(server, request() + glued) as peer,
    ):
        assert (await peer.head()).status == 101
        ws = await handler.get()
        await until(lambda: not ws.is_reading)
        received = ws.stats.wire_bytes_received
        for _ in range(20):
            peer.write(glued)
            await asyncio.sleep(0.001)
        assert ws.stats.wire_bytes_received == received
        for _ in range(40 * 21):
            assert await ws.recv() == "x" * 100


async def test_a_hook_is_cancelled_when_its_client_is_given_up():
    cancelled = asyncio.Event()

    async def process_request(ws, request):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with (
        serve(process_request=process_request, open_timeout=0.1) as server,
        raw_client(server, request()) as peer,
    ):
        assert await peer.rest() == b""
        async with asyncio.timeout(PATIENCE):
            await cancelled.wait()


@pytest.mark.parametrize("go", ["write_eof", "reset"])
async def test_a_hook_is_cancelled_when_its_client_goes(go):
    """SV8: and there is no connection, as in ws."""
    asked = asyncio.Event()
    cancelled = asyncio.Event()
    handler = Accepted()

    async def verify_client(info):
        asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with (
        serve(handler, verify_client=verify_client, open_timeout=None) as server,
        raw_client(server, request()) as peer,
    ):
        async with asyncio.timeout(PATIENCE):
            await asked.wait()
            getattr(peer, go)()
            await cancelled.wait()
            await until(lambda: not server._handshakes)
    assert handler.connections.empty()


async def test_a_hook_cannot_use_a_connection_that_is_not_open_yet():
    seen = []

    async def process_request(ws, request):
        for awaitable in ws.send("x"), ws.ping(), ws.close(4000):
            try:
                await awaitable
            except wsfast.WebSocketException as error:
                seen.append(error)
        with pytest.raises(ValueError, match="code"):
            ws.close(1)

    async with serve(process_request=process_request) as server, client_of(server):
        pass
    assert {type(error) for error in seen} == {wsfast.InvalidState}
    assert {str(error) for error in seen} == {
        "WebSocket is not open: the opening handshake is not done; "
        "return a Response to refuse the client"
    }


@pytest.mark.parametrize("status", [101, 403])
async def test_whoever_got_a_connection_from_a_hook_sees_its_end(status):
    waiting = []

    def process_request(ws, request):
        waiting.append(asyncio.create_task(ws.wait_closed()))
        if status == 403:
            return wsfast.Response(403, "No", wsfast.Headers())

    async with serve(process_request=process_request) as server:
        async with raw_client(server, request()) as peer:
            assert (await peer.head()).status == status
        async with asyncio.timeout(PATIENCE):
            await waiting[0]


async def test_a_large_response_of_a_hook_arrives_though_the_client_is_slow(monkeypatch):
    monkeypatch.setattr("wsfast.accepting.LINGER", 0.1)
    body = bytes(8_000_000)

    def process_request(ws, request):
        return wsfast.Response(200, "OK", wsfast.Headers(), body)

    async with serve(process_request=process_request) as server:
        async with raw_client(server, request()) as peer:
            await peer.head()
            peer.stop_reading()
            await asyncio.sleep(0.3)
            peer.go_on_reading()
            assert len(await peer.rest()) == len(body)
