"""HTTP by hand, and then WebSocket over the same connection: python from_scratch.py PORT

It shows what the opening handshake is. `wsfast.serve` does more: it refuses what is not valid.
"""

import asyncio
import signal
import sys

import wsfast

connections = set()


async def serve(reader, writer):
    # The request, as in RFC 6455 section 1.2:
    #
    #     GET /chat HTTP/1.1
    #     Host: server.example.com
    #     Upgrade: websocket
    #     Connection: Upgrade
    #     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==
    #     Sec-WebSocket-Version: 13
    try:
        async with asyncio.timeout(10):
            head = await reader.readuntil(b"\r\n\r\n")
    except (OSError, EOFError, asyncio.LimitOverrunError):
        writer.close()
        return
    line, *lines = head.decode("iso-8859-1").split("\r\n")
    headers = {}
    for header in lines:
        name, _, value = header.partition(":")
        headers[name.lower()] = value.strip()
    print(line, flush=True)
    # The response has what proves that the key was understood: the SHA-1 of the key and a constant.
    # wsfast.accept_key(key) is that, and this all of the response.
    try:
        writer.write(wsfast.upgrade_response(headers.get("sec-websocket-key", "")))
    except wsfast.InvalidHeader:
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        writer.close()
        return
    # From here on there are frames, and two events.
    ws = wsfast.wrap((reader, writer))
    connections.add(ws)

    @ws.on("message")
    def message(data, is_binary):
        for other in tuple(connections):  # one that fails is discarded at once
            other.send(data)

    @ws.on("close")
    def closed(code, reason):
        connections.discard(ws)
        print("closed with", code, flush=True)


async def main(port):
    stop = asyncio.Event()
    for number in signal.SIGINT, signal.SIGTERM:
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with await asyncio.start_server(serve, "127.0.0.1", port) as http:
        print("listening on port", http.sockets[0].getsockname()[1], flush=True)
        await stop.wait()
        await asyncio.gather(*[ws.close(1001) for ws in connections])


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
