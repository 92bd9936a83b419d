"""Log in by HTTP, talk by WebSocket, log out by HTTP, on one port: python session_login.py PORT

Open http://127.0.0.1:PORT in a browser. The WebSocket is closed when its user logs out.
"""

import secrets
import sys
import uuid
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie

import wsfast

PAGE = b"""<!doctype html>
<title>Sessions</title>
<button onclick="ask('POST', '/login')">Log in</button>
<button onclick="ask('DELETE', '/logout')">Log out</button>
<button onclick="open_socket()">Open a WebSocket</button>
<button onclick="ws.send('hello')">Say hello</button>
<pre id="log"></pre>
<script>
let ws
const show = text => { log.textContent += text + "\\n" }
const ask = (method, path) => fetch(path, { method }).then(r => r.text()).then(show)
function open_socket() {
  ws = new WebSocket("ws://" + location.host)
  ws.onopen = () => show("open")
  ws.onmessage = event => show(event.data)
  ws.onclose = event => show("closed: " + event.code + " " + event.reason)
}
</script>
"""

users = {}  # by session
websockets = {}  # by user


def session_of(request):
    try:
        cookie = SimpleCookie(request.headers.get("Cookie", "")).get("session")
    except CookieError:
        return None
    return None if cookie is None else cookie.value


def respond(status, text, **headers):
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return wsfast.Response(status, HTTPStatus(status).phrase, wsfast.Headers(fields), text.encode())


def route(ws, request):
    """Every request comes here first. What gets None may go on to be a WebSocket."""
    session = session_of(request)
    user = users.get(session)
    match request.method, request.path:
        case "GET", "/" if "Upgrade" not in request.headers:
            return respond(200, PAGE.decode(), content_type="text/html; charset=utf-8")
        case "POST", "/login":
            session, user = secrets.token_urlsafe(), str(uuid.uuid4())
            users[session] = user
            print("session of", user, flush=True)
            # Strict: other sites cannot open a WebSocket with it.
            cookie = f"session={session}; HttpOnly; SameSite=Strict; Path=/"
            return respond(200, "logged in\n", set_cookie=cookie)
        case "DELETE", "/logout":
            users.pop(session, None)
            if user in websockets:
                websockets[user].close(4000, "logged out")
            return respond(200, "logged out\n")
    if user is None:
        return respond(401, "log in first\n")
    ws.user = user
    return None


server = wsfast.WebSocketServer("127.0.0.1", int(*sys.argv[1:]), process_request=route)


@server.on("listening")
def listening():
    print("listening on port", server.address()[1], flush=True)


@server.on("connection")
def connection(ws, request):
    if ws.user in websockets:
        websockets[ws.user].close(4001, "opened elsewhere")
    websockets[ws.user] = ws

    @ws.on("message")
    def message(data, is_binary):
        print(f"received message {data} from user {ws.user}", flush=True)
        ws.send("thank you")

    @ws.on("close")
    def closed(code, reason):
        if websockets.get(ws.user) is ws:
            del websockets[ws.user]


server.run()
