"""Rates over the last seconds. What is short here is the time between two looks."""

import asyncio
import contextlib

import pytest
from hosts import Record, reconnecting, script
from peers import (
    PATIENCE,
    TEXT,
    against_client,
    client_of,
    echo,
    exchange,
    hold,
    until,
    uri_of,
)

import wsfast
from wsfast import Monitor

SHORT = 0.01
LONG = 3600


@contextlib.asynccontextmanager
async def measured():
    """A server and what counted it for a while without looking."""
    async with wsfast.serve(echo, "127.0.0.1", 0) as server:
        async with Monitor(server, LONG, LONG) as monitor:
            yield server, monitor


async def test_a_servers_rates_are_what_happened_by_the_time_that_passed():
    """M18, M20: windowed rates of messages, bytes, connects, closes and errors."""
    async with measured() as (server, monitor):
        for _ in range(2):
            async with wsfast.connect(uri_of(server)) as ws:
                for _ in range(3):
                    await ws.send(b"12345")
                    await ws.recv()
        for _ in range(3):
            await exchange(server, b"nonsense\r\n\r\n")
        async with client_of(server) as peer:
            peer.write("c30100000000")
            await peer.frame()
        await until(lambda: server.stats.connections_open == 0)
        rates = monitor.rates()
        assert rates.seconds > 0
        happened = {
            name: round(rate * rates.seconds, 6)
            for name, rate in rates._asdict().items()
            if name != "seconds"
        }
        assert happened == {
            "connects": 3,
            "closes": 3,
            "refusals": 3,
            "errors": 4,
            "messages_received": 6,
            "messages_sent": 6,
            "bytes_received": 30,
            "bytes_sent": 30,
            "frames_received": 9,
            "frames_sent": 9,
            "wire_bytes_received": 6 * 11 + 2 * 8 + 6,
            "wire_bytes_sent": happened["wire_bytes_sent"],
            "messages_dropped": 0,
        }


async def test_a_connections_rates_are_those_of_its_traffic():
    async with against_client() as (peer, ws):
        async with Monitor(ws, LONG, LONG) as monitor:
            peer.send(TEXT, "abc")
            await ws.recv()
            rates = monitor.rates()
        assert rates.messages_received * rates.seconds == pytest.approx(1)
        assert rates.bytes_received * rates.seconds == pytest.approx(3)
        assert rates.connects == rates.closes == rates.refusals == rates.errors == 0


async def test_what_was_before_the_start_does_not_count():
    async with against_client() as (peer, ws):
        peer.send(TEXT, "abc")
        await ws.recv()
        async with Monitor(ws, LONG, LONG) as monitor:
            assert monitor.rates().messages_received == 0


async def test_what_is_older_than_the_window_is_forgotten():
    samples = []
    async with measured() as (server, _):
        async with Monitor(server, 3 * SHORT, SHORT, on_sample=samples.append):
            async with wsfast.connect(uri_of(server)):
                pass
            await until(lambda: any(rates.closes for rates in samples))
            await until(lambda: samples[-1].closes == 0)


async def limited(monitor, count):
    async with asyncio.timeout(PATIENCE):
        async for rates in monitor:
            yield rates
            count -= 1
            if not count:
                return


async def test_iteration_gets_the_rates_of_every_interval():
    async with measured() as (server, _), Monitor(server, LONG, SHORT) as monitor:
        seconds = [rates.seconds async for rates in limited(monitor, 3)]
        assert seconds == sorted(seconds)
        assert len(set(seconds)) == 3


async def test_several_may_iterate_and_one_may_give_up():
    async with measured() as (server, _), Monitor(server, LONG, SHORT) as monitor:

        async def first():
            return [rates async for rates in limited(monitor, 1)]

        one, two, three = (asyncio.create_task(first()) for _ in range(3))
        await asyncio.sleep(0)
        one.cancel()
        assert await two == await three
        assert one.cancelled()


async def test_iteration_ends_when_the_monitor_is_stopped():
    async with measured() as (server, monitor):

        async def collect():
            return [rates async for rates in monitor]

        task = asyncio.create_task(collect())
        await asyncio.sleep(0)
        monitor.stop()
        assert await task == []
        assert [rates async for rates in monitor] == []


async def test_a_monitor_stops_at_the_end_of_its_connection():
    async with against_client() as (peer, ws), Monitor(ws, LONG, SHORT) as monitor:
        peer.send(TEXT, "abc")
        await ws.recv()
        ws.terminate()
        async with asyncio.timeout(PATIENCE):
            *_, last = [rates async for rates in monitor]
        assert last.messages_received * last.seconds == pytest.approx(1)
        monitor.stop()


async def test_a_monitor_goes_on_where_a_connection_is_followed_by_another():
    left = asyncio.Event()

    async def parts():
        try:
            yield "part"
            await asyncio.Event().wait()
        finally:
            await left.wait()  # and so long there is no other

    async def cut(peer):
        await peer.accept()
        await peer.frame()
        peer.reset()

    async with script(cut, hold) as uri:
        ws = reconnecting(uri)
        record = Record(ws, "open", "close")
        await record.until("open")
        async with Monitor(ws, LONG, SHORT) as monitor:
            sending = asyncio.ensure_future(ws.send(parts()))
            await until(lambda: ws.state is wsfast.State.CLOSED)
            async with asyncio.timeout(PATIENCE):
                await anext(aiter(monitor))
                await anext(aiter(monitor))
            left.set()
            with pytest.raises(wsfast.ConnectionClosed):
                await sending
            await record.until("open", 2)
        ws.terminate()
        await record.until("close")


async def test_the_rates_of_a_stopped_monitor_are_its_last():
    async with measured() as (server, monitor):
        await exchange(server, b"nonsense\r\n\r\n")
        monitor.stop()
        rates = monitor.rates()
        await exchange(server, b"nonsense\r\n\r\n")
        assert monitor.rates() == rates
        assert rates.refusals > 0


async def test_a_monitor_can_be_started_again_and_begins_anew():
    async with measured() as (server, monitor):
        with pytest.raises(RuntimeError, match="started already"):
            monitor.start()
        await exchange(server, b"nonsense\r\n\r\n")
        monitor.stop()
        assert monitor.start() is monitor
        assert monitor.rates().refusals == 0


def test_a_monitor_that_was_never_started_has_zeros():
    rates = Monitor(wsfast.WebSocketServer(port=0)).rates()
    assert set(rates) == {0}
    assert isinstance(rates, wsfast.Rates)


async def test_on_sample_is_called_after_every_interval():
    samples = []
    async with measured() as (server, _):
        async with Monitor(server, LONG, SHORT, on_sample=samples.append):
            await until(lambda: len(samples) >= 3)
        count = len(samples)
        await asyncio.sleep(3 * SHORT)
        assert len(samples) == count


async def test_what_on_sample_raises_is_told_and_stops_nothing():
    told = []
    loop = asyncio.get_running_loop()
    handler = loop.get_exception_handler()
    loop.set_exception_handler(lambda loop, context: told.append(context["exception"]))

    def fail(rates):
        raise ZeroDivisionError

    try:
        async with measured() as (server, _), Monitor(server, LONG, SHORT, on_sample=fail):
            await until(lambda: len(told) >= 2)
    finally:
        loop.set_exception_handler(handler)
    assert {type(error) for error in told} == {ZeroDivisionError}


async def coroutine(rates):
    pass


@pytest.mark.parametrize("source", [5, None, wsfast.WebSocketServer])
def test_what_has_no_counters_is_refused_at_the_call(source):
    with pytest.raises(TypeError, match="source must be a WebSocketServer or a WebSocket, not "):
        Monitor(source)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"window": 0}, ValueError, "window must be positive, not 0"),
        ({"window": "1"}, TypeError, "window must be a number of seconds, not '1'"),
        ({"interval": -1}, ValueError, "interval must be positive, not -1"),
        ({"interval": True}, TypeError, "interval must be a number of seconds, not True"),
        ({"window": 1, "interval": 2}, ValueError, "interval must be at most the window, 1"),
        ({"on_sample": 5}, TypeError, "on_sample must be a function or None, not 5"),
        ({"on_sample": coroutine}, TypeError, "on_sample cannot be a coroutine function"),
    ],
)
def test_bad_arguments_are_refused_by_name(options, error, text):
    with pytest.raises(error, match=text):
        Monitor(wsfast.WebSocketServer(port=0), **options)
