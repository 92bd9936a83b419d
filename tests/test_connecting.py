"""WebSocket(url) in the background: its events, how it fails, and how it is closed early.

The rows are those of the table of ws's features.
"""

import asyncio
import gc
import socket

import pytest
from hosts import (
    CLOSED_BEFORE,
    FAILURES,
    Record,
    connect,
    host,
    never_answer,
    refuse,
    refused_uri,
    switching,
    wrong_accept,
)
from peers import (
    CLOSE,
    PATIENCE,
    PING,
    TEXT,
    Accepted,
    close_payload,
    echo,
    frame,
    hold,
    raw_server,
    uri_of,
)
from test_events import Unhandled

import wsfast

# --- In the background ------------------------------------------------------------------------


async def test_open_message_and_close_come_in_order():
    """EV1, EV2, EV4: and the WebSocket is CONNECTING, OPEN, CLOSED meanwhile."""
    states = []
    async with wsfast.serve(echo, "127.0.0.1", 0) as server:
        ws = wsfast.WebSocket(uri_of(server))
        assert ws.state is wsfast.State.CONNECTING
        assert ws.url == uri_of(server)
        ws.on("open", lambda: states.append(ws.state))
        ws.on("close", lambda code, reason: states.append(ws.state))
        record = Record(ws)

        @ws.on("open")
        def opened():
            ws.send("hello")
            ws.send(b"\x00\xff")

        await record.until("message", 2)
        await ws.close(1000, "bye")
        await ws.close()
    assert record.events == [
        ("open",),
        ("message", "hello", False),
        ("message", b"\x00\xff", True),
        ("close", 1000, "bye"),
    ]
    assert states == [wsfast.State.OPEN, wsfast.State.CLOSED]
    assert ws.was_clean


async def test_subprotocols_are_the_second_argument():
    """C5."""
    async with wsfast.serve(Accepted(), "127.0.0.1", 0, subprotocols=["b"]) as server:
        ws = wsfast.WebSocket(uri_of(server), ["a", "b"])
        await Record(ws).until("open")
        assert ws.subprotocol == "b"
        await ws.close()


async def test_a_message_that_comes_with_the_101_is_told_behind_open():
    """EV1, EV2: one read with the response, messages, a ping and a close frame."""

    async def play(peer):
        peer.write(
            switching(await peer.head())
            + frame(TEXT, "one")
            + frame(PING, b"two")
            + frame(TEXT, "three")
            + frame(CLOSE, close_payload(1001, "bye"))
        )
        assert (await peer.frame()).payload == b"two"
        assert (await peer.frame()).payload == close_payload(1001, "bye")

    async with raw_server(play) as uri:
        ws = wsfast.WebSocket(uri)
        record = Record(ws)
        await record.until("close")
    assert record.events == [
        ("open",),
        ("message", "one", False),
        ("ping", b"two"),
        ("message", "three", False),
        ("close", 1001, "bye"),
    ]


async def test_listeners_that_are_attached_late_lose_no_message():
    """What came before waits in the queue."""

    async def play(peer):
        peer.write(switching(await peer.head()) + frame(TEXT, "one") + frame(TEXT, "two"))
        assert (await peer.frame()).payload == b"more"
        peer.send(TEXT, "three")
        peer.close()
        assert (await peer.frame()).opcode == CLOSE

    async with raw_server(play) as uri:
        ws = wsfast.WebSocket(uri)
        await Record(ws, "open").until("open")
        for _ in range(10):
            await asyncio.sleep(0)
        record = Record(ws)
        await record.until("message", 2)
        await ws.send("more")
        await record.until("close")
    assert record.of("message") == [("one", False), ("two", False), ("three", False)]


async def test_recv_may_wait_before_the_connection_is_open():
    async with wsfast.serve(echo, "127.0.0.1", 0) as server:
        ws = wsfast.WebSocket(uri_of(server))
        task = asyncio.create_task(ws.recv())
        await Record(ws, "open").until("open")
        await ws.send("hello")
        async with asyncio.timeout(PATIENCE):
            assert await task == "hello"
        await ws.close()


async def test_recv_raises_if_the_connection_is_not_opened():
    """EV10: what went wrong is the cause."""
    ws = wsfast.WebSocket(refused_uri())
    ws.on("error", lambda error: None)
    with pytest.raises(wsfast.ConnectionClosedError) as caught:
        async with asyncio.timeout(PATIENCE):
            await ws.recv()
    assert caught.value.__cause__.code == "ECONNREFUSED"


async def test_sending_before_the_connection_is_open_fails():
    """W8: on await, as all errors of the state; and so do ping and pong."""
    async with wsfast.serve(echo, "127.0.0.1", 0) as server:
        ws = wsfast.WebSocket(uri_of(server))
        for call in (
            lambda: ws.send("x"),
            lambda: ws.send(["x", "y"]),
            lambda: ws.send(b"x" * 2**20),
            lambda: ws.ping(),
            lambda: ws.pong(),
        ):
            with pytest.raises(wsfast.InvalidState, match=r"^WebSocket is not open: "):
                await call()
        with pytest.raises(TypeError):
            ws.send(5)
        assert ws.buffered_amount == 0
        await Record(ws).until("open")
        await ws.close()


async def test_what_makes_no_sense_before_the_connection_is_open_does_nothing():
    """W4: pause and resume; and what else may be called."""
    async with wsfast.serve(echo, "127.0.0.1", 0) as server:
        ws = wsfast.WebSocket(uri_of(server))
        ws.pause()
        assert not ws.is_paused
        ws.resume()
        with ws.cork():
            pass
        assert ws.remote_address is None
        assert ws.local_address is None
        assert ws.get_extra_info("peername", "none") == "none"
        assert ws.response is None
        assert ws.close_code is None
        assert ws.path == "/"
        assert "CONNECTING" in repr(ws)
        assert ws.stats.messages_sent == 0
        await Record(ws).until("open")
        await ws.close()


def test_without_a_running_loop_it_is_a_runtime_error():
    with pytest.raises(RuntimeError, match="running event loop"):
        wsfast.WebSocket("ws://localhost/")


@pytest.mark.parametrize(
    ("url", "options", "error"),
    [
        ("foo", {}, wsfast.InvalidURI),
        ("", {}, ValueError),
        ("ws://localhost/#x", {}, wsfast.InvalidURI),
        (5, {}, TypeError),
        ("ws://localhost/", {"subprotocols": "chat"}, TypeError),
        ("ws://localhost/", {"subprotocols": ["a", "a"]}, ValueError),
        ("ws://localhost/", {"nonsense": 1}, TypeError),
        ("ws://localhost/", {"max_redirects": -1}, ValueError),
        ("ws://localhost/", {"follow_redirects": "yes"}, (TypeError, ValueError)),
        ("ws://localhost/", {"finish_request": 5}, TypeError),
        ("ws://localhost/", {"create_connection": 5}, TypeError),
        ("ws://localhost/", {"create_connection": print, "host": "a"}, None),
        ("ws://localhost/", {"protocol_version": 10}, ValueError),
        ("ws://localhost/", {"generate_mask": b"1234"}, TypeError),
        ("ws://localhost/", {"open_timeout": -1}, ValueError),
        ("ws://localhost/", {"reconnect": 1}, TypeError),
        ("ws://localhost/", {"resend_limit": 5}, ValueError),
        ("ws://localhost/", {"resend_limit": -5, "reconnect": True}, ValueError),
        ("ws://localhost/", {"max_attempts": -1}, ValueError),
        ("ws://localhost/", {"max_elapsed": "x"}, TypeError),
        ("ws://localhost/", {"min_uptime": -1}, ValueError),
        ("ws://localhost/", {"reconnect_delays": [1]}, TypeError),
        ("ws://localhost/", {"reconnect_delays": lambda: 5, "reconnect": True}, TypeError),
        ("ws://localhost/", {"process_exception": 5}, TypeError),
        ("ws://localhost/", {"websocket_class": wsfast.WebSocket}, TypeError),
        ("ws://localhost/", {"additional_headers": {"Connection": "x"}}, ValueError),
        ("ws://localhost/", {"additional_headers": {"X": "a\r\nb"}}, ValueError),
    ],
)
async def test_bad_options_raise_at_the_call(url, options, error):
    """C2, C5, C19: nothing is begun."""
    if error is None:
        ws = wsfast.WebSocket(url, **options)
        ws.on("error", lambda error: None)
        ws.terminate()
        await ws.wait_closed()
        return
    with pytest.raises(error):
        wsfast.WebSocket(url, **options)


@pytest.mark.parametrize("name", ["server_hostname", "ca", "verify"])
async def test_options_of_tls_need_tls(name):
    value = {"server_hostname": "a", "ca": b"x", "verify": True}[name]
    with pytest.raises(ValueError, match=name):
        wsfast.WebSocket("ws://localhost/", **{name: value})


async def test_a_socket_cannot_be_connected_again():
    left, right = socket.socketpair()
    with left, right:
        with pytest.raises(ValueError, match="create_connection"):
            wsfast.WebSocket("ws://localhost/", sock=left, reconnect=True)
        with pytest.raises(ValueError, match="create_connection"):
            async for _ in wsfast.connect("ws://localhost/", sock=left):
                pass


async def test_the_options_are_not_changed():
    """C28."""
    headers = {"X-Other": "1"}
    options = {"additional_headers": headers, "follow_redirects": True, "auth": ("a", "b")}
    before = dict(options)
    async with host({"/": "/next"}) as server:
        ws = wsfast.WebSocket(server("/"), ["chat"], **options)
        record = Record(ws)
        await record.until("open")
        headers["X-Other"] = "2"  # too late
        await ws.close()
    assert options == before
    assert [head.headers["x-other"] for head in server.heads] == ["1", "1"]


# --- It fails ---------------------------------------------------------------------------------


@pytest.mark.parametrize("failure", FAILURES)
async def test_an_opening_that_fails_tells_error_and_close_once(failure):
    """EV4, EV5: in this order, and nothing after."""
    play, kind, code = FAILURES[failure]
    async with raw_server(play) as uri:
        ws = wsfast.WebSocket(uri)
        record = Record(ws)
        await record.until("close")
        await ws.close()
        ws.terminate()
        await ws.wait_closed()
        await asyncio.sleep(0)
        assert record.names == ["error", "close"]
        (error,) = record.events[0][1:]
        assert isinstance(error, kind)
        assert error.code == code
        assert record.events[1] == ("close", 1006, "")
        assert ws.close_code == 1006
        assert ws.state is wsfast.State.CLOSED


async def test_a_port_that_nobody_listens_on_is_told():
    """EV5: errors of the network before the connection is open."""
    record = Record(wsfast.WebSocket(refused_uri()))
    await record.until("close")
    assert record.names == ["error", "close"]
    assert record.events[0][1].code == "ECONNREFUSED"


async def test_open_timeout_is_told():
    """C13: a deadline; a server that drips does not move it."""

    async def drip(peer):
        await peer.head()
        peer.write(b"HTTP/1.1 101 Switching Protocols\r\nX: ")
        while not peer.writer.transport.is_closing():
            peer.write(b"x")
            await asyncio.sleep(0.01)

    async with raw_server(drip) as uri:
        record = Record(wsfast.WebSocket(uri, open_timeout=0.1))
        await record.until("close")
    (error,) = record.events[0][1:]
    assert isinstance(error, wsfast.OpenTimeout)
    assert isinstance(error, TimeoutError)
    assert error.code == "WS_ERR_OPEN_TIMEOUT"
    assert str(error) == "timed out during opening handshake"


async def test_without_a_listener_the_loop_hears_of_it():
    """EV10: nothing is silent."""
    with Unhandled() as contexts:
        ws = wsfast.WebSocket(refused_uri())
        async with asyncio.timeout(PATIENCE):
            await ws.wait_closed()
        await asyncio.sleep(0)
    (context,) = contexts
    assert context["exception"].code == "ECONNREFUSED"
    assert context["websocket"] is ws
    assert "'error' listener" in context["message"]


async def test_with_a_listener_the_loop_hears_nothing():
    """EV10: what was told once is not told again; and the user's own close is no failure."""
    with Unhandled() as contexts:
        record = Record(wsfast.WebSocket(refused_uri()), "error")
        await record.until("error")
        ws = wsfast.WebSocket(refused_uri())
        ws.terminate()
        await ws.wait_closed()
        with pytest.raises(wsfast.NetworkError):
            await connect(refused_uri())
        for _ in range(3):
            await asyncio.sleep(0)
    assert contexts == []


async def test_what_a_listener_raises_goes_to_the_loop_and_the_others_are_called():
    """EV9: and "close" comes all the same."""
    with Unhandled() as contexts:
        ws = wsfast.WebSocket(refused_uri())
        ws.on("error", lambda error: 1 / 0)
        record = Record(ws)
        await record.until("close")
    (context,) = contexts
    assert isinstance(context["exception"], ZeroDivisionError)
    assert record.names == ["error", "close"]


# --- "upgrade" --------------------------------------------------------------------------------


async def test_upgrade_comes_before_the_answer_is_checked():
    """EV6: with what the server wants to be kept, even if the answer is not valid."""
    seen = []

    async def play(peer):
        head = await peer.head()
        peer.write(switching(head, "Set-Cookie: a=b", "Set-Cookie: c=d"))
        await peer.rest()

    for play_once, last in (play, "open"), (wrong_accept, "close"):
        async with raw_server(play_once) as uri:
            ws = wsfast.WebSocket(uri)
            record = Record(ws, "upgrade", "open", "error", "close")
            ws.on("upgrade", lambda response: seen.append(response.headers.get_all("Set-Cookie")))
            ws.on("upgrade", lambda response, ws=ws: seen.append(ws.state))
            await record.until(last)
            assert record.names[0] == "upgrade"
            (response,) = record.events[0][1:]
            assert response.status_code == 101
            assert ws.response is response
            ws.terminate()
            await ws.wait_closed()
    assert seen == [["a=b", "c=d"], wsfast.State.CONNECTING, [], wsfast.State.CONNECTING]


async def test_other_answers_are_no_upgrade():
    async with raw_server(refuse) as uri:
        record = Record(wsfast.WebSocket(uri), "upgrade", "error", "close")
        await record.until("close")
        assert record.names == ["error", "close"]


@pytest.mark.parametrize("how", ["close", "terminate"])
async def test_an_upgrade_listener_may_close(how):
    """EV6, L10: no "open", and no frame goes out."""
    left = []

    async def play(peer):
        peer.write(switching(await peer.head()) + frame(TEXT, "hello"))
        left.append(await peer.rest())

    async with raw_server(play) as uri:
        ws = wsfast.WebSocket(uri)
        record = Record(ws)
        ws.on("upgrade", lambda response: getattr(ws, how)())
        await record.until("close")
        assert record.names == ["error", "close"]
        assert str(record.events[0][1]) == CLOSED_BEFORE
    assert left in ([b""], [])  # or it was reset


# --- "unexpected-response" --------------------------------------------------------------------


async def test_a_listener_takes_over_an_unexpected_response():
    """EV8: no error, the state stays CONNECTING, the body can be read."""
    async with raw_server(refuse) as uri:
        ws = wsfast.WebSocket(uri)
        record = Record(ws, "unexpected-response", "open", "error", "close")
        request, response = await record.until("unexpected-response")
        assert request.headers["Upgrade"] == "websocket"
        assert (response.status_code, response.body) == (401, b"no!")
        assert response.headers["X"] == "y"
        for _ in range(5):
            await asyncio.sleep(0)
        assert record.names == ["unexpected-response"]
        assert ws.state is wsfast.State.CONNECTING

        await ws.close()
        assert record.names == ["unexpected-response", "error", "close"]
        assert str(record.events[1][1]) == CLOSED_BEFORE
        assert record.events[2] == ("close", 1006, "")


@pytest.mark.parametrize("how", ["close", "terminate"])
async def test_the_listener_of_an_unexpected_response_may_close(how):
    """EV8, L10."""
    async with raw_server(refuse) as uri:
        ws = wsfast.WebSocket(uri)
        ws.on("unexpected-response", lambda request, response: getattr(ws, how)())
        record = Record(ws)
        await record.until("close")
        assert record.names == ["error", "close"]
        assert str(record.events[0][1]) == CLOSED_BEFORE


async def test_a_redirect_that_is_not_followed_is_an_unexpected_response():
    """EV8, C10."""
    async with host({"/": "/next"}) as server:
        ws = wsfast.WebSocket(server("/"))
        record = Record(ws, "unexpected-response", "redirect")
        _, response = await record.until("unexpected-response")
        assert response.headers["Location"] == "/next"
        assert record.names == ["unexpected-response"]
        ws.on("error", lambda error: None)
        await ws.close()


# --- Closing before it is open ----------------------------------------------------------------


@pytest.mark.parametrize("how", ["close", "terminate"])
@pytest.mark.parametrize("when", ["at once", "connecting", "waiting for the answer"])
async def test_closing_before_it_is_open(how, when):
    """L10, W15: "error", then "close" with 1006; "open" never."""
    asked = asyncio.Event()

    async def play(peer):
        await peer.head()
        asked.set()
        await peer.rest()

    async with raw_server(play) as uri:
        ws = wsfast.WebSocket(uri)
        record = Record(ws)
        if when == "connecting":
            await asyncio.sleep(0)
        elif when == "waiting for the answer":
            async with asyncio.timeout(PATIENCE):
                await asked.wait()
        if how == "close":
            async with asyncio.timeout(PATIENCE):
                await ws.close()
        else:
            ws.terminate()
            assert ws.state is wsfast.State.CLOSING
            await record.until("close")
        assert record.names == ["error", "close"]
        assert isinstance(record.events[0][1], wsfast.InvalidHandshake)
        assert str(record.events[0][1]) == CLOSED_BEFORE
        assert record.events[1] == ("close", 1006, "")
        assert ws.close_sent is None
        await ws.close()
        assert len(record.events) == 2


async def test_a_bad_close_code_does_not_close():
    """L4: it is checked first."""
    async with wsfast.serve(echo, "127.0.0.1", 0) as server:
        ws = wsfast.WebSocket(uri_of(server))
        with pytest.raises(ValueError, match="code"):
            ws.close(1006)
        assert ws.state is wsfast.State.CONNECTING
        await Record(ws).until("open")
        await ws.close()


@pytest.mark.parametrize("how", ["close", "terminate"])
async def test_an_error_listener_may_close(how):
    """L10: which does nothing more."""
    ws = wsfast.WebSocket(refused_uri())
    ws.on("error", lambda error: getattr(ws, how)())
    record = Record(ws)
    await record.until("close")
    await asyncio.sleep(0)
    assert record.names == ["error", "close"]
    assert record.events[0][1].code == "ECONNREFUSED"


async def test_the_block_of_a_websocket_closes_it():
    async with wsfast.serve(echo, "127.0.0.1", 0) as server:
        async with wsfast.WebSocket(uri_of(server)) as ws:
            await Record(ws).until("open")
        assert ws.close_code == 1000
        with pytest.raises(ZeroDivisionError):
            async with wsfast.WebSocket(uri_of(server)) as ws:
                record = Record(ws)
                1 / 0  # noqa: B018
        assert record.names == ["error", "close"]


# --- Cancellation -----------------------------------------------------------------------------


async def test_cancelling_connect_cancels_it_once():
    """Who was cancelled may await something when it cleans up."""
    asked = asyncio.Event()
    cleaned_up = []

    async def play(peer):
        await peer.head()
        asked.set()
        await peer.rest()

    async def run(uri):
        try:
            await wsfast.connect(uri)
        except asyncio.CancelledError:
            assert asyncio.current_task().cancelling() == 1
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            cleaned_up.append(True)
            raise

    async with raw_server(play) as uri:
        task = asyncio.create_task(run(uri))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert cleaned_up == [True]


class Shy(wsfast.WebSocket):
    """Closes itself as soon as it is asked for."""

    when = "upgrade"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.on(self.when, lambda *_: self.close())


@pytest.mark.parametrize("when", ["upgrade", "redirect", "unexpected-response"])
async def test_a_subclass_that_closes_itself_does_not_cancel_who_waits(when):
    """L10: `connect` raises, and the task goes on."""

    class Websocket(Shy):
        pass

    Websocket.when = when
    routes = {"/": (404 if when == "unexpected-response" else 302, "/next")}
    async with host(routes) as server:
        for _ in range(2):
            with pytest.raises(wsfast.InvalidHandshake, match=f"^{CLOSED_BEFORE}$"):
                await connect(server("/"), websocket_class=Websocket)
            assert asyncio.current_task().cancelling() == 0
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert server.paths.count("/next") == (2 if when == "upgrade" else 0)


async def test_cancelling_what_opens_in_the_background_ends_it():
    """As asyncio.run() does with all tasks at its end."""
    async with raw_server(never_answer) as uri:
        before = asyncio.all_tasks()
        ws = wsfast.WebSocket(uri, reconnect=True)
        record = Record(ws)
        (task,) = asyncio.all_tasks() - before
        for _ in range(3):
            await asyncio.sleep(0)
        task.cancel()
        await record.until("close")
        async with asyncio.timeout(PATIENCE):
            await ws.wait_closed()
        assert ws.is_over


def test_the_end_of_the_loop_ends_it():
    """No task is left that the loop would complain about, and none begins another."""
    unhandled = []
    ends = []

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda loop, it: unhandled.append(it))
        uri = refused_uri()
        waiting = asyncio.Event()
        for passes in 0, 1, 2:
            ws = wsfast.WebSocket(uri, reconnect=True)
            ws.on("close", lambda *_: ends.append("early"))
            for _ in range(passes):
                await asyncio.sleep(0)
        ws = wsfast.WebSocket(uri, reconnect=True, reconnect_delays=lambda: [1000])
        ws.on("close", lambda *_: ends.append("waiting"))
        ws.on("reconnecting", lambda *_: waiting.set())
        async with asyncio.timeout(PATIENCE):
            await waiting.wait()

    asyncio.run(main())
    gc.collect()
    assert "waiting" in ends
    assert unhandled == []


async def test_connections_at_once_do_not_mix():
    async with wsfast.serve(echo, "127.0.0.1", 0) as server:
        sockets = [wsfast.WebSocket(uri_of(server, f"/{number}")) for number in range(20)]
        records = [Record(ws) for ws in sockets]
        for ws, record in zip(sockets, records, strict=True):
            await record.until("open")
            ws.send(ws.path)
        for ws, record in zip(sockets, records, strict=True):
            assert await record.until("message") == (ws.path, False)
            await ws.close()


async def test_a_server_that_closes_at_once_is_told_as_open_and_close():
    """EV1, EV4, EV5: a reset after that is no error of the opening."""

    async def play(peer):
        await peer.accept()
        peer.close(1000, "go")
        await peer.frame()

    async with raw_server(play) as uri:
        record = Record(wsfast.WebSocket(uri))
        await record.until("close")
        assert record.events == [("open",), ("close", 1000, "go")]


async def test_a_reset_after_open_is_one_error_and_close():
    """EV5, DESIGN 5: "error" once with ECONNRESET, then "close" with 1006."""

    async def play(peer):
        await peer.accept()
        await peer.frame()
        peer.reset()

    async with raw_server(play) as uri:
        ws = wsfast.WebSocket(uri)
        ws.on("open", lambda: ws.send("now"))
        record = Record(ws)
        await record.until("close")
        assert record.names == ["open", "error", "close"]
        assert record.events[1][1].code == "ECONNRESET"
        assert record.events[2] == ("close", 1006, "")


async def test_a_held_connection_is_closed_by_the_user():
    async with raw_server(hold) as uri:
        ws = wsfast.WebSocket(uri)
        record = Record(ws)
        await record.until("open")
        await ws.close(4000, "enough")
        assert record.events[-1] == ("close", 1000, "")


@pytest.mark.parametrize("value", ["x", 1, None])
def test_what_follow_redirects_may_be_is_told(value):
    text = f'follow_redirects must be a bool or "insecure", not {value!r}'
    with pytest.raises(TypeError, match=text):
        wsfast.connect("ws://localhost/", follow_redirects=value)
