"""Whatever has a buffer is sent as its bytes, in order, and is as it was afterwards."""

import array
import ctypes
import io
import mmap
import tempfile

import pytest
from deflating import let_compress
from frames import BINARY, KEY, TEXT
from twins import BACKENDS, make_connection


@pytest.fixture(params=BACKENDS, ids=str)
def backend(request):
    return request.param


@pytest.fixture(params=[False, True], ids=["server", "client"])
def client(request):
    return request.param


class Structure(ctypes.LittleEndianStructure):
    _fields_ = (("first", ctypes.c_uint16), ("second", ctypes.c_uint32))


class Bytes(bytes):
    pass


class Bytearray(bytearray):
    pass


def filled(size=48):
    return bytearray(range(1, size + 1))


def mapped():
    with tempfile.TemporaryFile() as file:
        file.write(filled())
        file.flush()
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)


# A name, what is sent, and its bytes in hex.
BUFFERS = {
    "bytes": (lambda: b"\x01\x02\x03", "010203"),
    "subclass of bytes": (lambda: Bytes(b"\x01\x02\x03"), "010203"),
    "bytearray": (lambda: bytearray(b"\x01\x02\x03"), "010203"),
    "subclass of bytearray": (lambda: Bytearray(b"\x01\x02\x03"), "010203"),
    "empty bytearray": (bytearray, ""),
    "memoryview": (lambda: memoryview(filled(3)), "010203"),
    "read-only memoryview": (lambda: memoryview(filled(3)).toreadonly(), "010203"),
    "slice": (lambda: memoryview(filled())[1:4], "020304"),
    "with a step": (lambda: memoryview(filled(5))[::2], "010305"),
    "backwards": (lambda: memoryview(filled(5))[::-1], "0504030201"),
    "of numbers": (lambda: memoryview(filled(4)).cast("H"), "01020304"),
    "of two dimensions": (lambda: memoryview(filled(4)).cast("B", (2, 2)), "01020304"),
    "of no dimension": (lambda: memoryview(ctypes.c_uint16(0x0201)), "0102"),
    "array of bytes": (lambda: array.array("B", [1, 2, 3]), "010203"),
    "array of numbers": (lambda: array.array("H", [0x0201, 0x0403]), "01020304"),
    "ctypes array": (lambda: (ctypes.c_uint8 * 3)(1, 2, 3), "010203"),
    "ctypes structure": (lambda: Structure(0x0201, 0x06050403), "0102000003040506"),
    "ctypes number": (lambda: ctypes.c_uint16(0x0201), "0102"),
    "mapped file": (mapped, bytes(filled()).hex()),
    "buffer of a file": (lambda: io.BytesIO(b"\x01\x02\x03").getbuffer(), "010203"),
}

every_buffer = pytest.mark.parametrize("name", BUFFERS)


@every_buffer
def test_a_buffer_is_sent_as_its_bytes(backend, client, name):
    """W7, W16."""
    make, expected = BUFFERS[name]
    data = make()
    before = memoryview(data).tobytes()
    connection = make_connection(backend, client=client, key=KEY)
    connection.send(data)
    [sent] = connection.driver.frames
    assert (sent.opcode, sent.payload.hex()) == (BINARY, expected)
    assert memoryview(data).tobytes() == before


@every_buffer
@pytest.mark.parametrize("way", ["message", "fragments", "corked", "text", "compressed"])
def test_no_way_of_sending_changes_a_buffer(backend, name, way):
    """W16."""
    make, expected = BUFFERS[name]
    data = make()
    before = memoryview(data).tobytes()
    options = {"fragment_size": 2} if way == "fragments" else {}
    connection = make_connection(backend, client=True, key=KEY, **options)
    if way == "message":
        connection.message(data)
    elif way == "corked":
        with connection.cork():
            connection.send(data)
    elif way == "text":
        connection.send(data, binary=False)
    elif way == "compressed":
        let_compress(backend, connection, threshold=0)
        connection.send(data)
    else:
        connection.send(data)
    connection.loop.run_until_idle()
    assert memoryview(data).tobytes() == before
    if way != "compressed":
        frames = connection.driver.frames
        assert b"".join(item.payload for item in frames).hex() == expected
        assert frames[0].opcode == (TEXT if way == "text" else BINARY)


@pytest.mark.parametrize("size", [7, 125, 1000, 20_000, 70_000])
def test_large_buffers_are_not_changed(backend, client, size):
    """W16."""
    data = bytearray(range(251)) * (size // 251 + 1)
    before = bytes(data)
    connection = make_connection(backend, client=client, key=KEY)
    connection.send(data)
    with memoryview(data) as view, view[3:-3] as part:
        connection.send(view)
        connection.send(part)
    connection.loop.run_until_idle()
    assert [item.payload for item in connection.driver.frames] == [before, before, before[3:-3]]
    assert data == before
    data[0] ^= 1  # nobody holds it
    data.append(0)


@pytest.mark.parametrize("size", [7, 20_000])
def test_a_buffer_may_change_when_send_has_returned(backend, client, size):
    """W16."""
    data = bytearray(b"a" * size)
    connection = make_connection(backend, client=client, key=KEY)
    with connection.cork():
        connection.send(data)
        data[:] = b"b" * size
        connection.send(data)
    data[:] = b"c" * size
    payloads = [item.payload for item in connection.driver.frames]
    assert payloads == [b"a" * size, b"b" * size]


def test_a_released_buffer_is_refused(backend):
    connection = make_connection(backend)
    view = memoryview(bytearray(3))
    view.release()
    with pytest.raises(ValueError, match="released"):
        connection.send(view)
    assert connection.driver.writes == []


@every_buffer
def test_pings_take_any_buffer(backend, name):
    """W13."""
    make, expected = BUFFERS[name]
    connection = make_connection(backend, client=True, key=KEY)
    connection.ping(make())
    connection.pong(make())
    connection.loop.run_until_idle()
    assert [item.payload.hex() for item in connection.driver.frames] == [expected] * 2


@pytest.mark.parametrize("data", [5, 1.5, object(), None, ["list"], {"a": 1}], ids=repr)
def test_what_has_no_buffer_is_refused(backend, data):
    """W7: the core takes str and buffers; what else `WebSocket` takes is up to it."""
    connection = make_connection(backend)
    with pytest.raises(TypeError, match=type(data).__name__):
        connection.send(data)
    assert connection.driver.writes == []


# Arrays of numpy, which have whatever shape and order

numpy_arrays = pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda np: np.arange(1, 5, dtype="u1"), "01020304"),
        (lambda np: np.arange(1, 5, dtype="<u2"), "0100020003000400"),
        (lambda np: np.arange(1, 5, dtype=">u2"), "0001000200030004"),
        (lambda np: np.arange(1, 5, dtype="u1").reshape(2, 2), "01020304"),
        (lambda np: np.arange(1, 9, dtype="u1").reshape(2, 2, 2), "0102030405060708"),
        (lambda np: np.arange(1, 5, dtype="u1").reshape(2, 2).T, "01030204"),
        (lambda np: np.asfortranarray(np.arange(1, 5, dtype="u1").reshape(2, 2)), "01020304"),
        (lambda np: np.arange(1, 7, dtype="u1")[::2], "010305"),
        (lambda np: np.arange(1, 7, dtype="u1")[::-1], "060504030201"),
        (lambda np: np.arange(1, 10, dtype="u1").reshape(3, 3)[:, 1], "020508"),
        (lambda np: np.array(7, dtype="u1"), "07"),
        (lambda np: np.uint16(0x0201), "0102"),
        (lambda np: np.empty((0, 3)), ""),
        (lambda np: np.zeros(3, dtype=[("a", "u1"), ("b", "<u2")]), "00" * 9),
    ],
)


@numpy_arrays
def test_arrays_of_numpy_are_sent_as_their_bytes(backend, client, make, expected):
    """W7, W16."""
    np = pytest.importorskip("numpy")
    data = make(np)
    before = data.copy()
    connection = make_connection(backend, client=client, key=KEY)
    connection.send(data)
    [sent] = connection.driver.frames
    assert (sent.opcode, sent.payload.hex()) == (BINARY, expected)
    assert (data == before).all()
