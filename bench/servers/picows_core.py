"""picows with its own listeners."""

import asyncio

from picows import WSListener, WSMsgType, ws_create_server
from settings import HOST, MAX_SIZE, count, message, mode, port, run, tls_context

payload = message.encode()
clients = set()
CLOSE = WSMsgType.CLOSE


class Echo(WSListener):
    def on_ws_frame(self, transport, frame):
        kind = frame.msg_type
        if kind is CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()
        elif frame.payload_size < 4096:  # below, a copy costs less than a memoryview
            transport.send(kind, frame.get_payload_as_bytes())
        else:
            transport.send(kind, frame.get_payload_as_memoryview())


class Push(WSListener):
    def on_ws_connected(self, transport):
        self.transport = transport
        self.writable = asyncio.Event()
        self.writable.set()

    def on_ws_frame(self, transport, frame):
        clients.add(self)

    def on_ws_disconnected(self, transport):
        clients.discard(self)
        self.writable.set()

    def pause_writing(self):
        self.writable.clear()

    def resume_writing(self):
        self.writable.set()


class Broadcast(WSListener):
    def on_ws_connected(self, transport):
        clients.add(transport)

    def on_ws_disconnected(self, transport):
        clients.discard(transport)

    def on_ws_frame(self, transport, frame):
        if frame.msg_type is CLOSE:
            transport.disconnect()
        else:
            asyncio.get_running_loop().call_soon(broadcast)


def broadcast():
    for _ in range(count):
        for transport in clients:
            transport.send(WSMsgType.TEXT, payload)


async def push():
    while True:
        for client in tuple(clients):
            send = client.transport.send
            for _ in range(count):
                send(WSMsgType.TEXT, payload)
            if not client.writable.is_set():
                await client.writable.wait()
        await asyncio.sleep(0 if clients else 0.05)


async def main():
    listener = {"echo": Echo, "push": Push, "broadcast": Broadcast}[mode]
    server = await ws_create_server(
        lambda request: listener(), HOST, port, max_frame_size=MAX_SIZE, ssl=tls_context()
    )
    if mode == "push":
        await push()
    await server.serve_forever()


run(main())
