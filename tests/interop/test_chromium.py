"""A real browser: headless Chromium against `wsfast serve`, driven over its DevTools protocol."""

import base64
import contextlib
import itertools
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import traffic
import websockets.sync.client
from traffic import SETTINGS, WINDOW_8, agreed

import wsfast

pytestmark = pytest.mark.interop

TIMEOUT = 30
FLAGS = [
    "--headless",
    "--remote-debugging-port=0",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-default-browser-check",
    "--no-first-run",
    "--no-proxy-server",
    # Nothing here is meant to leave the machine.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]

# A handler for what the demo does not do: it obeys the messages that the page sends.
HANDLER = """
import json

async def handler(ws):
    async for message in ws:
        command, *arguments = json.loads(message)
        if command == "close":
            await ws.close(*arguments)
        elif command == "terminate":
            ws.terminate()
        elif command == "fragments":
            await ws.send(arguments)
        elif command == "ping":
            latency = await (await ws.ping())
            await ws.send(json.dumps(latency))
        elif command == "request":
            await ws.send(json.dumps([ws.subprotocol, dict(ws.request.headers.raw_items())]))
"""

# A server for each of the compressions that it is told, which prints their ports.
COMPRESSING = """
import asyncio, contextlib, json, socket, sys

import wsfast
from traffic import echo
from wsfast.extensions import PerMessageDeflate


async def main():
    ports = []
    async with contextlib.AsyncExitStack() as stack:
        for options in json.loads(sys.argv[1]):
            sock = socket.create_server(("127.0.0.1", 0))
            ports.append(sock.getsockname()[1])
            compression = PerMessageDeflate(**options)
            await stack.enter_async_context(wsfast.serve(echo, sock=sock, compression=compression))
        print(json.dumps(ports), flush=True)
        await asyncio.Event().wait()


asyncio.run(main())
"""

# Exchanges messages with an echo server, and tells which did not come back as it was. Four hundred
# are on their way at once.
EXCHANGE = """
(url, count) => new Promise((resolve) => {
  const sent = messages(count);
  const ws = new WebSocket(url);
  ws.binaryType = 'arraybuffer';
  let next = 0, received = 0, wrong = null, extensions;
  const fill = () => { while (next < count && next < received + 400) ws.send(sent[next++]); };
  ws.onopen = () => { extensions = ws.extensions; fill(); };
  ws.onmessage = ({ data }) => {
    const content = typeof data === 'string' ? data : new Uint8Array(data);
    if (wrong === null && !same(sent[received], content)) wrong = received;
    received += 1;
    if (received === count) ws.close(1000);
    else fill();
  };
  ws.onclose = ({ code }) => resolve({ extensions, received, wrong, code });
})
"""

# Talks to a server and tells all that happened. `script` is run once the connection is open.
TALK = """
(url, protocols, script) => new Promise((resolve) => {
  const ws = new WebSocket(url, protocols);
  ws.binaryType = 'arraybuffer';
  const seen = { messages: [] };
  ws.onopen = () => {
    seen.protocol = ws.protocol;
    seen.extensions = ws.extensions;
    script(ws);
  };
  ws.onmessage = ({ data }) => {
    seen.messages.push(typeof data === 'string' ? data : Array.from(new Uint8Array(data)));
    ws.onanswer?.(seen.messages.length);
  };
  ws.onerror = () => { seen.error = true; };
  ws.onclose = ({ code, reason, wasClean }) => {
    resolve({ ...seen, code, reason, wasClean });
  };
})
"""


class DevTools:
    """The browser's own protocol: commands and their answers, matched by number."""

    def __init__(self, connection):
        self.connection = connection
        self.numbers = itertools.count(1)
        self.events = []

    def call(self, method, session=None, **params):
        number = next(self.numbers)
        command = {"id": number, "method": method, "params": params}
        if session is not None:
            command["sessionId"] = session
        self.connection.send(json.dumps(command))
        while True:
            answer = json.loads(self.connection.recv(timeout=TIMEOUT))
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)


class Page:
    def __init__(self, devtools):
        self.devtools = devtools
        self.target = devtools.call("Target.createTarget", url="about:blank")["targetId"]
        attached = devtools.call("Target.attachToTarget", targetId=self.target, flatten=True)
        self.session = attached["sessionId"]
        self.call("Runtime.enable")

    def call(self, method, **params):
        return self.devtools.call(method, self.session, **params)

    def evaluate(self, expression):
        """Return the value of an expression, awaited if it is a promise."""
        result = self.call(
            "Runtime.evaluate",
            expression=expression,
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def open(self, url):
        assert "errorText" not in self.call("Page.navigate", url=url)
        self.wait_until(f"location.href === {json.dumps(url)} && document.readyState")

    def wait_until(self, condition):
        """Wait until an expression is true, looking at it once per frame that is drawn."""
        self.evaluate(f"""
            new Promise((resolve, reject) => {{
              const end = performance.now() + {TIMEOUT * 1000 / 2};
              const look = () => {{
                if ({condition}) resolve();
                else if (performance.now() > end) reject(new Error('never ' + {condition!r}));
                else setTimeout(look, 10);
              }};
              look();
            }})
        """)

    def talk(self, url, script, protocols=()):
        return self.evaluate(f"({TALK})({json.dumps(url)}, {json.dumps(protocols)}, {script})")

    def exchange(self, url, count):
        script = (Path(__file__).parent / "traffic.mjs").read_text().replace("export ", "")
        return self.evaluate(f"(() => {{ {script}; return ({EXCHANGE}); }})()({url!r}, {count})")

    def exceptions(self):
        return [
            event["params"]
            for event in self.devtools.events
            if event.get("method") == "Runtime.exceptionThrown"
            and event.get("sessionId") == self.session
        ]

    def type(self, selector, text):
        """Replace what is in a field, as a keyboard does."""
        self.call("Page.bringToFront")
        self.evaluate(f"document.querySelector({json.dumps(selector)}).focus()")
        self.evaluate(f"document.querySelector({json.dumps(selector)}).select()")
        self.call("Input.insertText", text=text)

    def press_enter(self):
        key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13}
        self.call("Input.dispatchKeyEvent", type="keyDown", text="\r", **key)
        self.call("Input.dispatchKeyEvent", type="keyUp", **key)

    def click(self, selector):
        """Click where an element is, so that what covers or disables it counts."""
        self.call("Page.bringToFront")
        x, y = self.evaluate(f"""
            (() => {{
              const element = document.querySelector({json.dumps(selector)});
              element.scrollIntoView();
              const {{ left, top, width, height }} = element.getBoundingClientRect();
              return [left + width / 2, top + height / 2];
            }})()
        """)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def screenshot(self):
        self.call("Page.bringToFront")
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def close(self):
        self.devtools.call("Target.closeTarget", targetId=self.target)


@pytest.fixture(scope="module")
def devtools(run_peer, tmp_path_factory):
    names = ["chromium", "chromium-browser", "google-chrome"]
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip("Chromium is not installed: `make interop` installs it")
    profile = tmp_path_factory.mktemp("profile")
    # Chromium refuses to put root into its sandbox.
    flags = [*FLAGS, "--no-sandbox"] if os.geteuid() == 0 else FLAGS
    with run_peer([path, *flags, f"--user-data-dir={profile}", "about:blank"]) as peer:
        url = peer.wait_for(r"DevTools listening on (ws://\S+)")[1]
        with websockets.sync.client.connect(
            url, compression=None, max_size=None, open_timeout=TIMEOUT
        ) as connection:
            yield DevTools(connection)


@pytest.fixture
def new_page(devtools):
    """A function that opens a page; what it opened is closed after the test."""
    with contextlib.ExitStack() as stack:

        def new(url):
            page = Page(devtools)
            stack.callback(page.close)
            page.open(url)
            return page

        yield new


@pytest.fixture(scope="module")
def demo(devtools, wsfast_serve):
    """The address of `wsfast serve` without a handler: the page, the echo and the chat."""
    with wsfast_serve() as port:
        yield f"127.0.0.1:{port}"


@pytest.fixture(scope="module")
def obedient(devtools, wsfast_serve, tmp_path_factory):
    """The address of `wsfast serve` with the handler above."""
    directory = tmp_path_factory.mktemp("handler")
    (directory / "obedient.py").write_text(HANDLER)
    with wsfast_serve("obedient:handler", path=directory) as port:
        yield f"ws://127.0.0.1:{port}"


def test_the_page_is_served_and_runs_without_an_error(new_page, demo):
    page = new_page(f"http://{demo}/")
    assert "wsfast" in page.evaluate("document.title")
    assert page.evaluate("fetch('/').then((response) => response.status)") == 200
    assert page.exceptions() == []


def test_a_page_sees_its_text_and_bytes_come_back(new_page, demo):
    page = new_page(f"http://{demo}/")
    script = """(ws) => {
      ws.send('grün 𝄞');
      ws.send('');
      ws.send(new Uint8Array([0, 1, 254, 255]));
      ws.send(new Uint8Array(0));
      ws.onanswer = (count) => { if (count === 4) ws.close(); };
    }"""
    seen = page.talk(f"ws://{demo}/echo", script)
    assert seen["messages"] == ["grün 𝄞", "", [0, 1, 254, 255], []]
    assert (seen["code"], seen["reason"], seen["wasClean"]) == (1005, "", True)
    # Chromium offers compression; a server that does not want it says nothing.
    assert (seen["extensions"], seen["protocol"]) == ("", "")


@pytest.mark.parametrize("size", [125, 126, 65535, 65536, 2**20])
def test_a_page_sees_a_blob_of_every_length_form_come_back(new_page, demo, size):
    page = new_page(f"http://{demo}/")
    same = page.evaluate(f"""
        new Promise((resolve, reject) => {{
          const sent = Uint8Array.from({{ length: {size} }}, (_, i) => i * 7);
          const ws = new WebSocket('ws://{demo}/echo');
          ws.onopen = () => ws.send(new Blob([sent]));
          ws.onclose = reject;
          ws.onmessage = async ({{ data }}) => {{
            const bytes = new Uint8Array(await data.arrayBuffer());
            ws.onclose = null;
            ws.close();
            resolve(bytes.length === sent.length && bytes.every((byte, i) => byte === sent[i]));
          }};
        }})
    """)
    assert same is True


def test_a_thousand_messages_of_a_page_come_back_in_order(new_page, demo):
    page = new_page(f"http://{demo}/")
    script = """(ws) => {
      for (let i = 0; i < 1000; i++) ws.send(String(i));
      ws.onanswer = (count) => { if (count === 1000) ws.close(1000); };
    }"""
    seen = page.talk(f"ws://{demo}/echo", script)
    assert seen["messages"] == [str(number) for number in range(1000)]


@pytest.mark.parametrize(("code", "reason"), [(1000, "done"), (3000, "grün"), (4999, "x" * 123)])
def test_a_page_that_closes_sees_its_code_come_back(new_page, demo, code, reason):
    page = new_page(f"http://{demo}/")
    seen = page.talk(f"ws://{demo}/echo", f"(ws) => ws.close({code}, {json.dumps(reason)})")
    assert seen["code"] == code
    assert seen["reason"] in (reason, "")
    assert seen["wasClean"] is True


@pytest.mark.parametrize(
    ("code", "reason"),
    [(1000, "done"), (1001, "going away"), (1011, ""), (3000, "grün"), (4999, "x" * 123)],
)
def test_a_page_sees_the_close_code_of_the_server(new_page, demo, obedient, code, reason):
    page = new_page(f"http://{demo}/")
    command = json.dumps(json.dumps(["close", code, reason]))
    seen = page.talk(obedient, f"(ws) => ws.send({command})")
    assert (seen["code"], seen["reason"], seen["wasClean"]) == (code, reason, True)
    assert "error" not in seen


def test_a_page_sees_a_terminated_connection_as_1006(new_page, demo, obedient):
    page = new_page(f"http://{demo}/")
    seen = page.talk(obedient, "(ws) => ws.send('[\"terminate\"]')")
    assert (seen["code"], seen["reason"], seen["wasClean"]) == (1006, "", False)


def test_a_page_sees_a_refused_handshake_as_an_error(new_page, demo):
    page = new_page(f"http://{demo}/")
    seen = page.talk(f"ws://{demo}/nowhere", "() => {}")
    assert seen["error"] is True
    assert (seen["code"], seen["wasClean"]) == (1006, False)


def test_a_page_sees_fragments_as_one_message(new_page, demo, obedient):
    page = new_page(f"http://{demo}/")
    script = """(ws) => {
      ws.send(JSON.stringify(['fragments', 'one, ', '', 'two, ', 'three']));
      ws.onanswer = () => ws.close();
    }"""
    assert page.talk(obedient, script)["messages"] == ["one, two, three"]


def test_a_browser_answers_a_ping(new_page, demo, obedient):
    page = new_page(f"http://{demo}/")
    script = "(ws) => { ws.send('[\"ping\"]'); ws.onanswer = () => ws.close(); }"
    [latency] = page.talk(obedient, script)["messages"]
    assert 0 < float(latency) < TIMEOUT


def test_the_server_sees_what_a_browser_sends_with_its_request(new_page, demo, obedient):
    page = new_page(f"http://{demo}/")
    script = "(ws) => { ws.send('[\"request\"]'); ws.onanswer = () => ws.close(); }"
    [message] = page.talk(obedient, script)["messages"]
    subprotocol, headers = json.loads(message)
    assert subprotocol is None
    assert headers["Origin"] == f"http://{demo}"
    assert headers["Sec-WebSocket-Extensions"].startswith("permessage-deflate")


def test_a_plain_request_for_a_websocket_is_answered_with_426(new_page, demo):
    page = new_page(f"http://{demo}/")
    assert page.evaluate("fetch('/echo').then((response) => response.status)") == 426


def compressing(run_peer, options):
    """Start a server for each of these options of permessage-deflate; gives their ports."""
    command = [sys.executable, "-c", COMPRESSING, json.dumps(options)]
    paths = [str(Path(traffic.__file__).parent), *sys.path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    environment["WSFAST_PURE"] = "1" if wsfast.BACKEND == "pure" else ""
    return run_peer(command, env=environment)


def test_a_page_exchanges_ten_thousand_compressed_messages(new_page, demo, run_peer):
    page = new_page(f"http://{demo}/")
    with compressing(run_peer, [{}]) as peer:
        [port] = json.loads(peer.wait_for(r"^\[.*\]$")[0])
        result = page.exchange(f"ws://127.0.0.1:{port}", 10_000)
    assert result.pop("extensions") == "permessage-deflate; client_max_window_bits=12"
    assert result == {"received": 10_000, "wrong": None, "code": 1000}


def test_a_page_takes_the_parameters_of_the_server(new_page, demo, run_peer):
    page = new_page(f"http://{demo}/")
    settings = [*SETTINGS, *WINDOW_8]
    with compressing(run_peer, [setting.options for setting in settings]) as peer:
        ports = json.loads(peer.wait_for(r"^\[.*\]$")[0])
        for port, setting in zip(ports, settings, strict=True):
            result = page.exchange(f"ws://127.0.0.1:{port}", 100)
            assert agreed(result.pop("extensions")) == setting.agreed
            assert result == {"received": 100, "wrong": None, "code": 1000}, setting


def log_of(panel):
    return f"document.querySelector('#{panel} ol').innerText"


def test_the_echo_half_of_the_page_does_what_it_says(new_page, demo):
    page = new_page(f"http://{demo}/")
    page.wait_until("document.querySelector('#echo .state').innerText.includes('connected')")
    page.type("#echo .message", "grün 𝄞")
    page.click("#echo button[value=text]")
    page.wait_until(f"{log_of('echo')}.includes('< text: grün 𝄞')")
    page.click("#echo button[value=binary]")
    page.wait_until(f"{log_of('echo')}.includes('< binary, 10 bytes: 67 72 c3 bc 6e 20 f0 9d')")

    page.type("#echo .code", "4321")
    page.type("#echo .reason", "tired")
    page.click("#echo form.close button")
    page.wait_until(f"{log_of('echo')}.includes('code 4321, reason \"tired\"')")
    assert "not clean" not in page.evaluate(log_of("echo"))
    page.click("#echo .connect")
    page.wait_until("document.querySelector('#echo .state').innerText.includes('connected')")
    assert page.exceptions() == []


def test_two_pages_see_each_other_in_the_chat(new_page, demo, tmp_path):
    pages = {name: new_page(f"http://{demo}/") for name in ("Ada", "Grace")}
    for name, page in pages.items():
        page.wait_until("document.querySelector('#chat .state').innerText.includes('connected')")
        page.type("#chat .name input", name)
    for name, page in pages.items():
        page.type("#chat .message", f"This is {name}.")
        page.press_enter()
        for other in pages.values():
            other.wait_until(f"{log_of('chat')}.includes('{name}: This is {name}.')")

    for page in pages.values():
        lines = page.evaluate(log_of("chat")).splitlines()
        assert lines[-2:] == ["Ada: This is Ada.", "Grace: This is Grace."]
        assert page.exceptions() == []

    picture = pages["Ada"].screenshot()
    assert picture.startswith(b"\x89PNG")
    (tmp_path / "chat.png").write_bytes(picture)


def test_the_stats_page_of_the_examples_shows_what_the_server_counts(new_page, run_peer):
    """M18: server-stats of ws's examples."""
    root = Path(wsfast.__file__).parent.parent
    environment = {**os.environ, "PYTHONPATH": str(root)}
    environment["WSFAST_PURE"] = "1" if wsfast.BACKEND == "pure" else ""
    with run_peer(
        [sys.executable, root / "examples" / "server_stats.py", "0"], env=environment
    ) as peer:
        port = peer.wait_for(r"listening on port (\d+)")[1]
        address = f"127.0.0.1:{port}"
        page, other = (new_page(f"http://{address}/") for _ in range(2))

        def shown(name):
            return f"document.getElementById({name!r}).textContent"

        for name in "resident", "blocks", "sent", "rate", "bytes":
            page.wait_until(f"Number({shown(name)}) > 0")
        page.wait_until(f"{shown('open')} === '2' && {shown('accepted')} === '2'")
        # Both pages were answered with 200.
        page.wait_until(f"{shown('refused')} === '2' && {shown('errors')} === '{{}}'")
        sent = int(page.evaluate(shown("sent")))
        page.wait_until(f"Number({shown('sent')}) > {sent}")
        assert page.evaluate(shown("state")) == "connected"
        assert page.exceptions() == other.exceptions() == []
