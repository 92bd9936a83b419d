"""Servers for the tests of clients that are sent from one to the other, and what a client tells."""

from __future__ import annotations

import asyncio
import contextlib
from urllib.parse import urlsplit

from peers import CLOSE, PATIENCE, accept_of, raw_server


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
