# One frame to many connections. The pure twin is _pure/broadcast.py; the documentation is in
# _broadcast.pyi.
#
# A frame is made once, and there is one copy of it, however many connections wait to send it. It is
# compressed once for those who agreed on the same: such a copy refers to nothing before it, so that
# anybody can read it. What a connection sends of its own then refers to nothing before it, either.
#
# The first broadcast of a pass of the loop leaves at once. Those that follow in the same pass leave
# together when it ends: to a thousand connections the passes are long, so that to each of them the
# next comes later than what a cork waits for.

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy

from ._clock cimport monotonic_seconds
from ._core cimport Connection
from ._deflate cimport Deflate
from ._protocol cimport COPY_LIMIT, OPEN
from ._writing cimport CORK_SIZE


cdef class Round:
    # The broadcasts of one pass of the loop.

    cdef list holding  # the connections that have something to send when it ends
    cdef bint over

    def end(self):
        cdef Connection connection
        self.over = True
        holding = self.holding
        self.holding = None
        for i, connection in enumerate(holding):
            connection.flush_scheduled = False
            try:
                connection.flush()
            except Exception as error:
                # What it should have sent is gone, but for this connection only.
                connection.abort_with(error)
            except BaseException:
                self.holding = holding[i + 1 :]
                connection.loop.call_soon(self.end)
                raise


def send_to_all(tuple connections, bytes frame, uint64_t size, bint wait, compressed=None):
    cdef Connection connection
    cdef Deflate deflate
    cdef object parameters = None
    cdef bytes chosen
    cdef bytes latest = frame
    cdef dict frames = {}
    cdef Round current = None
    cdef double now = monotonic_seconds()
    cdef list others = []
    for connection in connections:
        if connection.ready_state != OPEN:
            continue
        if (
            connection.client  # which needs a masking key of its own
            or connection.stacked
            or connection.sending
            or connection.outbox is not None
            or (connection.fragment_size and size > <uint64_t> connection.fragment_size)
            or (connection.blocked and not wait)
        ):
            others.append(connection)
            continue
        chosen = frame
        deflate = connection.reader.deflate
        if deflate is not None:
            if deflate.parameters is not parameters:
                parameters = deflate.parameters
                sending = parameters.sending
                if sending not in frames:
                    frames[sending] = compressed(parameters)
                latest = frames[sending]
            chosen = latest
            if chosen is not frame:
                # The peer will look back on what our compressor has not seen.
                deflate.forget()
        if connection.broadcasts is None or (<Round> connection.broadcasts).over:
            if current is None:
                current = Round()
                current.holding = []
                connection.loop.call_soon(current.end)
            connection.broadcasts = current
            send_prepared(connection, chosen, size, now, None)
        else:
            send_prepared(connection, chosen, size, now, connection.broadcasts)
    return others


cdef int send_prepared(
    Connection connection, bytes frame, uint64_t size, double now, Round following
) except -1:
    """Send a frame that was made before; at the end of the round that it follows others in."""
    cdef const uint8_t* data = <const uint8_t*> PyBytes_AS_STRING(frame)
    cdef size_t frame_size = PyBytes_GET_SIZE(frame)
    cdef bint hold = connection.should_hold(now)
    connection.count_sent(size)
    connection.frames_sent += 1
    connection.wire_bytes_sent += frame_size
    if connection.is_lost:
        return 0
    if following is not None and connection.held.size + connection.prepared_size <= CORK_SIZE:
        hold = True
    if not connection.cork_depth and (
        frame_size > COPY_LIMIT or not hold and not connection.held_since
    ):
        # It leaves from where it is; and there it is kept, once for all who are slow.
        connection.flush()
        if connection.direct is None:
            return connection.transmit((frame,))
        return connection.limit_waiting(connection.direct.send(data, frame_size, frame))
    if connection.cork_depth or connection.held.size:
        memcpy(connection.reserve(frame_size), data, frame_size)
        connection.held.size += frame_size
    else:
        if connection.prepared is None:
            connection.prepared = []
        connection.prepared.append(frame)
        connection.prepared_size += frame_size
    if following is not None and not (
        connection.dispatching or connection.cork_depth or connection.flush_scheduled
    ):
        connection.flush_scheduled = True
        following.holding.append(connection)
    return connection.written(now, hold)
