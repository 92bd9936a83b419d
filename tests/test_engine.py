"""The epoll driver, where it differs from the asyncio driver; the other tests run on both."""

import asyncio
import errno
import os
import resource
import socket

import pytest
from peers import BINARY, PATIENCE, TEXT, Accepted, client_of, echo, frame, until, uri_of

import wsfast
from wsfast import engine


def serve(handler=echo, **options):
    return wsfast.serve(handler, "127.0.0.1", 0, driver="epoll", **options)


@pytest.fixture(autouse=True)
def available():
    try:
        engine.choose("epoll")
    except ValueError:
        pytest.skip("the epoll driver needs Linux and the compiled backend")


async def soon(awaitable):
    async with asyncio.timeout(PATIENCE):
        return await awaitable


@pytest.mark.parametrize("driver", ["kqueue", "", 1])
def test_an_unknown_driver_is_refused_with_those_there_are(driver):
    with pytest.raises(ValueError, match="driver must be one of epoll, asyncio or None, not"):
        wsfast.serve(echo, port=0, driver=driver)
    with pytest.raises(ValueError, match="driver must be one of epoll, asyncio or None, not"):
        wsfast.connect("ws://localhost", driver=driver)


def test_the_pure_backend_has_no_epoll_driver(monkeypatch):
    monkeypatch.setattr(engine, "_engine", None)
    monkeypatch.setattr(engine, "default", None)
    assert not engine.choose(None)
    with pytest.raises(ValueError, match="needs Linux and the compiled backend"):
        engine.choose("epoll")


@pytest.mark.parametrize("count", [1, 8, 9, 40])
async def test_few_connections_and_many_are_served(count):
    """Above eight the loop watches our epoll instance instead of each socket."""
    async with serve() as server:
        clients = [await wsfast.connect(uri_of(server), driver="epoll") for _ in range(count)]
        for round_number in range(3):
            for number, client in enumerate(clients):
                await client.send(f"{round_number} {number}")
            for number, client in enumerate(clients):
                assert await soon(client.recv()) == f"{round_number} {number}"
        for client in clients:
            await soon(client.close())
        # The loop watches each socket again.
        async with wsfast.connect(uri_of(server), driver="epoll") as client:
            await client.send("again")
            assert await soon(client.recv()) == "again"


async def test_connections_that_come_and_go_reuse_file_descriptors():
    async with serve() as server:
        for _ in range(5):
            clients = [await wsfast.connect(uri_of(server), driver="epoll") for _ in range(12)]
            for client in clients[::2]:
                client.terminate()
            more = [await wsfast.connect(uri_of(server), driver="epoll") for _ in range(6)]
            for client in clients[1::2] + more:
                await client.send("here")
            for client in clients[1::2] + more:
                assert await soon(client.recv()) == "here"
                await soon(client.close())


async def test_both_drivers_talk_to_each_other():
    async with serve() as server, wsfast.connect(uri_of(server), driver="asyncio") as client:
        await client.send("hello")
        assert await soon(client.recv()) == "hello"
    async with (
        wsfast.serve(echo, "127.0.0.1", 0, driver="asyncio") as server,
        wsfast.connect(uri_of(server), driver="epoll") as client,
    ):
        await client.send("hello")
        assert await soon(client.recv()) == "hello"


@pytest.mark.parametrize("size", [16383, 16384, 262144, 262145, 1048576, 5000000])
@pytest.mark.parametrize("kind", ["text", "binary", "not ASCII"])
async def test_large_messages_are_read_to_where_they_stay(size, kind):
    data = {"text": "x" * size, "binary": os.urandom(size), "not ASCII": "é" * (size // 2)}[kind]
    options = {"max_size": None, "driver": "epoll"}
    async with serve(max_size=None) as server, wsfast.connect(uri_of(server), **options) as client:
        client.send(data)
        client.send("behind")
        assert await soon(client.recv()) == data
        assert await soon(client.recv()) == "behind"


async def test_a_large_text_fails_at_its_first_impossible_byte():
    async with serve() as server, client_of(server) as peer:
        payload = b"x" * 400000 + b"\xff" + b"x" * 100000
        # What is behind the byte never comes.
        peer.write(frame(TEXT, payload, mask=b"abcd")[:400020])
        assert await peer.closed() == (1007, "Invalid WebSocket frame: invalid UTF-8 sequence")


async def test_a_large_message_that_memory_does_not_suffice_for_is_not_delivered():
    memory = pytest.importorskip("_testcapi")
    received = []

    async def handler(ws):
        received.extend([message async for message in ws])

    async with serve(handler) as server, client_of(server) as peer:
        wire = frame(BINARY, b"x" * 100_000, mask=b"abcd")
        peer.write(wire[:20_000])
        (ws,) = server.connections
        await until(lambda: ws.wire_bytes_received == 20_000)
        os.write(peer.socket.fileno(), wire[20_000:40_000])
        read = ws.driver._readable
        for number in range(5):  # one allocation after the other; one is for a larger buffer
            memory.set_nomemory(number, number + 1)
            try:
                read()
            except MemoryError:
                pass
            finally:
                memory.remove_mem_hooks()
        peer.write(wire[40_000:])
        peer.send(TEXT, "behind")
        await until(lambda: ws.wire_bytes_received == len(wire) + 12)
        assert received == []


async def test_a_large_frame_declared_is_not_allocated():
    async with serve(max_size=2**40) as server, client_of(server) as peer:
        peer.write(frame(BINARY, b"x" * 50000, mask=b"abcd", length=2**39))
        await until(lambda: next(iter(server.connections)).wire_bytes_received > 50000)
        usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert usage < 2**21  # kilobytes: far below the half terabyte


async def test_the_address_of_a_closed_connection_is_known():
    handler = Accepted()
    async with serve(handler) as server:
        async with wsfast.connect(uri_of(server), driver="epoll") as client:
            ws = await handler.get()
            names = client.local_address, client.remote_address
        await soon(ws.wait_closed())
        assert (client.local_address, client.remote_address) == names
        assert (ws.remote_address, ws.local_address) == names
        assert client.get_extra_info("socket") is None
        assert client.get_extra_info("nothing", 5) == 5


def listening_socket(address):
    family = socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX
    if isinstance(address, tuple) and ":" in address[0]:
        family = socket.AF_INET6
    sock = socket.socket(family)
    try:
        sock.bind(address)
        sock.listen()
    except BaseException:
        sock.close()
        raise
    return sock


@pytest.mark.parametrize(
    ("address", "own"),
    [
        (("127.0.0.1", 0), ("127.0.0.2", 0)),
        (("::1", 0), ("::1", 0)),
        ("server", None),
        ("server", "client"),
        (os.fsdecode(b"\xe9\xff"), "\u20ac"),
        (b"\0wsfast-%d" % os.getpid(), b"\0wsfast\0-%d-client" % os.getpid()),
    ],
    ids=["IPv4", "IPv6", "Unix", "Unix, with a name", "Unix, not UTF-8", "abstract"],
)
async def test_addresses_are_shown_as_python_shows_them(address, own, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    handler = Accepted()
    try:
        listening = listening_socket(address)
    except OSError:
        pytest.skip("there is no such address here")
    client = socket.socket(listening.family)
    if own is not None:
        client.bind(own)
    client.connect(listening.getsockname())
    names = listening.getsockname(), client.getsockname()
    async with wsfast.serve(handler, sock=listening, driver="epoll"):
        async with wsfast.connect("ws://localhost", sock=client, driver="epoll") as other:
            ws = await handler.get()
            assert ws.get_extra_info("socket").getpeername() == names[1]
            for _ in range(2):
                assert (ws.local_address, ws.remote_address) == names
                assert (other.remote_address, other.local_address) == names
        await soon(ws.wait_closed())
    assert (ws.local_address, ws.remote_address) == names
    assert (other.remote_address, other.local_address) == names


async def test_the_socket_that_is_told_does_not_own_the_file_descriptor():
    async with serve() as server, wsfast.connect(uri_of(server), driver="epoll") as client:
        sock = client.get_extra_info("socket")
        assert sock is client.get_extra_info("socket")
        assert sock.getpeername() == client.remote_address
        await client.send("still there")
        assert await soon(client.recv()) == "still there"
        await soon(client.close())
        assert sock.fileno() == -1


async def test_a_peer_that_resets_while_we_do_not_read_is_noticed_when_we_do():
    handler = Accepted()
    async with serve(handler) as server:
        others = [await wsfast.connect(uri_of(server), driver="epoll") for _ in range(10)]
        accepted = [await handler.get() for _ in others]
        async with client_of(server) as peer:
            ws = await handler.get()
            ws.pause()
            peer.reset()
            await others[0].send("the loop is not kept busy")
            assert await soon(accepted[0].recv()) == "the loop is not kept busy"
            ws.resume()
            await soon(ws.wait_closed())
            assert ws.close_code == 1006
            assert ws.error.code == "ECONNRESET"
        for other in others:
            await soon(other.close())


async def test_accepting_goes_on_when_there_are_file_descriptors_again(caplog, monkeypatch):
    errors = []
    async with serve() as server:
        server.on("error", errors.append)
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        sock = socket.socket()
        sock.setblocking(False)
        highest = max(int(name) for name in os.listdir("/proc/self/fd"))
        loop = asyncio.get_running_loop()
        real_call_later = loop.call_later
        monkeypatch.setattr(loop, "call_later", lambda delay, *a, **k: real_call_later(0, *a, **k))
        held = []
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, limits[1]))
            while True:
                try:
                    held.append(os.dup(0))
                except OSError:
                    break
            await loop.sock_connect(sock, server.address())
            await until(lambda: errors)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            for fd in held:
                os.close(fd)
        monkeypatch.undo()
        assert errors[0].errno == errno.EMFILE
        assert "cannot accept a connection" in caplog.text
        async with wsfast.connect(uri_of(server), sock=sock, driver="epoll") as client:
            await client.send("hello")
            assert await soon(client.recv()) == "hello"


async def test_a_listening_socket_that_blocks_does_not_block_the_loop():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        assert sock.getblocking()
        async with wsfast.serve(echo, sock=sock, driver="epoll") as server:
            for _ in range(2):
                async with wsfast.connect(uri_of(server), driver="epoll") as client:
                    await client.send("hello")
                    assert await soon(client.recv()) == "hello"


async def test_a_connection_that_cannot_be_served_is_closed():
    """As where the system has no memory for it."""
    from wsfast._listener import listen

    def fail():
        raise MemoryError

    problems = []
    loop = asyncio.get_running_loop()
    handler = loop.get_exception_handler()
    loop.set_exception_handler(lambda loop, context: problems.append(context["exception"]))
    listener = listen(loop, socket.create_server(("127.0.0.1", 0)), fail, problems.append, 65536)
    try:
        reader, writer = await asyncio.open_connection(*listener.sock.getsockname())
        assert await soon(reader.read()) == b""
        writer.close()
        await writer.wait_closed()
    finally:
        listener.close()
        loop.set_exception_handler(handler)
    assert [type(problem) for problem in problems] == [MemoryError]
