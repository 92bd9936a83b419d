"""What the calls of a connection do in the states in which it is not open."""

import asyncio
import logging

import pytest
from peers import PATIENCE, TEXT, against_client, against_server, hold, pair, raw_server, until

import wsfast
from wsfast import State

SENDING = ["send", "ping", "pong"]


async def soon(awaitable):
    async with asyncio.timeout(PATIENCE):
        return await awaitable


def recorded(ws):
    """The events of a connection that come from now on."""
    events = []
    for name in "open", "message", "ping", "pong", "error", "close":
        ws.on(name, lambda *arguments, name=name: events.append(name))
    return events


async def test_connecting_nothing_can_be_sent_and_nothing_of_it_is_sent_later():
    """W8: it raises, when it is awaited, and the connection opens all the same."""
    came = []

    async def play(peer):
        await peer.accept()
        came.append(await peer.frame())
        peer.close()

    async with raw_server(play) as uri:
        ws = wsfast.WebSocket(uri, compression=None)
        opened = asyncio.Event()
        ws.on("open", opened.set)
        assert ws.state is State.CONNECTING
        for name in SENDING:
            with pytest.raises(wsfast.WebSocketException):
                await getattr(ws, name)("too early")
        assert ws.buffered_amount == 0
        await soon(opened.wait())
        assert ws.state is State.OPEN
        await ws.send("in time")
        await soon(ws.wait_closed())
    assert came == [(TEXT, b"in time", True, True)]


async def test_connecting_pause_and_resume_do_nothing():
    """W4."""
    async with raw_server(hold) as uri:
        ws = wsfast.WebSocket(uri)
        ws.pause()
        assert not ws.is_paused
        ws.resume()
        opened = asyncio.Event()
        ws.on("open", opened.set)
        await soon(opened.wait())
        assert not ws.is_paused
        await soon(ws.close())


async def test_closing_nothing_more_can_be_sent():
    """W2, W9: other than in ws, `buffered_amount` does not count what will never be sent."""
    async with against_client() as (peer, ws):
        closing = asyncio.ensure_future(ws.close(4000))
        assert ws.state is State.CLOSING
        for name in SENDING:
            with pytest.raises(wsfast.ConnectionClosed, match="sent 4000"):
                await getattr(ws, name)("too late")
        assert ws.buffered_amount == 0
        peer.close(4000)
        assert await peer.closed() == (4000, "")
        await peer.wait_closed()
        await soon(closing)


def failed_sends(caplog, ws):
    """The log records of a connection's sends that nobody awaited."""
    return [
        record
        for record in caplog.records
        if getattr(record, "event", None) == "send_failed" and record.websocket is ws
    ]


@pytest.mark.parametrize("end", ["close", "terminate"])
async def test_closed_every_call_is_harmless(end, caplog):
    """W2, W4, W9, W15, L9, EV5: sends raise when they are awaited, or else are logged, once."""
    caplog.set_level(logging.INFO, "wsfast")
    async with pair() as (ws, other):
        getattr(ws, end)()
        await soon(ws.wait_closed())
        await soon(other.wait_closed())
        for one in ws, other:
            assert one.state is State.CLOSED
            outcome = one.close_code, one.close_reason, one.was_clean
            with pytest.raises(wsfast.ConnectionClosed):
                await one.recv()
            events = recorded(one)
            for name in SENDING:
                getattr(one, name)("too late")  # which nobody awaits
                with pytest.raises(wsfast.ConnectionClosed):
                    await getattr(one, name)("too late")
            one.pause()
            assert not one.is_paused
            one.resume()
            one.terminate()
            await soon(one.close(4000, "again"))
            await soon(one.wait_closed())
            assert one.buffered_amount == 0
            assert (one.close_code, one.close_reason, one.was_clean) == outcome
            await until(lambda one=one: failed_sends(caplog, one))
            assert len(failed_sends(caplog, one)) == 1
            assert events == []  # nothing is told behind "close"


async def test_a_connection_ends_but_once_whatever_comes_together():
    """EV4, EV5: a bad frame and a reset are one error and one close."""
    async with against_server() as (peer, ws):
        events = recorded(ws)
        peer.write("8500")
        peer.reset()
        await soon(ws.wait_closed())
        assert [event for event in events if event in ("error", "close")] == ["error", "close"]
