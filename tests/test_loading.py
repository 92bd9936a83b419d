"""Loads on real servers, in the loop of the test: what is sent, counted and reported."""

import asyncio
import time

import pytest
from peers import CLOSE, PATIENCE, TEXT, echo, raw_server, uri_of

import wsfast
from wsfast.cli.loading import Load, Plan
from wsfast.cli.report import is_good

# Both are over long before, unless something hangs.
LONG = 60


def plan_of(**options):
    if "messages" in options:
        options.setdefault("duration", LONG)
    return Plan(**{"timeout": PATIENCE, **options})


async def run(uri, open_timeout=PATIENCE, **options):
    """Load a server to the end; gives the load."""
    plan = plan_of(**options)
    limits = {**plan.connect_options(), "open_timeout": open_timeout}
    load = Load(wsfast.connect(uri, **limits), plan)
    async with asyncio.timeout(PATIENCE):
        await load.run()
    assert load.open == 0
    assert all(client.ws.state is wsfast.State.CLOSED for client in load.clients)
    return load


async def load_on(handler, server_options=None, **options):
    """Load a server with a handler."""
    async with wsfast.serve(handler, "127.0.0.1", 0, **(server_options or {})) as server:
        return await run(uri_of(server), **options)


class Counting:
    """An echo that keeps what it got."""

    def __init__(self):
        self.messages = []

    async def __call__(self, ws):
        async for message in ws:
            self.messages.append(message)
            await ws.send(message)


def ordered(histogram):
    values = [histogram.percentile(percent) for percent in (0, 50, 90, 99, 99.9, 100)]
    return values == sorted(values) and values[0] > 0


# --- Waiting for answers ----------------------------------------------------------------------


@pytest.mark.parametrize("connections", [1, 3, 250])
@pytest.mark.parametrize("depth", [1, 4])
async def test_each_message_is_sent_once_and_answered_once(connections, depth):
    server = Counting()
    load = await load_on(server, connections=connections, depth=depth, messages=200)
    assert server.messages == ["x" * 32] * 200
    assert (load.sent, load.answered, load.counted, load.unanswered) == (200, 200, 200, 0)
    assert (load.opened, load.failed, load.lost) == (connections, 0, 0)
    assert load.closes == {(1000, ""): connections}
    assert (load.bytes_sent, load.bytes_received) == (6400, 6400)
    assert load.opening.count == connections
    assert ordered(load.opening)
    assert ordered(load.latency)
    assert load.lateness.count == 0
    assert load.elapsed > 0
    assert load.cpu > 0
    assert is_good(load)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 5}, "xxxxx"),
        ({"size": 5, "binary": True}, b"xxxxx"),
        ({"size": 0}, ""),
        ({"text": '{"ä": 1}'}, '{"ä": 1}'),
        ({"text": "ä", "binary": True}, b"\xc3\xa4"),
        ({"size": 2**20 + 1}, "x" * (2**20 + 1)),
    ],
)
async def test_what_is_sent(options, message):
    server = Counting()
    limits = {"max_size": None}
    load = await load_on(server, limits, connections=1, messages=2, verify=False, **options)
    assert server.messages == [message] * 2
    assert is_good(load)


async def test_as_many_messages_are_on_their_way_as_the_depth_says():
    async def answer_four(ws):
        while True:
            messages = [await ws.recv() for _ in range(4)]
            for message in messages:
                await ws.send(message)

    load = await load_on(answer_four, connections=2, depth=4, messages=80)
    assert (load.answered, load.unanswered) == (80, 0)


async def test_it_sends_for_the_duration():
    load = await load_on(echo, connections=2, duration=0.1)
    assert load.elapsed >= 0.099  # timers of uvloop are a millisecond early
    assert load.sent == load.answered >= load.counted > 0
    assert load.closes == {(1000, ""): 2}
    assert is_good(load)


async def test_answers_that_come_after_the_duration_are_waited_for_and_measured():
    over = asyncio.Event()

    async def answer_late(ws):
        async for message in ws:
            await over.wait()
            await ws.send(message)

    asyncio.get_running_loop().call_later(0.1, over.set)
    load = await load_on(answer_late, connections=3, duration=0.01)
    assert load.counted == 0
    assert (load.sent, load.answered, load.unanswered) == (3, 3, 0)
    assert is_good(load)


async def test_large_messages_deep_in_flight_do_not_wait_for_each_other():
    # More than fits into the buffers of the system and of both sides: an echo that waits for its
    # answers to be read, and a client that read nothing meanwhile, would never go on.
    load = await load_on(echo, connections=1, depth=32, size=2**20, messages=64)
    assert (load.sent, load.answered) == (64, 64)


# --- Checking answers -------------------------------------------------------------------------


async def test_messages_that_are_verified_have_numbers():
    server = Counting()
    load = await load_on(server, connections=2, messages=12, size=3, verify=True)
    assert sorted(server.messages) == [f"{number:03}" for number in range(12)]
    assert load.wrong == 0
    assert is_good(load)


@pytest.mark.parametrize("size", [0, 1, 32])
async def test_numbers_fit_any_size(size):
    server = Counting()
    load = await load_on(server, connections=1, messages=15, size=size, verify=True, binary=True)
    assert {len(message) for message in server.messages} == {size}
    assert is_good(load)


async def test_a_wrong_answer_is_counted():
    async def repeat_every_other(ws):
        while True:
            message = await ws.recv()
            await ws.send(message)
            await ws.recv()
            await ws.send(message)

    load = await load_on(repeat_every_other, connections=1, messages=8, size=1, verify=True)
    assert (load.answered, load.wrong) == (8, 4)
    assert not is_good(load)


async def test_answers_for_somebody_else_are_wrong():
    async def broadcast(ws):
        everybody.add(ws)
        async for message in ws:
            wsfast.broadcast(everybody, message)

    everybody = set()
    load = await load_on(broadcast, connections=2, messages=20, verify=True)
    assert load.wrong > 0
    assert load.extra > 0


async def test_text_is_not_binary():
    async def as_binary(ws):
        async for message in ws:
            await ws.send(message, binary=True)

    load = await load_on(as_binary, connections=1, messages=5, verify=True, text="x")
    assert load.wrong == 5


async def test_answers_that_nobody_expects_are_counted():
    async def answer_twice(ws):
        async for message in ws:
            await ws.send(message)
            await ws.send(message)

    load = await load_on(answer_twice, connections=1, messages=10)
    assert load.answered == 10
    assert load.extra == 10
    assert not is_good(load)


# --- At a rate --------------------------------------------------------------------------------


async def test_messages_are_not_sent_before_they_are_due():
    load = await load_on(echo, connections=3, messages=50, rate=500)
    assert load.elapsed >= 49 / 500
    assert (load.sent, load.answered, load.lateness.count) == (50, 50, 50)
    assert is_good(load)


async def test_a_rate_goes_over_all_connections_in_turn():
    counts = []

    async def count(ws):
        messages = 0
        async for message in ws:
            messages += 1
            await ws.send(message)
        counts.append(messages)

    await load_on(count, connections=3, messages=30, rate=10_000)
    assert counts == [10, 10, 10]


async def test_a_rate_does_not_wait_for_answers():
    async def answer_at_the_end(ws):
        messages = [await ws.recv() for _ in range(20)]
        for message in messages:
            await ws.send(message)

    load = await load_on(answer_at_the_end, connections=1, messages=20, rate=200)
    # The first was due 19 turns before the last, and there was no answer before that.
    assert load.latency.maximum >= 19 / 200 * 1e9
    assert load.answered == 20


async def test_a_server_that_hangs_does_not_keep_late_messages_out_of_the_latency():
    async def hang_once(ws):
        number = 0
        async for message in ws:
            number += 1
            if number == 5:
                time.sleep(0.2)  # this is also the loop of the client, which sends nothing
            await ws.send(message)

    load = await load_on(hang_once, connections=1, messages=60, rate=200)
    # Some 40 messages were due in that time. They counted from then on, not from when they left.
    assert load.lateness.maximum >= 0.19e9
    assert load.latency.percentile(60) >= 0.05e9
    assert load.answered == 60


async def test_a_rate_that_is_too_high_leaves_time_for_everything_else():
    load = await load_on(echo, connections=2, messages=2000, rate=1e9)
    assert (load.sent, load.answered) == (2000, 2000)


# --- Without answers --------------------------------------------------------------------------


async def receive(ws):
    async for _ in ws:
        pass


@pytest.mark.parametrize("rate", [None, 20_000])
async def test_without_an_echo_messages_are_only_sent(rate):
    messages = []

    async def keep(ws):
        messages.extend([message async for message in ws])

    load = await load_on(keep, connections=3, messages=1000, echo=False, rate=rate)
    assert len(messages) == 1000
    assert (load.sent, load.counted, load.answered, load.unanswered) == (1000, 1000, 0, 0)
    assert load.latency.count == 0
    assert load.lateness.count == (1000 if rate else 0)
    assert is_good(load)


async def test_without_an_echo_it_sends_for_the_duration():
    load = await load_on(receive, connections=2, duration=0.1, echo=False)
    assert load.elapsed >= 0.099  # timers of uvloop are a millisecond early
    assert load.sent == load.counted > 0
    assert is_good(load)


async def test_without_an_echo_it_sends_no_faster_than_the_server_reads():
    reading = asyncio.Event()
    most = 0

    async def read_late(ws):
        await reading.wait()
        await receive(ws)

    async def watch():
        nonlocal most
        while not load.clients:
            await asyncio.sleep(0)
        for _ in range(50):
            most = max(most, load.clients[0].ws.buffered_amount)
            await asyncio.sleep(0.002)
        reading.set()

    plan = plan_of(connections=1, size=10_000, messages=2000, echo=False)
    async with wsfast.serve(read_late, "127.0.0.1", 0) as server:
        load = Load(wsfast.connect(uri_of(server), **plan.connect_options()), plan)
        watching = asyncio.create_task(watch())
        async with asyncio.timeout(PATIENCE):
            await load.run()
        await watching
    assert load.sent == 2000
    assert most <= 65536 + 10_014


async def test_without_an_echo_one_that_answers_is_read_all_the_same():
    load = await load_on(echo, connections=1, size=2**20, messages=32, echo=False)
    assert (load.sent, load.extra) == (32, 32)
    assert is_good(load)


# --- Servers that refuse, close and keep silent -----------------------------------------------


async def test_a_server_that_refuses_the_first_connection_refuses_all():
    async with wsfast.serve(echo, "127.0.0.1", 0, origins=["https://example.com"]) as server:
        with pytest.raises(wsfast.InvalidStatus, match="403"):
            await run(uri_of(server), connections=1000)


async def test_connections_that_are_refused_are_counted_by_reason():
    options = {"max_connections": 2}
    load = await load_on(echo, options, connections=5, messages=10)
    assert (load.opened, load.failed, load.opening.count) == (2, 3, 2)
    [(reason, number)] = load.failures.items()
    assert reason.startswith("Unexpected server response: 503")
    assert number == 3
    assert load.answered == 10
    assert not is_good(load)


async def test_a_server_that_does_not_answer_the_handshake_is_given_up():
    async def accept_one(peer):
        if not accepted:
            accepted.append(peer)
            await peer.accept()
        await peer.rest()

    accepted = []
    async with raw_server(accept_one) as uri:
        load = await run(uri, connections=3, messages=1, timeout=0.2, open_timeout=0.5)
    assert load.failures == {"timed out during opening handshake": 2}


async def test_no_more_connections_than_allowed_are_opened_at_once():
    async def process_request(ws, request):
        nonlocal number, now
        number += 1
        now += 1
        seen.append(now)
        if number > 1:  # the first is opened alone
            await three.wait()
        now -= 1

    number = now = 0
    seen = []
    three = asyncio.Barrier(3)
    options = {"process_request": process_request}
    load = await load_on(echo, options, connections=10, opening=3, messages=20)
    assert load.opened == 10
    assert max(seen) == 3


async def test_a_server_that_closes_early_ends_the_load():
    async def answer_three(ws):
        for _ in range(3):
            await ws.send(await ws.recv())
        await ws.recv()
        await ws.close(1001, "restarting")

    load = await load_on(answer_three, connections=4, duration=LONG)
    assert load.lost == 4
    assert load.closes == {(1001, "restarting"): 4}
    assert (load.sent, load.answered, load.unanswered) == (16, 12, 4)
    assert not load.stalled
    assert not is_good(load)


async def test_the_other_connections_go_on_when_one_is_lost():
    first = True

    async def close_one(ws):
        nonlocal first
        if first:
            first = False
            await ws.recv()
            await ws.close(1011)
        await echo(ws)

    load = await load_on(close_one, connections=3, messages=100)
    assert load.closes == {(1000, ""): 2, (1011, ""): 1}
    assert (load.lost, load.sent, load.answered, load.unanswered) == (1, 100, 99, 1)


@pytest.mark.parametrize("options", [{"rate": 1000}, {"echo": False}, {"echo": False, "rate": 100}])
async def test_a_server_that_closes_early_ends_other_loads_too(options):
    async def close(ws):
        await ws.recv()
        await ws.close(1008)

    load = await load_on(close, connections=2, duration=LONG, **options)
    assert load.closes == {(1008, ""): 2}
    assert load.lost == 2
    assert not load.stalled


async def test_a_server_that_closes_everything_at_once_gets_no_messages():
    async def close(ws):
        await ws.close(1013)

    async with wsfast.serve(close, "127.0.0.1", 0) as server:
        load = await run(uri_of(server), connections=5, duration=LONG)
    assert load.closes == {(1013, ""): 5}
    assert load.lost == 5
    assert not is_good(load)


async def test_a_connection_that_breaks_is_reported_with_the_reason():
    async def reset(peer):
        await peer.accept()
        await peer.frame()
        peer.reset()

    async with raw_server(reset) as uri:
        load = await run(uri, connections=1, duration=LONG)
    assert load.closes == {(1006, ""): 1}
    assert load.errors == {"Connection reset by peer": 1}


async def test_connections_that_break_when_they_are_open_do_not_hang():
    async def reset(peer):
        await peer.accept()
        await peer.writer.drain()
        peer.reset()

    async with raw_server(reset) as uri:
        load = await run(uri, connections=5, messages=100)
    # Of a reset one may see the handshake before it or not.
    assert load.lost == load.opened
    assert load.answered == 0


async def test_a_server_that_breaks_the_protocol_is_reported():
    async def play(peer):
        await peer.accept()
        await peer.frame()
        peer.write("83 00")  # a reserved opcode
        await peer.rest()

    async with raw_server(play) as uri:
        load = await run(uri, connections=1, duration=LONG)
    assert load.errors == {"Invalid WebSocket frame: invalid opcode 3": 1}
    assert load.lost == 1


async def test_a_server_that_never_answers_is_given_up():
    load = await load_on(receive, connections=3, messages=100, timeout=0.1)
    assert load.stalled
    assert (load.sent, load.answered, load.unanswered) == (3, 0, 3)
    assert load.closes == {(1000, ""): 3}
    assert not is_good(load)


async def test_a_server_that_stops_answering_is_given_up():
    async def answer_five(ws):
        for _ in range(5):
            await ws.send(await ws.recv())
        await receive(ws)

    load = await load_on(answer_five, connections=2, duration=LONG, timeout=0.1)
    assert load.stalled
    assert (load.sent, load.answered, load.unanswered) == (12, 10, 2)


async def test_a_slow_load_is_not_a_silent_server():
    load = await load_on(echo, connections=1, messages=3, rate=10, timeout=0.05)
    assert not load.stalled
    assert load.answered == 3


async def test_a_server_that_does_not_confirm_that_it_read_everything_is_given_up():
    async def ignore(peer):
        await peer.accept()
        while (await peer.frame()).opcode != CLOSE:
            pass
        peer.close()

    async with raw_server(ignore) as uri:
        load = await run(uri, connections=1, messages=10, echo=False, timeout=0.1)
    assert load.stalled
    assert load.sent == 10


async def test_a_server_that_does_not_close_is_left():
    async def play(peer):
        await peer.accept()
        for _ in range(3):
            peer.send(TEXT, (await peer.frame()).payload)
        await peer.rest()

    async with raw_server(play) as uri:
        load = await run(uri, connections=1, messages=3, timeout=0.1)
    assert load.answered == 3
    assert load.closes == {(1006, ""): 1}
    assert load.errors == {"timed out while closing": 1}


# --- Ending early -----------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"rate": 1000}, {"echo": False}])
async def test_cancelling_keeps_what_was_found(options):
    enough = asyncio.Event()

    async def count(ws):
        number = 0
        async for message in ws:
            number += 1
            if number == 5:
                enough.set()
            await ws.send(message)

    async with wsfast.serve(count, "127.0.0.1", 0) as server:
        task = asyncio.create_task(run(uri_of(server), connections=2, duration=LONG, **options))
        await enough.wait()
        task.cancel()
        load = await task
    assert load.interrupted
    assert load.sent >= 5
    assert load.closes == {(1000, ""): 2}
    assert load.elapsed > 0
    assert is_good(load)


async def test_cancelling_while_connections_are_opened_closes_those_that_are_open():
    waiting = asyncio.Event()

    async def process_request(ws, request):
        nonlocal number
        number += 1
        if number > 3:
            waiting.set()
            await asyncio.sleep(PATIENCE)

    number = 0
    async with wsfast.serve(echo, "127.0.0.1", 0, process_request=process_request) as server:
        task = asyncio.create_task(run(uri_of(server), connections=10, opening=1))
        await waiting.wait()
        task.cancel()
        load = await task
    assert load.interrupted
    assert (load.opened, load.sent) == (3, 0)
    assert load.closes == {(1000, ""): 3}
    assert not is_good(load)


async def test_cancelling_twice_does_not_wait_for_the_server():
    sending = asyncio.Event()
    closing = asyncio.Event()

    async def play(peer):
        await peer.accept()
        assert (await peer.frame()).opcode == TEXT
        sending.set()
        while (await peer.frame()).opcode != CLOSE:
            pass
        closing.set()
        await peer.rest()

    async with raw_server(play) as uri:
        task = asyncio.create_task(run(uri, connections=1, duration=LONG, timeout=None))
        await sending.wait()
        task.cancel()
        await closing.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
