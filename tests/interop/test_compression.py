"""permessage-deflate with Node's ws, websockets and picows, in both directions.

Each peer exchanges 10,000 messages of random sizes and kinds, hundreds of them on their way at
once, and a hundred for each way in which the parameters can be agreed on. What comes back must be
what was sent: both ends have compressed it once, and inflated it once.
"""

import asyncio
import contextlib
import json
import subprocess
from pathlib import Path
from urllib.parse import urlencode

import picows.websockets.asyncio.client
import picows.websockets.asyncio.server
import pytest
import websockets.asyncio.client
import websockets.asyncio.server
from traffic import SETTINGS, WINDOW_8, Setting, agreed, cut, echo, exchange, messages
from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)

import wsfast
from wsfast.extensions import PerMessageDeflate

TIMEOUT = 90
MANY = 10_000
FEW = 100
NAME = "Sec-WebSocket-Extensions"

needs_node = pytest.mark.interop

# The server states the parameters, or the client asks for them.
MATRIX = [(who, setting) for who in ("server", "client") for setting in SETTINGS]
NODE_MATRIX = MATRIX + [(who, setting) for who in ("server", "client") for setting in WINDOW_8]
# websockets can inflate a window of 8 bits, but not compress to it.
SERVER_MATRIX = [*MATRIX, ("server", Setting(False, False, 12, 8))]
CLIENT_MATRIX = [*MATRIX, ("client", Setting(False, False, 8, 12))]

NO_TAKEOVER = {"server_no_context_takeover": True, "client_no_context_takeover": True}
# What most use, and what those use who have many connections.
COMPRESSIONS = {
    "default": True,
    "without takeover": PerMessageDeflate(threshold=0, **NO_TAKEOVER),
}
compressions = pytest.mark.parametrize(
    "compression", COMPRESSIONS.values(), ids=COMPRESSIONS.keys()
)


def identify(value):
    """What a test with this parameter is called."""
    return "-".join(str(int(part)) for part in value) if isinstance(value, Setting) else value


def compression_of(side, who, setting):
    """The extension of wsfast on this side: it asks for the parameters, or takes what it gets."""
    if side == who:
        return PerMessageDeflate(**setting.options)
    # A server asks clients for a smaller window where it may.
    more = {"request_max_window_bits": 15} if side == "server" else {}
    return PerMessageDeflate(max_window_bits=15, threshold=setting.threshold, **more)


# --- Node's ws --------------------------------------------------------------------------------


def ws_options(setting):
    """The parameters as Node's ws calls them."""
    names = [name.split("_") for name in setting.agreed]
    camels = [first + "".join(map(str.capitalize, rest)) for first, *rest in names]
    found = dict(zip(camels, setting.agreed.values(), strict=True))
    # With False it would refuse to.
    return {name: value for name, value in found.items() if value is not False}


def ws_url(ws_server, **deflate):
    return f"{ws_server}/vary?{urlencode({'deflate': json.dumps({'threshold': 0} | deflate)})}"


@needs_node
@compressions
async def test_ten_thousand_messages_come_back_from_a_ws_server(ws_server, compression):
    async with (
        asyncio.timeout(TIMEOUT),
        wsfast.connect(ws_url(ws_server), compression=compression) as ws,
    ):
        assert ws.extensions == ("permessage-deflate",)
        await exchange(ws, messages(MANY))


@needs_node
@pytest.mark.parametrize(("who", "setting"), NODE_MATRIX, ids=identify)
async def test_a_ws_server_and_wsfast_agree_on_parameters(ws_server, who, setting):
    deflate = ws_options(setting) if who == "server" else {}
    compression = compression_of("client", who, setting)
    async with (
        asyncio.timeout(TIMEOUT),
        wsfast.connect(ws_url(ws_server, **deflate), compression=compression) as ws,
    ):
        assert agreed(ws.response.headers[NAME]) == setting.agreed
        await exchange(ws, messages(FEW))


async def run_ws_clients(node, jobs):
    process = await asyncio.create_subprocess_exec(
        node,
        str(Path(__file__).parent / "peer_traffic.mjs"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        output, errors = await process.communicate(json.dumps(jobs).encode())
    except BaseException:
        process.kill()
        await process.wait()
        raise
    assert process.returncode == 0, errors.decode()
    return json.loads(output)


@needs_node
@compressions
async def test_ten_thousand_messages_come_back_to_a_ws_client(node, serving, compression):
    async with asyncio.timeout(TIMEOUT), serving(echo, compression=compression) as url:
        job = {"url": url, "deflate": {"threshold": 0}, "count": MANY}
        [result] = await run_ws_clients(node, [job])
    assert agreed(result.pop("header"))["server_no_context_takeover"] is (compression is not True)
    assert result == {"received": MANY, "wrong": None, "code": 1000}


@needs_node
async def test_a_ws_client_and_wsfast_agree_on_parameters(node, serving):
    async with asyncio.timeout(TIMEOUT), contextlib.AsyncExitStack() as stack:
        jobs = []
        for who, setting in NODE_MATRIX:
            compression = compression_of("server", who, setting)
            url = await stack.enter_async_context(serving(echo, compression=compression))
            deflate = {"threshold": 0} | (ws_options(setting) if who == "client" else {})
            jobs.append({"url": url, "deflate": deflate, "count": FEW})
        results = await run_ws_clients(node, jobs)
    for (who, setting), result in zip(NODE_MATRIX, results, strict=True):
        assert (who, agreed(result.pop("header"))) == (who, setting.agreed)
        assert result == {"received": FEW, "wrong": None, "code": 1000}, (who, setting)


# --- websockets -------------------------------------------------------------------------------


async def send_by_websockets(ws, number, data):
    """Send a message, in one of the ways that websockets has."""
    if number % 4:
        await ws.send(data)
    else:
        await ws.send(cut(data))


async def echo_by_websockets(ws):
    number = 0
    async for message in ws:
        await send_by_websockets(ws, number, message)
        number += 1


@contextlib.asynccontextmanager
async def serve_by(library, **options):
    async with library.asyncio.server.serve(
        echo_by_websockets, "127.0.0.1", 0, **options
    ) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@compressions
async def test_ten_thousand_messages_come_back_from_a_websockets_server(compression):
    async with (
        asyncio.timeout(TIMEOUT),
        serve_by(websockets) as url,
        wsfast.connect(url, compression=compression) as ws,
    ):
        assert ws.extensions == ("permessage-deflate",)
        await exchange(ws, messages(MANY))


@pytest.mark.parametrize(("who", "setting"), SERVER_MATRIX, ids=identify)
async def test_a_websockets_server_and_wsfast_agree_on_parameters(who, setting):
    factory = ServerPerMessageDeflateFactory(**(setting.agreed if who == "server" else {}))
    compression = compression_of("client", who, setting)
    async with (
        asyncio.timeout(TIMEOUT),
        serve_by(websockets, compression=None, extensions=[factory]) as url,
        wsfast.connect(url, compression=compression) as ws,
    ):
        assert agreed(ws.response.headers[NAME]) == setting.agreed
        await exchange(ws, messages(FEW))


@compressions
async def test_ten_thousand_messages_come_back_to_a_websockets_client(serving, compression):
    async with (
        asyncio.timeout(TIMEOUT),
        serving(echo, compression=compression) as url,
        websockets.asyncio.client.connect(url) as ws,
    ):
        assert ws.response.headers[NAME].startswith("permessage-deflate")
        await exchange(ws, messages(MANY), send_by_websockets)


@pytest.mark.parametrize(("who", "setting"), CLIENT_MATRIX, ids=identify)
async def test_a_websockets_client_and_wsfast_agree_on_parameters(serving, who, setting):
    options = setting.agreed if who == "client" else {"client_max_window_bits": True}
    compression = compression_of("server", who, setting)
    async with (
        asyncio.timeout(TIMEOUT),
        serving(echo, compression=compression) as url,
        websockets.asyncio.client.connect(
            url, compression=None, extensions=[ClientPerMessageDeflateFactory(**options)]
        ) as ws,
    ):
        assert agreed(ws.response.headers[NAME]) == setting.agreed
        await exchange(ws, messages(FEW), send_by_websockets)


# --- picows, whose parameters are fixed -------------------------------------------------------


async def test_ten_thousand_messages_come_back_from_a_picows_server():
    async with (
        asyncio.timeout(TIMEOUT),
        serve_by(picows.websockets) as url,
        wsfast.connect(url) as ws,
    ):
        assert ws.extensions == ("permessage-deflate",)
        await exchange(ws, messages(MANY))


@compressions
async def test_ten_thousand_messages_come_back_to_a_picows_client(serving, compression):
    async with (
        asyncio.timeout(TIMEOUT),
        serving(echo, compression=compression) as url,
        picows.websockets.asyncio.client.connect(url) as ws,
    ):
        assert ws.response.headers[NAME].startswith("permessage-deflate")
        await exchange(ws, messages(MANY), send_by_websockets)
