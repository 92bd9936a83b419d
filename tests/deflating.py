"""What the tests of permessage-deflate have in common."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from types import ModuleType

from wsfast.extensions.deflate import DeflateParameters
from wsfast.extensions.stack import agreed

# "Hello" as a message that refers to nothing before it (RFC 7692 section 7.2.3.1).
HELLO = bytes.fromhex("f2 48 cd c9 c9 07 00")
# The same for the second time, with context takeover (section 7.2.3.2).
HELLO_AGAIN = bytes.fromhex("f2 00 11 00 00")
TAIL = bytes.fromhex("00 00 ff ff")


@dataclass
class Message:
    """As much of a message as an extension's session needs."""

    data: bytes
    rsv1: bool = False
    rsv2: bool = False
    rsv3: bool = False
    opcode: int = 2


def recording_zlib(module=zlib):
    """A module like ``module``, and the lists of the arguments of its two functions."""
    compressors, inflaters = [], []

    def compressobj(*arguments):
        compressors.append(arguments)
        return module.compressobj(*arguments)

    def decompressobj(*arguments):
        inflaters.append(arguments)
        return module.decompressobj(*arguments)

    recording = ModuleType("recording")
    for name in ("error", "DEFLATED", "Z_FULL_FLUSH", "Z_SYNC_FLUSH"):
        setattr(recording, name, getattr(module, name))
    recording.compressobj = compressobj
    recording.decompressobj = decompressobj
    return recording, compressors, inflaters


def make_parameters(**changes):
    """Both directions with takeover and the largest window, but for the changes."""
    parameters = DeflateParameters(
        zlib=zlib,
        level=6,
        mem_level=8,
        strategy=0,
        window_bits=15,
        takeover=True,
        dictionary=None,
        deflate_chunk_size=None,
        threshold=0,
        peer_window_bits=15,
        peer_takeover=True,
        peer_dictionary=None,
        inflate_chunk_size=None,
        concurrency_limit=10,
    )
    return parameters._replace(**changes)


def raw_deflate(data, *, module=zlib, level=6, bits=15, dictionary=None, final=False):
    """A deflate stream that ends with a final block, or with a flush whose tail is cut off."""
    arguments = level, module.DEFLATED, -bits, 8, 0
    compressor = module.compressobj(*arguments, *([] if dictionary is None else [dictionary]))
    if final:
        return compressor.compress(data) + compressor.flush()
    return (compressor.compress(data) + compressor.flush(module.Z_SYNC_FLUSH)).removesuffix(TAIL)


def let_compress(backend, connection, **parameters):
    """Let a Protocol or a Connection of a backend use permessage-deflate."""
    deflate = backend.deflate.Deflate(make_parameters(**parameters))
    what = agreed(("permessage-deflate",), "permessage-deflate")
    connection.use_deflate(what, deflate)
    return connection
