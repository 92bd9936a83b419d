"""Node's ws and wsfast over TLS, in both directions, with certificates of clients too."""

import asyncio
import ssl

import pytest

import wsfast

pytestmark = pytest.mark.interop

TIMEOUT = 30


async def echo(ws):
    async for message in ws:
        await ws.send(message)


@pytest.fixture
def pem(identity, client_identity, ca):
    """What Node is given: text."""
    return {
        "identity": {name: data.decode() for name, data in identity.items()},
        "client": {name: data.decode() for name, data in client_identity.items()},
        "ca": ca.decode(),
    }


def secure(url, host="localhost"):
    return url.replace("ws://127.0.0.1", f"wss://{host}")


# --- A ws client and a wsfast server ----------------------------------------------------------

EXCHANGE = """
    const ws = watch(new WebSocket(url, options(pem)));
    ws.on('open', () => ws.send('through TLS'));
    ws.on('message', () => ws.close(1000));
    """
EXCHANGED = [["open"], ["message", "through TLS", False], ["close", 1000, ""]]


async def exchange(script, serving, pem, options, *, host="localhost", **server):
    """What a client of ws tells, given its options for TLS as a function of ``pem``."""
    async with (
        asyncio.timeout(TIMEOUT),
        serving(echo, **server) as url,
        script(f"const options = {options};{EXCHANGE}", url=secure(url, host), pem=pem) as client,
    ):
        return await client.ended()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
async def test_ws_verifies_the_certificate_of_a_wsfast_server(
    script, serving, pem, identity, host, version
):
    """C25, C26: by its name, and by its address."""
    options = f"({{ ca }}) => ({{ ca, minVersion: '{version}', maxVersion: '{version}' }})"
    told = await exchange(script, serving, pem, options, host=host, **identity)
    assert told == EXCHANGED


async def test_ws_takes_a_certificate_that_nobody_signed_only_if_told_to(
    script, serving, pem, identity
):
    """C25: the recipe of ws for self-signed certificates."""
    told = await exchange(script, serving, pem, "() => ({ rejectUnauthorized: false })", **identity)
    assert told == EXCHANGED
    [name, _, code], close = await exchange(script, serving, pem, "() => ({})", **identity)
    assert name == "error"
    assert "CERT" in code or code.startswith("UNABLE_TO")
    assert close == ["close", 1006, ""]


async def test_ws_shows_its_certificate_to_a_wsfast_server(
    script, serving, watch, pem, identity, ca
):
    """M9: `ca` with `verify` asks for one; `verify_client` may look at it."""
    seen = []

    def process_request(ws, request):
        certificate = ws.get_extra_info("peercert")
        seen.append(dict(certificate["subjectAltName"]))

    options = "({ ca, client }) => ({ ca, ...client })"
    server = {**identity, "ca": ca, "verify": True, "process_request": process_request}
    assert await exchange(script, serving, pem, options, **server) == EXCHANGED
    assert seen == [{"email": "client@example.com"}]


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
async def test_ws_without_a_certificate_is_refused_and_others_are_served(
    script, serving, pem, identity, ca, version
):
    """M9: the server goes on with those that have one."""
    source = """
        const refused = watch(new WebSocket(url, { ca: pem.ca, maxVersion: version }));
        await new Promise((resolve) => refused.on('close', resolve));
        const accepted = watch(new WebSocket(url, { ca: pem.ca, ...pem.client }));
        accepted.on('open', () => accepted.close(1000));
        """
    async with (
        asyncio.timeout(TIMEOUT),
        serving(echo, **identity, ca=ca, verify=True) as url,
        script(source, url=secure(url), pem=pem, version=version) as client,
    ):
        error, *rest = await client.ended()
    assert error[0] == "error"
    assert rest == [["close", 1006, ""], ["open"], ["close", 1000, ""]]


async def test_ws_that_mixes_ws_and_wss_up_is_told_so(script, serving, identity):
    """Both ways round; and the server goes on serving."""
    source = """
        const options = { rejectUnauthorized: false };
        for (const address of [url.replace('wss:', 'ws:'), url]) {
          const ws = watch(new WebSocket(address, options));
          ws.on('open', () => ws.close(1000));
          await new Promise((resolve) => ws.on('close', resolve));
        }
        """
    async with (
        asyncio.timeout(TIMEOUT),
        serving(echo, **identity) as url,
        script(source, url=secure(url)) as client,
    ):
        error, *rest = await client.ended()
        assert (error[0], error[2]) == ("error", "ECONNRESET")
        assert rest == [["close", 1006, ""], ["open"], ["close", 1000, ""]]
    source = """
        const wrong = watch(new WebSocket(url.replace('ws:', 'wss:')));
        await new Promise((resolve) => wrong.on('close', resolve));
        const ws = watch(new WebSocket(url));
        ws.on('open', () => ws.close(1000));
        """
    async with asyncio.timeout(TIMEOUT), serving(echo) as url, script(source, url=url) as client:
        error, *rest = await client.ended()
        assert error[0] == "error"
        assert rest == [["close", 1006, ""], ["open"], ["close", 1000, ""]]


async def test_ws_and_wsfast_must_have_a_version_of_tls_in_common(script, serving, pem, files):
    """C25: a client with TLS 1.2 at most, a server with 1.3 at least."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files["cert"], files["key"])
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    options = "({ ca }) => ({ ca, maxVersion: 'TLSv1.2' })"
    error, close = await exchange(script, serving, pem, options, ssl=context)
    assert error[0] == "error"
    # asyncio's transports end without the alert that says why.
    assert error[2] in ("EPROTO", "ECONNRESET")
    assert close == ["close", 1006, ""]


# --- A wsfast client and a ws server ----------------------------------------------------------

SERVER = """
    const server = https.createServer({ ...pem.identity, ...options });
    const wss = new WebSocketServer({ server, verifyClient: ({ secure }) => secure });
    wss.on('connection', (ws, request) => {
      const { subjectaltname = null } = request.socket.getPeerCertificate();
      tell(subjectaltname, request.socket.servername, request.socket.alpnProtocol);
      ws.on('message', (data, binary) => ws.send(data, { binary }));
    });
    server.on('tlsClientError', (error) => tell('refused', error.code));
    await listen(server);
    """


@pytest.fixture
def secure_server(script_server, pem, ca):
    """A context manager for a server of ws with these options for TLS."""

    def start(**options):
        if options.get("requestCert"):
            options["ca"] = ca.decode()
        return script_server(SERVER, pem=pem, options=options)

    return start


async def test_wsfast_verifies_the_certificate_of_a_ws_server(secure_server, ca):
    """C26, M12: and tells it by SNI which one it wants, if that is a name."""
    async with asyncio.timeout(TIMEOUT), secure_server() as (server, url):
        async with wsfast.connect(secure(url), ca=ca) as ws:
            assert await server.told() == [None, "localhost", "http/1.1"]
            await ws.send(b"x" * 100_000)
            assert await ws.recv() == b"x" * 100_000
        async with wsfast.connect(secure(url, "127.0.0.1"), ca=ca):
            assert await server.told() == [None, False, "http/1.1"]


async def test_wsfast_refuses_the_certificate_of_a_ws_server_that_it_cannot_verify(
    secure_server, ca
):
    """M12, M15: by default, and if it has another name; `verify=False` takes it all the same."""
    async with asyncio.timeout(TIMEOUT), secure_server() as (server, url):
        with pytest.raises(wsfast.NetworkError) as caught:
            await wsfast.connect(secure(url))
        assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
        with pytest.raises(wsfast.NetworkError):
            await wsfast.connect(secure(url), ca=ca, server_hostname="example.com")
        told = [await server.told(), await server.told()]
        assert [line[0] for line in told] == ["refused"] * 2
        async with wsfast.connect(secure(url), verify=False):
            assert (await server.told())[1] == "localhost"


@pytest.mark.parametrize(
    ("version", "alert"),
    [("TLSv1.2", "HANDSHAKE_FAILURE"), ("TLSv1.3", "CERTIFICATE_REQUIRED")],
)
async def test_wsfast_shows_its_certificate_to_a_ws_server(
    secure_server, ca, client_identity, version, alert
):
    """C25: required by the server; a client without one is refused, in both versions of TLS."""
    asking = {"requestCert": True, "rejectUnauthorized": True, "maxVersion": version}
    async with asyncio.timeout(TIMEOUT), secure_server(**asking) as (server, url):
        async with wsfast.connect(secure(url), ca=ca, **client_identity) as ws:
            assert (await server.told())[0] == "email:client@example.com"
            await ws.send("known")
            assert await ws.recv() == "known"
        with pytest.raises(wsfast.NetworkError) as caught:
            await wsfast.connect(secure(url), ca=ca)
        assert caught.value.code.endswith(alert)
        assert (await server.told())[0] == "refused"


async def test_wsfast_that_mixes_ws_and_wss_up_is_told_so(secure_server, script_server):
    """M15: the error says which it was."""
    async with asyncio.timeout(TIMEOUT), secure_server() as (_, url):
        with pytest.raises(wsfast.InvalidMessage) as caught:
            await wsfast.connect(url)
        assert caught.value.code == "WS_ERR_INVALID_HTTP"
    plain = "await listen(new WebSocketServer({ server: http.createServer() }).options.server);"
    async with asyncio.timeout(TIMEOUT), script_server(plain) as (_, url):
        with pytest.raises(wsfast.NetworkError) as caught:
            await wsfast.connect(secure(url))
        assert caught.value.code == "WRONG_VERSION_NUMBER"
        assert isinstance(caught.value.__cause__, ssl.SSLError)
