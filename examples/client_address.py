"""A server that prints where its clients are: python client_address.py PORT [PROXY ...]

Each PROXY is the address or the network of a reverse proxy that is believed about its clients:
127.0.0.1 for one on this machine, such as nginx with nginx.conf.
"""

import sys

import wsfast

port, *proxies = sys.argv[1:]
server = wsfast.WebSocketServer("127.0.0.1", int(port), trusted_proxies=proxies)


@server.on("listening")
def listening():
    print("listening on port", server.address()[1], flush=True)


@server.on("connection")
def connection(ws, request):
    ws.on("error", print)
    # The other end of the socket, which is the proxy if there is one; and who is behind it. The
    # header itself is not to be believed: any client can send one.
    peer, _ = ws.remote_address
    client, _ = ws.client_address
    print(f"connected from {peer}: a client at {client} by {ws.client_scheme}", flush=True)


server.run()
