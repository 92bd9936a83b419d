# What a task waits for. The pure twin is _pure/waiter.py; the documentation is in _waiter.pyi.
#
# A Waiter is its own iterator, and follows the protocol of asyncio's futures: the task that awaits
# it gets the object itself, and registers its wake-up with add_done_callback. The value is made
# when the task runs again, so that a cancelled wait takes nothing with it. Only while it waits it
# has _asyncio_future_blocking: to `gather` and `wait_for` it must be a coroutine, not a future.
#
# The callback is dropped only when it was called: a task that is not woken hangs.

from asyncio import CancelledError, current_task
from collections.abc import Coroutine

cdef extern from "Python.h":
    int PyContext_Enter(object context) except -1
    int PyContext_Exit(object context) except -1


cdef class Waiter:
    cdef int begin(self) except -1:
        """Refuse what cannot be waited for."""
        return 0

    cdef bint poll(self) except -1:
        """Raise StopIteration with the result, or the error; or register and return."""
        raise NotImplementedError

    cdef int forget(self) except -1:
        """Take the registration back."""
        return 0

    cdef bint wake(self, bint directly) except -1:
        """Resume the task that waits: True if it ran, False if it will.

        Directly, that is without a pass of the loop, only from the loop's own call, and not where
        the task's context is in use.
        """
        callback = self.callback
        context = self.context
        if callback is None:
            return False
        self.callback = None
        if directly and context is not None and current_task(self.loop) is None:
            try:
                PyContext_Enter(context)
            except RuntimeError:
                pass
            else:
                try:
                    callback(self)
                finally:
                    PyContext_Exit(context)
                return True
        self.loop.call_soon(callback, self, context=context)
        return False

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        if not self.waiting:
            self.begin()
        try:
            self.poll()
        except BaseException:
            self.waiting = False
            self._asyncio_future_blocking = None
            self.forget()
            raise
        self.waiting = True
        self._asyncio_future_blocking = True
        return self

    def send(self, value):
        return self.__next__()

    def throw(self, typ, value=None, traceback=None):
        self.close()
        if value is None:
            value = typ if isinstance(typ, BaseException) else typ()
        raise value

    def close(self):
        if self.waiting:
            self.waiting = False
            self.forget()

    # The part of asyncio.Future that a task uses

    def get_loop(self):
        return self.loop

    def add_done_callback(self, callback, *, context=None):
        self.callback = callback
        self.context = context

    def remove_done_callback(self, callback):
        count = int(self.callback is not None)
        self.callback = None
        return count

    def cancel(self, msg=None):
        if not self.waiting or self.cancelled is not None:
            return False
        self.cancelled = (msg,) if msg is not None else ()
        callback = self.callback
        self.callback = None
        if callback is not None:
            # Never at once: cancel() is called by other tasks.
            self.loop.call_soon(callback, self, context=self.context)
        return True

    def result(self):
        if self.cancelled is not None:
            arguments = self.cancelled
            self.cancelled = None
            raise CancelledError(*arguments)


cdef class Sent:
    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        raise StopIteration

    def send(self, value):
        raise StopIteration

    def throw(self, typ, value=None, traceback=None):
        if value is None:
            value = typ if isinstance(typ, BaseException) else typ()
        raise value

    def close(self):
        pass


SENT = Sent()

Coroutine.register(Waiter)
Coroutine.register(Sent)
