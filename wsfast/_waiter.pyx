# What a task waits for. The pure twin is _pure/waiter.py; the documentation is in _waiter.pyi.
#
# A Waiter is its own iterator, and follows the protocol of asyncio's futures: the task that awaits
# it gets the object itself, and registers its wake-up with add_done_callback. The value is made
# when the task runs again, so that a cancelled wait takes nothing with it. Only while it waits it
# has _asyncio_future_blocking: to `gather` and `wait_for` it must be a coroutine, not a future.
#
# The callback is dropped only when it was called: a task that is not woken hangs.
#
# Awaiting goes by am_send, which returns a result where __next__ has to raise StopIteration with
# it, at ten times the cost. Cython has no name for that slot.

from asyncio import CancelledError, Future, Task, current_task
from collections.abc import Coroutine
from types import SimpleNamespace

from cpython.object cimport PyObject

cdef extern from "Python.h":
    int PyContext_Enter(object context) noexcept
    int PyContext_Exit(object context) except -1
    bint PyCFunction_Check(object function) noexcept
    PyObject* PyCFunction_GET_SELF(object function) noexcept
    void PyErr_Clear() noexcept

cdef extern from *:
    """
    static PyObject *(*wsfast_step)(PyObject *);

    static PySendResult wsfast_send(PyObject *self, PyObject *value, PyObject **result) {
        *result = wsfast_step(self);
        if (*result == NULL)
            return PYGEN_ERROR;
        return *result == self ? PYGEN_NEXT : PYGEN_RETURN;
    }

    static PySendResult wsfast_send_none(PyObject *self, PyObject *value, PyObject **result) {
        Py_INCREF(Py_None);
        *result = Py_None;
        return PYGEN_RETURN;
    }

    static void wsfast_set_send(PyObject *waiter, PyObject *(*step)(PyObject *), PyObject *sent) {
        wsfast_step = step;
        ((PyTypeObject *) waiter)->tp_as_async->am_send = wsfast_send;
        ((PyTypeObject *) sent)->tp_as_async->am_send = wsfast_send_none;
    }
    """
    ctypedef object (*step_function "PyObject *(*)(PyObject *)")(object)
    void set_send "wsfast_set_send"(object waiter, step_function step, object sent)


cdef class Waiter:
    cdef int begin(self) except -1:
        """Refuse what cannot be waited for."""
        return 0

    cdef object poll(self):
        """The result; or register and return self."""
        raise NotImplementedError

    cdef int forget(self) except -1:
        """Take the registration back."""
        return 0

    cdef bint wake(self, bint directly) except -1:
        """Resume the task that waits: True if it ran, False if it will.

        Directly, that is without a pass of the loop, only from the loop's own call with no task
        running, and not where the task's context is in use.
        """
        callback = self.callback
        context = self.context
        if callback is None:
            return False
        self.callback = None
        if directly and context is not None:
            if PyContext_Enter(context) == 0:
                try:
                    callback(finished if is_of_task(callback) else self)
                finally:
                    PyContext_Exit(context)
                return True
            PyErr_Clear()
        self.loop.call_soon(callback, self, context=context)
        return False

    def __await__(self):
        return self

    def __iter__(self):
        return self

    cdef object step(self):
        """Go on: the result, or self if there is none yet."""
        if not self.waiting:
            self.begin()
        self.waiting = True
        try:
            result = self.poll()
        except BaseException:
            self.end()
            raise
        if result is self:
            self._asyncio_future_blocking = True
        else:
            self.end()
        return result

    cdef int end(self) except -1:
        self.waiting = False
        self._asyncio_future_blocking = None
        return self.forget()

    def __next__(self):
        result = self.step()
        if result is self:
            return self
        raise StopIteration(result)

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

    # The part of asyncio.Future that a task uses. Without get_loop() it takes _loop.

    @property
    def _loop(self):
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


cdef bint no_task_runs(object loop):
    """Whether no task runs, so that one may be resumed in a call of the loop."""
    return current_task(loop) is None and not is_nested(loop)


cdef bint is_nested(object loop):
    """Whether `nest_asyncio` changed the loop, which may be run again in one of its own calls.

    Such a call is not made again before it ends: it must not serve many sockets, nor run tasks.
    """
    return getattr(loop, "_nest_patched", False)


cdef bint is_of_task(object callback):
    """Whether it is what asyncio's own tasks register.

    They look whether what they are called with has a result. Of a future of asyncio they know
    where it is, of anything else they ask for it, which takes longer than all that we do.
    """
    return PyCFunction_Check(callback) and type(<object> PyCFunction_GET_SELF(callback)) is Task


cdef object finished = Future(loop=SimpleNamespace(get_debug=lambda: False))  # of no loop
finished.set_result(None)


cdef object step(object waiter):
    return (<Waiter> waiter).step()


set_send(Waiter, step, Sent)
SENT = Sent()

Coroutine.register(Waiter)
Coroutine.register(Sent)
