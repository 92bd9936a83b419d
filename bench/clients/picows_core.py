"""picows' client with its own listener, on uvloop."""

import uvloop
from measure import BLOCK, Measurement, uri
from picows import WSListener, WSMsgType, ws_connect

measurement = Measurement()


class Receive(WSListener):
    def __init__(self):
        self.messages = self.total = 0

    def on_ws_frame(self, transport, frame):
        if frame.msg_type == WSMsgType.TEXT:
            self.messages += 1
            self.total += len(frame.get_payload_as_utf8_text())
            if self.messages == BLOCK:
                measurement.add_block(self.total)
                self.messages = self.total = 0


async def main():
    transport, _ = await ws_connect(Receive, uri)
    await transport.wait_disconnected()


uvloop.run(main())
