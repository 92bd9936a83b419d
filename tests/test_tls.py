"""TLS: what is verified, which certificates are taken, and what goes wrong."""

import asyncio
import logging
import socket
import ssl
import warnings

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from peers import (
    PATIENCE,
    TEXT,
    Accepted,
    client_of,
    echo,
    hold,
    raw_client,
    raw_server,
    request,
    until,
    uri_of,
)

import wsfast
from wsfast import engine, tls


def serve(handler=echo, **options):
    return wsfast.serve(handler, "127.0.0.1", 0, **options)


async def round_trip(uri, data="hello", **options):
    async with asyncio.timeout(PATIENCE), wsfast.connect(uri, **options) as ws:
        await ws.send(data)
        assert await ws.recv() == data
        return ws


async def refused(uri, **options):
    """The error with which a client does not connect."""
    with pytest.raises(wsfast.NetworkError) as caught:
        await round_trip(uri, **options)
    return caught.value


# --- Certificates -----------------------------------------------------------------------------


async def test_messages_of_all_sizes_go_through_tls(identity, ca):
    """M1, M12"""
    async with serve(**identity) as server, wsfast.connect(uri_of(server), ca=ca) as ws:
        for data in "", "é", bytes(65536), bytes(2**20):
            await ws.send(data)
            assert await ws.recv() == data
        ssl_object = ws.get_extra_info("ssl_object")
        assert ssl_object.version() in ("TLSv1.2", "TLSv1.3")
        assert ws.url.startswith("wss://127.0.0.1:")


async def test_certificates_and_keys_may_be_files_or_bytes(identity, ca, files):
    """M9"""
    for options in (
        {"cert": files["cert"], "key": files["key"]},
        {"cert": str(files["cert"]), "key": str(files["key"])},
        {"cert": files["all"]},
        {"cert": identity["cert"] + identity["key"]},
        {"cert": files["cert"], "key": identity["key"]},
        {"cert": identity["cert"], "key": files["key"]},
    ):
        async with serve(**options) as server:
            for authority in ca, files["ca"], str(files["ca"]):
                await round_trip(uri_of(server), ca=authority)


async def test_certificates_are_verified_by_default(identity, caplog):
    """M9, M12, M15"""
    async with serve(**identity) as server:
        error = await refused(uri_of(server))
    assert error.code == "UNABLE_TO_GET_ISSUER_CERT_LOCALLY"
    assert isinstance(error.__cause__, ssl.SSLCertVerificationError)
    assert error.__cause__.reason == "CERTIFICATE_VERIFY_FAILED"
    assert "unable to get local issuer certificate" in str(error)
    assert caplog.text == ""


async def test_the_name_must_be_the_one_of_the_certificate(authority, ca):
    """M12, M15"""
    issued = authority.issue_cert("good.example")
    identity = {"cert": issued.cert_chain_pems[0].bytes(), "key": issued.private_key_pem.bytes()}
    async with serve(**identity) as server:
        error = await refused(uri_of(server), ca=ca)
        assert error.code == "ERR_TLS_CERT_ALTNAME_INVALID"
        assert "not valid for '127.0.0.1'" in str(error)
        port = server.address()[1]
        error = await refused(f"wss://evil.example:{port}/", ca=ca, host="127.0.0.1")
        assert "not valid for 'evil.example'" in str(error)
        await round_trip(f"wss://good.example:{port}/", ca=ca, host="127.0.0.1")
        await round_trip(uri_of(server), ca=ca, server_hostname="good.example")


async def test_verify_false_trusts_everybody(identity):
    """M9"""
    async with serve(**identity) as server:
        await round_trip(uri_of(server), verify=False)


async def test_a_context_of_the_user_is_taken(identity, ca, files):
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(files["all"])
    client_context = ssl.create_default_context(cadata=ca.decode())
    async with serve(ssl=server_context) as server:
        await round_trip(uri_of(server), ssl=client_context)


async def test_a_given_socket_is_encrypted_too(identity, ca):
    async with serve(**identity) as server:
        sock = socket.create_connection(server.address())
        await round_trip("wss://localhost/", ca=ca, sock=sock)


async def test_a_unix_socket_may_be_encrypted(identity, ca, tmp_path):
    path = str(tmp_path / "socket")
    async with wsfast.serve(echo, unix_path=path, **identity):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(path)
        await round_trip("wss://localhost/", ca=ca, sock=sock)


# --- Certificates of clients ------------------------------------------------------------------


async def turned_away(uri, **options):
    """Not connected: with the server's TLS alert, if it arrives before the end of the stream."""
    with pytest.raises((wsfast.NetworkError, wsfast.InvalidMessage)):
        await round_trip(uri, **options)


async def test_client_certificates_are_asked_for_and_verified(identity, client_identity, ca):
    """C25, M9."""
    handler = Accepted()
    async with serve(handler, **identity, ca=ca) as server:
        async with wsfast.connect(uri_of(server), ca=ca, **client_identity):
            ws = await handler.get()
            names = ws.get_extra_info("peercert")["subjectAltName"]
            assert names == (("email", "client@example.com"),)
        await turned_away(uri_of(server), ca=ca)
    assert handler.connections.empty()


async def test_client_certificates_of_a_stranger_are_refused(identity, ca):
    """M9"""
    stranger = trustme.CA().issue_cert("client@example.com")
    options = {
        "cert": stranger.cert_chain_pems[0].bytes(),
        "key": stranger.private_key_pem.bytes(),
    }
    handler = Accepted()
    async with serve(handler, **identity, ca=ca) as server:
        await turned_away(uri_of(server), ca=ca, **options)
    assert handler.connections.empty()


async def test_client_certificates_may_be_optional(identity, client_identity, ca):
    """M9"""
    handler = Accepted()
    async with serve(handler, **identity, ca=ca, verify=False) as server:
        for options, has_certificate in ({}, False), (client_identity, True):
            async with wsfast.connect(uri_of(server), ca=ca, **options):
                ws = await handler.get()
                assert bool(ws.get_extra_info("peercert")) is has_certificate


# --- Contexts ---------------------------------------------------------------------------------


def test_the_default_context_of_a_client_is_strict_and_made_once():
    """M12"""
    context = wsfast.connect("wss://example.com").ssl
    assert context is wsfast.connect("wss://example.org", verify=True).ssl
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert wsfast.connect("ws://example.com").ssl is None


def test_contexts_made_from_options_are_strict_too(identity, ca):
    """M12"""
    context = wsfast.connect("wss://example.com", ca=ca, **identity).ssl
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    server = wsfast.WebSocketServer("", 1, **identity)
    assert server.ssl.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert server.ssl.verify_mode is ssl.CERT_NONE


@pytest.mark.parametrize("as_file", [True, False])
def test_an_encrypted_key_is_refused_instead_of_asking_on_the_terminal(identity, tmp_path, as_file):
    key = serialization.load_pem_private_key(identity["key"], None)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.BestAvailableEncryption(b"password"),
    )
    path = tmp_path / "key.pem"
    path.write_bytes(encrypted)
    with pytest.raises(ValueError, match="the key is encrypted; load it into an SSLContext"):
        wsfast.WebSocketServer("", 1, cert=identity["cert"], key=path if as_file else encrypted)


def test_no_key_stays_behind_in_a_file(identity, ca, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    tls.server_context(None, identity["cert"], identity["key"], None, None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("give", [True, False])
def test_our_contexts_refuse_renegotiation_and_those_of_users_stay_as_they_are(identity, give):
    contexts = [ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()]
    before = [context.options for context in contexts]
    server = {"ssl": contexts[0]} if give else identity
    client = {"ssl": contexts[1]} if give else {}
    made = wsfast.WebSocketServer("", 1, **server).ssl, wsfast.connect("wss://x", **client).ssl
    for context in made:
        assert bool(context.options & ssl.OP_NO_RENEGOTIATION) is not give
    assert [context.options for context in contexts] == before


# --- What the two sides agree on --------------------------------------------------------------


async def test_our_contexts_agree_on_http_1_1(identity, ca):
    handler = Accepted()
    async with serve(handler, **identity) as server, wsfast.connect(uri_of(server), ca=ca) as ws:
        for end in ws, await handler.get():
            ssl_object = end.get_extra_info("ssl_object")
            assert ssl_object.selected_alpn_protocol() == "http/1.1"


@pytest.mark.parametrize(
    ("offered", "known", "selected"),
    [
        (["http/1.1"], ["http/1.1"], "http/1.1"),
        (["x-first", "http/1.1"], ["http/1.1", "x-first"], "http/1.1"),
        (["http/1.1"], ["x-other"], None),
        (["http/1.1"], [], None),
        ([], ["http/1.1"], None),
    ],
)
async def test_the_protocols_of_a_users_context_are_kept(files, ca, offered, known, selected):
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(files["all"])
    client_context = ssl.create_default_context(cadata=ca.decode())
    if known:
        server_context.set_alpn_protocols(known)
    if offered:
        client_context.set_alpn_protocols(offered)
    handler = Accepted()
    async with (
        serve(handler, ssl=server_context) as server,
        wsfast.connect(uri_of(server), ssl=client_context) as ws,
    ):
        for end in ws, await handler.get():
            assert end.get_extra_info("ssl_object").selected_alpn_protocol() == selected


async def test_the_server_is_told_the_name_and_may_take_another_context(authority, files, ca):
    """C26."""
    names = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files["all"])
    other = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("other.example").configure_cert(other)

    def choose(ssl_object, name, original):
        names.append(name)
        assert original is context
        if name == "other.example":
            ssl_object.context = other

    context.sni_callback = choose
    async with serve(ssl=context) as server:
        port = server.address()[1]
        for host in "localhost", "other.example", "127.0.0.1", "LOCALHOST.":
            # The certificate is verified, that for the address too.
            await round_trip(f"wss://{host}:{port}/", ca=ca, host="127.0.0.1")
        await round_trip(uri_of(server), ca=ca, server_hostname="other.example")
    assert names == ["localhost", "other.example", None, "localhost", "other.example"]


async def test_a_name_that_the_server_refuses_is_told(files, ca):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files["all"])
    context.sni_callback = lambda *_: ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
    async with serve(ssl=context) as server:
        error = await refused(f"wss://localhost:{server.address()[1]}/", ca=ca, host="127.0.0.1")
    if engine.choose(None):
        # asyncio's transports send no alerts.
        assert error.code == "TLSV1_UNRECOGNIZED_NAME"


async def test_an_address_must_be_in_the_certificate_too(authority, ca):
    """C26."""
    issued = authority.issue_cert("localhost", "127.0.0.2")
    identity = {"cert": issued.cert_chain_pems[0].bytes(), "key": issued.private_key_pem.bytes()}
    async with serve(**identity) as server:
        error = await refused(uri_of(server), ca=ca)
    assert "IP address mismatch" in str(error)


async def test_transports_tell_about_tls_by_the_same_names(identity, ca):
    handler = Accepted()
    async with serve(handler, **identity) as server, wsfast.connect(uri_of(server), ca=ca) as ws:
        accepted = await handler.get()
        for end in ws, accepted:
            assert end.get_extra_info("sslcontext").minimum_version is ssl.TLSVersion.TLSv1_2
            assert end.get_extra_info("cipher")[1] == "TLSv1.3"
            assert end.get_extra_info("compression") is None
        assert ("DNS", "localhost") in ws.get_extra_info("peercert")["subjectAltName"]
        assert not accepted.get_extra_info("peercert")


# --- What goes wrong --------------------------------------------------------------------------


async def test_a_client_of_a_server_without_tls_is_told_so():
    """M15."""
    async with serve() as server:
        uri = uri_of(server).replace("ws:", "wss:")
        error = await refused(uri, verify=False)
    assert error.code in ("WRONG_VERSION_NUMBER", "ECONNRESET", "RECORD_LAYER_FAILURE")


async def test_a_server_survives_clients_without_tls(identity, ca, caplog):
    async with serve(**identity) as server:
        for data in request(), b"", b"\x16\x03\x01\x02\x00\x01":
            async with raw_client(server, data) as peer:
                peer.write_eof()
                await peer.rest()
        await round_trip(uri_of(server), ca=ca)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_client_that_never_ends_its_tls_handshake_is_closed(identity):
    async with (
        serve(**identity, open_timeout=0.1) as server,
        raw_client(server, b"\x16\x03\x01") as peer,
    ):
        assert await peer.rest() == b""


async def test_a_server_that_never_ends_its_tls_handshake_is_given_up():
    async def play(peer):
        await peer.rest()

    async with raw_server(play, scheme="wss") as uri:
        with pytest.raises(TimeoutError, match="timed out during opening handshake"):
            await wsfast.connect(uri, open_timeout=0.1)


async def test_a_server_that_resets_the_tls_handshake_is_econnreset():
    """M15"""

    async def play(peer):
        await peer.exactly(1)
        peer.reset()

    async with raw_server(play, scheme="wss") as uri:
        assert (await refused(uri)).code == "ECONNRESET"


# --- Behaviour through TLS --------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("side", ["client", "server"])
async def test_both_versions_of_tls_work_from_end_to_end(version, side, identity, ca, files):
    """M12"""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(files["all"])
    client_context = ssl.create_default_context(cadata=ca.decode())
    context = client_context if side == "client" else server_context
    context.minimum_version = context.maximum_version = version
    async with serve(ssl=server_context) as server:
        async with wsfast.connect(uri_of(server), ssl=client_context) as ws:
            for data in "hello", bytes(300_000):
                await ws.send(data)
                assert await ws.recv() == data
            name = ws.get_extra_info("ssl_object").version()
            assert name == {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}[version.name]
        assert ws.was_clean


async def test_a_client_of_tls_1_1_is_refused(identity, ca):
    """M12"""
    context = ssl.create_default_context(cadata=ca.decode())
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with serve(**identity) as server:
        await refused(uri_of(server), ssl=context)


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_tls_records_may_come_in_pieces_of_any_size(size, identity, ca):
    async def relay(reader, writer):
        there = await asyncio.open_connection(*server.address())
        await asyncio.gather(forward(reader, there[1]), forward(there[0], writer))

    async def forward(reader, writer):
        while data := await reader.read(2**16):
            for start in range(0, len(data), size):
                writer.write(data[start : start + size])
                await asyncio.sleep(0)
        writer.close()

    async with serve(**identity) as server:
        between = await asyncio.start_server(relay, "127.0.0.1", 0)
        uri = "wss://{}:{}/".format(*between.sockets[0].getsockname())
        for data in "hello", bytes(5000):
            await round_trip(uri, data, ca=ca)
        between.close()
        await until(lambda: not server.connections)


async def test_the_closing_handshake_goes_through_tls(identity, ca):
    async with serve(**identity) as server:
        async with client_of_tls(server, ca) as peer:
            peer.close(4000, "bye")
            assert await peer.closed() == (4000, "bye")
        async with wsfast.connect(uri_of(server), ca=ca) as ws:
            await ws.close(4001, "bye")
            assert (ws.close_code, ws.was_clean) == (4001, True)


def client_of_tls(server, ca):
    return client_of(server, ssl=ssl.create_default_context(cadata=ca.decode()))


async def test_verify_client_knows_that_it_is_secure(identity, ca):
    """SV9."""
    seen = []

    def verify(info):
        seen.append(info.secure)
        return True

    async with serve(**identity, verify_client=verify) as server:
        await round_trip(uri_of(server), ca=ca)
    assert seen == [True]


@pytest.mark.parametrize("size", [100, 100_000], ids=["held", "sent from where it is"])
async def test_a_finalizer_may_send_while_python_encrypts(size, identity, ca):
    class Interrupted(ssl.SSLObject):
        """As if the collector ran, and in it a finalizer that sends."""

        def write(self, data):
            while extra:
                ws.send(extra.pop())
            return super().write(data)

    try:
        engine.choose("epoll")
    except ValueError:
        pytest.skip("the epoll driver needs Linux and the compiled backend")
    context = tls.server_context(None, identity["cert"], identity["key"], None, None)
    context.sslobject_class = Interrupted
    extra = []
    handler = Accepted()
    async with (
        serve(handler, ssl=context, driver="epoll") as server,
        wsfast.connect(uri_of(server), ca=ca) as client,
    ):
        ws = await handler.get()
        extra.append(b"e" * 70_000)  # which does not fit into what is held
        ws.send(b"m" * size)
        async with asyncio.timeout(PATIENCE):
            messages = [await client.recv(), await client.recv()]
        assert messages == [b"e" * 70_000, b"m" * size]


async def test_a_slow_peer_stops_us_through_tls(identity, ca):
    handler = Accepted()
    async with serve(handler, **identity) as server, client_of_tls(server, ca) as peer:
        ws = await handler.get()
        peer.stop_reading()
        count = 0
        while not ws.is_blocked:
            ws.send(bytes(2**20))
            count += 1
        assert count < 16
        sending = asyncio.create_task(ws.send("last"))
        peer.go_on_reading()
        for _ in range(count + 1):
            await peer.frame()
        await sending


async def test_a_slow_consumer_stops_the_peer_through_tls(identity, ca):
    handler = Accepted()
    async with (
        serve(handler, **identity, max_queue=4) as server,
        wsfast.connect(uri_of(server), ca=ca, max_write_buffer=None) as client,
    ):
        ws = await handler.get()
        for number in range(2000):
            client.send(str(number) + "x" * 1000)
        await until(lambda: not ws.is_reading)
        await asyncio.sleep(0.01)
        assert ws.stats.messages_received < 1000
        for number in range(2000):
            assert (await ws.recv()).startswith(str(number))


async def test_a_refused_request_is_answered_through_tls(identity, ca):
    async with serve(**identity, path="/chat") as server:
        with pytest.raises(wsfast.InvalidStatus) as caught:
            await round_trip(uri_of(server), ca=ca)
        assert caught.value.response.status_code == 404


@pytest.mark.parametrize("side", ["client", "server"])
async def test_a_peer_that_never_ends_the_connection_is_cut_off_through_tls(side, identity, ca):
    options = {"close_timeout": 0.1}
    if side == "server":
        handler = Accepted()
        async with (
            serve(handler, **identity, **options) as server,
            client_of_tls(server, ca) as peer,
        ):
            ws = await handler.get()
            peer.stop_reading()
            ws.close()
            async with asyncio.timeout(PATIENCE):
                await ws.wait_closed()
            peer.go_on_reading()
    else:
        context = tls.server_context(None, identity["cert"], identity["key"], None, None)
        async with raw_server(never_close, scheme="wss", ssl=context) as uri:
            ws = await wsfast.connect(uri, ca=ca, **options)
            async with asyncio.timeout(PATIENCE):
                await ws.close()
    assert ws.close_code == 1006


async def never_close(peer):
    await peer.accept()
    await peer.rest()


@pytest.mark.parametrize("how", ["with a reset", "with the end of the stream"])
async def test_a_peer_that_vanishes_without_close_notify_is_1006(how, identity, ca):
    handler = Accepted()
    async with serve(handler, **identity) as server, client_of_tls(server, ca) as peer:
        ws = await handler.get()
        peer.send(TEXT, "last words")
        assert await ws.recv() == "last words"
        if how == "with a reset":
            peer.reset()
        else:
            peer.writer.transport.abort()
        async with asyncio.timeout(PATIENCE):
            await ws.wait_closed()
        assert ws.close_code == 1006


async def test_a_raw_server_with_tls(identity, ca):
    context = tls.server_context(None, identity["cert"], identity["key"], None, None)
    async with raw_server(hold, scheme="wss", ssl=context) as uri:
        async with wsfast.connect(uri, ca=ca) as ws:
            await ws.send("x")
        assert ws.close_code == 1000


async def test_a_server_closes_its_clients_through_tls(identity, ca):
    async with serve(**identity) as server:
        async with wsfast.connect(uri_of(server), ca=ca) as ws:
            await server.close()
            await ws.wait_closed()
            assert ws.close_code == 1001
        assert not server.is_serving


async def test_plain_and_encrypted_servers_go_side_by_side(identity, ca):
    async with serve(**identity) as encrypted, serve() as plain, client_of(plain):
        await asyncio.gather(
            round_trip(uri_of(encrypted), ca=ca),
            round_trip(uri_of(plain)),
        )


async def test_broadcasts_of_one_pass_come_in_order_through_tls(identity, ca):
    handler = Accepted()
    async with (
        serve(handler, **identity) as server,
        wsfast.connect(uri_of(server), ca=ca) as first,
        wsfast.connect(uri_of(server), ca=ca) as second,
    ):
        connections = [await handler.get(), await handler.get()]
        texts = [f"{number} " * 500 for number in range(20)]
        for text in texts:
            wsfast.broadcast(connections, text)
        for ws in connections:
            ws.send("behind them")
        async with asyncio.timeout(PATIENCE):
            for client in (first, second):
                received = [await client.recv() for _ in range(len(texts) + 1)]
                assert received == [*texts, "behind them"]
