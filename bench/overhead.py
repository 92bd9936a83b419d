"""What the protocol adds, in bytes: the headers of frames, and the opening handshake.

usage: overhead.py [--write]

The frames are made by both backends, must be the same, and of the length that websockets' have.
The handshakes are those of the servers and clients that the benchmark runs, as they are on the
wire. --write puts both tables into bench/README.md.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator

from contenders import HERE, PEERS, Peer, find_peers
from micro import BINARY, markdown, replace
from mirror import size_text
from processes import LOAD_CORE, SERVER_CORE, Failure, Server
from programs import BUILD, build_programs
from websockets.frames import Frame, Opcode

import wsfast._frame
import wsfast._parser
import wsfast._pure.frame
import wsfast._pure.parser

KEY = b"\x37\xfa\x21\x3d"

# Nothing (a ping), a status code (a close frame), the usual sizes, and where the header grows.
SIZES = (0, 2, 32, 125, 126, 128, 1024, 65535, 65536, 2**20, 2**24)

REQUEST = (
    "GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
TIMEOUT = 10.0


# --- Frames --------------------------------------------------------------------------------------


def header_size(size: int, key: bytes | None) -> int:
    """The header of a real frame: the same of both backends, read back by both, as RFC 6455 5.2."""
    data = bytes(size)
    frame = wsfast._frame.encode_frame(BINARY, data, True, 0, key)
    assert frame == wsfast._pure.frame.encode_frame(BINARY, data, True, 0, key)
    for parser in (wsfast._parser, wsfast._pure.parser):
        reader = parser.FrameReader(client=key is None, max_size=None)
        reader.feed(frame)
        assert reader.next() == (BINARY, data, True)
        assert reader.pending == 0
    assert len(frame) == len(Frame(Opcode.BINARY, data).serialize(mask=key is not None))
    return len(frame) - size


def frame_rows() -> list[list[str]]:
    rows = []
    for size in SIZES:
        server, client = header_size(size, None), header_size(size, KEY)
        shares = (share_text(header / (header + size)) for header in (server, client))
        rows.append([size_text(size), str(server), str(client), *shares])
    return rows


def share_text(share: float) -> str:
    return "< 0.1 %" if share < 0.001 else f"{share * 100:.1f} %"


# --- Handshakes ----------------------------------------------------------------------------------


def read_head(connection: socket.socket) -> bytes:
    """What comes up to the empty line."""
    head = b""
    while b"\r\n\r\n" not in head:
        data = connection.recv(4096)
        if not data:
            raise Failure("the connection ended within the handshake")
        head += data
    return head.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"


def response_size(peer: Peer, programs: dict[str, str]) -> int:
    """How long a server's answer to a plain request is."""
    command = [*peer.server_command(programs), "PORT"]
    server = Server(command, peer.variables(), BUILD / f"{peer.key}.log", SERVER_CORE)
    try:
        with socket.create_connection(("127.0.0.1", server.port), TIMEOUT) as connection:
            connection.sendall(REQUEST.format(port=server.port).encode())
            head = read_head(connection)
    finally:
        server.stop()
    assert head.startswith(b"HTTP/1.1 101 "), head
    return len(head)


@contextlib.contextmanager
def client(command: list[str], peer: Peer) -> Iterator[None]:
    """A client of the benchmark, which is not answered."""
    with subprocess.Popen(
        command,
        env={**os.environ, **peer.variables()},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield
        finally:
            process.kill()


def request_size(peer: Peer) -> int | None:
    """How long a client's request is; None if the benchmark has no client of it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(TIMEOUT)
        port = str(listener.getsockname()[1])
        if peer.speed is not None:
            command = [*peer.speed_command(), port, "binary", "32", "1"]
        elif peer.client is not None:
            command = [*peer.client_command(), port, "0", "1", "32"]
        else:
            return None
        with client(command, peer):
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(TIMEOUT)
                return len(read_head(connection))


def handshake_rows(uwebsockets: str | None) -> list[list[str]]:
    programs, _ = build_programs()
    _, missing = find_peers(uwebsockets)
    if uwebsockets is not None:
        programs["uwebsockets"] = uwebsockets
    rows = []
    for peer in PEERS:
        if peer.key in missing or peer.key in VARIANTS:
            continue
        request = request_size(peer)
        response = response_size(peer, programs)
        label = peer.label.removesuffix(", listeners").removesuffix(" (uvloop)")
        rows.append([label, "" if request is None else str(request), str(response)])
    return rows


# The same library once more: its handshake is the same.
VARIANTS = (
    "wsfast-coroutine",
    "wsfast-ng",
    "wsfast-h11",
    "wsfast-pure",
    "websockets-plain",
    "bare-c",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="update the tables")
    parser.add_argument("--uwebsockets", metavar="PATH", help="an echo server of uWebSockets")
    options = parser.parse_args()
    os.sched_setaffinity(0, {LOAD_CORE})
    text = "\n".join(
        [
            markdown(
                frame_rows(),
                ["payload", "server", "client", "share, server", "share, client"],
                1,
            ),
            markdown(
                handshake_rows(options.uwebsockets),
                ["handshake, bytes", "request of the client", "response of the server"],
                1,
            ),
        ]
    )
    print(text)
    if options.write:
        replace(HERE / "README.md", "overhead", text)


if __name__ == "__main__":
    main()
