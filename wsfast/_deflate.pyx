# The contexts of permessage-deflate (RFC 7692 section 7.2), on the objects of a zlib module. The
# pure twin is _pure/deflate.py; the documentation is in _deflate.pyi.
#
# Rules of this file:
# 1. A context is made when the first message needs it, and dropped when it has failed: half of a
#    message may be in it.
# 2. A flush ends with TAIL, which is not sent (section 7.2.1).
# 3. Output is bounded while it is made: what is over the limit is not kept.
# 4. A compressor that is flushed fully refers to nothing before: so connections without context
#    takeover share theirs. Inflaters are not shared: it is the peer who says what they refer to.

cimport cython
from cpython.bytes cimport PyBytes_GET_SIZE

from . import inflating
from .exceptions import PayloadTooBig, wire_error
from .inflating import Inflater, new_context

cdef bytes TAIL = inflating.TAIL

cdef uint64_t UNLIMITED = 0x7FFFFFFFFFFFFFFE

# A compressor that was not used for as many seconds is freed.
cdef double IDLE_TIME = 30

# Compressors between two messages that refer to nothing, by what they were made with.
cdef dict IDLE = {}
cdef enum:
    MAX_IDLE = 8
    MAX_PARAMETERS = 64


@cython.final
cdef class Deflate:
    def __init__(self, parameters):
        self.parameters = parameters
        self.idle = idle_compressors(parameters)
        self.threshold = parameters.threshold
        self.takeover = parameters.takeover
        self.peer_takeover = parameters.peer_takeover

    def compress(self, data, bint fin=True):
        compressed = self.deflate(data, fin)
        return compressed[: PyBytes_GET_SIZE(compressed) - 4] if fin else compressed

    def decompress(self, data, uint64_t limit, bint fin=True):
        return self.inflate(bytes(data) + TAIL if fin else bytes(data), limit, fin)

    cpdef void forget(self) noexcept:
        self.forgetful = True
        self.begun = self.begun or self.takeover

    def rest(self, double now):
        if now >= self.next_rest:
            if not self.used:
                self.compressor = None
            self.used = False
            self.next_rest = now + IDLE_TIME
        return self.next_rest

    def close(self):
        self.closed = True
        self.compressor = self.decompressor = self.inflater = None

    cdef bytes deflate(self, object data, bint fin):
        """Compress a message, or a fragment of one. TAIL is still there."""
        cdef object parameters = self.parameters
        cdef object compressor = self.compressor
        cdef bint last = fin and not self.takeover
        self.compressor = None  # for good, if this fails
        self.used = True
        if compressor is None:
            if self.begun or self.takeover:
                dictionary = None if self.begun else parameters.dictionary
                compressor = new_compressor(parameters, dictionary)
            else:
                compressor = take_idle(self.idle, parameters)
        elif self.forgetful:
            compressor.flush(parameters.zlib.Z_FULL_FLUSH)
        self.forgetful = False
        self.begun = not last
        start = feed(compressor, data, parameters.deflate_chunk_size)
        if last:
            end = compressor.flush(parameters.zlib.Z_FULL_FLUSH)
            put_idle(self.idle, parameters, compressor)
        else:
            end = compressor.flush(parameters.zlib.Z_SYNC_FLUSH)
            if not self.closed:
                self.compressor = compressor
        return start + end if start else end

    cdef bytes inflate(self, bytes data, uint64_t limit, bint fin):
        """Decompress a message, or a fragment of one. TAIL is there already if it is the last."""
        cdef bytes output
        cdef object parameters = self.parameters
        if self.inflater is not None:
            return self.inflater.inflate(data, limit, bool(fin))
        if not fin or parameters.inflate_chunk_size is not None:
            return self.leave_fast_path().inflate(data, limit, bool(fin))
        if PyBytes_GET_SIZE(data) == 4:
            return b""  # there is not even a block
        if self.decompressor is None:
            self.decompressor = new_context(parameters, parameters.peer_dictionary)
        try:
            output = self.decompressor.decompress(data, min(limit, UNLIMITED) + 1)
        except parameters.zlib.error as error:
            self.decompressor = None
            raise wire_error("WS_ERR_INVALID_COMPRESSED_DATA") from error
        if <uint64_t> PyBytes_GET_SIZE(output) > limit:
            self.decompressor = None
            raise PayloadTooBig(PyBytes_GET_SIZE(output), limit, "Message")
        if self.decompressor.eof:
            return self.leave_fast_path().inflate_rest(output, limit)
        if not self.peer_takeover:
            self.decompressor = None
        return output

    cdef object leave_fast_path(self):
        self.inflater = Inflater(self.parameters, self.decompressor)
        self.decompressor = None
        return self.inflater


def compress_alone(parameters, data):
    idle = idle_compressors(parameters)
    if parameters.takeover and parameters.dictionary is not None:
        compressor = new_compressor(parameters, None)  # the peers may be behind the dictionary
    else:
        compressor = take_idle(idle, parameters)
    start = feed(compressor, data, parameters.deflate_chunk_size)
    end = compressor.flush(parameters.zlib.Z_FULL_FLUSH)
    put_idle(idle, parameters, compressor)
    return (start + end)[: len(start) + len(end) - 4]


cdef object feed(object compressor, object data, object chunk_size):
    # Also with nothing: a flush behind a flush would give nothing.
    if chunk_size is None or not data:
        return compressor.compress(data)
    view = memoryview(data)
    return b"".join(
        [
            compressor.compress(view[start : start + chunk_size])
            for start in range(0, len(view), chunk_size)
        ]
    )


cdef list idle_compressors(object parameters):
    sending = parameters.sending
    idle = IDLE.get(sending)
    if idle is None:
        if len(IDLE) >= MAX_PARAMETERS:
            IDLE.clear()
        idle = IDLE[sending] = []
    return idle


cdef object take_idle(list idle, object parameters):
    return idle.pop() if idle else new_compressor(parameters, parameters.dictionary)


cdef int put_idle(list idle, object parameters, object compressor) except -1:
    # A dictionary is gone with the first full flush.
    if parameters.dictionary is None and len(idle) < MAX_IDLE:
        idle.append(compressor)
    return 0


cdef object new_compressor(object parameters, object dictionary):
    zlib = parameters.zlib
    arguments = (
        parameters.level,
        zlib.DEFLATED,
        -parameters.window_bits,
        parameters.mem_level,
        parameters.strategy,
    )
    if dictionary is not None:
        arguments += (dictionary,)
    return zlib.compressobj(*arguments)
