"""A server that prints what it gets and greets every client: python simple_server.py PORT"""

import sys

import wsfast

server = wsfast.WebSocketServer("127.0.0.1", int(*sys.argv[1:]))


@server.on("listening")
def listening():
    print("listening on port", server.address()[1], flush=True)


@server.on("connection")
def connection(ws, request):
    ws.on("error", print)

    @ws.on("message")
    def message(data, is_binary):
        print("received:", data, flush=True)

    ws.send("something")


server.run()
