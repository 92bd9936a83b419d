"""The records of the loggers, with their attributes."""

import asyncio
import logging
import re
from pathlib import Path

import pytest
from peers import (
    PATIENCE,
    Accepted,
    client_of,
    close_payload,
    echo,
    exchange,
    hold,
    raw_client,
    raw_server,
    request,
    until,
    uri_of,
)

import wsfast
from wsfast import logs

PAGE = Path(__file__).resolve().parent.parent / "docs" / "monitoring.md"
STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


def serve(handler=echo, **options):
    return wsfast.serve(handler, "127.0.0.1", 0, **options)


@pytest.fixture
def log(caplog):
    """What was logged up to now, but for what a server tells of itself."""
    caplog.set_level(logging.DEBUG, "wsfast")

    def records():
        return [
            (record.levelname, record.getMessage(), attributes(record))
            for record in caplog.records
            if record.name.startswith("wsfast") and not record.event.startswith("server_")
        ]

    return records


def attributes(record):
    return {name: value for name, value in vars(record).items() if name not in STANDARD}


async def emptied(server):
    await until(lambda: not server._open and not server._handshakes)


def about(ws, event, peer, **more):
    return {
        "event": event,
        "websocket": ws,
        "connection_id": str(ws.id),
        "remote_address": peer,
        **more,
    }


def ending(code, reason="", sent=None, error=None):
    return {"close_code": code, "close_reason": reason, "close_sent": sent, "error_code": error}


# --- Connections ------------------------------------------------------------------------------


async def test_the_life_of_a_connection_is_logged_at_debug(log):
    """M20: both sides, with what a formatter may need."""
    handler = Accepted()
    async with serve(handler) as server:
        async with wsfast.connect(uri_of(server), logger=logging.getLogger("wsfast.mine")) as ws:
            other = await handler.get()
            own, remote = ws.local_address, ws.remote_address
            await ws.close(4000, "enough")
        await emptied(server)
        both = [(level, text, extra) for level, text, extra in log() if extra["websocket"] is other]
        closed = "received 4000 (private use) enough; then sent 4000 (private use) enough"
        ended = ending(4000, "enough", 4000)
        assert both == [
            ("DEBUG", "connection opened", about(other, "connection_opened", own)),
            (
                "DEBUG",
                f"connection closed: {closed}",
                about(other, "connection_closed", own, **ended),
            ),
        ]
        mine = [(level, text, extra) for level, text, extra in log() if extra["websocket"] is ws]
        closed = "sent 4000 (private use) enough; then received 4000 (private use) enough"
        assert mine == [
            (
                "DEBUG",
                f"connected to {uri_of(server)}",
                about(ws, "connection_opened", remote),
            ),
            (
                "DEBUG",
                f"connection closed: {closed}",
                about(ws, "connection_closed", remote, **ended),
            ),
        ]


async def test_a_bad_peer_is_one_line_at_info(log):
    """M20."""
    handler = Accepted()
    async with serve(handler) as server:
        async with client_of(server) as peer:
            ws = await handler.get()
            address = ws.remote_address
            peer.write("c30100000000")
            await peer.frame()
        await emptied(server)
        reason = "Invalid WebSocket frame: RSV1 must be clear"
        ended = ending(1006, "", 1002, "WS_ERR_UNEXPECTED_RSV_1")
        assert log()[1:] == [
            (
                "INFO",
                f"connection failed: {reason}",
                about(ws, "connection_failed", address, **ended),
            )
        ]


async def test_a_bad_server_is_one_line_at_info(log):
    async def play(peer):
        await peer.accept()
        peer.write("c100")
        await peer.frame()

    async with raw_server(play) as uri:
        async with wsfast.connect(uri) as ws:
            with pytest.raises(wsfast.ConnectionClosedError):
                await ws.recv()
        (level, text, extra) = log()[-1]
        assert (level, extra["event"]) == ("INFO", "connection_failed")
        assert extra["error_code"] == "WS_ERR_UNEXPECTED_RSV_1"


async def test_a_connection_that_breaks_is_logged_with_its_error(log):
    async with serve() as server:
        async with client_of(server) as peer:
            peer.reset()
            await emptied(server)
        (level, text, extra) = log()[-1]
        assert (level, text) == ("DEBUG", "connection closed: no close frame received or sent")
        assert (extra["close_code"], extra["error_code"]) == (1006, "ECONNRESET")
        assert extra["remote_address"][0] == "127.0.0.1"


async def test_a_handler_that_fails_is_logged_at_error(log, caplog):
    """M20."""
    failing = []

    async def handler(ws):
        failing.append((ws, ws.remote_address))
        raise KeyError("why")

    async with serve(handler) as server:
        async with client_of(server) as peer:
            assert (await peer.frame()).payload == close_payload(1011)
        await emptied(server)
        [(ws, address)] = failing
        errors = [record for record in log() if record[0] == "ERROR"]
        extra = about(ws, "handler_failed", address, error_code="KeyError")
        assert errors == [("ERROR", "connection handler failed", extra)]
        [record] = [record for record in caplog.records if record.levelname == "ERROR"]
        assert repr(record.exc_info[1]) == "KeyError('why')"


# --- Handshakes -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "status_code", "error_code", "text"),
    [
        (request("/x"), 404, "WS_ERR_INVALID_PATH", "there is no WebSocket at this path"),
        (request("/ws", without=["Host"]), 400, "WS_ERR_INVALID_HTTP", "missing Host header"),
        (
            request("/ws", origin="https://b.example"),
            403,
            "WS_ERR_INVALID_ORIGIN",
            "invalid Origin header: https://b.example",
        ),
    ],
)
async def test_a_bad_request_is_one_line_at_info(log, data, status_code, error_code, text):
    """M20."""
    async with serve(path="/ws", origins=["https://a.example"]) as server:
        async with raw_client(server, data) as peer:
            await peer.response()
            address = peer.writer.get_extra_info("sockname")
        await emptied(server)
        extra = {
            "event": "handshake_refused",
            "remote_address": address,
            "status_code": status_code,
            "error_code": error_code,
        }
        assert log() == [("INFO", f"connection rejected: {text}", extra)]


async def test_what_a_hook_refuses_is_logged_at_debug(log):
    async with serve(verify_client=lambda info: False) as server:
        await exchange(server, request())
        await emptied(server)
        [(level, text, extra)] = log()
        assert (level, text) == ("DEBUG", "connection rejected: status 401")
        assert extra == extra | {"event": "handshake_refused", "status_code": 401}
        assert extra["error_code"] is None


async def test_a_hook_that_fails_is_logged_at_error(log):
    def process_request(ws, request):
        raise ZeroDivisionError("why")

    async with serve(process_request=process_request) as server:
        await exchange(server, request())
        await emptied(server)
        [(level, text, extra)] = log()
        assert (level, text) == ("ERROR", "opening handshake failed")
        assert (extra["event"], extra["status_code"]) == ("handshake_failed", 500)
        assert extra["error_code"] == "ZeroDivisionError"
        assert extra["remote_address"][0] == "127.0.0.1"


async def test_a_client_that_sends_no_request_is_logged_at_debug(log):
    async with serve(open_timeout=0.05) as server:
        async with raw_client(server) as peer:
            await peer.rest()
            address = peer.writer.get_extra_info("sockname")
        extra = {"event": "handshake_timed_out", "remote_address": address}
        assert log() == [("DEBUG", "opening handshake timed out", extra)]


async def test_a_client_that_fails_at_tls_is_logged_at_info(log, identity, epoll):
    async with serve(**identity) as server:
        async with raw_client(server, request()) as peer:
            await peer.rest()
            address = peer.writer.get_extra_info("sockname")
        await emptied(server)
        [(level, text, extra)] = log()
        assert level == "INFO"
        assert text.startswith("TLS handshake failed: ")
        assert extra == {
            "event": "tls_failed",
            "remote_address": address,
            "error_code": "HTTP_REQUEST",
        }


# --- Servers and clients ----------------------------------------------------------------------


async def test_the_life_of_a_server_is_logged_at_info(caplog):
    caplog.set_level(logging.INFO, "wsfast.server")
    async with serve() as server:
        host, port = server.address()
    assert [(record.getMessage(), attributes(record)) for record in caplog.records] == [
        (
            f"server listening on {host}:{port}",
            {"event": "server_listening", "local_address": (host, port)},
        ),
        ("server closing", {"event": "server_closing"}),
        ("server closed", {"event": "server_closed"}),
    ]


async def test_connections_that_cannot_be_accepted_are_a_warning(caplog):
    server = wsfast.WebSocketServer(port=0)
    server._accept_failed(OSError(24, "Too many open files"))
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert attributes(record) == {"event": "accept_failed", "error_code": "EMFILE"}
    assert server.stats.errors == {"EMFILE": 1}


async def test_a_connection_that_cannot_be_opened_is_logged_at_debug(log):
    async with serve(path="/ws") as server:
        uri = uri_of(server, "/other")
        with pytest.raises(wsfast.InvalidStatus):
            await wsfast.connect(uri)
        await until(lambda: any("url" in record[2] for record in log()))
        [(level, text, extra)] = [record for record in log() if "url" in record[2]]
        assert (level, text) == (
            "DEBUG",
            "opening handshake failed: Unexpected server response: 404",
        )
        ws = extra.pop("websocket")
        assert extra == {
            "event": "opening_failed",
            "connection_id": str(ws.id),
            "url": uri,
            "error_code": "WS_ERR_UNEXPECTED_RESPONSE",
        }


def test_a_client_that_tries_again_says_why_and_when(caplog):
    caplog.set_level(logging.INFO, "wsfast.client")
    error = wsfast.NetworkError.wrap(ConnectionRefusedError(111, "refused"))
    logs.reconnecting(logging.getLogger("wsfast.client"), "ws://a/", error, 1.5)
    [record] = caplog.records
    assert record.getMessage() == f"connecting again in 1.5 seconds: {error}"
    assert attributes(record) == {
        "event": "reconnecting",
        "url": "ws://a/",
        "error_code": "ECONNREFUSED",
        "delay": 1.5,
    }


# --- What it costs ----------------------------------------------------------------------------


class Silent:
    """A logger whose levels are all off."""

    def isEnabledFor(self, level):
        return False

    def debug(self, *arguments, **options):
        raise AssertionError(arguments)

    error = warning = debug

    def info(self, text, *arguments, **options):
        assert text.startswith("server ")


async def test_nothing_is_put_together_while_the_levels_are_off(monkeypatch):
    def called(*arguments, **more):
        raise AssertionError(arguments)

    monkeypatch.setattr(logs, "of", called)
    monkeypatch.setattr(logs, "of_handshake", called)

    async def handler(ws):
        raise KeyError(await ws.recv())

    async with serve(handler, logger=Silent(), path="/") as server:
        async with wsfast.connect(uri_of(server), logger=Silent()) as ws:
            await ws.send("x")
            async with asyncio.timeout(PATIENCE):
                await ws.wait_closed()
        async with client_of(server) as peer:
            peer.write("c30100000000")
            await peer.frame()
        await exchange(server, request("/other"))
        await emptied(server)
        assert server.stats.handlers_failed == 1


async def test_nothing_is_logged_for_a_message(log):
    async with raw_server(hold) as uri, wsfast.connect(uri) as ws:
        before = log()
        for _ in range(3):
            await ws.send("x")
        assert log() == before


# --- The page ---------------------------------------------------------------------------------


def test_the_page_has_all_events():
    """docs/monitoring.md has a row for each, and for no other."""
    table = re.findall(r"^\| `(\w+)` \| (?:DEBUG|INFO|WARNING|ERROR)", PAGE.read_text(), re.M)
    package = Path(wsfast.__file__).parent
    code = "".join((package / name).read_text() for name in ("logs.py", "server.py"))
    assert set(table) == set(re.findall(r'(?:"event": |websocket, |driver, )"(\w+)"', code))
