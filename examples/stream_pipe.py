"""Pipe the standard input to a WebSocket, and what comes from it to the standard output.

    command | python stream_pipe.py ws://localhost:8765 | other command

The end of the input closes the connection, behind what was read. Both have to be pipes (or sockets,
or a terminal); a slow reader at one end slows the writer at the other.
"""

import asyncio
import sys

import wsfast


async def standard_streams():
    """The standard input as a StreamReader, and the standard output as a StreamWriter."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), sys.stdout
    )
    return reader, asyncio.StreamWriter(transport, protocol, None, loop)


async def pipe(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write_eof()


async def main(uri):
    stdin, stdout = await standard_streams()
    ws = await wsfast.connect(uri)
    reader, writer = wsfast.create_websocket_stream(ws)
    sending = asyncio.create_task(pipe(stdin, writer))
    try:
        await pipe(reader, stdout)
    finally:
        sending.cancel()
        writer.close()
        await asyncio.gather(sending, return_exceptions=True)
    await writer.wait_closed()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
