"""Extensions to plug into the container: small ones that write down what is done with them."""

import asyncio
import contextlib

import pytest
from peers import PATIENCE, Accepted, client_of, raw_server

import wsfast
from wsfast.exceptions import InvalidState
from wsfast.extensions import Extensions, Message


async def passes(number=5):
    """Let what is ready run."""
    for _ in range(number):
        await asyncio.sleep(0)


class Plugin:
    """An extension that appends its tag to each message.

    ``session`` has what its sessions do otherwise: the attributes of a `Session`.
    """

    type = "permessage"

    def __init__(self, name, *, rsv1=False, rsv2=False, rsv3=False, **session):
        self.name = name
        self.rsv1 = rsv1
        self.rsv2 = rsv2
        self.rsv3 = rsv3
        self.session = session
        self.offers = []
        self.sessions = []

    def create(self):
        if self.session.get("none"):
            return None
        session = Session(self.name, **self.session)
        self.sessions.append(session)
        return session

    def create_client_session(self):
        return self.create()

    def create_server_session(self, offers):
        self.offers.append(offers)
        return self.create()

    @property
    def closed(self):
        """How often each session was closed."""
        return [session.closed for session in self.sessions]


class Session:
    def __init__(self, name, *, offer=None, response=None, accepts=True, tag=None, **attributes):
        self.tag = (tag or name[0]).encode()
        self.offer = {} if offer is None else offer
        self.response = {} if response is None else response
        self.accepts = accepts
        self.activated = []
        self.closed = 0
        for name, value in attributes.items():
            setattr(self, name, value)

    def generate_offer(self):
        return raised(self.offer)

    def activate(self, parameters):
        self.activated.append(parameters)
        return raised(self.accepts)

    def generate_response(self):
        return raised(self.response)

    def process_incoming_message(self, message):
        message.data += self.tag
        return message

    process_outgoing_message = process_incoming_message

    def close(self):
        self.closed += 1


def raised(value):
    if isinstance(value, Exception):
        raise value
    return value


class Desk:
    """What a session's function gets lies here until the test answers it, in any order.

    Args:
        style: "callback", "future" or "coroutine": how the session answers.
        tag: what the answer has behind the message's data.
    """

    def __init__(self, style, tag):
        self.style = style
        self.tag = tag
        self.seen = []
        self.open = {}
        self.cancelled = []
        self.process = self.with_callback if style == "callback" else getattr(self, style)

    def with_callback(self, message, callback):
        self.take(message, callback)

    def future(self, message):
        future = asyncio.get_running_loop().create_future()
        self.take(message, lambda error, message: set_future(future, error, message))
        return future

    async def coroutine(self, message):
        try:
            return await self.future(message)
        except asyncio.CancelledError:
            self.cancelled.append(message.data)
            raise

    def take(self, message, callback):
        self.seen.append(message.data)
        self.open[message.data] = (message, callback)

    def answer(self, data, error=None):
        message, callback = self.open.pop(data)
        if error is None:
            message.data += self.tag
            callback(None, message)
        else:
            callback(error, None)


def set_future(future, error, message):
    if future.done():
        return
    if error is None:
        future.set_result(message)
    else:
        future.set_exception(error)


async def soon(awaitable):
    async with asyncio.timeout(PATIENCE):
        return await awaitable


@contextlib.asynccontextmanager
async def against(side, *extensions, offer=None, **options):
    """A raw peer, and the end of its connection that is tested: a "server" or a "client"."""
    header = offer or ", ".join(extension.name for extension in extensions)
    options = {"extensions": list(extensions), "compression": None, **options}
    if side == "server":
        handler = Accepted()
        async with (
            wsfast.serve(handler, "127.0.0.1", 0, **options) as server,
            client_of(server, Sec_WebSocket_Extensions=header) as peer,
        ):
            ws = await handler.get()
            yield peer, ws
            ws.terminate()
        return
    peers, done = asyncio.Queue(), asyncio.Event()

    async def play(peer):
        await peer.accept(Sec_WebSocket_Extensions=header)
        peers.put_nowait(peer)
        await done.wait()

    async with raw_server(play) as uri:
        try:
            ws = await wsfast.connect(uri, **options)
            yield await peers.get(), ws
            ws.terminate()
            await ws.wait_closed()
        finally:
            done.set()


styles = pytest.mark.parametrize("style", ["callback", "future", "coroutine"])
DROPPED = "dropped"


class Stack:
    """A container with extensions named "first", "second", ...; what comes out is written down.

    Args:
        stages: for each extension the attributes of its session.
    """

    def __init__(self, *stages):
        names = ["first", "second", "third"][: len(stages)]
        self.plugins = [Plugin(name, **stage) for name, stage in zip(names, stages, strict=True)]
        self.extensions = Extensions(self.plugins)
        self.extensions.generate_response(", ".join(names))
        self.out = []

    def push(self, error, message):
        if isinstance(error, InvalidState):
            self.out.append(DROPPED)
        else:
            self.out.append(str(error) if error else message.data)

    def send(self, data):
        self.extensions.process_outgoing_message(Message(data=data), self.push)

    def receive(self, data):
        self.extensions.process_incoming_message(Message(data=data), self.push)

    def close(self):
        self.extensions.close(lambda: self.out.append("close"))

    @property
    def closed(self):
        return [plugin.closed[0] for plugin in self.plugins]


def outgoing(desk):
    return {"process_outgoing_message": desk.process}


def both_ways(out, into):
    return {"process_outgoing_message": out.process, "process_incoming_message": into.process}
