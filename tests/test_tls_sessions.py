"""TLS sessions: when a client resumes one, and when it must not."""

import asyncio
import gc
import socket
import ssl
import time
import types
import weakref

import pytest
from peers import PATIENCE, Accepted, echo, uri_of
from tls_peer import tls_client

import wsfast
from wsfast import sessions
from wsfast.sessions import Resumption

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]

# asyncio's transports take no sessions.
pytestmark = pytest.mark.usefixtures("epoll")


def make_context(files, version=None):
    """A context of a server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files["all"])
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


@pytest.fixture
def trusting(ca):
    """A context of a client."""
    return ssl.create_default_context(cadata=ca.decode())


def serve(context, handler=echo, **options):
    return wsfast.serve(handler, "127.0.0.1", 0, ssl=context, **options)


async def resumes(server, context, *, uri=None, **options):
    """Connect, and tell whether that resumed a session."""
    uri = uri_of(server) if uri is None else uri
    async with asyncio.timeout(PATIENCE), wsfast.connect(uri, ssl=context, **options) as ws:
        await ws.send("hello")
        assert await ws.recv() == "hello"
        return ws.get_extra_info("ssl_object").session_reused


# --- What is resumed --------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("tickets", [True, False])
async def test_a_client_that_connects_again_resumes_its_session(files, trusting, version, tickets):
    context = make_context(files, version)
    if not tickets:
        context.options |= ssl.OP_NO_TICKET
    handler = Accepted()
    async with serve(context, handler) as server:
        for again in False, True, True:
            async with wsfast.connect(uri_of(server), ssl=trusting) as ws:
                ours = ws.get_extra_info("ssl_object")
                theirs = (await handler.get()).get_extra_info("ssl_object")
                assert (ours.session_reused, theirs.session_reused) == (again, again)
                assert ours.version() == version.name.replace("v1_", "v1.")
                assert ours.getpeercert()["subjectAltName"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("driver", ["epoll", "asyncio"])
async def test_a_resumed_client_still_has_its_certificate(
    authority, files, trusting, version, driver
):
    context = make_context(files, version)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    authority.issue_cert("client@example.com").configure_cert(trusting)
    handler = Accepted()
    async with serve(context, handler, driver=driver) as server:
        for again in False, True:
            async with wsfast.connect(uri_of(server), ssl=trusting):
                accepted = await handler.get()
                assert accepted.get_extra_info("ssl_object").session_reused is again
                names = accepted.get_extra_info("peercert")["subjectAltName"]
                assert names == (("email", "client@example.com"),)


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_session_that_the_server_does_not_know_is_no_error(files, trusting, version):
    """As after its restart."""
    async with (
        serve(make_context(files, version)) as before,
        serve(make_context(files, version)) as after,
    ):
        for server, again in (before, False), (before, True), (after, False), (after, True):
            sock = socket.create_connection(server.address())
            assert await resumes(server, trusting, uri="wss://localhost/", sock=sock) is again


async def test_each_server_and_each_name_has_its_own(files, trusting):
    context = make_context(files)
    async with serve(context) as one, serve(context) as other:
        for again in False, True:
            assert await resumes(one, trusting) is again
            assert await resumes(other, trusting) is again
            assert await resumes(one, trusting, server_hostname="localhost") is again


async def test_a_session_is_resumed_once_and_leaves_another(files, trusting):
    async with serve(make_context(files)) as server:
        key = (*server.address(), "127.0.0.1")
        for _ in range(3):
            await resumes(server, trusting)
        assert taken(trusting, *key) == 1
        assert not await resumes(server, trusting)


async def test_a_ticket_that_was_used_is_not_kept_when_no_other_comes(files, trusting):
    context = make_context(files, ssl.TLSVersion.TLSv1_3)
    async with serve(context) as server:
        assert not await resumes(server, trusting)
        context.num_tickets = 0
        assert await resumes(server, trusting)
        assert not await resumes(server, trusting)


async def test_a_context_that_wants_no_tickets_resumes_nothing(files, trusting):
    trusting.options |= ssl.OP_NO_TICKET
    async with serve(make_context(files)) as server:
        for _ in range(2):
            assert not await resumes(server, trusting)


async def test_another_context_begins_anew(files, ca, trusting):
    async with serve(make_context(files)) as server:
        assert not await resumes(server, trusting)
        assert not await resumes(server, ssl.create_default_context(cadata=ca.decode()))
        assert await resumes(server, trusting)


# --- Verification -----------------------------------------------------------------------------


async def test_what_was_not_verified_is_not_resumed_once_it_must_be(files):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    async with serve(make_context(files)) as server:
        for again in False, True:
            assert await resumes(server, context) is again
        context.verify_mode = ssl.CERT_REQUIRED
        with pytest.raises(wsfast.NetworkError) as caught:
            await resumes(server, context)
        assert caught.value.code == "UNABLE_TO_GET_ISSUER_CERT_LOCALLY"


async def test_a_name_that_was_not_checked_is_not_resumed_once_it_must_be(files, trusting):
    trusting.check_hostname = False
    async with serve(make_context(files)) as server:
        uri = f"wss://elsewhere.example:{server.address()[1]}/"
        for again in False, True:
            assert await resumes(server, trusting, uri=uri, host="127.0.0.1") is again
        trusting.check_hostname = True
        with pytest.raises(wsfast.NetworkError, match="not valid for 'elsewhere.example'"):
            await resumes(server, trusting, uri=uri, host="127.0.0.1")


async def test_a_session_is_not_resumed_after_the_authorities_changed(files, trusting, authority):
    async with serve(make_context(files)) as server:
        assert not await resumes(server, trusting)
        trusting.load_verify_locations(cadata=type(authority)().cert_pem.bytes().decode())
        assert not await resumes(server, trusting)
        assert await resumes(server, trusting)


# --- Bounds -----------------------------------------------------------------------------------


@pytest.fixture
def connected(files):
    """Does a connection of a context, for its session."""

    async def connect(context):
        async with serve(make_context(files, ssl.TLSVersion.TLSv1_2)) as server:
            async with tls_client(server, context, "127.0.0.1") as peer:
                return peer.tls

    return connect


def taken(context, *server):
    """How many sessions there are for a server."""
    count = 0
    while Resumption(context, *server).take() is not None:
        count += 1
    return count


async def test_the_sessions_of_a_server_are_bounded(connected, trusting):
    connection = await connected(trusting)
    for _ in range(sessions.MAX_SESSIONS + 1):
        Resumption(trusting, "host").keep(connection)
    assert taken(trusting, "host") == sessions.MAX_SESSIONS


async def test_the_servers_of_a_context_are_bounded_and_the_latest_stay(connected, trusting):
    connection = await connected(trusting)
    for port in range(sessions.MAX_SERVERS):
        Resumption(trusting, "host", port).keep(connection)
    Resumption(trusting, "host", 0).keep(connection)
    Resumption(trusting, "host", sessions.MAX_SERVERS).keep(connection)
    counts = [taken(trusting, "host", port) for port in range(sessions.MAX_SERVERS + 1)]
    assert counts == [2, 0] + [1] * (sessions.MAX_SERVERS - 1)


async def test_only_the_latest_contexts_have_sessions(connected, ca):
    contexts = [
        ssl.create_default_context(cadata=ca.decode()) for _ in range(sessions.MAX_CONTEXTS + 1)
    ]
    for context in contexts:
        Resumption(context, "host").keep(await connected(context))
    counts = [taken(context, "host") for context in contexts]
    assert counts == [0] + [1] * sessions.MAX_CONTEXTS


async def test_contexts_that_nobody_has_any_more_do_not_pile_up(connected, ca):
    gone = []
    gc.disable()
    try:
        for _ in range(sessions.MAX_CONTEXTS + 3):
            context = ssl.create_default_context(cadata=ca.decode())
            gone.append(weakref.ref(context))
            Resumption(context, "host").keep(await connected(context))
        del context
        assert sum(context() is not None for context in gone) == sessions.MAX_CONTEXTS
    finally:
        gc.enable()
    gc.collect()
    assert not any(context() for context in gone)


async def test_a_session_that_expired_is_not_offered(files, trusting, monkeypatch):
    async with serve(make_context(files)) as server:
        assert not await resumes(server, trusting)
        later = time.time() + 7201  # OpenSSL's tickets are for two hours
        monkeypatch.setattr(sessions, "time", types.SimpleNamespace(time=lambda: later))
        assert not await resumes(server, trusting)
        monkeypatch.undo()
        assert await resumes(server, trusting)
