"""What goes wrong below the protocol, by the stable name that it has: ``NetworkError.code``."""

import datetime
import errno
import socket
import ssl

import pytest
import trustme
from peers import PATIENCE, against_server, echo, pair, uri_of

import wsfast
from wsfast.exceptions import CERTIFICATE_ERRORS, NetworkError

DAY = datetime.timedelta(days=1)
NOW = datetime.datetime.now(datetime.UTC)


async def refused(uri, **options):
    """The error with which a client does not connect."""
    with pytest.raises(wsfast.NetworkError) as caught:
        await wsfast.connect(uri, open_timeout=PATIENCE, **options)
    assert isinstance(caught.value, OSError)
    return caught.value


def pem(issued):
    return {
        "cert": b"".join(blob.bytes() for blob in issued.cert_chain_pems),
        "key": issued.private_key_pem.bytes(),
    }


def expired(authority):
    return authority.issue_cert("127.0.0.1", not_before=NOW - 2 * DAY, not_after=NOW - DAY)


def not_yet_valid(authority):
    return authority.issue_cert("127.0.0.1", not_before=NOW + DAY, not_after=NOW + 2 * DAY)


def of_another_host(authority):
    return authority.issue_cert("elsewhere.example")


def of_another_address(authority):
    return authority.issue_cert("127.0.0.2")


def of_another_authority(_):
    return trustme.CA().issue_cert("127.0.0.1")


class SelfSigned:
    """An authority that serves by its own certificate."""

    def __init__(self, _):
        authority = trustme.CA()
        self.cert_chain_pems = [authority.cert_pem]
        self.private_key_pem = authority.private_key_pem


class WithItsAuthority:
    """A certificate that comes with that of the authority, which nobody knows."""

    def __init__(self, _):
        authority = trustme.CA()
        issued = authority.issue_cert("127.0.0.1")
        self.cert_chain_pems = [*issued.cert_chain_pems, authority.cert_pem]
        self.private_key_pem = issued.private_key_pem


@pytest.mark.parametrize(
    ("issue", "code", "text"),
    [
        (expired, "CERT_HAS_EXPIRED", "certificate has expired"),
        (not_yet_valid, "CERT_NOT_YET_VALID", "certificate is not yet valid"),
        (of_another_host, "ERR_TLS_CERT_ALTNAME_INVALID", "IP address mismatch"),
        (of_another_address, "ERR_TLS_CERT_ALTNAME_INVALID", "IP address mismatch"),
        (of_another_authority, "UNABLE_TO_GET_ISSUER_CERT_LOCALLY", "local issuer certificate"),
        (SelfSigned, "DEPTH_ZERO_SELF_SIGNED_CERT", "self-signed certificate"),
        (WithItsAuthority, "SELF_SIGNED_CERT_IN_CHAIN", "self-signed certificate in certificate"),
    ],
)
async def test_a_certificate_that_is_not_accepted_has_the_code_that_node_gives_it(
    authority, ca, issue, code, text
):
    """M15, M12: among them CERT_HAS_EXPIRED; what OpenSSL said is the cause."""
    async with wsfast.serve(echo, "127.0.0.1", 0, **pem(issue(authority))) as server:
        error = await refused(uri_of(server), ca=ca)
    assert error.code == code
    cause = error.__cause__
    assert isinstance(cause, ssl.SSLCertVerificationError)
    assert cause.reason == "CERTIFICATE_VERIFY_FAILED"
    assert CERTIFICATE_ERRORS[cause.verify_code] == code
    assert text in str(error) or "not valid for '127.0.0.1'" in str(error)


async def test_the_name_of_a_host_must_be_that_of_the_certificate(identity, ca):
    """M15, M12"""
    async with wsfast.serve(echo, "127.0.0.1", 0, **identity) as server:
        error = await refused(uri_of(server), ca=ca, server_hostname="elsewhere.example")
    assert error.code == "ERR_TLS_CERT_ALTNAME_INVALID"


def verification_error(number):
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.reason = "CERTIFICATE_VERIFY_FAILED"
    error.verify_code = number
    return error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), "ECONNREFUSED"),
        (ConnectionResetError(errno.ECONNRESET, "reset"), "ECONNRESET"),
        (BrokenPipeError(errno.EPIPE, "broken"), "EPIPE"),
        (OSError(errno.ETIMEDOUT, "timed out"), "ETIMEDOUT"),
        (OSError(errno.ENETUNREACH, "unreachable"), "ENETUNREACH"),
        (socket.gaierror(socket.EAI_NONAME, "unknown"), "EAI_NONAME"),
        (verification_error(10), "CERT_HAS_EXPIRED"),
        (verification_error(23), "CERT_REVOKED"),
        (verification_error(12345), "CERTIFICATE_VERIFY_FAILED"),
        (ssl.SSLError(1, "something"), "WS_ERR_TLS"),
        (OSError("something"), "WS_ERR_NETWORK"),
        (EOFError(), "WS_ERR_NETWORK"),
    ],
)
def test_every_error_has_a_code_and_its_cause(error, code):
    """M15"""
    wrapped = NetworkError.wrap(error)
    assert wrapped.code == code
    assert wrapped.__cause__ is error
    assert str(wrapped)


async def test_a_reset_of_an_open_connection():
    """EV5, M15, M16: "error" with ECONNRESET and "close" with 1006, and the cause of recv()."""
    events = []
    async with against_server() as (peer, ws):
        ws.on("error", lambda error: events.append((type(error), error.code)))
        ws.on("close", lambda code, reason: events.append((code, reason)))
        peer.reset()
        with pytest.raises(wsfast.ConnectionClosedError) as caught:
            await ws.recv()
        cause = caught.value.__cause__
        assert isinstance(cause, wsfast.NetworkError)
        assert (cause.code, caught.value.close_code) == ("ECONNRESET", 1006)
        assert isinstance(cause.__cause__, OSError)
        await ws.wait_closed()
    assert events == [(NetworkError, "ECONNRESET"), (1006, "")]


async def test_a_frame_that_is_too_large():
    """M15, M10: WS_ERR_UNSUPPORTED_MESSAGE_LENGTH, with both sizes, and 1009 for the peer."""
    async with pair({"max_size": 1048576, "compression": None}, compression=None) as (ws, other):
        ws.send(bytes(2097152))
        with pytest.raises(wsfast.ConnectionClosedError) as caught:
            await other.recv()
        error = caught.value.__cause__
        assert str(error) == "Frame size of 2097152 exceeds maximum of 1048576"
        assert error.code == "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH"
        assert (error.size, error.max_size) == (2097152, 1048576)
        await ws.wait_closed()
        assert ws.close_code == 1009
