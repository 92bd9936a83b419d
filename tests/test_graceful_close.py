"""How a server ends: its clients, its handshakes, its handlers, its process."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading

import pytest
from peers import (
    CLOSE,
    PATIENCE,
    TEXT,
    Accepted,
    client_of,
    close_payload,
    echo,
    raw_client,
    request,
    until,
    uri_of,
)

import wsfast

SHORT = 0.1


def serve(handler=echo, **options):
    return wsfast.serve(handler, "127.0.0.1", 0, **options)


async def soon(awaitable):
    async with asyncio.timeout(PATIENCE):
        return await awaitable


async def closed_by_us(peer, code=1001, reason=""):
    """The server's close frame, answered."""
    came = await peer.frame()
    assert (came.opcode, came.payload) == (CLOSE, close_payload(code, reason))
    peer.close(code)
    assert await peer.rest() == b""
    await peer.wait_closed()


# --- Clients ----------------------------------------------------------------------------------


async def test_all_clients_get_1001():
    async with serve() as server, contextlib.AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(client_of(server)) for _ in range(5)]
        closing = asyncio.create_task(server.close())
        await asyncio.gather(*(closed_by_us(peer) for peer in peers))
        await soon(closing)
        assert not server.is_serving
        assert server.connections == set()


async def test_the_code_and_the_reason_can_be_chosen():
    async with serve() as server, client_of(server) as peer:
        server.close(1012, "back in a minute")
        await closed_by_us(peer, 1012, "back in a minute")


@pytest.mark.parametrize("arguments", [(5,), (1006,), ("1001",), (1001, 5), (1001, "x" * 124)])
async def test_a_code_or_a_reason_that_cannot_be_sent_raises_at_the_call(arguments):
    async with serve() as server, client_of(server) as peer:
        with pytest.raises((TypeError, ValueError), match="code|reason"):
            server.close(*arguments)
        assert server.is_serving
        peer.send(TEXT, "still here")
        assert (await peer.frame()).payload == b"still here"


async def test_closing_starts_at_the_call():
    handler = Accepted()
    async with serve(handler) as server, client_of(server) as peer:
        ws = await handler.get()
        server.close()
        assert not server.is_serving
        assert ws.close_sent == (1001, "")
        await closed_by_us(peer)


async def test_nobody_can_connect_any_more():
    """SE7."""
    async with serve() as server, client_of(server):
        uri = uri_of(server)
        server.close()
        with pytest.raises(wsfast.NetworkError) as caught:
            await soon(wsfast.connect(uri))
        assert caught.value.code == "ECONNREFUSED"


async def test_a_client_that_does_not_answer_is_cut_off_after_close_timeout():
    async with serve(close_timeout=SHORT) as server, client_of(server):
        await soon(server.close())


async def test_a_client_in_the_middle_of_a_message_gets_its_close_frame():
    async def parts():
        yield "a"
        await asyncio.Event().wait()

    handler = Accepted()
    async with serve(handler) as server, client_of(server) as peer:
        (await handler.get()).send(parts())
        await peer.frame()
        server.close()
        assert (await peer.frame()).payload[:2] == close_payload(1011)
        peer.close(1011)


async def test_messages_that_handlers_are_busy_with_are_answered_before():
    async def slow_echo(ws):
        async for message in ws:
            await asyncio.sleep(0)
            await ws.send(message)

    async with serve(slow_echo) as server, client_of(server) as peer:
        peer.send(TEXT, "one")
        assert (await peer.frame()).payload == b"one"
        server.close()
        await closed_by_us(peer)


async def test_closing_twice_is_closing_once():
    """SE7: repeated calls are fine."""
    events = []
    async with serve() as server, client_of(server) as peer:
        server.on("close", lambda: events.append("close"))
        first, second = server.close(), server.close(4000)
        await closed_by_us(peer)
        await soon(asyncio.gather(first, second, server.wait_closed()))
        await soon(server.close())
    assert events == ["close"]


async def test_close_may_be_called_by_a_handler():
    async def handler(ws):
        await ws.recv()
        await ws.server.close()

    async with serve(handler, close_timeout=SHORT) as server, client_of(server) as peer:
        peer.send(TEXT, "stop")
        await closed_by_us(peer)
        await soon(server.wait_closed())


# --- Leaving the clients connected ------------------------------------------------------------


async def test_clients_may_be_left_to_go_by_themselves():
    """SE5, SE7: "close" comes when all connections are gone."""
    async with serve() as server, client_of(server) as peer:
        uri = uri_of(server)
        closing = asyncio.create_task(server.close(close_connections=False))
        await asyncio.sleep(0)
        with pytest.raises(wsfast.NetworkError):
            await soon(wsfast.connect(uri))
        peer.send(TEXT, "still here")
        assert (await peer.frame()).payload == b"still here"
        assert not closing.done()
        peer.close()
        assert await peer.closed() == (1000, "")
        await peer.wait_closed()
        await soon(closing)


async def test_a_second_call_closes_those_who_were_left():
    """SE7."""
    async with serve() as server, client_of(server) as peer:
        first = server.close(close_connections=False)
        peer.send(TEXT, "still here")
        assert (await peer.frame()).payload == b"still here"
        second = server.close(1012)
        await closed_by_us(peer, 1012)
        await soon(asyncio.gather(first, second))


# --- Handshakes -------------------------------------------------------------------------------


async def has_begun(server):
    """Wait for the first bytes of a request."""
    await until(lambda: any(opening._started for opening in server._handshakes))


@pytest.mark.parametrize("data", [b"G", b"GET / HTTP/1.1\r\n", request()[:-1]])
async def test_a_client_whose_request_is_not_complete_gets_503(data):
    """SE7."""
    async with serve() as server, raw_client(server, data) as peer:
        await has_begun(server)
        closing = asyncio.create_task(server.close())
        head, body = await peer.response()
        assert head.line == "HTTP/1.1 503 Service Unavailable"
        assert body == "The server is closing.\n"
        await peer.wait_closed()
        await soon(closing)


@pytest.mark.parametrize("close_connections", [True, False])
async def test_a_client_whose_hook_is_awaited_gets_503(close_connections):
    """SE7."""
    cancelled = []

    async def process_request(ws, request):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(request.path)
            raise

    options = {"process_request": process_request, "open_timeout": None}
    async with serve(**options) as server, raw_client(server, request("/x")) as peer:
        await until(lambda: server._tasks)
        closing = asyncio.create_task(server.close(close_connections=close_connections))
        head, body = await peer.response()
        assert (head.status, body) == (503, "The server is closing.\n")
        await peer.wait_closed()
        await soon(closing)
    assert cancelled == ["/x"]


async def test_a_hook_that_will_not_be_cancelled_lets_nobody_in():
    go = asyncio.Event()

    async def process_request(ws, request):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await go.wait()

    handler = Accepted()
    async with (
        serve(handler, process_request=process_request) as server,
        raw_client(server, request()) as peer,
    ):
        await until(lambda: server._tasks)
        await asyncio.sleep(0)
        closing = asyncio.create_task(server.close())
        head, _ = await peer.response()
        assert head.status == 503
        go.set()
        await peer.wait_closed()
        await soon(closing)
    assert handler.connections.empty()


async def test_a_client_that_does_not_go_after_503_is_cut_off():
    async with serve(close_timeout=SHORT) as server, raw_client(server, b"GET") as peer:
        await has_begun(server)
        await soon(server.close())
        assert (await peer.head()).status == 503


PAGE = b"x" * 2**24


def page(ws, request):
    return wsfast.Response(200, "OK", wsfast.Headers(), PAGE)


async def test_a_page_that_is_on_its_way_arrives():
    async with (
        serve(process_request=page) as server,
        raw_client(server, request("/page")) as peer,
    ):
        assert (await peer.head()).status == 200
        closing = asyncio.create_task(server.close())
        assert await peer.rest() == PAGE
        await peer.wait_closed()
        await soon(closing)


async def test_a_page_that_nobody_reads_is_cut_off():
    async with (
        serve(process_request=page, close_timeout=SHORT) as server,
        raw_client(server, request("/page")) as peer,
    ):
        assert (await peer.head()).status == 200
        await soon(server.close())


async def test_a_client_that_connected_in_advance_is_dropped():
    async with serve() as server, raw_client(server) as peer:
        await until(lambda: server._handshakes)
        await soon(server.close())
        assert await peer.rest() == b""


# --- Handlers ---------------------------------------------------------------------------------


async def test_handlers_may_finish_their_work():
    done = []

    async def handler(ws):
        await ws.wait_closed()
        await asyncio.sleep(0.01)
        done.append(ws.close_code)

    async with serve(handler) as server, client_of(server) as peer:
        closing = server.close()
        await closed_by_us(peer)
        await peer.wait_closed()
        await soon(closing)
        assert done == [1001]


async def test_handlers_that_still_run_after_close_timeout_are_cancelled():
    cancelled = []

    async def handler(ws):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(ws)
            raise

    async with serve(handler, close_timeout=SHORT) as server, client_of(server) as peer:
        closing = server.close()
        await closed_by_us(peer)
        await peer.wait_closed()
        await soon(closing)
        assert len(cancelled) == 1


async def test_coroutine_listeners_that_still_run_after_close_timeout_are_cancelled():
    server = wsfast.WebSocketServer("127.0.0.1", 0, close_timeout=SHORT)
    started = asyncio.Event()

    @server.on("connection")
    async def connection(ws, request):
        started.set()
        await asyncio.Event().wait()

    async with server, client_of(server) as peer:
        await soon(started.wait())
        closing = server.close()
        await closed_by_us(peer)
        await peer.wait_closed()
        await soon(closing)


# --- A process --------------------------------------------------------------------------------

PROGRAM = """
import asyncio, wsfast

{definitions}

server = wsfast.WebSocketServer("127.0.0.1", 0, close_timeout={close_timeout})
server.handler = handler
server.on("listening", lambda: print(*server.address(), flush=True))
server.run()
print("ended", flush=True)
"""

ECHO = """
async def handler(ws):
    async for message in ws:
        await ws.send(message)
"""

STUBBORN = """
async def handler(ws):
    try:
        async for message in ws:
            await ws.send(message)
        await asyncio.Event().wait()
    finally:
        print("cancelled", flush=True)
"""


class Program:
    """A server in a process of its own."""

    def __init__(self, definitions, close_timeout):
        code = PROGRAM.format(definitions=textwrap.dedent(definitions), close_timeout=close_timeout)
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )

    def __enter__(self):
        self.host, self.port = self.process.stdout.readline().split()
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def address(self):
        return self.host, int(self.port)

    def signal(self, number):
        self.process.send_signal(number)

    async def ended(self):
        """The exit code and what was printed, without blocking the loop."""
        wait = asyncio.get_running_loop().run_in_executor
        async with asyncio.timeout(PATIENCE):
            output, _ = await wait(None, self.process.communicate)
        return self.process.returncode, output.split()


both_signals = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])


@both_signals
async def test_a_signal_closes_the_clients_with_1001_and_ends_the_process(number):
    with Program(ECHO, 10) as program:
        async with client_of(program) as peer:
            peer.send(TEXT, "hello")
            assert (await peer.frame()).payload == b"hello"
            program.signal(number)
            await closed_by_us(peer)
        assert await program.ended() == (0, ["ended"])


@both_signals
async def test_a_signal_ends_a_server_without_clients(number):
    with Program(ECHO, 10) as program:
        program.signal(number)
        assert await program.ended() == (0, ["ended"])


async def test_handlers_of_a_process_are_cancelled_after_close_timeout():
    with Program(STUBBORN, SHORT) as program, contextlib.ExitStack():
        async with client_of(program) as peer:
            program.signal(signal.SIGTERM)
            await closed_by_us(peer)
        assert await program.ended() == (0, ["cancelled", "ended"])


@both_signals
async def test_a_second_signal_does_not_wait_for_anybody(number):
    with Program(STUBBORN, 1000) as program:
        async with raw_client(program, b"GET / HTTP") as other, client_of(program) as peer:
            # Only what the loop has seen is answered.
            peer.send(TEXT, "hello")
            assert (await peer.frame()).payload == b"hello"
            program.signal(number)
            assert (await peer.frame()).opcode == CLOSE
            assert (await other.head()).status == 503
            program.signal(number)
            assert await program.ended() == (0, ["cancelled", "ended"])


async def test_run_outside_of_the_main_thread_goes_without_signals():
    server = wsfast.WebSocketServer("127.0.0.1", 0)
    listening = threading.Event()
    server.on("listening", listening.set)
    thread = threading.Thread(target=server.run)
    thread.start()
    listening.wait(PATIENCE)
    async with client_of(server) as peer:
        server.loop.call_soon_threadsafe(server.close)
        await closed_by_us(peer)
    thread.join(PATIENCE)
    assert not thread.is_alive()
