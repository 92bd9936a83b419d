"""How a client reaches a host with several addresses. Only the resolver is made up."""

import asyncio
import errno
import socket

import pytest
from peers import PATIENCE

import wsfast
from wsfast import client, dial

V4, V6 = socket.AF_INET, socket.AF_INET6


class Network:
    """A loop in which one name has the addresses that the test says, and some never answer."""

    def __init__(self, *addresses, silent=()):
        self.loop = asyncio.get_running_loop()
        self.addresses = addresses
        self.silent = silent
        self.tried = []
        self.silence = asyncio.Event()

    async def getaddrinfo(self, host, port, **options):
        if host != "name":
            return await self.loop.getaddrinfo(host, port, **options)
        return [
            (V6 if ":" in address[0] else V4, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address)
            for address in self.addresses
        ]

    async def sock_connect(self, sock, address):
        self.tried.append(address)
        if address in self.silent:
            await self.silence.wait()
        await self.loop.sock_connect(sock, address)

    def create_task(self, coroutine):
        return self.loop.create_task(coroutine)

    async def open(self, local_address=None):
        async with asyncio.timeout(PATIENCE):
            return await dial.open_socket(self, "name", 80, local_address)


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock.getsockname()


@pytest.fixture
def refusing():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()


async def test_one_address_is_connected_to(listening):
    with await Network(listening).open() as sock:
        assert sock.getpeername() == listening
        assert sock.proto == socket.IPPROTO_TCP


async def test_the_next_address_is_tried_at_once_when_one_refuses(listening, refusing, monkeypatch):
    monkeypatch.setattr(dial, "ATTEMPT_DELAY", PATIENCE)
    network = Network(refusing, listening)
    with await network.open() as sock:
        assert sock.getpeername() == listening
    assert network.tried == [refusing, listening]


async def test_the_next_address_is_tried_soon_when_one_is_silent(listening, monkeypatch):
    monkeypatch.setattr(dial, "ATTEMPT_DELAY", 0.01)
    silent = ("127.0.0.2", 9)
    network = Network(silent, listening, silent=[silent])
    with await network.open() as sock:
        assert sock.getpeername() == listening
    assert network.tried == [silent, listening]


async def test_a_slow_address_that_answers_at_last_is_taken(listening, refusing, monkeypatch):
    monkeypatch.setattr(dial, "ATTEMPT_DELAY", 0.01)
    network = Network(listening, refusing, silent=[listening])
    opening = asyncio.create_task(network.open())
    while len(network.tried) < 2:
        await asyncio.sleep(0)
    network.silence.set()
    with await opening as sock:
        assert sock.getpeername() == listening


async def test_two_that_answer_at_once_leave_one_socket(listening, monkeypatch):
    monkeypatch.setattr(dial, "ATTEMPT_DELAY", 0.01)
    other = ("127.0.0.1", listening[1])
    network = Network(listening, other, silent=[listening])
    opening = asyncio.create_task(network.open())
    while len(network.tried) < 2:
        await asyncio.sleep(0)
    network.silence.set()
    with await opening as sock:
        assert sock.getpeername() == listening


async def test_the_families_take_turns():
    def of(*names):
        return [(V6 if ":" in name else V4, 1, 6, "", (name, 80)) for name in names]

    given = of("::1", "::2", "::3", "1.1.1.1", "2.2.2.2")
    assert dial.alternate(given) == of("::1", "1.1.1.1", "::2", "2.2.2.2", "::3")
    assert dial.alternate(of("1.1.1.1", "::1")) == of("1.1.1.1", "::1")


async def test_when_all_refuse_the_error_is_the_first_with_notes_of_the_others(refusing):
    with socket.socket() as sock:
        sock.bind(("127.0.0.2", 0))
        other = sock.getsockname()
        with pytest.raises(ConnectionRefusedError) as caught:
            await Network(refusing, other).open()
    assert caught.value.errno == errno.ECONNREFUSED
    assert str(refusing[1]) in str(caught.value)
    (note,) = caught.value.__notes__
    assert str(other[1]) in note


async def test_connect_has_the_code_of_the_first_error(refusing, monkeypatch):
    async def open_socket(*arguments):
        return await dial.race(
            asyncio.get_running_loop(),
            [(V4, socket.SOCK_STREAM, 6, "", address) for address in (refusing, refusing)],
            [],
        )

    monkeypatch.setattr(client, "open_socket", open_socket)
    with pytest.raises(wsfast.NetworkError) as caught:
        await client.connect("ws://name/")
    assert caught.value.code == "ECONNREFUSED"


async def test_cancelling_closes_all_that_was_begun(monkeypatch):
    monkeypatch.setattr(dial, "ATTEMPT_DELAY", 0.01)
    silent = [("127.0.0.2", 9), ("127.0.0.3", 9)]
    network = Network(*silent, silent=silent)
    opening = asyncio.create_task(network.open())
    while len(network.tried) < 2:
        await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening


async def test_a_local_address_is_bound_to(listening):
    with await Network(listening).open(("127.0.0.3", 0)) as sock:
        assert sock.getsockname()[0] == "127.0.0.3"


async def test_a_local_address_must_be_of_the_same_family(listening):
    with pytest.raises(OSError, match="no local address of the family AF_INET"):
        await Network(listening).open(("::1", 0))
