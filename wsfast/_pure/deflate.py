"""The pure twin of `wsfast._deflate`: the same contexts. See `_deflate.pyi`.

The rules of the file are those at the top of `_deflate.pyx`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..exceptions import PayloadTooBig, wire_error
from ..inflating import TAIL, Inflater, new_context

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from ..extensions.deflate import DeflateParameters

__all__ = ["Deflate", "compress_alone"]

UNLIMITED = 2**63 - 2

# A compressor that was not used for as many seconds is freed.
IDLE_TIME = 30

# Compressors between two messages that refer to nothing, by what they were made with.
IDLE: dict[tuple[Any, ...], list[Any]] = {}
MAX_IDLE = 8
MAX_PARAMETERS = 64


class Deflate:
    """What one connection's messages refer to, in both directions (RFC 7692 section 7.2)."""

    __slots__ = (
        "_begun",
        "_closed",
        "_compressor",
        "_decompressor",
        "_forgetful",
        "_idle",
        "_inflater",
        "_next_rest",
        "_used",
        "parameters",
    )

    def __init__(self, parameters: DeflateParameters) -> None:
        self.parameters = parameters
        self._idle = idle_compressors(parameters)
        self._compressor: Any = None
        self._decompressor: Any = None
        # Instead, once something came that was not simply a whole message.
        self._inflater: Inflater | None = None
        self._forgetful = False
        self._used = False
        # Whether the peer's window no longer ends with the dictionary.
        self._begun = False
        self._closed = False  # perhaps while a thread is at work
        self._next_rest = 0.0

    def compress(self, data: Buffer, fin: bool = True) -> bytes:
        """Compress a message, or a fragment of one."""
        parameters = self.parameters
        compressor = self._compressor
        last = fin and not parameters.takeover
        self._compressor = None  # for good, if this fails
        self._used = True
        if compressor is None:
            if self._begun or parameters.takeover:
                dictionary = None if self._begun else parameters.dictionary
                compressor = new_compressor(parameters, dictionary)
            else:
                compressor = take_idle(self._idle, parameters)
        elif self._forgetful:
            compressor.flush(parameters.zlib.Z_FULL_FLUSH)
        self._forgetful = False
        self._begun = not last
        compressed: bytes = feed(compressor, data, parameters.deflate_chunk_size)
        if last:
            compressed += compressor.flush(parameters.zlib.Z_FULL_FLUSH)
            put_idle(self._idle, parameters, compressor)
        else:
            compressed += compressor.flush(parameters.zlib.Z_SYNC_FLUSH)
            if not self._closed:
                self._compressor = compressor
        return compressed[:-4] if fin else compressed

    def decompress(self, data: Buffer, limit: int, fin: bool = True) -> bytes:
        """Decompress a message, or a fragment of one."""
        payload = bytes(data) + TAIL if fin else bytes(data)
        parameters = self.parameters
        if self._inflater is not None:
            return self._inflater.inflate(payload, limit, fin)
        if not fin or parameters.inflate_chunk_size is not None:
            return self._leave_fast_path().inflate(payload, limit, fin)
        if len(payload) == 4:
            return b""  # there is not even a block
        decompressor = self._decompressor
        if decompressor is None:
            decompressor = new_context(parameters, parameters.peer_dictionary)
            self._decompressor = decompressor
        try:
            output: bytes = decompressor.decompress(payload, min(limit, UNLIMITED) + 1)
        except parameters.zlib.error as error:
            self._decompressor = None
            raise wire_error("WS_ERR_INVALID_COMPRESSED_DATA") from error
        if len(output) > limit:
            self._decompressor = None
            output = b""  # the error, which is kept, would keep it
            raise PayloadTooBig(limit + 1, limit, "Message")
        if decompressor.eof:
            return self._leave_fast_path().inflate_rest(output, limit)
        if not parameters.peer_takeover:
            self._decompressor = None
        return output

    def _leave_fast_path(self) -> Inflater:
        self._inflater = Inflater(self.parameters, self._decompressor)
        self._decompressor = None
        return self._inflater

    def forget(self) -> None:
        """Let the next message that is sent refer to nothing before it."""
        self._forgetful = True
        self._begun |= self.parameters.takeover

    def rest(self, now: float) -> float:
        """Free the compressor if nothing was sent for 30 seconds; returns when to call again."""
        if now >= self._next_rest:
            if not self._used:
                self._compressor = None
            self._used = False
            self._next_rest = now + IDLE_TIME
        return self._next_rest

    def close(self) -> None:
        """Free everything."""
        self._closed = True
        self._compressor = self._decompressor = self._inflater = None


def compress_alone(parameters: DeflateParameters, data: Buffer) -> bytes:
    """Compress a message that refers to nothing before it; any number of peers can be sent it."""
    idle = idle_compressors(parameters)
    if parameters.takeover and parameters.dictionary is not None:
        compressor = new_compressor(parameters, None)  # the peers may be behind the dictionary
    else:
        compressor = take_idle(idle, parameters)
    compressed: bytes = feed(compressor, data, parameters.deflate_chunk_size)
    compressed += compressor.flush(parameters.zlib.Z_FULL_FLUSH)
    put_idle(idle, parameters, compressor)
    return compressed[:-4]


def feed(compressor: Any, data: Buffer, chunk_size: int | None) -> bytes:
    # Also with nothing: a flush behind a flush would give nothing.
    if chunk_size is None or not data:
        compressed: bytes = compressor.compress(data)
        return compressed
    view = memoryview(data)
    return b"".join(
        [
            compressor.compress(view[start : start + chunk_size])
            for start in range(0, len(view), chunk_size)
        ]
    )


def idle_compressors(parameters: DeflateParameters) -> list[Any]:
    sending = parameters.sending
    idle = IDLE.get(sending)
    if idle is None:
        if len(IDLE) >= MAX_PARAMETERS:
            IDLE.clear()
        idle = IDLE[sending] = []
    return idle


def take_idle(idle: list[Any], parameters: DeflateParameters) -> Any:
    try:
        return idle.pop()
    except IndexError:  # another thread may be quicker than a look before
        return new_compressor(parameters, parameters.dictionary)


def put_idle(idle: list[Any], parameters: DeflateParameters, compressor: Any) -> None:
    # A dictionary is gone with the first full flush.
    if parameters.dictionary is None and len(idle) < MAX_IDLE:
        idle.append(compressor)


def new_compressor(parameters: DeflateParameters, dictionary: bytes | None) -> Any:
    zlib = parameters.zlib
    arguments = (
        parameters.level,
        zlib.DEFLATED,
        -parameters.window_bits,
        parameters.mem_level,
        parameters.strategy,
    )
    if dictionary is not None:
        arguments += (dictionary,)  # type: ignore[assignment]
    return zlib.compressobj(*arguments)
