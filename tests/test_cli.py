"""The command `wsfast` with `serve` and `connect`: processes, pipes, signals and a terminal."""

import asyncio
import contextlib
import errno
import os
import re
import signal
import socket
import ssl
import subprocess
import threading

import pytest
import trustme
from commands import TIMEOUT, Peer, ended, failure, open_screen, run, serving, start

import wsfast
from wsfast import cli


@pytest.fixture(scope="module")
def demo():
    """The address of the demo."""
    with serving(timeout=10 * TIMEOUT) as process:  # it is there for all tests
        yield process.address


def connect(address, path, *arguments, stdin, wait="0"):
    return run("connect", "--wait", wait, *arguments, f"ws://{address}{path}", stdin=stdin)


# --- The command itself ------------------------------------------------------------------------


def test_version_says_what_is_in_use():
    status, output, _ = run("--version")
    assert status == 0
    assert output.startswith(f"wsfast {wsfast.__version__}, {wsfast.BACKEND} backend, ")
    assert re.search(r", (h11|httptools), (zlib|zlib-ng), CPython \d+\.\d+\.\d+", output)


def test_version_names_the_pure_backend(monkeypatch):
    monkeypatch.setenv("WSFAST_PURE", "1")
    assert ", pure backend, " in run("--version")[1]


@pytest.mark.parametrize("command", [[], ["serve"], ["connect"], ["bench"]])
def test_help(command):
    status, output, errors = run(*command, "--help")
    assert (status, errors) == (0, "")
    assert output.startswith(" ".join(["usage: wsfast", *command]))


def test_help_of_connect_says_when_a_pipe_ends():
    output = run("connect", "--help")[1]
    assert "once no message has come for --wait seconds" in output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "required: COMMAND"),
        (["dance"], "invalid choice: 'dance'"),
        (["connect"], "required: URI"),
        (["serve", "--port", "65536"], "a port is 0 to 65535, not '65536'"),
        (["serve", "--port", "-1"], "a port is 0 to 65535, not '-1'"),
        (["connect", "--wait", "nan", "ws://a"], "it takes a number of seconds, not 'nan'"),
        (["connect", "--wait", "soon", "ws://a"], "it takes a number of seconds, not 'soon'"),
        (["connect", "--wait", "-1", "ws://a"], "it takes a number of seconds, not '-1'"),
        (["connect", "--header", "X", "ws://a"], "a header is 'NAME: VALUE', not 'X'"),
        (["connect", "--auth", "me", "ws://a"], "it takes USER:PASSWORD"),
    ],
)
def test_wrong_usage(arguments, said, capsys):
    with pytest.raises(SystemExit) as exit:
        cli.main(arguments)
    assert exit.value.code == 2
    assert said in capsys.readouterr().err


# --- serve: the demo ---------------------------------------------------------------------------


def request(address, target, method="GET", headers=""):
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=TIMEOUT) as sock:
        sock.sendall(f"{method} {target} HTTP/1.1\r\nHost: {address}\r\n{headers}\r\n".encode())
        answer = b"".join(iter(lambda: sock.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.decode(), body.decode()


def test_the_demo_tells_where_it_is():
    with serving() as process:
        address = re.escape(process.address)
    assert re.fullmatch(
        rf"Open http://{address}/ in a browser, or connect to ws://{address}/echo or "
        rf"ws://{address}/chat\.\n",
        process.line,
    )


@pytest.mark.parametrize("target", ["/", "/?from=somewhere"])
def test_the_page_is_one_file(demo, target):
    status, head, body = request(demo, target)
    assert status == 200
    assert "Content-Type: text/html; charset=utf-8" in head
    assert "default-src 'none'" in head
    assert body.startswith("<!doctype html>")
    # Nothing is loaded from anywhere, and the only addresses are made of the page's own.
    assert re.findall(r'(?:src|href|action)="([^"]*)"', body) == ["data:,"]
    assert not re.search(r"https?://|@import|url\(|import\(|fetch\(", body)
    assert re.findall(r"wss?:\S*", body) == ['wss:"', 'ws:";']
    assert "new URL(name, location.href)" in body


@pytest.mark.parametrize("target", ["/nothing", "/echo/", "/favicon.ico", "/../echo"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_other_paths_are_404(demo, target, method):
    status, _, body = request(demo, target, method)
    assert status == 404
    assert "/echo and /chat" in body


def test_a_websocket_at_the_page_is_404(demo):
    status, output, errors = connect(demo, "/", stdin=b"")
    assert (status, output) == (1, "")
    assert errors == (
        "wsfast: cannot connect: Unexpected server response: 404, Nothing is here. WebSockets "
        "are at /echo and /chat, a page for a browser is at /.\n"
    )


def test_a_plain_request_for_the_echo_is_426(demo):
    assert request(demo, "/echo")[0] == 426


async def test_the_echo_sends_text_and_binary_back(demo):
    async with wsfast.connect(f"ws://{demo}/echo?a=b") as ws:
        for message in ("grün", "", b"\x00\xff", b""):
            await ws.send(message)
            assert await ws.recv() == message


async def join(stack, url, name):
    ws = await stack.enter_async_context(wsfast.connect(url))
    await ws.send(f"{name} is here")
    assert await ws.recv() == f"{name} is here"
    return ws


async def test_the_chat_sends_to_everybody(demo):
    url = f"ws://{demo}/chat"
    async with contextlib.AsyncExitStack() as stack:
        ada, grace = [await join(stack, url, name) for name in ("Ada", "Grace")]
        assert await ada.recv() == "Grace is here"
        await grace.send(b"bytes")
        assert [await ada.recv(), await grace.recv()] == [b"bytes", b"bytes"]
        async with wsfast.connect(f"ws://{demo}/echo") as other:
            await other.send("not in the chat")
            assert await other.recv() == "not in the chat"
        await ada.send("last")
        assert [await ada.recv(), await grace.recv()] == ["last", "last"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_closes_with_1001_and_ends_with_0(number):
    with serving() as process:
        async with wsfast.connect(f"ws://{process.address}/echo") as ws:
            process.send_signal(number)
            with pytest.raises(wsfast.ConnectionClosedOK):
                await ws.recv()
            assert ws.close_code == 1001
        _, errors = await asyncio.to_thread(process.communicate, timeout=TIMEOUT)
    assert (process.returncode, errors) == (0, b"")


def test_ipv6():
    if not socket.has_ipv6:
        pytest.skip("no IPv6")
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6")
    with ended(start("serve", "--host", "::1", "--port", "0")) as process:
        assert re.search(rb"http://\[::1\]:\d+/", process.stdout.readline())


def test_all_addresses_are_shown_as_localhost():
    with ended(start("serve", "--host", "0.0.0.0", "--port", "0")) as process:
        assert re.search(rb"http://localhost:\d+/", process.stdout.readline())


# --- serve: a handler --------------------------------------------------------------------------

HANDLERS = """
async def upper(ws):
    async for message in ws:
        await ws.send(message.upper())

class Handlers:
    async def reverse(self, ws):
        async for message in ws:
            await ws.send(message[::-1])

    async def __call__(self, ws):
        await ws.send(ws.path)

handlers = Handlers()

def plain(ws):
    pass

number = 5
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "app.py").write_text(HANDLERS)
    (tmp_path / "broken.py").write_text("x = 1\ny = x / 0\n")
    (tmp_path / "torn.py").write_text("def f(:\n")
    (tmp_path / "needy.py").write_text("import a_module_that_nobody_has\n")
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "module.py").write_text(HANDLERS)
    return tmp_path


@pytest.mark.parametrize(
    ("handler", "answer"),
    [
        ("app:upper", "ABC"),
        ("package.module:upper", "ABC"),
        ("app:handlers.reverse", "cba"),
        ("app:handlers", "/some/where"),
    ],
)
def test_a_handler_of_the_current_directory(folder, handler, answer):
    with serving(handler, cwd=folder) as process:
        assert process.line == (
            f"Serving {handler} on http://{process.address}: connect to ws://{process.address}/.\n"
        )
        status, output, _ = connect(process.address, "/some/where", stdin=b"abc\n")
    assert (status, output) == (0, f"{answer}\n")


def test_a_handler_at_one_path(folder):
    with serving("app:upper", "--path", "/only", cwd=folder) as process:
        assert process.line.endswith(f"connect to ws://{process.address}/only.\n")
        assert connect(process.address, "/only", stdin=b"abc\n")[:2] == (0, "ABC\n")
        assert connect(process.address, "/other", stdin=b"abc\n")[0] == 1


@pytest.mark.parametrize(
    ("handler", "said"),
    [
        ("app", r"'app' is not MODULE:HANDLER; for `async def echo\(ws\)` in app.py, .* app:echo"),
        (":upper", "':upper' is not MODULE:HANDLER; .*"),
        ("app:", "'app:' is not MODULE:HANDLER; .*"),
        ("nowhere:handler", "there is no module 'nowhere' in .*; run wsfast where it is, or .*"),
        ("package.nowhere:handler", "there is no module 'package.nowhere' in .*"),
        ("app:lower", "the module 'app' has no 'lower'"),
        ("app:handlers.lower", "the module 'app' has no 'handlers.lower'"),
        ("app:plain", r"app:plain is not a coroutine function; write `async def plain\(ws\)`"),
        ("app:number", "app:number is not a coroutine function; .*"),
        ("broken:f", r"cannot import 'broken': ZeroDivisionError: .* \(.*broken.py, line 2\)"),
        ("torn:f", r"cannot import 'torn': SyntaxError: .* \(torn.py, line 1\)"),
        ("needy:f", r"cannot import 'needy': No module named 'a_mod.*' \(.*needy.py, line 1\)"),
    ],
)
def test_a_handler_that_cannot_be_used(folder, handler, said):
    assert re.fullmatch(said, failure("serve", "--port", "0", handler, cwd=folder))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--path", "/x"], "--path needs MODULE:HANDLER; the demo has paths of its own"),
        (["app:upper", "--path", "x"], "path must begin with a slash, not 'x'"),
        (["--tls-key", "key.pem"], "--tls-key needs --tls-cert"),
        (["--tls-cert", "gone.pem"], "cannot read gone.pem: No such file or directory"),
        (["--tls-cert", "app.py"], "cert is not a PEM certificate and its key: .*"),
        (["--host", "no such host"], r"cannot listen on no such host:\d+: .*"),
        (["--host", "192.0.2.1"], r"cannot listen on 192.0.2.1:\d+: .*; choose .*"),
    ],
)
def test_options_that_cannot_be_used(folder, arguments, said):
    assert re.fullmatch(said, failure("serve", *arguments, cwd=folder))


def test_a_port_in_use():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        assert failure("serve", "--port", str(port)) == (
            f"cannot listen on 127.0.0.1:{port}: {os.strerror(errno.EADDRINUSE)}; "
            "choose an address with --host and --port"
        )


# --- TLS ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """The paths of an authority's certificate, and of a server's certificate and key."""
    directory = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    server = authority.issue_cert("127.0.0.1")
    paths = [directory / name for name in ("ca.pem", "cert.pem", "key.pem", "both.pem")]
    authority.cert_pem.write_to_path(paths[0])
    server.cert_chain_pems[0].write_to_path(paths[1])
    server.private_key_pem.write_to_path(paths[2])
    server.private_key_and_cert_chain_pem.write_to_path(paths[3])
    return [str(path) for path in paths]


def test_tls(certificates):
    ca, cert, key, _ = certificates
    with serving("--tls-cert", cert, "--tls-key", key, scheme="https") as process:
        assert f"wss://{process.address}/echo" in process.line
        uri = f"wss://{process.address}/echo"
        options = ["connect", "--wait", "0"]
        assert run(*options, "--ca", ca, uri, stdin=b"a\n")[:2] == (0, "a\n")
        assert run(*options, "--insecure", uri, stdin=b"b\n")[:2] == (0, "b\n")
        assert re.fullmatch(
            "cannot connect: .*certificate verify failed.*; --ca names a certificate to trust, "
            "--insecure trusts every server",
            failure(*options, uri),
        )


async def test_tls_with_certificate_and_key_in_one_file(certificates):
    with serving("--tls-cert", certificates[3], scheme="https") as process:
        context = ssl.create_default_context(cafile=certificates[0])
        async with wsfast.connect(f"wss://{process.address}/echo", ssl=context) as ws:
            await ws.send("x")
            assert await ws.recv() == "x"


# --- connect: a pipe ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stdin", "stdout"),
    [
        (b"", ""),
        (b"one\n", "one\n"),
        (b"one\ntwo\n", "one\ntwo\n"),
        (b"no newline", "no newline\n"),
        (b"from Windows\r\n", "from Windows\n"),
        (b"\n\n", "\n\n"),
        ("grün 𝄞\n".encode(), "grün 𝄞\n"),
        # 200 KB in one line and many lines: read and sent in pieces.
        (b"x" * 200_000 + b"\n", "x" * 200_000 + "\n"),
        (b"line\n" * 10_000, "line\n" * 10_000),
    ],
)
def test_lines_are_sent_as_messages(demo, stdin, stdout):
    # No silence is waited for: the echo of the demo answers before it confirms the closing. But
    # with many lines it may be waiting for us to read when the close frame comes.
    wait = "0.3" if len(stdin) > 10_000 else "0"
    status, output, errors = connect(demo, "/echo", stdin=stdin, wait=wait)
    assert output == stdout
    assert (status, errors) == (0, "Connection closed: 1000 (OK).\n")


def test_control_characters_are_escaped(demo):
    line = "\x1b]0;title\x07 \x00\t\r| \x7f \x80\x9b2J\x9f"
    _, output, _ = connect(demo, "/echo", stdin=f"{line}\n".encode())
    assert output == ("\\x1b]0;title\\x07 \\x00\\t\\r| \\x7f \\x80\\x9b2J\\x9f\n")


def test_line_breaks_do_not_make_two_messages_of_one():
    async def handler(ws):
        await ws.send("one\ntwo\r\nthree\x85")

    with Peer(handler) as peer:
        _, output, _ = run("connect", "--wait", "inf", peer.url)
    assert output == "one\\ntwo\\r\\nthree\\x85\n"


def test_binary_messages_are_hexadecimal():
    async def handler(ws):
        await ws.send(b"\x00\x1b\xff")
        await ws.send(b"")
        await ws.send(bytes(1000))

    with Peer(handler) as peer:
        _, output, _ = run("connect", "--wait", "inf", peer.url)
    assert output == f"001bff\n\n{'00' * 1000}\n"


def test_answers_may_come_behind_the_end_of_the_input():
    async def handler(ws):
        questions = [await ws.recv(), await ws.recv()]
        for question in questions:
            await (await ws.ping())
            await ws.send(f"answer to {question}")
        assert [message async for message in ws] == []

    with Peer(handler) as peer:
        status, output, _ = run("connect", "--wait", "0.5", peer.url, stdin=b"one\ntwo\n")
    assert (status, output) == (0, "answer to one\nanswer to two\n")


def test_the_input_is_read_as_it_comes(demo):
    process = start("connect", f"ws://{demo}/echo", "--wait", "0", stdin=subprocess.PIPE)
    with ended(process):
        for line in (b"first\n", b"second\n"):
            process.stdin.write(line)
            process.stdin.flush()
            assert process.stdout.readline() == line
        process.stdin.close()
        assert process.stdout.read() == b""
        assert process.wait(TIMEOUT) == 0


@pytest.mark.parametrize(
    ("code", "reason", "status", "said"),
    [
        (1000, "", 0, "1000 (OK)"),
        (1001, "restarting", 0, "1001 (going away) restarting"),
        (None, "", 0, "1005 (no status received [internal])"),
        (1011, "", 1, "1011 (internal error)"),
        (3001, "\x1b[2J", 1, "3001 (registered) \\x1b[2J"),
        (4000, "", 1, "4000 (private use)"),
    ],
)
def test_the_server_closes(code, reason, status, said):
    async def handler(ws):
        await ws.send("bye")
        await ws.close(code, reason)

    with Peer(handler) as peer, ended(start("connect", peer.url, stdin=subprocess.PIPE)) as process:
        # Nothing is at the end of the input: it is the server that ends this.
        assert process.stdout.read() == b"bye\n"
        assert process.stderr.read().decode() == f"Connection closed: {said}.\n"
        assert process.wait(TIMEOUT) == status


def test_the_connection_is_lost():
    async def handler(ws):
        ws.terminate()

    with Peer(handler) as peer:
        status, _, errors = run("connect", "--wait", "inf", peer.url)
    assert status == 1
    assert re.match(r"Connection closed: 1006 \(abnormal closure \[internal\]\)", errors)


def test_what_goes_wrong_is_told():
    async def handler(ws):
        await ws.send(bytes(2**20 + 1))
        await ws.wait_closed()

    with Peer(handler) as peer:
        status, _, errors = run("connect", "--wait", "inf", peer.url)
    assert status == 1
    assert "Frame size of 1048577 exceeds maximum of 1048576" in errors


def test_input_that_is_not_utf_8(demo):
    status, output, errors = connect(demo, "/echo", stdin=b"good\nb\xe4d\nnot sent\n")
    assert (status, output) == (1, "good\n")
    assert errors == "wsfast: line 2 of the input is not UTF-8\n"


def test_a_pipe_whose_reader_goes_away(demo):
    process = start("connect", f"ws://{demo}/echo", stdin=subprocess.PIPE)
    with ended(process):
        process.stdin.write(b"one\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"one\n"
        process.stdout.close()
        process.stdin.write(b"two\n")
        process.stdin.flush()
        assert process.wait(TIMEOUT) == 1
        assert process.stderr.read() == b""


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs POSIX")
def test_without_standard_input(demo):
    process = start("connect", "--wait", "0", f"ws://{demo}/echo", preexec_fn=lambda: os.close(0))
    with ended(process):
        output, errors = process.communicate(timeout=TIMEOUT)
    assert (process.returncode, output) == (0, b"")
    assert errors == b"Connection closed: 1000 (OK).\n"


def test_a_standard_input_that_does_not_block(demo):
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    process = start("connect", "--wait", "0", f"ws://{demo}/echo", stdin=reader)
    os.close(reader)
    with ended(process):
        os.write(writer, b"one\n")
        assert process.stdout.readline() == b"one\n"
        os.close(writer)
        assert process.wait(TIMEOUT) == 0


def test_ctrl_c_closes_and_leaves_nothing(demo):
    process = start("connect", f"ws://{demo}/echo", stdin=subprocess.PIPE)
    with ended(process):
        process.stdin.write(b"one\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"one\n"
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == b"Connection closed: 1000 (OK).\n"
        assert process.wait(TIMEOUT) == 0


def test_a_second_ctrl_c_does_not_wait_for_the_server():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        url = f"ws://127.0.0.1:{sock.getsockname()[1]}"
        with ended(start("connect", url, stdin=subprocess.PIPE)) as process:
            accepted, _ = sock.accept()
            with accepted:
                head = accepted.recv(65536).decode()
                key = re.search(r"Sec-WebSocket-Key: (\S+)", head)[1]
                accepted.sendall(
                    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                    b"Connection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n"
                    b"\x81\x04open" % wsfast.accept_key(key).encode()
                )
                assert process.stdout.readline() == b"open\n"
                process.send_signal(signal.SIGINT)
                assert accepted.recv(2) == b"\x88\x82"  # the close frame, which is not answered
                process.send_signal(signal.SIGINT)
                assert process.wait(TIMEOUT) == 130
                assert process.stderr.read() == b""


def test_ctrl_c_while_connecting():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        url = f"ws://127.0.0.1:{sock.getsockname()[1]}"
        with ended(start("connect", url, stdin=subprocess.PIPE)) as process:
            accepted, _ = sock.accept()
            with accepted:
                assert accepted.recv(3) == b"GET"
                process.send_signal(signal.SIGINT)
                assert process.wait(TIMEOUT) == 130
                assert process.stderr.read() == b""


def test_options_of_the_request():
    async def handler(ws):
        headers = ws.request.headers
        names = ("Origin", "Authorization", "X-One", "X-Two")
        await ws.send(f"{ws.subprotocol} {[headers.get(name) for name in names]}")

    with Peer(handler, subprotocols=["two"]) as peer:
        _, output, _ = run(
            "connect",
            *["--subprotocol", "one", "--subprotocol", "two", "--origin", "https://example.com"],
            *["--header", "X-One: 1", "--header", "X-Two:  2:2 ", "--auth", "ada:pass:word"],
            *["--wait", "inf", peer.url],
        )
    authorization = "Basic YWRhOnBhc3M6d29yZA=="
    assert output == f"two ['https://example.com', '{authorization}', '1', '2:2']\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["localhost:8080"], "localhost:8080 isn't a valid URI: .*"),
        (["ftp://localhost"], "ftp://localhost isn't a valid URI: .*"),
        (["ws://me:secret@"], r"ws://\*\*\*@ isn't a valid URI: .*"),
        (["--ca", "gone.pem", "wss://localhost"], "cannot read gone.pem: No such file .*"),
        (["--ca", "app.py", "wss://localhost"], "cannot connect: .*"),
        (["--header", "a b: c", "ws://localhost"], "cannot connect: .*a b.*"),
        (["--header", "a: b\nc: d", "ws://localhost"], "cannot connect: .*"),
        (["--subprotocol", "a b", "ws://localhost"], "cannot connect: .*'a b'"),
        (["ws+unix:/nothing/here"], "cannot connect: No such file or directory"),
        (["ws://no-such-host.invalid"], "cannot connect: .*"),
    ],
)
def test_a_connection_that_cannot_be_made(folder, arguments, said):
    assert re.fullmatch(said, failure("connect", *arguments, cwd=folder))


def test_a_server_that_is_not_there():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        url = f"ws://127.0.0.1:{sock.getsockname()[1]}"
    assert failure("connect", url) == "cannot connect: Connection refused"


def test_a_server_that_answers_with_an_escape_sequence():
    body = b"\x1b[2J\x9b\ngone"
    answer = b"HTTP/1.1 403 No\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    with socket.create_server(("127.0.0.1", 0)) as sock:

        def refuse():
            accepted, _ = sock.accept()
            with accepted:
                accepted.recv(65536)
                accepted.sendall(answer)

        thread = threading.Thread(target=refuse)
        thread.start()
        said = failure("connect", f"ws://127.0.0.1:{sock.getsockname()[1]}")
        thread.join()
    assert (
        said == "cannot connect: Unexpected server response: 403, \\x1b[2J\N{REPLACEMENT CHARACTER}"
    )


# --- connect: a terminal -----------------------------------------------------------------------


def above(text, rows=1):
    """What is written to print above the line in which the user types."""
    return "\x1b7" + "\r\n" * rows + f"\x1b[{rows}A\r\x1b[{rows}L{text}\x1b8\x1b[{rows}B"


def test_a_conversation_in_a_terminal(demo):
    with open_screen("connect", f"ws://{demo}/echo") as screen:
        assert screen.read_until(b"> ") == (
            f"Connected to ws://{demo}/echo. Ctrl-D closes the connection.\r\n> "
        )
        screen.type(b"hello\n")
        seen = screen.read_until(b"\x1b[1B")
        assert seen.removeprefix("> ") == above("< hello")
        screen.type(b"\x04")
        assert screen.read().removeprefix("> ") == "\r\x1b[KConnection closed: 1000 (OK).\r\n"
        assert screen.process.wait(TIMEOUT) == 0


def test_messages_in_a_terminal():
    async def handler(ws):
        await ws.send("\x1b[2J\n")
        await ws.send(b"\x00\xff")
        await ws.send(bytes(range(65)))
        await ws.send("wide: " + "水" * 40)
        await ws.send("x" * 1000)

    with Peer(handler, subprotocols=["chat"]) as peer:
        with open_screen("connect", peer.url) as screen:
            text = screen.read()
    hexadecimal = bytes(range(64)).hex(" ")
    assert text == (
        f"Connected to {peer.url}/. Ctrl-D closes the connection.\r\n> "
        + above("< \\x1b[2J\\n")
        + above("< (binary, 2 bytes) 00 ff")
        + above(f"< (binary, 65 bytes) {hexadecimal} ...", rows=6)
        + above("< wide: " + "水" * 40, rows=3)
        # More than the screen: where the user types is below it.
        + f"\r\x1b[K< {'x' * 1000}\r\n> "
        + "\r\x1b[KConnection closed: 1000 (OK).\r\n"
    )


def test_ctrl_c_in_a_terminal(demo):
    with open_screen("connect", f"ws://{demo}/echo") as screen:
        screen.read_until(b"> ")
        screen.process.send_signal(signal.SIGINT)
        assert screen.read() == "\r\x1b[KConnection closed: 1000 (OK).\r\n"
        assert screen.process.wait(TIMEOUT) == 0
