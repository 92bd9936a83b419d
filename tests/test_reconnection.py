"""Connecting again in the event style: when, how often, and when not.

The rows are those of the table of ws's features: M3 and M16.
"""

import asyncio
import datetime
import itertools
import os
import signal
import socket
import ssl
import sys
import textwrap

import pytest
from hosts import (
    ALL,
    Record,
    accept_and_drop,
    accept_and_reset,
    answer,
    close_with,
    finish,
    hang_up,
    never,
    reconnecting,
    reset,
    script,
    send_and_wait,
    switching,
)
from peers import PATIENCE, TEXT, echo, frame, hold, uri_of
from test_events import Unhandled

import wsfast

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
    long_ago = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
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
