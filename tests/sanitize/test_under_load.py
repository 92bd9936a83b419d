"""A server is loaded for some seconds, gently and roughly. It lives, and leaves nothing behind.

The load is more use than the checks here: the server is to be built with sanitizers, which end it
when it does what it should not (`make sanitize`).
"""

import asyncio
import contextlib
import os
import random
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trustme
from peers import BINARY, CLOSE, CONT, PING, PONG, TEXT, Peer, close_payload, frame, request
from programs import build_programs

import wsfast

# So long does each kind of load last, for each server.
SECONDS = float(os.environ.get("WSFAST_LOAD_SECONDS") or 0.3)
AT_ONCE = 8
PATIENCE = 60  # a sanitized build is slow

SERVERS = [
    ("event", "epoll", "asyncio", "plain"),
    ("event", "epoll", "uvloop", "tls"),
    ("coroutine", "epoll", "uvloop", "plain"),
    ("coroutine", "epoll", "asyncio", "tls"),
    ("event", "asyncio", "asyncio", "plain"),
    ("coroutine", "asyncio", "uvloop", "tls"),
]

# Sizes, how many are in flight, and how the load generator sends them.
ECHOES = [
    (32, 1, []),
    (32, 16, ["--binary", "--random-keys", "--sliding"]),
    (1000, 16, []),
    (70_000, 1, ["--binary", "--random-keys"]),
    (70_000, 16, ["--sliding"]),
    (2**20, 2, ["--binary"]),
]


class Server:
    """server.py in a process of its own; its ports are those of its three kinds of work."""

    def __init__(self, process, log, context):
        self.process = process
        self.log = log
        self.context = context
        line = process.stdout.readline().split()
        self.ports = dict(zip(("echo", "push", "broadcast"), map(int, line), strict=True))

    def uri(self, work):
        scheme = "ws" if self.context is None else "wss"
        return f"{scheme}://127.0.0.1:{self.ports[work]}/"

    @contextlib.asynccontextmanager
    async def connected(self, work, buffer=None):
        """A raw client whose request was sent; with a receive buffer of so many bytes."""
        with contextlib.ExitStack() as stack:
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            if buffer is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(sock, ("127.0.0.1", self.ports[work]))
            options = {}
            if self.context is not None:
                options = {"ssl": self.context, "server_hostname": "127.0.0.1"}
            reader, writer = await asyncio.open_connection(sock=sock, **options)
            stack.pop_all()
        peer = Peer(reader, writer, client=True)
        try:
            peer.write(request())
            yield peer
        finally:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    @contextlib.asynccontextmanager
    async def opened(self, work, **options):
        """A raw client behind its opening handshake."""
        async with self.connected(work, **options) as peer:
            assert (await peer.head()).status == 101
            yield peer


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module", params=SERVERS, ids="-".join)
def server(request, authority, tmp_path_factory):
    *arguments, security = request.param
    context = None
    if security == "tls":
        context = ssl.create_default_context()
        authority.configure_trust(context)
        path = tmp_path_factory.mktemp("tls") / "server.pem"
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(path)
        arguments.append(str(path))
    log = tmp_path_factory.mktemp("log") / "stderr"
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("server.py")), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            text=True,
        )
    with process:
        try:
            yield Server(process, log, context)
            process.stdin.close()
            status = process.wait(PATIENCE)
            assert (status, log.read_text()) == (0, ""), log.read_text()
        finally:
            process.kill()


@pytest.fixture(autouse=True)
def alive(server):
    yield
    assert server.process.poll() is None, f"the server died: {server.log.read_text()}"


# The load generator


@pytest.fixture(scope="module")
def load_generator():
    """Runs bench/load.c, which checks what it gets."""
    programs, tls = build_programs()
    # It is not to be sanitized.
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}

    def run(server, work, *arguments):
        if server.context is not None:
            if not tls:
                pytest.skip("the load generator has no TLS: there are no headers of OpenSSL")
            arguments = (*arguments, "--tls")
        command = [programs["load"], "--port", str(server.ports[work]), "--warmup", "0"]
        command += ["--seconds", str(SECONDS), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")

    return run


@pytest.mark.parametrize(("size", "depth", "options"), ECHOES)
def test_every_echo_comes(server, load_generator, size, depth, options):
    arguments = ["--connections", "20", "--size", str(size), "--depth", str(depth)]
    load_generator(server, "echo", *arguments, *options)


def test_everything_that_is_pushed_comes(server, load_generator):
    load_generator(server, "push", "--receive", "--connections", "20", "--size", "1024")


def test_every_broadcast_comes(server, load_generator):
    load_generator(server, "broadcast", "--broadcast", "3", "--connections", "50", "--size", "1024")


def test_connections_come_and_go(server, load_generator):
    load_generator(server, "echo", "--handshakes", "--with-closing", "--connections", "50")


# Rough clients


def roughly(play, *arguments):
    """Play again and again, several at once, until the time is over."""

    async def one(seed):
        chance = random.Random(seed)
        while time.monotonic() < end:
            async with asyncio.timeout(PATIENCE):
                await play(chance, *arguments)

    async def all_of_them():
        async with asyncio.TaskGroup() as group:
            for seed in range(AT_ONCE):
                group.create_task(one(seed))

    end = time.monotonic() + SECONDS
    asyncio.run(all_of_them())


def size_of(chance):
    """Small, large, and at the sizes where something changes."""
    return chance.choice([0, 1, 125, 126, 1000, 16_384, 16_385, 65_535, 65_536, 200_000])


def conversation(chance):
    """Bytes of frames to an echo, and the payloads that are to come back."""
    wire, messages = [], []
    for _ in range(chance.randint(1, 6)):
        size = size_of(chance)
        opcode = chance.choice([TEXT, BINARY])
        letter = chance.choice(["a", "\N{SNOWMAN}"]).encode() if opcode == TEXT else b"\xff"
        data = letter * (size // len(letter))
        messages.append((opcode, data))
        # A key of zeros, or one that costs time here.
        mask = bytes(4) if size > 1000 else chance.randbytes(4)
        cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.choice([0, 0, 1, 3])))
        for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True):
            fin = stop == len(data)
            wire.append(frame(opcode, data[start:stop], fin=fin, mask=mask))
            if chance.random() < 0.2:
                wire.append(frame(chance.choice([PING, PONG]), chance.randbytes(20), mask=mask))
            if fin:
                break
            opcode = CONT
    return b"".join(wire), messages


async def write_in_pieces(chance, peer, data):
    """Write data in pieces that a server reads one by one, mostly."""
    least = chance.choice([1, 100, 10_000])
    position = 0
    while position < len(data):
        size = chance.randint(1, 2 * least) if chance.random() < 0.8 else 100_000
        peer.write(data[position : position + size])
        position += size
        if chance.random() < 0.01 or len(data) < 10_000:
            await asyncio.sleep(0)
    with contextlib.suppress(OSError):
        await peer.writer.drain()


async def talk_in_pieces(chance, server):
    wire, messages = conversation(chance)
    async with server.opened("echo") as peer:
        await write_in_pieces(chance, peer, wire)
        peer.close()
        came = []
        while (item := await peer.frame()).opcode != CLOSE:
            if item.opcode != PONG:
                came.append((item.opcode, item.payload))
        assert came == messages
        assert (item.payload, await peer.rest()) == (close_payload(1000), b"")


def test_streams_come_in_any_pieces(server):
    roughly(talk_in_pieces, server)


def reset(peer):
    if not peer.writer.transport.is_closing():
        peer.reset()


async def vanish(chance, server):
    """Go away in the middle of something."""
    work = chance.choice(list(server.ports))
    wire, _ = conversation(chance)
    if chance.random() < 0.2:
        async with server.connected(work) as peer:
            await asyncio.sleep(chance.choice([0, 0.001]))
            if chance.random() < 0.5:
                peer.reset()
        return
    async with server.opened(work) as peer:
        peer.write(wire[: chance.randrange(len(wire) + 1)])
        if chance.random() < 0.3:
            peer.close()
        for _ in range(chance.randrange(5)):
            await asyncio.sleep(0.001)
        match chance.randrange(3):
            case 0:
                reset(peer)
            case 1 if server.context is None:
                peer.write_eof()
                with contextlib.suppress(OSError):
                    await peer.reader.read()
            case _:
                peer.writer.transport.abort()


def test_peers_vanish_in_the_middle_of_something(server):
    roughly(vanish, server)


async def send_garbage(chance, server):
    """Send frames of which some bytes are wrong, or any bytes at all."""
    wire = bytearray(conversation(chance)[0])
    for _ in range(chance.randint(1, 4)):
        wire[chance.randrange(min(len(wire), chance.choice([14, 2000])))] = chance.randrange(256)
    if chance.random() < 0.2:
        wire = chance.randbytes(chance.choice([10, 1000, 100_000]))
    async with server.opened("echo") as peer:
        await write_in_pieces(chance, peer, bytes(wire))
        peer.send(CLOSE, chance.choice([close_payload(1000), close_payload(999), b"\x03"]))
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(0.05):
                await peer.reader.read()


def test_peers_send_garbage(server):
    roughly(send_garbage, server)


async def read_slowly(chance, server):
    """Ask for more than is read, so that the server has a backlog; then read on, or go away."""
    work, times = chance.choice([("push", 1), ("broadcast", 1), ("broadcast", 300)])
    async with server.opened(work, buffer=4096) as peer:
        peer.stop_reading()
        for _ in range(times):
            peer.send(TEXT, "all sizes")
        await asyncio.sleep(chance.choice([0.01, 0.1]))
        peer.go_on_reading()
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            async with asyncio.timeout(0.2):  # there may be no more
                for _ in range(chance.randrange(200)):
                    await peer.frame()
            if chance.random() < 0.5:
                peer.close()
                while (await peer.frame()).opcode != CLOSE:
                    pass


def test_slow_readers_have_a_backlog(server):
    roughly(read_slowly, server)


async def use_our_client(chance, server, driver):
    options = {"driver": driver, "ssl": server.context, "max_size": 2**21, "close_timeout": 1}
    uri = server.uri(chance.choice(["echo", "push"]))
    with contextlib.suppress(wsfast.ConnectionClosedError):
        async with wsfast.connect(uri, **options) as ws:
            if uri == server.uri("push"):
                ws.send("all sizes")
                for _ in range(chance.randrange(100)):
                    await ws.recv()
            else:
                sent = [chance.randbytes(size_of(chance)) for _ in range(10)]
                sent += ["\N{SNOWMAN}" * size_of(chance), "x" * size_of(chance)]
                sending = asyncio.gather(*[ws.send(data) for data in sent])
                assert [await ws.recv() for _ in sent] == sent
                await sending
            if chance.random() < 0.3:
                ws.terminate()


@pytest.mark.parametrize("driver", ["epoll", "asyncio"])
def test_our_own_clients(server, driver):
    if driver == "epoll" and wsfast.BACKEND == "pure":
        pytest.skip("the epoll driver needs the compiled backend")
    roughly(use_our_client, server, driver)
