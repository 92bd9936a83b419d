"""Calls on another thread than the connection's only act when its loop awaits them."""

import asyncio
import gc
import threading
import warnings

import pytest
from frames import BINARY, Frame
from peers import PATIENCE, echo, uri_of
from twins import BACKENDS, make_connection

import wsfast
from wsfast.exceptions import ConnectionClosed
from wsfast.frames import State


@pytest.fixture(params=BACKENDS, ids=str)
def backend(request):
    return request.param


def elsewhere(function, *arguments, **options):
    """What a call returns, or raises, on another thread."""
    outcome = []

    def run():
        try:
            outcome.append((function(*arguments, **options), None))
        except BaseException as error:
            outcome.append((None, error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(PATIENCE)
    [(result, error)] = outcome
    if error is not None:
        raise error
    return result


# The core


def test_calls_on_another_thread_only_record_their_arguments(backend):
    connection = make_connection(backend)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        elsewhere(connection.send, "never awaited")
        elsewhere(connection.recv)
        gc.collect()
    connection.loop.run_until_idle()
    assert connection.driver.calls == []
    assert connection.messages_sent == 0


async def test_they_act_when_the_loop_awaits_them(backend):
    connection = make_connection(backend, loop=asyncio.get_running_loop())
    first = elsewhere(connection.send, "text", binary=True, fin=False)
    second = elsewhere(connection.send, "end", binary=True)
    assert connection.driver.calls == []
    assert await first is None
    assert connection.driver.frames == [Frame(BINARY, b"text", False)]
    assert await asyncio.create_task(second) is None
    await asyncio.sleep(0)
    assert connection.driver.frames[1] == Frame(0, b"end")
    waiting = asyncio.create_task(elsewhere(connection.recv, False))
    await asyncio.sleep(0)
    connection.received(bytes.fromhex("81 81 00000000 61"))
    assert await asyncio.wait_for(waiting, PATIENCE) == b"a"


async def test_errors_come_when_they_are_awaited(backend):
    connection = make_connection(backend, loop=asyncio.get_running_loop())
    bad = elsewhere(connection.send, 5)
    with pytest.raises(TypeError):
        await bad
    connection.close()
    late = elsewhere(connection.send, "late")
    with pytest.raises(ConnectionClosed):
        await late


# The public classes, on sockets


async def in_thread(function):
    """Run a blocking function beside the loop."""
    async with asyncio.timeout(PATIENCE):
        return await asyncio.get_running_loop().run_in_executor(None, function)


async def test_a_websocket_is_used_from_another_thread_through_its_loop():
    loop = asyncio.get_running_loop()
    async with wsfast.serve(echo, "127.0.0.1", 0) as server, wsfast.connect(uri_of(server)) as ws:

        def work():
            def call(awaitable):
                return asyncio.run_coroutine_threadsafe(awaitable, loop).result(PATIENCE)

            call(ws.send("from a thread"))
            got = call(ws.recv())
            call(ws.send([b"in ", b"parts"]))
            parts = call(ws.recv())
            call(ws.ping(b"data"))
            call(ws.pong(b"data"))
            call(ws.close(1001, "bye"))
            return got, parts

        assert await in_thread(work) == ("from a thread", b"in parts")
        assert ws.state is State.CLOSED
        assert ws.close_sent.code == 1001


async def test_what_is_not_awaited_does_nothing():
    async with wsfast.serve(echo, "127.0.0.1", 0) as server, wsfast.connect(uri_of(server)) as ws:
        calls = [
            (ws.send, "text"),
            (ws.send, ["a", "b"]),
            (ws.ping, b"data"),
            (ws.pong, b"data"),
            (ws.close, 1001),
            (ws.recv,),
        ]
        await in_thread(lambda: [call(*arguments) for call, *arguments in calls] and None)
        gc.collect()
        await asyncio.sleep(0)
        assert ws.state is State.OPEN
        assert ws.stats.frames_sent == 0
        await ws.send("here")
        assert await ws.recv() == "here"


async def test_the_deferred_ping_awaits_to_its_latency():
    async with wsfast.serve(echo, "127.0.0.1", 0) as server, wsfast.connect(uri_of(server)) as ws:
        pong = await elsewhere(ws.ping, b"data")
        latency = await asyncio.wait_for(pong, PATIENCE)
        assert latency > 0
        assert ws.latency == latency
        assert ws.stats.frames_sent == 1
