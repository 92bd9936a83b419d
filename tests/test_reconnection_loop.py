"""``async for ws in connect(...)``: connecting again in the coroutine style.

The rows are those of the table of ws's features: M3 and M16.
"""

import asyncio
import contextlib
import gc
import itertools
import logging
import ssl

import pytest
from hosts import (
    accept_and_drop,
    accept_and_reset,
    answer,
    at_once,
    close_with,
    hang_up,
    never,
    refused_uri,
    reset,
    script,
    send_and_close,
    send_and_wait,
)
from peers import PATIENCE, TEXT, echo, frame, hold, uri_of

import wsfast


def again(uri, *, delays=at_once, **options):
    return wsfast.connect(uri, reconnect_delays=delays, **options)


@contextlib.asynccontextmanager
async def patience():
    async with asyncio.timeout(PATIENCE):
        yield


async def lives(connect, count=None):
    """The WebSockets that the loop got; each was waited for, unless it is the last of count."""
    seen = []
    async with patience():
        async for ws in connect:
            seen.append(ws)
            if len(seen) == count:
                break
            await ws.wait_closed()
    if count is not None:
        await seen[-1].close()
    return seen


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
    """M3, M16."""
    async with script(play, play, send_and_close(frame(TEXT, "hello"), 1000)) as uri:
        messages = []
        async with patience():
            async for ws in again(uri):
                with contextlib.suppress(wsfast.ConnectionClosed):
                    messages.append(await ws.recv())
                await ws.wait_closed()
        assert messages == ["hello"]


async def test_it_ends_when_it_is_closed_with_1000():
    """M3: by the server, or by us."""
    async with script(close_with(1001), close_with(1000)) as uri:
        first, second = await lives(again(uri))
        assert (first.close_code, second.close_code) == (1001, 1000)

    async with script(hold) as uri:
        count = 0
        async with patience():
            async for ws in again(uri):
                count += 1
                await ws.close()
        assert count == 1


async def test_it_ends_when_we_close_and_do_not_wait():
    """M3: the closing handshake goes on behind the body."""
    async with script(hold) as uri:
        count = 0
        async with patience():
            async for ws in again(uri):
                count += 1
                ws.close()
        assert count == 1
        assert ws.close_code == 1000


async def test_iterating_over_messages_goes_on_with_the_next_connection():
    """M3: the loop of the documentation."""
    async with script(
        send_and_close(frame(TEXT, "one"), 1012),
        send_and_close(frame(TEXT, "two"), 1001),
        send_and_close(frame(TEXT, "three"), 1000),
    ) as uri:
        messages = []
        async with patience():
            async for ws in again(uri):
                with contextlib.suppress(wsfast.ConnectionClosed):
                    async for message in ws:
                        messages += [message]
        assert messages == ["one", "two", "three"]


@pytest.mark.parametrize("code", [1002, 1003, 1007, 1008, 1009, 1010])
async def test_a_close_code_that_would_come_again_is_raised(code):
    """M3."""
    async with script(close_with(code)) as uri:
        with pytest.raises(wsfast.ConnectionClosedError) as caught:
            await lives(again(uri))
        assert caught.value.rcvd.code == code


@pytest.mark.parametrize("status", [400, 401, 403, 404, 426, 501])
async def test_a_refusal_is_raised(status):
    """M3: 4xx is fatal."""
    async with script(answer(status)) as uri:
        with pytest.raises(wsfast.InvalidStatus) as caught:
            await lives(again(uri))
        assert caught.value.response.status_code == status


async def test_what_we_do_not_accept_is_raised():
    """M3: a message above max_size would come again."""
    async with script(send_and_wait(frame(TEXT, b"123456"))) as uri:
        with pytest.raises(wsfast.ConnectionClosedError) as caught:
            await lives(again(uri, max_size=5))
        assert isinstance(caught.value.__cause__, wsfast.PayloadTooBig)


async def test_a_certificate_that_is_not_valid_is_raised(identity):
    """M3: an authority that is not known, here."""
    async with wsfast.serve(echo, "127.0.0.1", 0, **identity) as server:
        with pytest.raises(wsfast.NetworkError) as caught:
            await lives(again(uri_of(server)))
        assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)


async def test_continuing_with_an_open_connection_closes_it_and_makes_another():
    """M3: the user asks for it."""
    async with script(hold) as uri:
        seen = []
        async with patience():
            async for ws in again(uri):
                seen.append(ws)
                if len(seen) < 3:
                    continue
                break
        assert [ws.state for ws in seen] == [
            wsfast.State.CLOSED,
            wsfast.State.CLOSED,
            wsfast.State.OPEN,
        ]
        assert [ws.close_code for ws in seen[:2]] == [1000, 1000]
        await seen[-1].close()


async def test_leaving_the_loop_closes_the_connection():
    """M3: with break, and with an exception, when the loop's iterator goes."""
    async with script(hold) as uri:
        async with patience():
            async for ws in again(uri):
                last = ws
                break
            await last.wait_closed()
            assert last.close_code == 1000

            with pytest.raises(ZeroDivisionError):
                async for ws in again(uri):
                    last = ws
                    1 / 0  # noqa: B018
            gc.collect()  # the exception had the frame of the loop
            await last.wait_closed()
            assert last.close_code == 1000


async def test_cancelling_the_body_ends_it():
    """M3: nothing is tried again."""
    opened = asyncio.Event()
    seen = []

    async def run(uri):
        async for ws in again(uri):
            seen.append(ws)
            opened.set()
            await ws.recv()

    async with script(hold) as uri:
        task = asyncio.create_task(run(uri))
        await opened.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        del task
        gc.collect()
        async with patience():
            await seen[0].wait_closed()
        assert len(seen) == 1


@pytest.mark.parametrize("when", ["connecting", "in the delay"])
async def test_cancelling_between_two_connections_ends_it(when):
    """M3: once, so that who was cancelled may clean up."""
    reached = asyncio.Event()

    async def wait(peer):
        await peer.head()
        reached.set()
        await peer.rest()

    def delays():
        while True:
            reached.set()  # behind which there is nothing but the delay
            yield 3600.0

    async def run():
        try:
            await lives(again(uri, delays=delays))
        except asyncio.CancelledError:
            assert asyncio.current_task().cancelling() == 1
            await asyncio.sleep(0)
            raise

    async with script(wait if when == "connecting" else accept_and_drop) as uri:
        task = asyncio.create_task(run())
        async with patience():
            await reached.wait()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


# --- How often --------------------------------------------------------------------------------


def reconnections(caplog):
    return [record for record in caplog.records if "connecting again" in record.message]


async def test_a_server_that_closes_at_once_is_not_connected_to_in_a_hot_loop(caplog):
    """M3: the delays grow, and when there is no further, the last error is raised."""
    caplog.set_level(logging.INFO, "wsfast.client")
    delays = [0.0, 0.01, 0.02]
    async with script(close_with(1001)) as uri:
        # Although 1001 from both sides is a normal end: that it goes on was wanted.
        with pytest.raises(wsfast.ConnectionClosedOK) as caught:
            await lives(again(uri, delays=lambda: iter(delays)))
        assert caught.value.rcvd.code == 1001
    assert len(reconnections(caplog)) == 3


async def test_max_attempts_raises_the_last_error():
    """M3."""
    calls = []

    async def count(peer):
        calls.append(True)
        await answer(503)(peer)

    async with script(count) as uri:
        with pytest.raises(wsfast.InvalidStatus):
            await lives(again(uri, max_attempts=2))
        assert len(calls) == 3


async def test_max_elapsed_raises_the_last_error():
    """M3."""
    with pytest.raises(wsfast.NetworkError) as caught:
        await lives(again(refused_uri(), delays=never, max_elapsed=10))
    assert caught.value.code == "ECONNREFUSED"


async def test_process_exception_decides():
    """M3: what it returns or raises is raised."""
    seen = []

    def decide(error):
        seen.append(error)
        if len(seen) < 3:
            return None
        return ValueError("enough")

    async with script(answer(404), close_with(1008), answer(404)) as uri:
        with pytest.raises(ValueError, match="enough"):
            await lives(again(uri, process_exception=decide))
        assert [type(error) for error in seen] == [
            wsfast.InvalidStatus,
            wsfast.ConnectionClosedError,
            wsfast.InvalidStatus,
        ]

        def fail(error):
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await lives(again(uri, process_exception=fail))


async def test_every_connection_is_a_websocket_of_its_own():
    """M3: of the class that is wanted, with hooks that run again."""

    class Mine(wsfast.WebSocket):
        pass

    paths = []

    def finish(request, ws):
        paths.append((request.path, ws))

    async with script(accept_and_drop, accept_and_drop, hold) as uri:
        seen = await lives(again(uri, websocket_class=Mine, finish_request=finish), 3)
    assert len(set(map(id, seen))) == 3
    assert all(type(ws) is Mine for ws in seen)
    assert paths == [("/", ws) for ws in seen]


async def test_the_same_connect_can_be_iterated_again():
    """With its delays from the beginning."""
    async with script(
        close_with(1001), close_with(1000), close_with(1001), close_with(1000)
    ) as uri:
        connect = again(uri, delays=lambda: iter([0.0]))
        assert len(await lives(connect)) == 2
        assert len(await lives(connect)) == 2


async def test_delays_may_be_a_list():
    async with script(close_with(1012)) as uri:
        with pytest.raises(wsfast.ConnectionClosedError):
            await lives(again(uri, delays=lambda: [0, 0]))


async def test_what_keeps_it_trying_is_logged(caplog):
    """M3: one line for each attempt."""
    caplog.set_level(logging.INFO, "wsfast.client")
    async with script(answer(503), hold) as uri:
        await lives(again(uri, delays=lambda: itertools.repeat(0.0)), 1)
    (record,) = reconnections(caplog)
    assert "503" in record.message
