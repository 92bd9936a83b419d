"""Servers for the tests of clients that are sent from one to the other, and what a client tells."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from urllib.parse import urlsplit

from peers import CLOSE, PATIENCE, accept_of, raw_server

import wsfast


class Host:
    """A server that redirects by path, accepts elsewhere, and keeps the heads of its requests.

    Args:
        routes: where each path leads to; a tuple of a status and a location, or a location.
    """

    def __init__(self, routes=None):
        self.routes = routes or {}
        self.heads = []
        self.uri = None

    def __call__(self, path):
        """The address of a path here."""
        return self.uri.removesuffix("/") + path

    @property
    def place(self):
        """Host and port, as they stand in a Host header."""
        return urlsplit(self.uri).netloc

    @property
    def paths(self):
        return [head.line.split(" ")[1] for head in self.heads]

    async def play(self, peer):
        head = await peer.head()
        self.heads.append(head)
        to = self.routes.get(head.line.split(" ")[1])
        if to is not None:
            status, location = to if isinstance(to, tuple) else (302, to)
            peer.write(redirection(location, status))
            return
        peer.write(switching(head))
        while (await peer.frame()).opcode != CLOSE:
            pass
        peer.close()


@contextlib.asynccontextmanager
async def host(routes=None, **options):
    """Run a `Host`."""
    made = Host(routes)
    async with raw_server(made.play, **options) as uri:
        made.uri = uri
        yield made


def redirection(to, status=302):
    """The bytes of a response that leads elsewhere."""
    return f"HTTP/1.1 {status} Moved\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode()


def switching(head, *lines):
    """The bytes of the 101 for a request, with further header lines."""
    accept = accept_of(head.headers["sec-websocket-key"])
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept}",
        *lines,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


CLOSED_BEFORE = "WebSocket was closed before the connection was established"

EVENTS = ("open", "message", "ping", "pong", "close", "error")


class Record:
    """What a WebSocket tells, in order: a list of the events with their arguments.

    Args:
        ws: the connection.
        events: which events to listen to.
    """

    def __init__(self, ws, *events):
        self.events = []
        self._changed = asyncio.Event()
        for name in events or EVENTS:
            ws.on(name, self._listener(name))

    def _listener(self, name):
        def listen(*arguments):
            self.events.append((name, *arguments))
            self._changed.set()

        return listen

    @property
    def names(self):
        return [event[0] for event in self.events]

    def of(self, name):
        """The arguments of all events of that name."""
        return [event[1:] for event in self.events if event[0] == name]

    async def until(self, name, count=1):
        """Wait for an event, and return its arguments."""
        async with asyncio.timeout(PATIENCE):
            while len(self.of(name)) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.of(name)[count - 1]


# Those of a WebSocket that connects again.
ALL = ("open", "message", "close", "error", "reconnecting")


def at_once():
    """No delays."""
    return itertools.repeat(0.0)


def never():
    """Delays that no test waits for."""
    return itertools.repeat(3600.0)


def reconnecting(uri, *, delays=at_once, **options):
    """A WebSocket that connects again."""
    return wsfast.WebSocket(uri, reconnect=True, reconnect_delays=delays, **options)


@contextlib.asynccontextmanager
async def script(*plays, **options):
    """A raw server that plays one after the other, and the last for all further connections."""
    waiting = list(reversed(plays))

    async def play(peer):
        await (waiting.pop() if len(waiting) > 1 else waiting[0])(peer)

    async with raw_server(play, **options) as uri:
        yield uri


async def hang_up(peer):
    """End the stream instead of an answer."""
    await peer.head()


async def reset(peer):
    """The same with a RST."""
    await peer.head()
    peer.reset()


async def accept_and_drop(peer):
    """Accept, and end the stream without a close frame."""
    await peer.accept()


async def accept_and_reset(peer):
    """The same with a RST."""
    await peer.accept()
    peer.reset()


def answer(status):
    """Refuse."""

    async def play(peer):
        await peer.head()
        peer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode())

    return play


def close_with(code):
    """Accept, and close."""

    async def play(peer):
        await peer.accept()
        peer.close(code)
        assert (await peer.frame()).opcode == CLOSE

    return play


def send_and_close(data, code):
    """Accept, send this, and close."""

    async def play(peer):
        peer.write(switching(await peer.head()) + data)
        peer.close(code)
        assert (await peer.frame()).opcode == CLOSE

    return play


def send_and_wait(data):
    """Accept, send this, and wait for the client's end."""

    async def play(peer):
        peer.write(switching(await peer.head()) + data)
        await peer.rest()

    return play


async def finish(ws, record):
    """Close it, after which nothing happens."""
    async with asyncio.timeout(PATIENCE):
        await ws.close()
    assert ws.is_over
    count = len(record.events)
    for _ in range(3):
        await asyncio.sleep(0)
    assert len(record.events) == count
    assert record.names.count("close") == 1
    assert record.names[-1] == "close"


def refused_port():
    """A port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def refused_uri():
    """The address of nobody."""
    return f"ws://127.0.0.1:{refused_port()}/"


async def connect(uri, **options):
    """Connect within a time that a test can wait for."""
    async with asyncio.timeout(PATIENCE):
        return await wsfast.connect(uri, **options)


async def never_answer(peer):
    """Wait for the client's end."""
    await peer.head()
    await peer.rest()


async def refuse(peer):
    """Answer 401 with a body."""
    await peer.head()
    peer.write(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 3\r\nX: y\r\n\r\nno!")


async def not_http(peer):
    """Answer with something else than HTTP."""
    await peer.head()
    peer.write(b"HELO\r\n\r\n")


async def wrong_accept(peer):
    """Answer 101 with another Sec-WebSocket-Accept."""
    head = await peer.head()
    peer.write(switching(head).replace(b"Sec-WebSocket-Accept: ", b"Sec-WebSocket-Accept: x"))
    await peer.rest()


FAILURES = {
    "401": (refuse, wsfast.InvalidStatus, "WS_ERR_UNEXPECTED_RESPONSE"),
    "end": (hang_up, wsfast.InvalidMessage, "WS_ERR_INVALID_HTTP"),
    "no HTTP": (not_http, wsfast.InvalidMessage, "WS_ERR_INVALID_HTTP"),
    "wrong accept": (wrong_accept, wsfast.InvalidHeader, "WS_ERR_INVALID_HEADER"),
}
