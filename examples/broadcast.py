"""A server that sends every message to all its clients, or with "others" to all but the one that
sent it: python broadcast.py PORT [others]
"""

import sys

import wsfast

port, *others = sys.argv[1:]
server = wsfast.WebSocketServer("127.0.0.1", int(port))


@server.on("listening")
def listening():
    print("listening on port", server.address()[1], flush=True)


@server.on("connection")
def connection(ws, request):
    ws.on("error", print)

    @ws.on("message")
    def message(data, is_binary):
        # Text stays text and binary stays binary, because the one is str and the other bytes.
        # The frame is made once for all; whoever reads too slowly misses it.
        receivers = server.connections - {ws} if others else server.connections
        wsfast.broadcast(receivers, data)


server.run()
