"""Connecting again: when, how often, and what a WebSocket keeps over it, in the event style.

The rows are those of the table of ws's features: M3 and M16. The style of ``async for ws in
connect(...)`` has a file of its own, as has the schedule.
"""

import asyncio
import contextlib
import datetime
import itertools
import os
import signal
import socket
import ssl
import sys
import textwrap

import pytest
from hosts import Record, switching
from peers import (
    CLOSE,
    PATIENCE,
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

ALL = ("open", "message", "close", "error", "reconnecting")


def at_once():
    return itertools.repeat(0.0)


def never():
    return itertools.repeat(3600.0)


def reconnecting(uri, *, delays=at_once, **options):
    return wsfast.WebSocket(uri, reconnect=True, reconnect_delays=delays, **options)


@contextlib.asynccontextmanager
async def script(*plays, **options):
    """A raw server that plays one after the other, and the last for all further connections."""
    waiting = list(reversed(plays))

    async def play(peer):
        await (waiting.pop() if len(waiting) > 1 else waiting[0])(peer)

    async with raw_server(play, **options) as uri:
        yield uri


async def hang_up(peer):
    """End the stream instead of an answer."""
    await peer.head()


async def reset(peer):
    await peer.head()
    peer.reset()


async def accept_and_drop(peer):
    await peer.accept()


async def accept_and_reset(peer):
    await peer.accept()
    peer.reset()


def answer(status):
    async def play(peer):
        await peer.head()
        peer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode())

    return play


def close_with(code):
    async def play(peer):
        await peer.accept()
        peer.close(code)
        assert (await peer.frame()).opcode == CLOSE

    return play


def send_and_wait(data):
    """Accept, send this, and wait for the client's end."""

    async def play(peer):
        peer.write(switching(await peer.head()) + data)
        await peer.rest()

    return play


async def finish(ws, record):
    """Close it, after which nothing happens."""
    async with asyncio.timeout(PATIENCE):
        await ws.close()
    assert ws.is_over
    count = len(record.events)
    for _ in range(3):
        await asyncio.sleep(0)
    assert len(record.events) == count
    assert record.names.count("close") == 1
    assert record.names[-1] == "close"


# --- What is tried again ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "play",
    [
        hang_up,
        reset,
        accept_and_drop,
        accept_and_reset,
        *map(answer, [500, 502, 503, 504]),
        *map(close_with, [1001, None, 1011, 1012, 1013, 1014, 3000, 4000]),
    ],
)
async def test_what_may_pass_is_tried_again(play):
    """M3, M16: a loss, a close code or a status that says that the server is not well."""
    async with script(play, play, hold) as uri:
        ws = reconnecting(uri)
        record = Record(ws, *ALL)
        await record.until("reconnecting", 2)
        opened = record.names.count("open")
        await record.until("open", opened + 1)
        assert "error" not in record.names
        assert "close" not in record.names
        assert ws.state is wsfast.State.OPEN
        await finish(ws, record)
        assert "error" not in record.names


async def test_a_port_that_nobody_listens_on_is_tried_again():
    """M3: until somebody does."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    ws = reconnecting(f"ws://127.0.0.1:{port}/")
    record = Record(ws, *ALL)
    delay, error = await record.until("reconnecting", 3)
    assert delay == 0.0
    assert error.code == "ECONNREFUSED"
    assert record.names == ["reconnecting"] * 3
    async with wsfast.serve(echo, "127.0.0.1", port):
        await record.until("open")
        await finish(ws, record)


async def test_a_server_that_does_not_answer_in_time_is_tried_again():
    """M3, C13."""

    async def wait(peer):
        await peer.rest()

    async with script(wait, hold) as uri:
        ws = reconnecting(uri, open_timeout=0.1)
        record = Record(ws, *ALL)
        _, error = await record.until("reconnecting")
        assert isinstance(error, TimeoutError)
        await record.until("open")
        await finish(ws, record)


@pytest.mark.parametrize("code", [1000, 1002, 1003, 1007, 1008, 1009, 1010])
async def test_a_close_code_that_would_come_again_is_the_end(code):
    """M3: 1000, and what one side does that the other does not accept."""
    async with script(close_with(code)) as uri:
        record = Record(ws := reconnecting(uri), *ALL)
        await record.until("close")
        await finish(ws, record)
        assert record.events == [("open",), ("close", code, "")]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 426, 429, 501])
async def test_a_refusal_is_the_end(status):
    """M3: 4xx is fatal."""
    async with script(answer(status)) as uri:
        record = Record(ws := reconnecting(uri), *ALL)
        await record.until("close")
        await finish(ws, record)
        assert record.names == ["error", "close"]
        assert record.events[0][1].response.status_code == status


@pytest.mark.parametrize(
    ("data", "options", "kind"),
    [
        (b"\x83\x00", {}, wsfast.ProtocolError),
        (frame(TEXT, b"\xff"), {}, wsfast.ProtocolError),
        (frame(TEXT, b"123456"), {"max_size": 5}, wsfast.PayloadTooBig),
    ],
)
async def test_what_we_do_not_accept_is_the_end(data, options, kind):
    """M3: the server would send it again."""
    async with script(send_and_wait(data)) as uri:
        record = Record(ws := reconnecting(uri, **options), *ALL)
        await record.until("close")
        await finish(ws, record)
        assert record.names == ["open", "error", "close"]
        assert isinstance(record.events[1][1], kind)


async def test_an_answer_that_is_not_valid_is_the_end():
    """M3."""

    async def wrong(peer):
        head = await peer.head()
        peer.write(switching(head).replace(b"Upgrade: websocket", b"Upgrade: other"))
        await peer.rest()

    async with script(wrong) as uri:
        record = Record(ws := reconnecting(uri), *ALL)
        await record.until("close")
        await finish(ws, record)
        assert record.names == ["error", "close"]
        assert isinstance(record.events[0][1], wsfast.InvalidUpgrade)


@pytest.fixture(scope="module")
def expired(authority):
    """A context of a server whose certificate has expired."""
    long_ago = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1)
    issued = authority.issue_cert("127.0.0.1", not_after=long_ago)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(context)
    return context


async def test_a_certificate_that_is_not_valid_is_the_end(expired, ca):
    """M3: it gives CERT_HAS_EXPIRED."""
    async with wsfast.serve(echo, "127.0.0.1", 0, ssl=expired) as server:
        record = Record(ws := reconnecting(uri_of(server), ca=ca), *ALL)
        await record.until("close")
        await finish(ws, record)
        assert record.names == ["error", "close"]
        error = record.events[0][1]
        assert error.code == "CERT_HAS_EXPIRED"
        assert isinstance(error.__cause__, ssl.SSLCertVerificationError)


async def test_without_reconnect_nothing_is_tried_again():
    async with script(accept_and_drop) as uri:
        record = Record(wsfast.WebSocket(uri), *ALL)
        await record.until("close")
        assert record.names == ["open", "close"]


SERVER = textwrap.dedent("""
    import asyncio, sys, wsfast

    async def echo(ws):
        async for message in ws:
            await ws.send(message)

    async def main():
        async with wsfast.serve(echo, "127.0.0.1", int(sys.argv[1])) as server:
            print(server.address()[1], flush=True)
            await server.serve_forever()

    asyncio.run(main())
""")


class Process:
    """A server in a process of its own."""

    async def start(self, port=0):
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", SERVER, str(port), stdout=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(PATIENCE):
            return int(await self.process.stdout.readline())

    async def kill(self):
        os.kill(self.process.pid, signal.SIGKILL)
        await self.process.wait()
        self.process._transport.close()


async def test_a_server_that_is_killed_is_connected_to_again():
    """M3, M16: kill -9, and another on the same port; both styles."""
    server = Process()
    port = await server.start()
    uri = f"ws://127.0.0.1:{port}/"
    ws = reconnecting(uri, delays=lambda: itertools.repeat(0.02))
    record = Record(ws, *ALL)
    replies = []
    lost = asyncio.Event()

    async def iterate():
        delays = {"reconnect_delays": lambda: itertools.repeat(0.02)}
        async for other in wsfast.connect(uri, **delays):
            await other.send(f"in life {len(replies)}")
            replies.append(await other.recv())
            lost.set()
            if len(replies) == 2:
                await other.close()
            await other.wait_closed()

    task = asyncio.create_task(iterate())
    await record.until("open")
    ws.send("one")
    assert await record.until("message") == ("one", False)
    await lost.wait()
    await server.kill()
    await record.until("reconnecting", 2)
    await server.start(port)
    try:
        await record.until("open", 2)
        ws.send("two")
        assert await record.until("message", 2) == ("two", False)
        await finish(ws, record)
        async with asyncio.timeout(PATIENCE):
            await task
        assert replies == ["in life 0", "in life 1"]
    finally:
        await server.kill()


# --- How often --------------------------------------------------------------------------------


async def test_a_server_that_closes_at_once_is_not_connected_to_in_a_hot_loop():
    """M3: the delays grow as long as no connection was open for min_uptime."""

    def delays():
        return iter([0.0, 0.01, 0.02, 0.03])

    async with script(close_with(1001)) as uri:
        record = Record(ws := reconnecting(uri, delays=delays), *ALL)
        await record.until("close")
        assert [delay for delay, _ in record.of("reconnecting")] == [0.0, 0.01, 0.02, 0.03]
        assert record.names.count("open") == 5
        await finish(ws, record)


async def test_after_min_uptime_the_delays_begin_again():
    """M3: with 0 every connection counts as stable."""
    async with script(*[close_with(1001)] * 4, hold) as uri:
        ws = reconnecting(uri, delays=lambda: iter([0.0, 3600.0]), min_uptime=0)
        record = Record(ws, *ALL)
        await record.until("open", 5)
        assert {delay for delay, _ in record.of("reconnecting")} == {0.0}
        await finish(ws, record)


async def test_max_attempts_ends_it_with_the_last_error():
    """M3: as many attempts in a row, after the first."""
    async with script(answer(503)) as uri:
        record = Record(ws := reconnecting(uri, max_attempts=3), *ALL)
        await record.until("close")
        await finish(ws, record)
        assert record.names == [*["reconnecting"] * 3, "error", "close"]
        assert isinstance(record.events[-2][1], wsfast.InvalidStatus)


async def test_max_elapsed_ends_it_before_a_delay_that_is_too_long():
    """M3."""
    async with script(answer(503)) as uri:
        record = Record(ws := reconnecting(uri, delays=never, max_elapsed=60), *ALL)
        await record.until("close")
        await finish(ws, record)
        assert record.names == ["error", "close"]


async def test_without_a_listener_the_loop_hears_of_the_last_failure_only():
    """EV10."""
    async with script(answer(503)) as uri:
        with Unhandled() as contexts:
            ws = reconnecting(uri, max_attempts=3)
            async with asyncio.timeout(PATIENCE):
                await ws.wait_closed()
        assert [str(context["exception"]) for context in contexts] == [
            "Unexpected server response: 503"
        ]


async def test_process_exception_decides():
    """M3: None to connect again, else the error that is told."""
    seen = []

    def decide(error):
        seen.append(error)
        return None if len(seen) < 3 else ValueError("enough")

    async with script(answer(404), close_with(1008), answer(404)) as uri:
        record = Record(ws := reconnecting(uri, process_exception=decide), *ALL)
        await record.until("close")
        await finish(ws, record)
        assert [type(error) for error in seen] == [
            wsfast.InvalidStatus,
            wsfast.ConnectionClosedError,
            wsfast.InvalidStatus,
        ]
        assert record.names == ["reconnecting", "open", "reconnecting", "error", "close"]
        assert str(record.of("error")[0][0]) == "enough"


async def test_what_process_exception_raises_is_told():
    """EV10: a mistake in it is not silent."""

    def decide(error):
        raise ZeroDivisionError

    async with script(close_with(1001)) as uri:
        record = Record(ws := reconnecting(uri, process_exception=decide), *ALL)
        await record.until("close")
        await finish(ws, record)
        assert record.names == ["open", "error", "close"]
        assert isinstance(record.events[1][1], ZeroDivisionError)


# --- Closing ----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["close", "terminate"])
async def test_the_user_ends_it_while_it_is_open(how):
    """M3: what the user ends is not tried again."""
    async with script(hold) as uri:
        record = Record(ws := reconnecting(uri), *ALL)
        await record.until("open")
        getattr(ws, how)()
        await record.until("close")
        await finish(ws, record)
        assert record.events == [("open",), ("close", 1000 if how == "close" else 1006, "")]


@pytest.mark.parametrize("how", ["close", "terminate"])
async def test_the_user_ends_it_while_it_connects(how):
    async with script(accept_and_drop, lambda peer: peer.rest()) as uri:
        record = Record(ws := reconnecting(uri), *ALL)
        await record.until("reconnecting")
        for _ in range(5):
            await asyncio.sleep(0)
        getattr(ws, how)()
        await record.until("close")
        await finish(ws, record)
        assert record.names == ["open", "reconnecting", "error", "close"]
        assert "before the connection was established" in str(record.events[2][1])


@pytest.mark.parametrize("how", ["close", "terminate"])
@pytest.mark.parametrize("when", ["in the delay", "in the listener", "in the listener for close"])
async def test_the_user_ends_it_before_it_connects_again(how, when):
    """M3: that is no error, because nothing was begun."""
    async with script(accept_and_drop) as uri:
        ws = reconnecting(uri, delays=never)
        if when == "in the listener":
            ws.on("reconnecting", lambda delay, error: getattr(ws, how)())
        record = Record(ws, *ALL)
        await record.until("reconnecting")
        if when != "in the listener":
            if when == "in the delay":
                for _ in range(3):
                    await asyncio.sleep(0)
            assert ws.state is wsfast.State.CONNECTING
            getattr(ws, how)()
        await record.until("close")
        await finish(ws, record)
        assert record.events[-1] == ("close", 1006, "")
        assert "error" not in record.names


@pytest.mark.parametrize("how", ["close", "terminate"])
async def test_the_user_ends_it_in_the_open_listener(how):
    async with script(hold) as uri:
        ws = reconnecting(uri)
        record = Record(ws, *ALL)
        ws.on("open", lambda: getattr(ws, how)())
        await record.until("close")
        await finish(ws, record)
        assert record.names == ["open", "close"]


async def test_closing_and_waiting_at_once_ends_together():
    async with script(accept_and_drop) as uri:
        ws = reconnecting(uri, delays=never)
        record = Record(ws, *ALL)
        await record.until("reconnecting")
        waiting = [asyncio.create_task(ws.wait_closed()) for _ in range(3)]
        await asyncio.sleep(0)
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(ws.close(), ws.close(), *waiting)
        assert record.names == ["open", "reconnecting", "close"]


async def test_wait_closed_waits_for_the_last_end():
    """M3: not for those before."""
    async with script(accept_and_drop, accept_and_drop, close_with(1000)) as uri:
        ws = reconnecting(uri)
        record = Record(ws, *ALL)
        async with asyncio.timeout(PATIENCE):
            await ws.wait_closed()
        assert record.names.count("open") == 3
        await record.until("close")
        await finish(ws, record)


async def test_what_a_reconnecting_listener_raises_goes_to_the_loop():
    """EV9: and it connects again."""
    async with script(accept_and_drop, hold) as uri:
        with Unhandled() as contexts:
            ws = reconnecting(uri)
            ws.on("reconnecting", lambda delay, error: 1 / 0)
            record = Record(ws, *ALL)
            await record.until("open", 2)
            await finish(ws, record)
        assert isinstance(contexts[0]["exception"], ZeroDivisionError)


# --- What is kept -----------------------------------------------------------------------------


async def test_the_websocket_is_the_same():
    """M3: its listeners, its attributes, its id; what is of one connection is new."""
    async with script(
        send_and_wait(frame(TEXT, "one") + frame(CLOSE, close_payload(1012, "later"))),
        send_and_wait(frame(TEXT, "two")),
    ) as uri:
        ws = reconnecting(uri)
        ws.name = "mine"
        known = ws.id
        record = Record(ws, *ALL, "ping")
        await record.until("reconnecting")
        await record.until("message", 2)
        assert record.events[1] == ("message", "one", False)
        assert record.events[-1] == ("message", "two", False)
        assert record.names == ["open", "message", "reconnecting", "open", "message"]
        _, error = record.of("reconnecting")[0]
        assert (error.rcvd.code, error.rcvd.reason) == (1012, "later")
        assert ws.name == "mine"
        assert ws.id == known
        assert ws.close_code is None
        assert ws.close_sent is None
        assert ws.close_received is None
        assert ws.error is None
        assert ws.url == uri
        assert ws.stats.messages_received == 1
        ws.terminate()
        await record.until("close")


async def test_several_message_listeners_are_kept():
    """M3: and those that were removed stay away."""
    async with script(accept_and_drop, send_and_wait(frame(TEXT, "two"))) as uri:
        ws = reconnecting(uri)
        calls = []
        first = ws.on("message", lambda data, is_binary: calls.append(("first", data)))
        ws.on("message", lambda data, is_binary: calls.append(("second", data)))
        ws.on("message", lambda data, is_binary: calls.append(("third", data)))
        ws.off("message", first)
        record = Record(ws, *ALL)
        await record.until("message")
        assert calls == [("second", "two"), ("third", "two")]
        ws.terminate()
        await record.until("close")


async def test_a_message_listener_may_be_attached_in_the_delay():
    async with script(accept_and_drop, send_and_wait(frame(TEXT, "two"))) as uri:
        ws = reconnecting(uri)
        record = Record(ws, "reconnecting", "close")
        got = asyncio.get_running_loop().create_future()
        await record.until("reconnecting")
        ws.on("message", lambda data, is_binary: got.set_result(data))
        async with asyncio.timeout(PATIENCE):
            assert await got == "two"
        ws.terminate()
        await record.until("close")


async def test_the_hooks_run_again():
    """M3: finish_request and create_connection, for every attempt, and "upgrade" for every 101."""
    calls = []

    def finish_request(request, ws):
        calls.append("finish_request")
        request.headers["Authorization"] = f"Bearer {calls.count('finish_request')}"

    async def create(name, port):
        calls.append("create_connection")
        return socket.create_connection((name, port))

    tokens = []

    async def play(peer):
        await peer.accept()
        tokens.append(peer.request.headers["authorization"])
        if len(tokens) == 2:
            await peer.rest()

    async with script(play) as uri:
        ws = reconnecting(uri, finish_request=finish_request, create_connection=create)
        ws.on("upgrade", lambda response: calls.append("upgrade"))
        record = Record(ws, *ALL)
        await record.until("open", 2)
        assert calls == ["create_connection", "finish_request", "upgrade"] * 2
        assert tokens == ["Bearer 1", "Bearer 2"]
        ws.terminate()
        await record.until("close")


async def test_redirects_are_followed_again_from_the_first_address():
    """M3, C10: where it led last time may be gone."""
    from hosts import host

    async with host() as last, host() as first:
        first.routes = {"/": last("/a")}
        ws = reconnecting(first("/"), follow_redirects=True)
        record = Record(ws, *ALL)
        await record.until("open")
        ws._reconnection._stopped = False
        await last_peer_gone(ws)
        await record.until("open", 2)
        assert first.paths == ["/", "/"]
        assert ws.url == last("/a")
        await finish(ws, record)


async def last_peer_gone(ws):
    """End the transport as a network does."""
    ws.get_extra_info("socket").shutdown(socket.SHUT_RDWR)


async def test_compression_works_after_it():
    """M3: with fresh contexts on both sides."""
    handler = Accepted()
    text = "the same text again and again " * 20
    options = {"compression": "deflate"}
    async with wsfast.serve(handler, "127.0.0.1", 0, **options) as server:
        ws = reconnecting(uri_of(server))
        record = Record(ws, *ALL)
        for life in range(1, 4):
            end = await handler.get()
            await record.until("open", life)
            assert ws.extensions == ("permessage-deflate",)
            for _ in range(2):
                await ws.send(text)
                async with asyncio.timeout(PATIENCE):
                    assert await end.recv() == text
                await end.send(text)
            await record.until("message", 2 * life)
            end.terminate()
        await record.until("open", 4)
        assert {message for message, _ in record.of("message")} == {text}
        await finish(ws, record)


async def test_pings_of_the_life_before_are_given_up():
    """M3: their future raises, and the latency is new."""

    async def swallow(peer):
        await peer.accept()
        await peer.frame()

    async with script(swallow, hold) as uri:
        ws = reconnecting(uri)
        record = Record(ws, *ALL)
        await record.until("open")
        pong = await ws.ping(b"x")
        with pytest.raises(wsfast.ConnectionClosed):
            async with asyncio.timeout(PATIENCE):
                await pong
        await record.until("open", 2)
        await ws.ping(b"x")
        await finish(ws, record)


# --- recv -------------------------------------------------------------------------------------


async def test_recv_raises_for_a_connection_that_is_lost_and_then_waits_for_the_next():
    """M3: who reads gets to know that something may be missing."""
    async with script(
        send_and_wait(frame(TEXT, "one") + frame(CLOSE, close_payload(1012))),
        send_and_wait(frame(TEXT, "two")),
    ) as uri:
        ws = reconnecting(uri)
        record = Record(ws, "open", "close")
        async with asyncio.timeout(PATIENCE):
            assert await ws.recv() == "one"
            with pytest.raises(wsfast.ConnectionClosedError) as caught:
                await ws.recv()
            assert caught.value.rcvd.code == 1012
            await record.until("open", 2)
            assert await ws.recv() == "two"
        ws.terminate()
        with pytest.raises(wsfast.ConnectionClosedError):
            await ws.recv()
        await record.until("close")


async def test_iteration_ends_with_a_connection_and_can_begin_again():
    """M3: an exception if it was not closed normally."""
    async with script(
        send_and_wait(frame(TEXT, "one") + frame(CLOSE, close_payload(1001))),
        send_and_wait(frame(TEXT, "two") + frame(CLOSE, close_payload(1012))),
        send_and_wait(frame(TEXT, "three") + frame(CLOSE, close_payload(1000))),
    ) as uri:
        ws = reconnecting(uri)
        record = Record(ws, "open", "close")
        messages = []
        async with asyncio.timeout(PATIENCE):
            async for message in ws:
                messages.append(message)
            await record.until("open", 2)
            with pytest.raises(wsfast.ConnectionClosedError):
                async for message in ws:
                    messages.append(message)
            await record.until("open", 3)
            async for message in ws:
                messages.append(message)
        assert messages == ["one", "two", "three"]
        await record.until("close")
        assert ws.is_over


async def test_recv_that_waits_for_a_connection_that_does_not_come_raises():
    async with script(accept_and_drop, answer(404)) as uri:
        ws = reconnecting(uri)
        record = Record(ws, "reconnecting", "error", "close")
        await record.until("reconnecting")
        with pytest.raises(wsfast.ConnectionClosedError) as caught:
            async with asyncio.timeout(PATIENCE):
                await ws.recv()
        assert isinstance(caught.value.__cause__, wsfast.InvalidStatus)
        await record.until("close")


# --- What is sent meanwhile -------------------------------------------------------------------


async def frames_until_close(peer, into):
    await peer.accept()
    while (came := await peer.frame()).opcode != CLOSE:
        into.append((came.opcode, came.payload))
    peer.close()


async def test_what_is_sent_meanwhile_is_kept_in_order():
    """M3: the resend queue; awaiting a send waits until it has left."""
    got = []

    async def collect(peer):
        await frames_until_close(peer, got)

    async with script(accept_and_drop, collect) as uri:
        ws = reconnecting(uri, resend_limit=100, compression=None)
        record = Record(ws, *ALL)
        first = ws.send("before open")
        await record.until("reconnecting")
        buffer = bytearray(b"\x01\x02")
        second = asyncio.create_task(ws.send(buffer))
        await asyncio.sleep(0)
        buffer[0] = 9  # too late
        ws.send("é", binary=True)
        third = ws.send(b"text", binary=False)
        await record.until("open", 2)
        ws.send("after open")
        async with asyncio.timeout(PATIENCE):
            await second
            await third
        await finish(ws, record)
    # The first was sent to the server that hung up, or it was kept as the others were.
    assert got[-4:] == [(2, b"\x01\x02"), (2, "é".encode()), (1, b"text"), (1, b"after open")]
    assert "error" not in record.names
    first.close()


async def test_nothing_is_kept_by_default():
    """M3: a send fails, and if nobody awaits it "error" tells."""
    async with script(accept_and_drop, hold) as uri:
        ws = reconnecting(uri, delays=lambda: itertools.repeat(0.01))
        record = Record(ws, *ALL)
        await record.until("reconnecting")
        with pytest.raises(wsfast.ConnectionClosed):
            await ws.send("x")
        ws.send("y")
        await record.until("error")
        assert isinstance(record.of("error")[0][0], wsfast.ConnectionClosed)
        await record.until("open", 2)
        await finish(ws, record)


async def test_the_resend_queue_is_bounded():
    """M3: at the limit, and one byte above it."""
    got = []

    async def collect(peer):
        await frames_until_close(peer, got)

    async with script(hang_up, collect) as uri:
        ws = reconnecting(uri, resend_limit=10, compression=None)
        record = Record(ws, *ALL)
        ws.send("12345")
        ws.send(b"6789")
        with pytest.raises(wsfast.WriteBufferFull) as caught:
            await ws.send("ab")
        assert "11" in str(caught.value)
        assert "10" in str(caught.value)
        ws.send("0")
        with pytest.raises(wsfast.WriteBufferFull):
            await ws.send("x")
        await ws.send("")
        await record.until("open")
        await finish(ws, record)
    assert got == [(1, b"12345"), (2, b"6789"), (1, b"0"), (1, b"")]


async def test_a_bad_argument_raises_at_the_call_meanwhile_too():
    async with script(hang_up, hold) as uri:
        ws = reconnecting(uri, resend_limit=10, delays=never)
        record = Record(ws, *ALL)
        await record.until("reconnecting")
        with pytest.raises(TypeError):
            ws.send(5)
        with pytest.raises(ValueError, match="UTF-8"):
            ws.send(b"\xff", binary=False)
        with pytest.raises(UnicodeEncodeError):
            ws.send("\ud800")
        await finish(ws, record)


async def test_what_is_kept_fails_at_the_end():
    """M3: awaited, it raises; otherwise "error" tells, before "close"."""
    async with script(hang_up) as uri:
        ws = reconnecting(uri, resend_limit=100, delays=never)
        record = Record(ws, *ALL)
        awaited = asyncio.create_task(ws.send("x"))
        await record.until("reconnecting")
        ws.send("y")
        ws.send("z")
        await finish(ws, record)
        with pytest.raises(wsfast.ConnectionClosed):
            await awaited
        assert record.names == ["reconnecting", "error", "close"]
        with pytest.raises(wsfast.ConnectionClosed):
            await ws.send("late")


async def test_a_connection_that_is_lost_while_it_sends_what_was_kept_keeps_the_rest():
    """M3: in order, for the one after."""
    got = []

    async def collect(peer):
        await frames_until_close(peer, got)

    async with script(hang_up, hold, collect) as uri:
        ws = reconnecting(uri, resend_limit=100, compression=None)
        record = Record(ws, *ALL)
        for number in range(4):
            ws.send(str(number))

        @ws.once("open")
        def lose():
            # What a driver says when the peer is gone, while the connection is told of.
            ws.abort(wsfast.NetworkError(104, "reset"))

        await record.until("open", 2)
        await finish(ws, record)
    assert got == [(1, str(number).encode()) for number in range(4)]


async def test_a_cork_that_outlives_a_connection_holds_nothing_for_ever():
    """M3: what was held is lost; what comes in the next life goes out at its end, or after."""
    got = []

    async def collect(peer):
        await frames_until_close(peer, got)

    async def drop_soon(peer):
        await peer.accept()
        await peer.frame()

    async with script(drop_soon, collect) as uri:
        ws = reconnecting(uri, compression=None)
        record = Record(ws, *ALL)
        await record.until("open")
        ws.send("go")
        with ws.cork():
            ws.send("held")
            await record.until("open", 2)
            ws.send("next")
        ws.send("last")
        await finish(ws, record)
    assert got == [(1, b"next"), (1, b"last")]


async def test_a_message_in_parts_that_is_cut_fails_and_the_next_life_is_clean():
    """M3: the awaiter is told, and the first frame of the next life is no continuation."""
    got = []
    begun = asyncio.Event()
    ended = asyncio.Event()

    async def cut(peer):
        await peer.accept()
        assert (await peer.frame()) == (TEXT, b"part", False, True)
        peer.reset()

    async def collect(peer):
        await frames_until_close(peer, got)

    async def parts():
        try:
            yield "part"
            begun.set()
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with script(cut, collect) as uri:
        ws = reconnecting(uri, compression=None)
        record = Record(ws, *ALL)
        await record.until("open")
        with pytest.raises(wsfast.ConnectionClosed):
            async with asyncio.timeout(PATIENCE):
                await ws.send(parts())
        await ended.wait()
        await record.until("open", 2)
        assert ws.outbox is None
        await ws.send("whole")
        await finish(ws, record)
    assert got == [(1, b"whole")]


async def test_fragments_by_hand_that_are_cut_do_not_go_on_in_the_next_life():
    """M3."""
    got = []

    async def cut(peer):
        await peer.accept()
        await peer.frame()

    async def collect(peer):
        await frames_until_close(peer, got)

    async with script(cut, collect) as uri:
        ws = reconnecting(uri, compression=None)
        record = Record(ws, *ALL)
        await record.until("open")
        ws.send("begun", fin=False)
        await record.until("open", 2)
        await ws.send("whole")
        await finish(ws, record)
    assert got == [(1, b"whole")]


async def test_a_large_message_that_is_cut_while_it_is_compressed_fails():
    """M3: it was compressed for the connection that is lost."""
    handler = Accepted()
    data = os.urandom(2**20).hex()
    async with wsfast.serve(
        handler, "127.0.0.1", 0, compression="deflate", max_size=2**22
    ) as server:
        ws = reconnecting(uri_of(server))
        record = Record(ws, *ALL)
        end = await handler.get()
        await record.until("open")
        sending = asyncio.create_task(ws.send(data))
        behind = asyncio.create_task(ws.send("behind"))
        await asyncio.sleep(0)
        end.terminate()
        async with asyncio.timeout(PATIENCE):
            results = await asyncio.gather(sending, behind, return_exceptions=True)
        assert all(isinstance(result, (type(None), wsfast.ConnectionClosed)) for result in results)
        end = await handler.get()
        await record.until("open", 2)
        await ws.send(data)
        async with asyncio.timeout(PATIENCE):
            assert await end.recv() == data
        await finish(ws, record)


async def test_who_waits_for_a_slow_peer_is_told_of_the_loss():
    """M3: and the next life is not blocked."""
    got = []

    async def stuck(peer):
        await peer.accept()
        peer.stop_reading()
        await lose.wait()
        peer.reset()

    async def collect(peer):
        await frames_until_close(peer, got)

    lose = asyncio.Event()
    async with script(stuck, collect) as uri:
        ws = reconnecting(uri, compression=None, max_write_buffer=None)
        record = Record(ws, *ALL)
        await record.until("open")

        async def fill():
            while True:
                await ws.send(bytes(2**20))

        task = asyncio.create_task(fill())
        async with asyncio.timeout(PATIENCE):
            while not ws.is_blocked:
                await asyncio.sleep(0)
        lose.set()
        with pytest.raises(wsfast.ConnectionClosed):
            async with asyncio.timeout(PATIENCE):
                await task
        await record.until("open", 2)
        assert not ws.is_blocked
        await ws.send("free")
        await finish(ws, record)
    assert got[-1] == (1, b"free")


async def test_reading_that_was_paused_goes_on_in_the_next_life():
    """M3, W4: pause() was for the connection that is lost."""

    async def drop(peer):
        await peer.accept()
        await peer.frame()

    async with script(drop, send_and_wait(frame(TEXT, "two"))) as uri:
        ws = reconnecting(uri)
        record = Record(ws, *ALL)
        await record.until("open")
        ws.pause()
        assert ws.is_paused
        await ws.send("drop me")
        ws.resume()
        await record.until("message")
        assert not ws.is_paused
        ws.terminate()
        await record.until("close")
