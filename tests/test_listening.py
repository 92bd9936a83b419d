"""Where a server listens, and how it accepts."""

import asyncio
import contextlib
import fcntl
import os
import socket
import subprocess
import sys

import pytest
from peers import PATIENCE, Accepted, client_of, echo, uri_of

import wsfast
from wsfast import engine


def serve(handler=echo, **options):
    return wsfast.serve(handler, "127.0.0.1", 0, **options)


async def round_trip(uri):
    async with asyncio.timeout(PATIENCE), wsfast.connect(uri) as ws:
        await ws.send("hello")
        assert await ws.recv() == "hello"


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="there is no ::1")


async def test_port_0_is_a_free_port_that_address_tells():
    """SE6, SV1: `address` tells where the server listens."""
    async with wsfast.serve(echo, "127.0.0.1", 0) as server:
        host, port = server.address()
        assert host == "127.0.0.1"
        assert port > 0
        await round_trip(f"ws://127.0.0.1:{port}")
    assert server.address() is None
    assert server.sockets == ()


async def test_a_server_that_closes_has_no_address_though_clients_are_connected():
    async with serve() as server, wsfast.connect(uri_of(server)) as ws:
        server.close(close_connections=False)
        assert server.address() is None
        assert server.sockets == ()
        await ws.send("hello")
        assert await ws.recv() == "hello"


@needs_ipv6
async def test_one_server_listens_on_several_hosts():
    """SV2."""
    async with wsfast.serve(echo, ["127.0.0.1", "::1"], 0) as server:
        assert len(server.sockets) == 2
        for sock in server.sockets:
            host, port = sock.getsockname()[:2]
            await round_trip(f"ws://[{host}]:{port}" if ":" in host else f"ws://{host}:{port}")


@needs_ipv6
async def test_no_host_is_every_address_of_both_families():
    """SV2: dual stack."""
    async with wsfast.serve(echo, None, 0) as server:
        for sock in server.sockets:
            loopback = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "[::1]"}[sock.family]
            await round_trip(f"ws://{loopback}:{sock.getsockname()[1]}")


async def test_a_unix_socket_is_served(tmp_path):
    """SE6: IPC; `address` is the path."""
    path = str(tmp_path / "socket")
    async with wsfast.serve(echo, unix_path=path) as server:
        assert server.address() == path
        await round_trip(f"ws+unix:{path}:/")


async def test_a_given_socket_is_served():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        async with wsfast.serve(echo, sock=sock) as server:
            assert server.address() == sock.getsockname()
            await round_trip(uri_of(server))


async def test_a_given_unix_socket_is_served(tmp_path):
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        async with wsfast.serve(echo, sock=sock):
            await round_trip(f"ws+unix:{path}:/")


async def test_an_address_in_use_is_an_oserror():
    """SE1: bind failure."""
    async with serve() as server:
        with pytest.raises(OSError, match="address already in use"):
            await wsfast.serve(echo, *server.address())


async def test_an_address_that_cannot_be_listened_on_is_named_and_nothing_stays_open():
    with pytest.raises(OSError, match=r"cannot listen on \('203\.0\.113\.1', 0\): cannot assign"):
        await wsfast.serve(echo, ["127.0.0.1", "203.0.113.1"], 0)


async def test_a_name_that_does_not_resolve_is_an_oserror():
    with pytest.raises(OSError, match="not known|resolution|No address"):
        await wsfast.serve(echo, "does-not-exist.invalid", 0)


async def test_a_path_that_cannot_be_listened_on_is_named(tmp_path):
    missing = str(tmp_path / "none" / "socket")
    with pytest.raises(OSError, match="cannot listen on .*none/socket.*: no such file"):
        await wsfast.serve(echo, unix_path=missing)
    file = tmp_path / "file"
    file.write_text("precious")
    with pytest.raises(OSError, match="cannot listen on .*file.*: address already in use"):
        await wsfast.serve(echo, unix_path=str(file))
    assert file.read_text() == "precious"


async def test_a_socket_that_another_process_left_is_replaced(tmp_path):
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(path)
    async with wsfast.serve(echo, unix_path=path):
        await round_trip(f"ws+unix:{path}:/")


async def test_two_servers_share_a_port_with_reuse_port():
    async with (
        serve(reuse_port=True) as first,
        wsfast.serve(echo, *first.address(), reuse_port=True) as second,
    ):
        assert second.address() == first.address()


async def test_connections_have_no_delay_and_are_not_inherited():
    handler = Accepted()
    async with serve(handler) as server, client_of(server):
        ws = await handler.get()
        sock = ws.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert fcntl.fcntl(sock.fileno(), fcntl.F_GETFD) & fcntl.FD_CLOEXEC
        for listening in server.sockets:
            assert not os.get_inheritable(listening.fileno())


async def test_connections_that_waited_for_the_server_have_no_delay_either():
    handler = Accepted()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        clients = [socket.create_connection(listening.getsockname()) for _ in range(3)]
        async with wsfast.serve(handler, sock=listening) as server:
            for client in (*clients, None):
                uri = uri_of(server)
                async with asyncio.timeout(PATIENCE), wsfast.connect(uri, sock=client):
                    sock = (await handler.get()).get_extra_info("socket")
                    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


# --- No more files ----------------------------------------------------------------------------

# A server that has few files left. It prints its address, and what it has used in the end.
PROGRAM = """
import asyncio, os, resource, time, wsfast

async def main():
    async def echo(ws):
        async for message in ws:
            await ws.send(message)

    server = await wsfast.serve(echo, "127.0.0.1", 0, driver={driver!r})
    limit = len(os.listdir("/proc/self/fd")) + 10
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    print(*server.address(), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, input)
    await server.close()
    print(time.process_time(), flush=True)

asyncio.run(main())
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
@pytest.mark.parametrize("driver", ["epoll", "asyncio"])
async def test_a_server_without_files_waits_quietly_until_there_are_some(driver):
    if driver == "epoll" and not engine.choose(None):
        pytest.skip("there is no epoll driver here")
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(driver=driver)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    with program:
        host, port = program.stdout.readline().split()
        uri = f"ws://{host}:{port}/"
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(12):
                stack.enter_context(socket.create_connection((host, int(port))))
            await asyncio.sleep(0.3)
        await round_trip(uri)
        output, errors = await asyncio.get_running_loop().run_in_executor(
            None, program.communicate, "\n"
        )
    assert program.returncode == 0
    assert float(output) < 2
    assert 1 <= errors.count("Too many open files") <= 100
