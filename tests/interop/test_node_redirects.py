"""A wsfast client is sent elsewhere by servers of Node: where it goes, and what it takes along."""

import asyncio
import json
from urllib.parse import quote

import pytest

import wsfast

pytestmark = pytest.mark.interop

TIMEOUT = 30

# Answers a request with `to` in its query by sending the client there, and any other with 101 and
# the headers that came.
SERVERS = """
    function serve(server) {
      const wss = new WebSocketServer({ noServer: true });
      server.on('upgrade', (request, socket, head) => {
        const { searchParams: query } = new URL(request.url, 'http://localhost');
        if (query.has('to')) {
          const status = query.get('status') ?? 302;
          socket.end(`HTTP/1.1 ${status} Moved\\r\\nLocation: ${query.get('to')}\\r\\n` +
            'Set-Cookie: from=server\\r\\nContent-Length: 5\\r\\n\\r\\nmoved');
        } else {
          wss.handleUpgrade(request, socket, head, (ws) => {
            ws.send(JSON.stringify({ url: request.url, headers: request.headers }));
          });
        }
      });
      return server;
    }
    await listen(serve(http.createServer()));
    await listen(serve(http.createServer()));
    await listen(serve(https.createServer(identity)));
    serve(http.createServer()).listen(path, () => tell('all'));
    """
# What is sent along, in the words of Node.
SECRETS = {"authorization": "Bearer token", "cookie": "session=1"}
HEADERS = {"Authorization": "Bearer token", "Cookie": "session=1", "X-Other": "kept"}


@pytest.fixture
def servers(script, identity, tmp_path):
    """An async context manager for four servers of ws: two plain ones, over TLS, on a socket."""
    path = str(tmp_path / "socket")
    pem = {name: data.decode() for name, data in identity.items()}

    class Running:
        async def __aenter__(self):
            self.script = script(SERVERS, identity=pem, path=path)
            running = await self.script.__aenter__()
            schemes = ("ws", "ws", "wss")
            urls = [f"{scheme}://localhost:{(await running.told())[0]}" for scheme in schemes]
            await running.told()
            return *urls, f"ws+unix:{path}:"

        async def __aexit__(self, *error):
            await self.script.__aexit__(*error)

    return Running()


def sent_to(url, to, **query):
    """The address that leads to another one."""
    return f"{url}/?to={quote(to, safe='')}" + "".join(f"&{k}={v}" for k, v in query.items())


async def arrival(address, **options):
    """Where a client ends that follows redirects, and what the server there was told."""
    async with wsfast.connect(address, **options) as ws:
        seen = json.loads(await ws.recv())
        return ws.url, seen["url"], seen["headers"]


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
async def test_every_redirect_is_followed_with_all_headers_within_a_server(servers, status):
    """C10, RD1: `url` is the last address; a cookie that the redirect sets is not sent."""
    async with asyncio.timeout(TIMEOUT), servers as (url, *_):
        address = sent_to(url, "/there/../here?q=1", status=status)
        end, path, headers = await arrival(address, additional_headers=HEADERS)
    assert end == f"{url}/here?q=1"
    assert path == "/here?q=1"
    assert SECRETS.items() <= headers.items()
    assert headers["x-other"] == "kept"


async def test_the_credentials_of_the_first_address_are_kept_within_a_server(servers):
    """RD1: the first Authorization counts, whatever a Location says."""
    async with asyncio.timeout(TIMEOUT), servers as (url, *_):
        first = url.replace("//", "//user:first@")
        other = url.replace("//", "//user:second@")
        _, _, headers = await arrival(sent_to(first, f"{other}/there"))
    assert headers["authorization"] == "Basic dXNlcjpmaXJzdA=="


@pytest.mark.parametrize("credentials", [{"additional_headers": HEADERS}, {"auth": "user:pass"}])
async def test_no_credentials_go_to_another_server(servers, credentials):
    """RD2: not the Host header either; and once dropped they do not come back."""
    if headers := credentials.get("additional_headers"):
        credentials = {"additional_headers": {**headers, "Host": "secret.example"}}
    async with asyncio.timeout(TIMEOUT), servers as (url, other, *_):
        _, _, headers = await arrival(sent_to(url, f"{other}/there"), **credentials)
        assert not SECRETS.keys() & headers.keys()
        assert headers["host"] == other.removeprefix("ws://")
        back = sent_to(url, sent_to(other, f"{url}/there"))
        end, _, headers = await arrival(back, **credentials)
        assert end == f"{url}/there"
        assert not SECRETS.keys() & headers.keys()


async def test_another_name_of_the_same_server_is_another_server(servers):
    """RD2: names are compared, not addresses."""
    async with asyncio.timeout(TIMEOUT), servers as (url, *_):
        to = url.replace("localhost", "127.0.0.1")
        _, _, headers = await arrival(sent_to(url, to), additional_headers=HEADERS)
    assert not SECRETS.keys() & headers.keys()


async def test_no_credentials_go_from_a_unix_socket_to_tcp_or_back(servers):
    """RD2: a Unix socket is a server of its own."""
    async with asyncio.timeout(TIMEOUT), servers as (url, _, _, unix):
        _, _, headers = await arrival(sent_to(unix, "/there"), additional_headers=HEADERS)
        assert SECRETS.items() <= headers.items()
        for address in sent_to(unix, f"{url}/there"), sent_to(url, f"{unix}/there"):
            end, _, headers = await arrival(address, additional_headers=HEADERS)
            assert end.endswith("/there")
            assert not SECRETS.keys() & headers.keys()


async def test_from_wss_to_ws_it_goes_only_if_told_to(servers, ca):
    """RD3: and without credentials."""
    async with asyncio.timeout(TIMEOUT), servers as (url, _, secure, _):
        address = sent_to(secure, f"{url}/there")
        with pytest.raises(wsfast.RedirectError) as caught:
            await wsfast.connect(address, ca=ca)
        assert str(caught.value) == f"cannot follow redirect to non-secure URI {url}/there"
        end, _, headers = await arrival(
            address, ca=ca, additional_headers=HEADERS, follow_redirects="insecure"
        )
    assert end == f"{url}/there"
    assert not SECRETS.keys() & headers.keys()


async def test_from_ws_to_wss_it_goes_and_verifies(servers):
    """C10: by the system's authorities, since there can be no others for a ws: address."""
    async with asyncio.timeout(TIMEOUT), servers as (url, _, secure, _):
        with pytest.raises(wsfast.NetworkError) as caught:
            await wsfast.connect(sent_to(url, f"{secure}/there"))
    assert "CERT" in caught.value.code


async def test_as_many_redirects_are_followed_as_max_redirects_says(servers):
    """C11: one more is an error."""
    async with asyncio.timeout(TIMEOUT), servers as (url, *_):
        address = f"{url}/there"
        for _ in range(3):
            address = sent_to(url, address)
        assert (await arrival(address, max_redirects=3))[0] == f"{url}/there"
        with pytest.raises(wsfast.RedirectError, match=r"^Maximum redirects exceeded$"):
            await wsfast.connect(address, max_redirects=2)


async def test_a_redirect_is_an_answer_like_others_if_none_are_followed(servers):
    """C10: `InvalidStatus` has the response with its Location and its body."""
    async with asyncio.timeout(TIMEOUT), servers as (url, *_):
        with pytest.raises(wsfast.InvalidStatus) as caught:
            await wsfast.connect(sent_to(url, "/there"), follow_redirects=False)
    response = caught.value.response
    assert (response.status_code, response.headers["Location"]) == (302, "/there")
    assert response.body == b"moved"


@pytest.mark.parametrize("to", ["ftp://localhost/", "ws://localhost:99999/", "/there#fragment"])
async def test_a_redirect_to_what_is_no_address_is_an_error(servers, to):
    """C2: the same exception as for an address of the user."""
    async with asyncio.timeout(TIMEOUT), servers as (url, *_):
        with pytest.raises(wsfast.InvalidURI):
            await wsfast.connect(sent_to(url, to))


async def test_a_redirect_listener_decides_what_is_taken_along(servers):
    """EV7, RD4: with one nothing is dropped; it may remove headers of the request."""
    told = asyncio.get_running_loop().create_future()
    seen = []
    async with asyncio.timeout(TIMEOUT), servers as (url, other, *_):
        ws = wsfast.WebSocket(
            sent_to(url, f"{other}/there"), follow_redirects=True, additional_headers=HEADERS
        )

        @ws.on("redirect")
        def redirect(to, request):
            seen.append((to, request.headers["Cookie"]))
            del request.headers["Cookie"]

        ws.on("message", lambda data, is_binary: told.set_result(json.loads(data)))
        headers = (await told)["headers"]
        await ws.close()
    assert seen == [(f"{other}/there", "session=1")]
    assert headers["authorization"] == "Bearer token"
    assert "cookie" not in headers


@pytest.mark.parametrize("end", ["close", "terminate"])
async def test_a_redirect_listener_may_give_up(servers, end):
    """RD5: "error" and "close" are told as if it had been closed while it connected."""
    told = asyncio.Queue()
    async with asyncio.timeout(TIMEOUT), servers as (url, *_):
        ws = wsfast.WebSocket(sent_to(url, "/there"), follow_redirects=True)
        ws.on("open", lambda: told.put_nowait("open"))
        ws.on("redirect", lambda to, request: getattr(ws, end)())
        ws.on("error", lambda error: told.put_nowait(str(error)))
        ws.on("close", lambda code, reason: told.put_nowait(code))
        assert await told.get() == "WebSocket was closed before the connection was established"
        assert await told.get() == 1006
    assert told.empty()
