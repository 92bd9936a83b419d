"""Somebody else's WebSocket library that speaks permessage-deflate with Node's ws by the container.

Of wsfast it knows `wsfast.extensions` alone; the handshake and the frames are its own.
"""

import base64
import contextlib
import hashlib
import json
import os
import socket
import struct
import subprocess
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest
from traffic import messages

from wsfast.extensions import Extensions, Frame, Message, PerMessageDeflate

pytestmark = pytest.mark.interop

TIMEOUT = 30
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


class Driver:
    """The frames of one connection (RFC 6455 section 5.2), and what the container does to them."""

    def __init__(self, sock, *, client):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.file = sock.makefile("rb")
        self.client = client
        self.extensions = Extensions([PerMessageDeflate(threshold=0)], strict=True)
        self.seen_rsv1 = 0

    def close(self):
        self.extensions.close()
        self.file.close()
        self.sock.close()

    def read_head(self):
        """Return the first line of a request or response, and its headers by their names."""
        first = self.file.readline().decode().strip()
        headers = {}
        while line := self.file.readline().decode().strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        return first, headers

    def write_frame(self, frame):
        bits = 4 * frame.rsv1 + 2 * frame.rsv2 + frame.rsv3
        head = bytes([frame.final << 7 | bits << 4 | frame.opcode])
        mask, size = self.client << 7, len(frame.payload)
        if size < 126:
            head += bytes([mask | size])
        elif size < 2**16:
            head += struct.pack("!BH", mask | 126, size)
        else:
            head += struct.pack("!BQ", mask | 127, size)
        # A key of zeros masks, and leaves the payload as it is.
        self.sock.sendall(head + bytes(4 * self.client) + frame.payload)

    def read_frame(self):
        first, second = self.file.read(2)
        size = second & 0x7F
        if size == 126:
            [size] = struct.unpack("!H", self.file.read(2))
        elif size == 127:
            [size] = struct.unpack("!Q", self.file.read(8))
        masked = bool(second & 0x80)
        key = self.file.read(4) if masked else None
        payload = self.file.read(size)
        if masked:
            stream = int.from_bytes((key * (size // 4 + 1))[:size])
            payload = (int.from_bytes(payload) ^ stream).to_bytes(size)
        rsv1, rsv2, rsv3 = (bool(first & bit) for bit in (0x40, 0x20, 0x10))
        frame = Frame(bool(first & 0x80), rsv1, rsv2, rsv3, first & 0xF, masked, key, payload)
        assert self.extensions.valid_frame_rsv(frame)
        self.seen_rsv1 += frame.rsv1
        return frame

    def send(self, data, count=1):
        """Send a message in so many fragments."""
        opcode, content = (TEXT, data.encode()) if isinstance(data, str) else (BINARY, data)
        message = self.extensions.process_outgoing_message(Message(opcode=opcode, data=content))
        size = len(message.data) // count + 1
        for i in range(count):
            part = message.data[i * size : (i + 1) * size]
            frame = Frame(final=i == count - 1, opcode=CONTINUATION, payload=part)
            if i == 0:
                frame.opcode = message.opcode
                frame.rsv1, frame.rsv2, frame.rsv3 = message.rsv1, message.rsv2, message.rsv3
            self.write_frame(frame)

    def receive(self):
        """Return the next message, and answer pings before it; None at the end."""
        parts = []
        while True:
            frame = self.read_frame()
            if frame.opcode == PING:
                self.write_frame(Frame(opcode=PONG, payload=frame.payload))
            elif frame.opcode == CLOSE:
                self.write_frame(Frame(opcode=CLOSE, payload=frame.payload))
                return None
            elif frame.opcode != PONG:
                parts.append(frame)
                if frame.final:
                    break
        first = parts[0]
        data = b"".join(part.payload for part in parts)
        message = Message(first.rsv1, first.rsv2, first.rsv3, first.opcode, data)
        message = self.extensions.process_incoming_message(message)
        return message.data.decode() if message.opcode == TEXT else message.data


def accept_of(key):
    return base64.b64encode(hashlib.sha1(key.encode() + GUID).digest()).decode()


@contextlib.contextmanager
def connected(url):
    """The driver as a client."""
    parts = urlsplit(url)
    sock = socket.create_connection((parts.hostname, parts.port), TIMEOUT)
    with contextlib.closing(Driver(sock, client=True)) as driver:
        key = base64.b64encode(os.urandom(16)).decode()
        offer = driver.extensions.generate_offer()
        sock.sendall(
            f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Extensions: {offer}\r\n\r\n".encode()
        )
        status, headers = driver.read_head()
        assert " 101 " in status
        assert headers["sec-websocket-accept"] == accept_of(key)
        driver.extensions.activate(headers.get("sec-websocket-extensions"))
        yield driver


@contextlib.contextmanager
def accepted(listener):
    """The driver as a server."""
    sock, _ = listener.accept()
    sock.settimeout(TIMEOUT)
    with contextlib.closing(Driver(sock, client=False)) as driver:
        _, headers = driver.read_head()
        answer = driver.extensions.generate_response(headers.get("sec-websocket-extensions"))
        extensions = "" if answer is None else f"Sec-WebSocket-Extensions: {answer}\r\n"
        sock.sendall(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Accept: {accept_of(headers['sec-websocket-key'])}\r\n"
            f"{extensions}\r\n".encode()
        )
        yield driver


# The last is not negotiated.
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"serverNoContextTakeover": True, "clientNoContextTakeover": True},
        {"clientMaxWindowBits": 9},
        False,
    ],
)
def test_a_client_made_of_the_container_talks_to_a_ws_server(ws_server, options):
    deflate = options if options is False else {"threshold": 0, **options}
    with connected(f"{ws_server}/vary?{urlencode({'deflate': json.dumps(deflate)})}") as driver:
        assert driver.extensions.names == (() if options is False else ("permessage-deflate",))
        for number, data in enumerate(messages(500)):
            driver.send(data, count=1 + number % 3)
            assert driver.receive() == data
        # In two ways of eight it does not compress.
        compressed = sum(number % 8 not in (0, 2) for number in range(500))
        assert driver.seen_rsv1 == (0 if options is False else compressed)
        driver.write_frame(Frame(opcode=CLOSE, payload=struct.pack("!H", 1000)))
        assert driver.read_frame().opcode == CLOSE


@pytest.mark.parametrize("deflate", [{"threshold": 0}, False])
def test_a_server_made_of_the_container_talks_to_a_ws_client(node, deflate):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(TIMEOUT)
        url = f"ws://127.0.0.1:{listener.getsockname()[1]}"
        client = subprocess.Popen(
            [node, str(Path(__file__).parent / "peer_traffic.mjs")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with client:
            client.stdin.write(json.dumps([{"url": url, "deflate": deflate, "count": 500}]))
            client.stdin.close()
            with accepted(listener) as driver:
                number = 0
                while (data := driver.receive()) is not None:
                    driver.send(data, count=1 + number % 3)
                    number += 1
                assert bool(driver.seen_rsv1) is (deflate is not False)
            [result] = json.loads(client.stdout.read())
    assert (result["received"], result["wrong"], result["code"]) == (500, None, 1000)
    assert ("header" in result) is (deflate is not False)
