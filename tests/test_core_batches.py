"""recv_batch(): all messages that wait, at once."""

import asyncio

import pytest
from frames import BINARY, CONT, TEXT, ZERO, close, frame
from peers import pair
from test_core_receiving import from_dispatch, running, texts
from twins import BACKENDS

from wsfast.exceptions import ConcurrencyError, ConnectionClosedOK


@pytest.fixture(params=BACKENDS, ids=str)
def backend(request):
    return request.param


async def test_a_batch_is_all_that_waits(backend):
    connection = running(backend, client=False)
    await from_dispatch(connection.received, texts(1, 2, 3))
    assert await connection.recv_batch() == ["1", "2", "3"]


async def test_a_batch_is_awaited_and_wakes_once_for_a_read(backend):
    connection = running(backend, client=False)
    waiting = asyncio.create_task(connection.recv_batch())
    await asyncio.sleep(0)
    await from_dispatch(connection.received, texts(*range(100)))
    assert await waiting == [str(number) for number in range(100)]


async def test_a_message_that_is_not_complete_waits_for_the_next_batch(backend):
    connection = running(backend, client=False)
    connection.fragments = True
    data = frame(TEXT, "a", key=ZERO) + frame(TEXT, "b", fin=False, key=ZERO)
    await from_dispatch(connection.received, data)
    assert await connection.recv_batch() == ["a"]
    waiting = asyncio.create_task(connection.recv_batch())
    await asyncio.sleep(0)
    await from_dispatch(connection.received, frame(CONT, "c", key=ZERO))
    assert await waiting == ["bc"]


@pytest.mark.parametrize(
    ("decode", "messages"), [(None, ["é", b"b"]), (True, ["é", "b"]), (False, ["é".encode(), b"b"])]
)
async def test_all_of_a_batch_may_be_str_or_bytes(backend, decode, messages):
    connection = running(backend, client=False)
    data = frame(TEXT, "é", key=ZERO) + frame(BINARY, b"b", key=ZERO)
    await from_dispatch(connection.received, data)
    assert await connection.recv_batch(decode) == messages


async def test_reading_goes_on_when_a_batch_was_taken(backend):
    connection = running(backend, client=False, max_queue=4)
    await from_dispatch(connection.received, texts(1, 2, 3, 4))
    assert not connection.is_reading
    assert await connection.recv_batch() == ["1", "2", "3", "4"]
    assert connection.is_reading


async def test_a_cancelled_batch_loses_nothing(backend):
    connection = running(backend, client=False)
    waiting = asyncio.create_task(connection.recv_batch())
    await asyncio.sleep(0)
    waiting.cancel()
    await from_dispatch(connection.received, texts(1, 2))
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await connection.recv_batch() == ["1", "2"]


async def test_a_batch_beside_a_recv_is_refused(backend):
    connection = running(backend, client=False)
    waiting = asyncio.create_task(connection.recv())
    await asyncio.sleep(0)
    with pytest.raises(ConcurrencyError):
        await connection.recv_batch()
    await from_dispatch(connection.received, texts(1))
    assert await waiting == "1"


async def test_what_came_before_the_end_is_the_last_batch(backend):
    connection = running(backend, client=False)
    await from_dispatch(connection.received, texts(1, 2) + close(1000, key=ZERO))
    assert await connection.recv_batch() == ["1", "2"]
    with pytest.raises(ConnectionClosedOK):
        await connection.recv_batch()


async def test_batches_end_with_the_connection():
    async with pair() as (ws, other):
        for number in range(20):
            other.send(str(number))
        other.close()
        received = []
        async for batch in ws.batches():
            received += batch
        assert received == [str(number) for number in range(20)]
