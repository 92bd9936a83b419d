"""TLS as a peer sees it: alerts, the end of a connection, key updates, handshakes in numbers."""

import asyncio
import contextlib
import logging
import select
import shutil
import socket
import ssl
import subprocess

import pytest
from peers import (
    CLOSE,
    MASK,
    PATIENCE,
    TEXT,
    Accepted,
    accept_of,
    client_of,
    close_payload,
    echo,
    frame,
    raw_client,
    raw_server,
    request,
    until,
    uri_of,
)
from tls_peer import TlsPeer, tls_client

import wsfast
from wsfast import engine, tls

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture(params=VERSIONS, ids=["TLS 1.2", "TLS 1.3"])
def trusting(request, ca):
    """A context of a client, for each version."""
    context = ssl.create_default_context(cadata=ca.decode())
    context.minimum_version = context.maximum_version = request.param
    return context


@pytest.fixture
def serving(identity):
    """A context of a server."""
    return tls.server_context(None, identity["cert"], identity["key"], None, None)


def serve(handler=echo, **options):
    return wsfast.serve(handler, "127.0.0.1", 0, **options)


async def soon(awaitable):
    async with asyncio.timeout(PATIENCE):
        return await awaitable


@contextlib.asynccontextmanager
async def client_peer(server, context):
    """A raw client behind both handshakes."""
    async with tls_client(server, context) as peer:
        peer.write(request())
        assert (await peer.head()).startswith("HTTP/1.1 101 ")
        yield peer


@contextlib.asynccontextmanager
async def against_server(play, serving, trusting, **options):
    """A client of a raw server, which behind both handshakes does ``play(peer)``."""

    async def accept(peer):
        peer = TlsPeer(peer.reader, peer.writer, serving, client=False)
        await peer.shake_hands()
        head = await peer.head()
        key = head.split("Sec-WebSocket-Key: ")[1].split("\r\n")[0]
        lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
        lines += [f"Sec-WebSocket-Accept: {accept_of(key)}", "", ""]
        peer.write("\r\n".join(lines).encode())
        await play(peer)

    async with raw_server(accept, scheme="wss") as uri:
        yield await soon(wsfast.connect(uri, ssl=trusting, **options))


def client_frame(opcode, payload=b""):
    return frame(opcode, payload, mask=MASK)


# --- The end ----------------------------------------------------------------------------------


async def test_a_server_ends_with_close_notify(identity, trusting):
    async with serve(**identity) as server, client_peer(server, trusting) as peer:
        peer.write(client_frame(CLOSE, close_payload(1000)))
        assert (await peer.end()).hex() == "880203e8"


async def test_a_client_ends_with_close_notify(serving, trusting):
    ends = []

    async def play(peer):
        assert (await peer.exactly(8))[:2].hex() == "8882"
        peer.write(frame(CLOSE, close_payload(1000)))
        # It is the server that ends first (RFC 6455 section 7.1.1).
        peer.close_notify()
        peer.write_eof()
        ends.append(await peer.end())

    async with against_server(play, serving, trusting) as ws:
        await soon(ws.close())
    assert ends == [b""]
    assert ws.was_clean


async def test_a_refused_request_is_answered_and_ends_with_close_notify(identity, trusting):
    async with serve(**identity, path="/chat") as server, tls_client(server, trusting) as peer:
        peer.write(request("/other"))
        assert (await peer.end()).startswith(b"HTTP/1.1 404 ")


async def test_close_notify_instead_of_a_request_is_answered_with_one(identity, trusting, caplog):
    caplog.set_level(logging.INFO, "wsfast.server")
    async with serve(**identity) as server, tls_client(server, trusting) as peer:
        peer.close_notify()
        assert await peer.end() == b""
    assert "TLS" not in caplog.text


async def test_close_notify_without_a_close_frame_is_1006_and_no_error(identity, trusting):
    handler = Accepted()
    async with serve(handler, **identity) as server, client_peer(server, trusting) as peer:
        ws = await handler.get()
        peer.write(client_frame(TEXT, b"last"))
        peer.close_notify()
        assert await soon(ws.recv()) == "last"
        await soon(ws.wait_closed())
        assert (ws.close_code, ws.was_clean, ws.error) == (1006, False, None)
        assert await peer.end() == b""


async def test_what_comes_behind_close_notify_is_ignored(identity, trusting):
    handler = Accepted()
    async with serve(handler, **identity) as server, client_peer(server, trusting) as peer:
        ws = await handler.get()
        peer.close_notify()
        peer.write_raw(b"\x17\x03\x03\x00\x05what?" * 3)
        await soon(ws.wait_closed())
        assert (ws.close_code, ws.was_clean, ws.error) == (1006, False, None)
        assert ws.stats.messages_received == 0


async def test_a_server_notices_that_a_stream_was_cut(identity, trusting):
    """Whoever is in between can send a FIN."""
    handler = Accepted()
    async with serve(handler, **identity) as server, client_peer(server, trusting) as peer:
        ws = await handler.get()
        peer.write(client_frame(TEXT, b"last") + client_frame(TEXT, b"incomplete")[:-1])
        peer.write_eof()
        assert await soon(ws.recv()) == "last"
        with pytest.raises(wsfast.ConnectionClosedError):
            await soon(ws.recv())
        await soon(ws.wait_closed())
    was_cut(ws)


async def test_a_client_notices_that_a_stream_was_cut(serving, trusting):
    async def play(peer):
        peer.write_eof()

    async with against_server(play, serving, trusting) as ws:
        with pytest.raises(wsfast.ConnectionClosedError):
            await soon(ws.recv())
        await soon(ws.wait_closed())
    was_cut(ws)


def was_cut(ws):
    assert (ws.close_code, ws.was_clean) == (1006, False)
    if engine.choose(None):
        # asyncio's transports tell such an end like any other.
        assert ws.error.code == "UNEXPECTED_EOF_WHILE_READING"
        assert isinstance(ws.error.__cause__, ssl.SSLEOFError)
        assert ws.closed_error().__cause__ is ws.error


async def test_a_peer_that_cuts_the_stream_behind_the_close_frames_is_forgiven(identity, trusting):
    """The close frame came through TLS, so that nobody else made the end of it."""
    handler = Accepted()
    async with serve(handler, **identity) as server, client_peer(server, trusting) as peer:
        ws = await handler.get()
        peer.write(client_frame(CLOSE, close_payload(1000)))
        peer.write_eof()
        await soon(ws.wait_closed())
        assert (ws.close_code, ws.was_clean, ws.error) == (1000, True, None)


async def test_an_upgrade_whose_answer_is_cut_fails(serving, trusting):
    async def play(peer):
        peer = TlsPeer(peer.reader, peer.writer, serving, client=False)
        await peer.shake_hands()
        await peer.head()
        peer.write(b"HTTP/1.1 401 Unauthorized\r\nConnection: close\r\n\r\nlog in at")
        peer.write_eof()

    async with raw_server(play, scheme="wss") as uri:
        with pytest.raises((wsfast.NetworkError, wsfast.InvalidHandshake)) as caught:
            await soon(wsfast.connect(uri, ssl=trusting))
    if engine.choose(None):
        assert caught.value.code == "UNEXPECTED_EOF_WHILE_READING"


@pytest.mark.usefixtures("epoll")
async def test_a_message_in_front_of_a_forged_record_is_delivered(identity, trusting):
    handler = Accepted()
    async with serve(handler, **identity) as server, client_peer(server, trusting) as peer:
        ws = await handler.get()
        peer.tls.write(client_frame(TEXT, b"genuine"))
        peer.write_raw(peer.outgoing.read() + b"\x17\x03\x03\x00\x28" + bytes(40))
        assert await soon(ws.recv()) == "genuine"
        await soon(ws.wait_closed())
        assert ws.close_code == 1006
        assert ws.error.code in ("DECRYPTION_FAILED_OR_BAD_RECORD_MAC", "BAD_RECORD_MAC")
        with pytest.raises(ssl.SSLError, match="(?i)alert.bad.record.mac"):
            await peer.end()


# --- Handshakes that fail ---------------------------------------------------------------------


@pytest.mark.usefixtures("epoll")
async def test_a_client_without_certificate_is_told_and_logged(identity, ca, trusting, caplog):
    caplog.set_level(logging.INFO, "wsfast.server")
    async with serve(**identity, ca=ca) as server:
        for _ in range(3):
            with pytest.raises(wsfast.NetworkError) as caught:
                await soon(wsfast.connect(uri_of(server), ssl=trusting))
            if trusting.minimum_version is ssl.TLSVersion.TLSv1_3:
                assert caught.value.code == "TLSV13_ALERT_CERTIFICATE_REQUIRED"
            else:
                assert caught.value.code == "SSLV3_ALERT_HANDSHAKE_FAILURE"
    lines = [line for line in caplog.messages if "TLS" in line]
    assert len(lines) == 3
    assert lines[0].startswith("TLS handshake failed: [SSL: PEER_DID_NOT_RETURN_A_CERTIFICATE]")


@pytest.mark.usefixtures("epoll")
async def test_the_alert_arrives_although_the_client_has_sent_more(identity, ca, trusting):
    trusting.minimum_version = trusting.maximum_version = ssl.TLSVersion.TLSv1_3
    async with serve(**identity, ca=ca) as server, tls_client(server, trusting) as peer:
        # The client's handshake is done before the server has seen that there is no certificate.
        for _ in range(10):
            peer.write(bytes(5000))
            await asyncio.sleep(0)
        with pytest.raises(ssl.SSLError, match="(?i)alert.certificate.required"):
            await peer.end()


@pytest.mark.usefixtures("epoll")
async def test_a_client_that_does_not_go_after_an_alert_is_cut_off(identity):
    async with serve(**identity, open_timeout=None, close_timeout=0.1) as server:
        async with raw_client(server, b"GET / HTTP/1.1\r\n\r\n") as peer:
            assert await peer.rest() == b""
            await until(lambda: not server._handshakes)


@pytest.mark.usefixtures("epoll")
async def test_what_speaks_no_tls_is_logged_once_and_what_says_nothing_is_not(identity, caplog):
    caplog.set_level(logging.INFO, "wsfast.server")
    async with serve(**identity) as server:
        for data in request(), b"", b"\x16\x03\x01\x02\x00\x01":
            async with raw_client(server, data) as peer:
                peer.write_eof()
                await peer.rest()
        await until(lambda: not server._handshakes)
    lines = [line for line in caplog.messages if "TLS" in line]
    assert len(lines) == 1
    assert "[SSL: HTTP_REQUEST]" in lines[0]


async def test_a_client_stalled_in_its_tls_handshake_is_dropped_when_the_server_closes(identity):
    async with serve(**identity) as server, raw_client(server, b"\x16\x03\x01") as peer:
        if not engine.choose(None) and not hasattr(server._acceptors[0], "abort_clients"):
            pytest.skip("uvloop, and asyncio before Python 3.13, do not know their transports")
        await asyncio.sleep(0.01)
        await soon(server.close())
        assert await peer.rest() == b""


# --- Handshakes in numbers --------------------------------------------------------------------


@pytest.mark.usefixtures("epoll")
async def test_others_are_served_while_hundreds_shake_hands(identity, ca):
    context = ssl.create_default_context(cadata=ca.decode())
    passes = 0

    def count_pass():
        nonlocal passes
        passes += 1
        handle[0] = loop.call_soon(count_pass)

    loop = asyncio.get_running_loop()
    async with serve(**identity) as server, client_of(server, ssl=context) as other:
        with contextlib.ExitStack() as stack:
            waiting = []
            for _ in range(200):
                sock = stack.enter_context(socket.create_connection(server.address()))
                sock.sendall(client_hello(context))
                waiting.append(sock)
            handle = [loop.call_soon(count_pass)]
            try:
                rounds = 0
                while len(answered(waiting)) < len(waiting):
                    other.send(TEXT, "still served?")
                    assert (await other.frame()).payload == b"still served?"
                    rounds += 1
                    # Four in a pass; and some passes go by before the echo is back.
                    assert len(answered(waiting)) <= 4 * passes
            finally:
                handle[0].cancel()
            assert rounds >= 8


def client_hello(context):
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def answered(socks):
    """Those to whom something came."""
    poll = select.poll()
    for sock in socks:
        poll.register(sock, select.POLLIN)
    return poll.poll(0)


@pytest.mark.usefixtures("epoll")
async def test_a_client_is_not_read_from_while_its_handshake_waits(identity, ca):
    """What it sends behind its first words would be kept, whatever it is."""
    hello = client_hello(ssl.create_default_context(cadata=ca.decode()))
    flood = bytes(2**16)
    listening = socket.create_server(("127.0.0.1", 0), backlog=100)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
    async with wsfast.serve(echo, sock=listening, **identity) as server:
        with contextlib.ExitStack() as stack:
            socks = []
            for _ in range(100):
                sock = stack.enter_context(socket.create_connection(server.address()))
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**16)
                sock.sendall(hello)
                socks.append(sock)
            socks[-1].setblocking(False)
            sent = 0
            for _ in range(20):
                await asyncio.sleep(0)
                with contextlib.suppress(BlockingIOError):
                    while True:
                        sent += socks[-1].send(flood)
            assert not answered(socks[-1:])
            assert sent < 2**20


# --- openssl as a peer ------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def openssl(*arguments):
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl command")
    child = await asyncio.create_subprocess_exec(
        "openssl",
        *arguments,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.communicate()


def s_client(server, version):
    host, port = server.address()
    where = f"{host}:{port}"
    return openssl("s_client", f"-{version}", "-connect", where, "-servername", "localhost")


async def until_output(child, data):
    return await soon(child.stdout.readuntil(data))


async def test_renegotiation_is_refused(identity):
    handler = Accepted()
    async with serve(handler, **identity) as server, s_client(server, "tls1_2") as client:
        client.stdin.write(request())
        await until_output(client, b"HTTP/1.1 101 ")
        ws = await handler.get()
        client.stdin.write(b"R\n")
        await until_output(client, b"no renegotiation")
        await soon(ws.wait_closed())
        assert ws.close_code == 1006


@pytest.mark.parametrize("meanwhile", [True, False])
async def test_where_a_user_allows_renegotiation_nothing_can_be_sent_during_it(files, meanwhile):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files["all"])
    context.options |= 1 << 8  # SSL_OP_ALLOW_CLIENT_RENEGOTIATION of OpenSSL 3
    handler = Accepted()
    async with serve(handler, ssl=context) as server, s_client(server, "tls1_2") as client:
        client.stdin.write(request())
        await until_output(client, b"HTTP/1.1 101 ")
        ws = await handler.get()
        if meanwhile:
            # In the next pass of the loop; the client's answer comes later.
            loop = asyncio.get_running_loop()
            context.sni_callback = lambda *_: loop.call_soon(ws.send, "too early") and None
        client.stdin.write(b"R\n")
        await until_output(client, b"RENEGOTIATING")
        if not meanwhile:
            client.stdin.write(client_frame(TEXT, b"done"))
            assert await soon(ws.recv()) == "done"
        elif engine.choose(None):
            await soon(ws.wait_closed())
            assert ws.error.code == "NO_RENEGOTIATION"


@pytest.mark.parametrize("command", [b"k\n", b"K\n"], ids=["theirs", "both"])
async def test_keys_may_be_updated(identity, command):
    async with serve(**identity) as server, s_client(server, "tls1_3") as client:
        client.stdin.write(request())
        await until_output(client, b"HTTP/1.1 101 ")
        for text in b"before", b"after", b"again":
            client.stdin.write(client_frame(TEXT, text))
            await until_output(client, text)
            client.stdin.write(command)
            await until_output(client, b"KEYUPDATE")
