# What recv() and a send to a slow peer wait for: the part of _core.pyx that tasks see. The pure
# twin is in _pure/core.py.

from .exceptions import ConnectionClosedOK


cdef class Receive(Waiter):
    cdef int begin(self) except -1:
        if self.connection.receiver is not None:
            raise ConcurrencyError(
                "cannot call recv while another coroutine is already running recv"
            )
        if self.connection.message_listener is not None:
            raise ConcurrencyError("cannot call recv while a message listener is attached")
        return 0

    cdef object poll(self):
        cdef Connection connection = self.connection
        if connection.queue.count:
            if self.unit == FRAGMENT:
                result = connection.queue.take_fragment()
            elif self.decode is None and not connection.handling:
                result = connection.queue.take_message()
            else:
                result = connection.next_message(self.decode)
            if result is not None:
                if self.unit == BATCH:
                    result = [result]
                    while (message := connection.next_message(self.decode)) is not None:
                        result.append(message)
                connection.taken()
                return result
        if connection.discarding:
            error = connection.closed_error()
            if self.iterating and isinstance(error, ConnectionClosedOK):
                raise StopAsyncIteration
            raise error
        connection.receiver = self
        # Of a message that comes in fragments there may be more than the queue takes.
        if connection.stopped & QUEUE_FULL:
            connection.go_on(QUEUE_FULL)
        return self

    cdef int forget(self) except -1:
        if self.connection.receiver is self:
            self.connection.receiver = None
        return 0


cdef class Drain(Waiter):
    cdef object poll(self):
        cdef Connection connection = self.connection
        if connection.ready_state == CLOSED or connection.reader is not self.reader:
            raise connection.closed_error()
        if not connection.blocked:
            return None
        if connection.drains is None:
            connection.drains = []
        if self not in connection.drains:
            connection.drains.append(self)
        return self

    cdef int forget(self) except -1:
        cdef list drains = self.connection.drains
        if drains is not None and self in drains:
            drains.remove(self)
        return 0


cdef Receive new_receive(Connection connection, object decode, bint iterating, int unit):
    cdef Receive receive = Receive.__new__(Receive)
    receive.connection = connection
    receive.loop = connection.loop
    receive.decode = decode
    receive.iterating = iterating
    receive.unit = unit
    return receive


cdef Drain new_drain(Connection connection):
    cdef Drain drain = Drain.__new__(Drain)
    drain.connection = connection
    drain.reader = connection.reader
    drain.loop = connection.loop
    return drain
