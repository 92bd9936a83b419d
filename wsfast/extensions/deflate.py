"""permessage-deflate (RFC 7692): the extension that compresses messages."""

from __future__ import annotations

import copy
import functools
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from .._backend import Deflate
from .deflate_negotiation import Agreement, accept_response, answer_offer, make_offer
from .deflate_options import (
    DEFAULT_THRESHOLD,
    DEFAULT_THRESHOLD_WITHOUT_TAKEOVER,
    DeflateOptions,
    Settings,
    read_options,
)

if TYPE_CHECKING:
    from typing import Protocol

    from typing_extensions import Unpack

    class Message(Protocol):
        """What the sessions need of a message."""

        rsv1: bool
        data: bytes


__all__ = ["DeflateParameters", "PerMessageDeflate"]

M = TypeVar("M", bound="Message")

# The answers that an extension remembers; strangers choose the keys.
MAX_CACHED = 64
MAX_CACHED_KEY = 256


class DeflateParameters(NamedTuple):
    """What was agreed, seen from this side. Equal ones are the same object.

    Args:
        zlib: the module that does the work.
        level: of the compression, -1 to 9.
        mem_level: of the compressor's memory, 1 to 9.
        strategy: one of zlib's ``Z_DEFAULT_STRATEGY``, ``Z_FILTERED``, and so on.
        window_bits: of what this side sends: 9 to 15, as a compressor takes it.
        takeover: whether what this side sends refers to the messages before.
        dictionary: what every compressor starts with.
        deflate_chunk_size: a compressor gets its input in pieces of this size, if it is not None.
        threshold: smaller messages are sent uncompressed.
        peer_window_bits: of what the peer sends: 8 to 15.
        peer_takeover: whether what the peer sends refers to the messages before.
        peer_dictionary: what the peer's compressors start with.
        inflate_chunk_size: inflating goes in steps that give this many bytes, if it is not None.
        concurrency_limit: how many threads of the process may compress at once; 0 is no limit.
    """

    zlib: ModuleType
    level: int
    mem_level: int
    strategy: int
    window_bits: int
    takeover: bool
    dictionary: bytes | None
    deflate_chunk_size: int | None
    threshold: int
    peer_window_bits: int
    peer_takeover: bool
    peer_dictionary: bytes | None
    inflate_chunk_size: int | None
    concurrency_limit: int

    @property
    def sending(self) -> tuple[Any, ...]:
        """As much of them as what is sent depends on."""
        return self[:9]


Answer = tuple[dict[str, Any], DeflateParameters]


@functools.lru_cache(maxsize=1024)
def interned(parameters: DeflateParameters) -> DeflateParameters:
    """The one object for these parameters."""
    return parameters


def make_parameters(settings: Settings, agreement: Agreement, *, server: bool) -> DeflateParameters:
    """See an agreement from one side."""
    flags, bits = agreement[:2], agreement[2:]
    own, peer = (0, 1) if server else (1, 0)
    threshold = settings.threshold
    if threshold is None:
        threshold = DEFAULT_THRESHOLD_WITHOUT_TAKEOVER if flags[own] else DEFAULT_THRESHOLD
    return interned(
        DeflateParameters(
            zlib=settings.zlib,
            level=settings.level,
            mem_level=settings.mem_level,
            strategy=settings.strategy,
            # zlib has no compressor for 8; its distances for 9 are at most 250, which fits.
            window_bits=max(bits[own], 9),
            takeover=not flags[own],
            dictionary=settings.dictionary,
            deflate_chunk_size=settings.chunk_size,
            threshold=threshold,
            peer_window_bits=bits[peer],
            peer_takeover=not flags[peer],
            peer_dictionary=settings.peer_dictionary,
            inflate_chunk_size=settings.peer_chunk_size,
            concurrency_limit=settings.concurrency_limit,
        )
    )


class DeflateSession:
    """One connection's half of permessage-deflate, on whole messages. It is synchronous.

    Attributes:
        parameters: what was agreed; a client's has them from `activate` on.
        deflate: the contexts, which a connection drives itself where this is the only extension.
        wanted: for each of the next messages that go out, whether it is to be compressed. A
            connection fills it, where messages go through other extensions before they come here.
    """

    __slots__ = ("_max_size", "deflate", "parameters", "wanted")

    parameters: DeflateParameters
    deflate: Deflate

    def __init__(self, settings: Settings) -> None:
        self._max_size = settings.max_size
        self.wanted: deque[bool] = deque()

    def _start(self, parameters: DeflateParameters) -> None:
        self.parameters = parameters
        self.deflate = Deflate(parameters)

    def process_incoming_message(self, message: M) -> M:
        """Inflate a message that is marked as compressed.

        Raises:
            PayloadTooBig: it is larger than ``max_size``.
            ProtocolError: it is not deflate; close code 1007.
        """
        if message.rsv1:
            message.data = self.deflate.decompress(message.data, self._max_size)
        return message

    def process_outgoing_message(self, message: M) -> M:
        """Compress a message that is not too small for it, and mark it."""
        wanted = self.wanted.popleft() if self.wanted else True
        if wanted and len(message.data) >= self.parameters.threshold:
            message.data = self.deflate.compress(message.data)
            message.rsv1 = True
        return message

    def close(self) -> None:
        """Free the contexts."""
        if hasattr(self, "deflate"):
            self.deflate.close()


class DeflateClientSession(DeflateSession):
    """The client's half."""

    __slots__ = ("_settings",)

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._settings = settings

    def generate_offer(self) -> dict[str, Any]:
        """The parameters to offer."""
        return make_offer(self._settings)

    def activate(self, params: Mapping[str, Any]) -> bool:
        """Take the server's parameters. False if they are not an answer to the offer."""
        agreement = accept_response(self._settings, params)
        if agreement is None:
            return False
        self._start(make_parameters(self._settings, agreement, server=False))
        return True


class DeflateServerSession(DeflateSession):
    """The server's half."""

    __slots__ = ("_response",)

    def __init__(
        self, settings: Settings, response: dict[str, Any], parameters: DeflateParameters
    ) -> None:
        super().__init__(settings)
        self._response = response
        self._start(parameters)

    def generate_response(self) -> dict[str, Any]:
        """The parameters to answer."""
        return dict(self._response)


class PerMessageDeflate:
    """The permessage-deflate extension, for any number of connections of both kinds.

    All options are keywords, and None is the default of each. The first family names the sides, as
    ``ws`` does, and states what has to be agreed:

    Args:
        server_no_context_takeover: on a server, True to send every message without reference to
            those before, and False to decline clients that ask for it; on a client, True to
            require it of the server.
        client_no_context_takeover: on a server, True to require it of the client, and False not to
            acknowledge it; on a client, True to do so, and False to refuse a server that asks.
        server_max_window_bits: 8 to 15, the base-2 logarithm of the window. On a server, announced
            to every client, and offers of less are declined; with False, all offers that limit it
            are. On a client, required of the server.
        client_max_window_bits: 8 to 15, True or False. On a server, clients that do not let it be
            limited are declined; with False it is left to the client. On a client, offered and
            kept; True offers to keep what the server says, as by default, and False does not.
        deflate_options: a mapping for what is sent: ``level``, ``mem_level``, ``strategy``,
            ``dictionary`` (bytes that each context starts with, known to the peer) and
            ``chunk_size`` (the compressor is fed in pieces of this size).
        inflate_options: a mapping for what is received: ``dictionary``, and ``chunk_size`` (the
            bytes that one step of inflating gives).
        threshold: in bytes; smaller messages are sent uncompressed. By default 1024 where this side
            has no context takeover, and 0 where it has.
        concurrency_limit: how many threads of the process may compress large messages at once;
            10, and 0 is no limit.

    The second, of the ``permessage-deflate`` package, is relative to the side that the session is
    on. It takes what it gets, where it can:

    Args:
        level: -1 (zlib's default) to 9; by default 6.
        mem_level: 1 to 9; by default 5.
        strategy: zlib's ``Z_DEFAULT_STRATEGY``, ``Z_FILTERED``, ``Z_HUFFMAN_ONLY``, ``Z_RLE`` or
            ``Z_FIXED``.
        no_context_takeover: send every message without reference to those before.
        request_no_context_takeover: have the peer do so.
        max_window_bits: of what is sent, 8 to 15; by default 12, which is not announced. A server
            tells it only clients that ask.
        request_max_window_bits: of what the peer sends. A client requires it, a server asks it of
            those clients that let it.
        zlib: the module, ``"zlib"`` or ``"zlib_ng"``; by default zlib-ng where it is installed.
        max_size: in bytes, of an incoming message after inflating, where the extension works
            outside a connection; by default 1 MiB. A connection has a ``max_size`` of its own.

    Raises:
        TypeError: an option does not exist, or its value is of the wrong type.
        ValueError: a value is out of range, or both families give one thing different values.
        ImportError: ``zlib="zlib_ng"`` and it is not installed.
    """

    name = "permessage-deflate"
    type = "permessage"
    rsv1 = True
    rsv2 = False
    rsv3 = False

    def __init__(self, **options: Unpack[DeflateOptions]) -> None:
        self._settings = read_options(options)
        # The mappings are the caller's, who may change them.
        self._options = {
            name: dict(value) if isinstance(value, Mapping) else value
            for name, value in options.items()
        }
        self._answers: dict[str, Answer | None] = {}

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in self._options.items())
        return f"{type(self).__name__}({options})"

    def configure(self, **options: Unpack[DeflateOptions]) -> PerMessageDeflate:
        """A copy with other options; what is not given is taken over.

        Raises:
            TypeError, ValueError: as the class itself.
        """
        merged: Any = {**self._options, **options}
        if isinstance(merged.get("deflate_options"), Mapping) and "deflate_options" not in options:
            # What is given now counts, also if it was spelled otherwise.
            earlier = merged["deflate_options"].items()
            merged["deflate_options"] = {k: v for k, v in earlier if k not in options}
        now = options.get("deflate_options")
        for name in now if isinstance(now, Mapping) else ():
            if name not in options:
                merged.pop(name, None)
        return type(self)(**merged)

    def within(self, max_size: int | None) -> PerMessageDeflate:
        """The same for connections with this limit, which counts instead of its own."""
        if max_size == self._settings.max_size:
            return self
        extension = copy.copy(self)
        extension._settings = replace(
            self._settings, max_size=sys.maxsize if max_size is None else max_size
        )
        return extension

    def create_client_session(self) -> DeflateClientSession:
        """Begin the handshake of a client."""
        return DeflateClientSession(self._settings)

    def create_server_session(
        self, offers: Sequence[Mapping[str, Any]]
    ) -> DeflateServerSession | None:
        """Answer the first of a client's offers that is acceptable; None if there is none."""
        # There are few clients, and each always offers the same. What is written differently is
        # different here: 10 is an offer that 10.0 and True are not, though they may be equal.
        key = repr(offers)
        if key in self._answers:
            answer = self._answers[key]
        else:
            answer = self._answer(offers)
            if len(key) <= MAX_CACHED_KEY:
                if len(self._answers) == MAX_CACHED:
                    self._answers.clear()
                self._answers[key] = answer
        return None if answer is None else DeflateServerSession(self._settings, *answer)

    def _answer(self, offers: Sequence[Mapping[str, Any]]) -> Answer | None:
        for offer in offers:
            answer = answer_offer(self._settings, offer)
            if answer is not None:
                response, agreement = answer
                return response, make_parameters(self._settings, agreement, server=True)
        return None
