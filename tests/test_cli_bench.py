"""`wsfast bench`, as a process that loads a server in the loop of the test."""

import asyncio
import io
import json
import os
import re
import signal
import socket

import pytest
from commands import TIMEOUT, ended, failure, open_screen, run, start
from peers import CLOSE, TEXT, echo, raw_server, uri_of

import wsfast
from wsfast import cli
from wsfast.cli.loading import Load, Plan
from wsfast.cli.progress import Progress
from wsfast.cli.report import as_text, short


async def bench(handler, *arguments, server_options=None, **options):
    """Load a server to the end; gives the exit status and what was printed."""
    async with wsfast.serve(handler, "127.0.0.1", 0, **(server_options or {})) as server:
        return await asyncio.to_thread(run, "bench", uri_of(server), *arguments, **options)


def a_load(**plan):
    load = Load(wsfast.connect("ws://localhost"), Plan(**plan))
    load.elapsed = 1.0
    return load


async def receive(ws):
    async for _ in ws:
        pass


NUMBER = r"[\d,]+(\.\d+)?"

RESULT = rf"""
Server       ws://127\.0\.0\.1:\d+/
Load         text messages of 32 bytes, 1 on the way on each connection
Connections  3 opened
Messages     30 sent, 30 answered
Rate         {NUMBER} messages/s, {NUMBER} MB/s sent, {NUMBER} MB/s received, for {NUMBER} s
Closed       3 x 1000 \(OK\)

ms               min      p50      p90      p99    p99\.9      max
Opening   ( +{NUMBER}){{6}}
Latency   ( +{NUMBER}){{6}}
(
This program ran .* it may be the bottleneck\.
)?""".lstrip("\n")


# --- The result -------------------------------------------------------------------------------


async def test_the_result():
    status, output, errors = await bench(echo, "-c", "3", "-n", "30", "--quiet")
    assert re.fullmatch(RESULT, output), output
    assert (status, errors) == (0, "")


PERCENTILES = ["min", "p50", "p90", "p99", "p99.9", "max"]


async def test_the_result_as_json():
    arguments = ["-c", "2", "-n", "50", "-s", "5", "--binary", "--depth", "3", "--verify"]
    status, output, errors = await bench(echo, *arguments, "--json", "--quiet")
    assert (status, errors) == (0, "")
    result = json.loads(output)
    uri = result.pop("uri")
    assert re.fullmatch(r"ws://127\.0\.0\.1:\d+/", uri)
    for name in ("opening", "latency"):
        distribution = result.pop(name)
        values = list(distribution.values())
        assert list(distribution) == PERCENTILES
        assert values == sorted(values)
        assert 0 < values[0] < TIMEOUT
    elapsed = result.pop("elapsed")
    rate = result.pop("rate")
    assert rate == {
        "messages": pytest.approx(50 / elapsed),
        "bytes_sent": pytest.approx(250 / elapsed),
        "bytes_received": pytest.approx(250 / elapsed),
        # A header of 2 bytes, and the client's key.
        "wire_bytes_sent": pytest.approx(50 * (2 + 4 + 5) / elapsed),
        "wire_bytes_received": pytest.approx(50 * (2 + 5) / elapsed),
    }
    assert result.pop("cpu") > 0
    assert result.pop("cpu_wait") >= 0
    assert result == {
        "wsfast": wsfast.__version__,
        "backend": wsfast.BACKEND,
        "extensions": None,
        "plan": {
            "connections": 2,
            "opening": 100,
            "duration": None,
            "messages": 50,
            "size": 5,
            "text": None,
            "binary": True,
            "depth": 3,
            "rate": None,
            "echo": True,
            "verify": True,
            "deflate": False,
            "timeout": 10,
        },
        "good": True,
        "interrupted": False,
        "stalled": False,
        "connections": {"opened": 2, "failed": 0, "lost": 0},
        "failures": {},
        "closes": {"1000": 2},
        "errors": {},
        "messages": {"sent": 50, "answered": 50, "unanswered": 0, "extra": 0, "wrong": 0},
        "lateness": None,
    }


async def test_the_result_at_a_rate():
    status, output, _ = await bench(echo, "-n", "20", "--rate", "1000", "--quiet")
    assert status == 0
    assert "Load         text messages of 32 bytes, 1,000 a second\n" in output
    assert re.search(rf"^Sent late ( +{NUMBER}){{6}}$", output, re.MULTILINE)


async def test_the_result_without_an_echo():
    arguments = ["-n", "1000", "--no-echo", "--binary", "--size", "1", "--quiet"]
    status, output, _ = await bench(echo, *arguments)
    assert status == 0
    assert "Load         binary messages of 1 byte, as fast as they are read\n" in output
    assert "Messages     1,000 sent, 1,000 came\n" in output
    assert "Latency" not in output


COMPRESSED = rf"""
Server       ws://127\.0\.0\.1:\d+/
Load         text messages of 1,024 bytes, 1 on the way on each connection
Extensions   permessage-deflate.*
Connections  2 opened
Messages     40 sent, 40 answered
Rate         {NUMBER} messages/s, {NUMBER} MB/s sent, {NUMBER} MB/s received, for {NUMBER} s
On the wire  (\d+\.\d)% of what was sent, (\d+\.\d)% of what was received
""".lstrip("\n").replace(NUMBER, r"[\d,.]+")


async def test_the_result_of_a_compressed_load():
    messages = []

    async def keep(ws):
        async for message in ws:
            messages.append(message)
            await ws.send(message)

    status, output, errors = await bench(
        keep,
        *["-c", "2", "-n", "40", "--deflate", "--verify", "--quiet"],
        server_options={"compression": "deflate"},
    )
    assert (status, errors) == (0, "")
    parts = re.match(COMPRESSED, output)
    assert parts, output
    assert all(15 < float(part) < 50 for part in parts.groups())
    assert len(set(messages)) == 40
    assert all(len(message) == 1024 and json.loads(message) for message in messages)


async def test_a_server_that_does_not_compress():
    arguments = ["-n", "10", "--deflate", "--size", "8", "--quiet"]
    status, output, _ = await bench(echo, *arguments)
    assert status == 0
    assert "Extensions   none: nothing is compressed\n" in output
    assert "On the wire" not in output


async def test_nothing_is_offered_unless_asked_for():
    offers = []

    async def look(ws):
        offers.append(ws.request.headers.get("Sec-WebSocket-Extensions"))
        await echo(ws)

    for arguments in ([], ["--deflate"]):
        await bench(look, "-c", "1", "-n", "1", *arguments)
    assert offers[0] is None
    assert offers[1].startswith("permessage-deflate")


async def test_the_payload_is_sent():
    messages = []

    async def keep(ws):
        messages.append(await ws.recv())
        await ws.send(messages[0])

    status, _, _ = await bench(keep, "-c", "1", "-n", "1", "--payload", '{"type": "hallö"}')
    assert messages == ['{"type": "hallö"}']


async def test_options_of_the_request():
    seen = []

    async def look(ws):
        names = ("Origin", "Authorization", "X-One")
        seen.append((ws.subprotocol, *[ws.request.headers.get(name) for name in names]))
        await echo(ws)

    status, _, _ = await bench(
        look,
        *["-c", "2", "-n", "10", "--subprotocol", "two", "--origin", "https://example.com"],
        *["--auth", "ada:pass:word", "--header", "X-One: 1"],
        server_options={"subprotocols": ["one", "two"]},
    )
    assert status == 0
    assert seen == [("two", "https://example.com", "Basic YWRhOnBhc3M6d29yZA==", "1")] * 2


# --- Progress ---------------------------------------------------------------------------------


SENDING = rf"{NUMBER} messages/s, p50 {NUMBER} ms, p99 {NUMBER} ms, 10 open"


async def test_progress_in_a_pipe_is_a_line_each_second():
    status, _, errors = await bench(echo, "-d", "1.3")
    assert status == 0
    assert re.search(rf"^\d\.\d of 1\.3 s, {SENDING}$", errors, re.MULTILINE)
    assert errors.replace("\n", "").isprintable()


async def test_progress_of_a_number_of_messages():
    status, _, errors = await bench(echo, "-n", "130", "--rate", "100")
    assert status == 0
    assert re.search(rf"^\d+ of 130 messages, {SENDING}$", errors, re.MULTILINE)


async def test_progress_in_a_terminal_is_one_line():
    async with wsfast.serve(echo, "127.0.0.1", 0) as server:
        with open_screen("bench", uri_of(server), "-d", "0.9", columns=120) as screen:
            text = await asyncio.to_thread(screen.read)
            assert screen.process.wait(TIMEOUT) == 0
    before, *lines, result = text.split("\r\x1b[K")
    assert before == ""
    assert lines[0] == "opening connections: 0 of 10"
    assert any(re.fullmatch(rf"0\.\d of 0\.9 s, {SENDING}", line) for line in lines)
    # Nothing of it is left above the result.
    assert result.startswith("Server       ws://")


async def test_the_line_is_not_wider_than_the_terminal():
    async with wsfast.serve(echo, "127.0.0.1", 0) as server:
        with open_screen("bench", uri_of(server), "-d", "0.5", columns=20) as screen:
            text = await asyncio.to_thread(screen.read)
    _, *lines, _ = text.split("\r\x1b[K")
    assert lines[0] == "opening connections"
    assert {len(line) for line in lines[1:]} == {19}


async def test_nobody_sees_progress_that_is_quiet():
    async with wsfast.serve(echo, "127.0.0.1", 0) as server:
        with open_screen("bench", uri_of(server), "-d", "0.5", "--quiet") as screen:
            text = await asyncio.to_thread(screen.read)
    assert "\x1b" not in text
    assert text.startswith("Server")


async def test_a_server_that_does_not_answer_is_seen_early():
    _, _, errors = await bench(receive, "-d", "1.2", "--timeout", "1.3", "-c", "1")
    assert ", 0 messages/s, no answers yet, 1 open\n" in errors


def line_of(load):
    """The line that shows how far a load is."""
    stream = io.StringIO()
    progress = Progress(load, stream)
    return progress._line()


@pytest.mark.parametrize(
    ("phase", "plan", "line"),
    [
        ("opening", {}, "opening connections: 0 of 10, 1,000 failed"),
        ("waiting", {"messages": 1}, "waiting for 1 answer, 1,000 failed"),
        ("waiting", {"echo": False}, "waiting until all is read, 1,000 failed"),
        ("closing", {}, "closing 2 connections, 1,000 failed"),
    ],
)
async def test_progress_of_every_phase(phase, plan, line):
    load = a_load(**plan)
    load.phase = phase
    load.left = 0
    load.open = 2
    load.lost = 400
    load.failures["Connection refused"] = 600
    assert line_of(load) == line


async def test_progress_of_a_load_without_an_end():
    load = a_load(duration=None, echo=False)
    load.phase = "sending"
    load.elapsed = 65.43
    assert line_of(load) == "65.4 s, 0 messages/s, 0 open"


async def test_progress_that_nobody_can_see_does_not_stop_the_load():
    async with wsfast.serve(echo, "127.0.0.1", 0) as server:
        reader, writer = os.pipe()
        os.close(reader)
        with ended(start("bench", uri_of(server), "-d", "1.2", stderr=writer)) as process:
            os.close(writer)
            output, _ = await asyncio.to_thread(process.communicate, timeout=TIMEOUT)
    assert process.returncode == 0
    assert b"Closed       10 x 1000 (OK)\n" in output


# --- What goes wrong --------------------------------------------------------------------------


def reached(uri):
    return failure("bench", uri, "-n", "10")


def test_a_server_that_is_not_there():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        uri = f"ws://127.0.0.1:{sock.getsockname()[1]}"
    assert reached(uri) == "cannot connect: Connection refused"


async def test_a_server_that_refuses():
    async with wsfast.serve(echo, "127.0.0.1", 0, origins=["https://example.com"]) as server:
        said = await asyncio.to_thread(reached, uri_of(server))
    assert said.startswith("cannot connect: Unexpected server response: 403")


async def test_a_server_that_refuses_some():
    arguments = ["-c", "5", "-n", "10", "--quiet"]
    status, output, _ = await bench(echo, *arguments, server_options={"max_connections": 2})
    assert status == 1
    assert "Connections  2 opened, 3 failed\n" in output
    assert "Failed       3 x Unexpected server response: 503" in output
    assert "Messages     10 sent, 10 answered\n" in output


async def test_a_server_that_closes_early():
    async def close(ws):
        await ws.send(await ws.recv())
        await ws.close(1008, "\x1b[2Jtoo fast")

    status, output, errors = await bench(close, "-c", "2", "--quiet")
    assert (status, errors) == (1, "")
    assert "Connections  2 opened, 2 lost\n" in output
    assert "Closed       2 x 1008 (policy violation) \\x1b[2Jtoo fast\n" in output


async def test_reasons_are_told_by_number_and_not_all():
    codes = iter([4001, *[4000 + number for number in range(10)]])

    async def close(ws):
        await ws.recv()
        await ws.close(next(codes))

    status, output, _ = await bench(close, "-c", "11", "--quiet")
    lines = output.partition("Closed")[2].splitlines()[:6]
    assert lines[0].strip() == "2 x 4001 (private use)"
    assert lines[5].strip() == "5 x for other reasons"


async def test_a_server_that_never_answers():
    status, output, errors = await bench(receive, "-n", "10", "--timeout", "1", "--quiet")
    assert (status, errors) == (1, "")
    assert "Messages     10 sent, 0 answered\n" in output
    assert "The server answered nothing. It must send one message back for each" in output
    assert "with --no-echo no answers are expected" in output


async def test_a_server_that_stops_answering():
    async def answer_once(ws):
        await ws.send(await ws.recv())
        await receive(ws)

    status, output, _ = await bench(answer_once, "-n", "90", "-c", "2", "--timeout", "1")
    assert status == 1
    assert "The server stopped answering: nothing came for 1 s.\n" in output
    assert "2 messages had no answer.\n" in output


async def test_a_server_that_does_not_read():
    async def ignore(peer):
        await peer.accept()
        while (await peer.frame()).opcode != CLOSE:
            pass
        peer.close()

    async with raw_server(ignore) as uri:
        arguments = ["bench", uri, "-c", "1", "-n", "3", "--no-echo", "--timeout", "1"]
        status, output, _ = await asyncio.to_thread(run, *arguments)
    assert status == 1
    assert "The server did not read everything within 1 s.\n" in output


async def test_answers_that_are_wrong_or_too_many():
    async def answer_twice(ws):
        async for message in ws:
            await ws.send(message)
            await ws.send(message)

    status, output, _ = await bench(answer_twice, "-c", "1", "-n", "1", "--verify", "--quiet")
    assert status == 1
    assert "1 message came while no answer was missing." in output
    assert "differed" not in output
    status, output, _ = await bench(answer_twice, "-c", "1", "-n", "2", "--verify", "--quiet")
    assert "1 answer differed from what was sent." in output


limited = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs POSIX")


def files(soft, hard):
    """Lets a process open so many files."""

    def limit():
        import resource

        known = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, known if hard is None else hard))

    return limit


@limited
async def test_it_may_open_more_files_than_the_soft_limit():
    arguments = ["-c", "80", "-n", "80", "--quiet"]
    status, output, _ = await bench(echo, *arguments, preexec_fn=files(40, None))
    assert status == 0
    assert "Connections  80 opened\n" in output


@limited
async def test_it_may_not_open_more_files_than_the_hard_limit():
    arguments = ["-c", "80", "-n", "80", "--quiet"]
    status, output, errors = await bench(echo, *arguments, preexec_fn=files(60, 60))
    assert (status, errors) == (1, "")
    assert re.search(r"Failed +\d+ x Too many open files\n", output)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-c", "0"], "argument -c/--connections: it takes a number of at least 1, not '0'"),
        (["-c", "ten"], "argument -c/--connections: it takes a number of at least 1, not 'ten'"),
        (["-n", "-5"], "argument -n/--messages: it takes a number of at least 1, not '-5'"),
        (["-n", "1.5"], "argument -n/--messages: it takes a number of at least 1, not '1.5'"),
        (["--depth", "0"], "argument --depth: it takes a number of at least 1, not '0'"),
        (["--opening", "0"], "argument --opening: it takes a number of at least 1, not '0'"),
        (["-d", "0"], "argument -d/--duration: it takes a positive number of seconds, not '0'"),
        (["-d", "nan"], "argument -d/--duration: it takes a positive number of seconds, not 'nan'"),
        (["-d", "1m"], "argument -d/--duration: it takes a positive number of seconds, not '1m'"),
        (["--timeout", "-1"], "argument --timeout: it takes a positive number of seconds"),
        (["-s", "-1"], "argument -s/--size: it takes 0 to 1073741824 bytes, not '-1'"),
        (["-s", "1073741825"], "argument -s/--size: it takes 0 to 1073741824 bytes"),
        (["-r", "0"], "argument -r/--rate: it takes messages a second, not '0'"),
        (["-r", "inf"], "argument -r/--rate: it takes messages a second, not 'inf'"),
        (["-r", "fast"], "argument -r/--rate: it takes messages a second, not 'fast'"),
        (["-p", "\udcff"], "argument -p/--payload: it takes text in the encoding of the terminal"),
        (["-r", "5", "--depth", "2"], "argument --depth: not allowed with argument -r/--rate"),
        (["--text", "--binary"], "argument --binary: not allowed with argument --text"),
        (["--verify", "--no-echo"], "argument --no-echo: not allowed with argument --verify"),
        (["-s", "5", "-p", "x"], "argument -p/--payload: not allowed with argument -s/--size"),
        (["--compression=-"], "argument --compression: not allowed with a URI"),
        (["--header", "X"], "argument --header: a header is 'NAME: VALUE', not 'X'"),
    ],
)
def test_wrong_usage(arguments, said, capsys):
    with pytest.raises(SystemExit) as exit:
        cli.main(["bench", *arguments, "ws://localhost"])
    assert exit.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["localhost:8080"], "localhost:8080 isn't a valid URI: .*"),
        (["--ca", "gone.pem", "wss://localhost"], "cannot read gone.pem: No such file .*"),
        (["--insecure", "ws://localhost"], "cannot connect: verify is of no use .*"),
        (["--subprotocol", "a b", "ws://localhost"], "cannot connect: .*'a b'"),
    ],
)
def test_a_request_that_cannot_be_made(arguments, said):
    assert re.fullmatch(said, failure("bench", *arguments))


# --- Ctrl-C -----------------------------------------------------------------------------------


async def test_ctrl_c_ends_it_with_the_result_so_far():
    enough = asyncio.Event()

    async def handler(ws):
        async for message in ws:
            enough.set()
            await ws.send(message)

    async with wsfast.serve(handler, "127.0.0.1", 0) as server:
        with ended(start("bench", uri_of(server), "-d", "inf", "-c", "2", "--quiet")) as process:
            await enough.wait()
            process.send_signal(signal.SIGINT)
            output, errors = await asyncio.to_thread(process.communicate, timeout=TIMEOUT)
    assert (process.returncode, errors) == (0, b"")
    assert b"Closed       2 x 1000 (OK)\n" in output
    assert re.search(rb"\nInterrupted after [\d.]+ s\.\n", output)


async def test_ctrl_c_while_connecting():
    connecting = asyncio.Event()

    async def play(peer):
        connecting.set()
        await peer.rest()

    async with raw_server(play) as uri:
        with ended(start("bench", uri, "--quiet")) as process:
            await connecting.wait()
            process.send_signal(signal.SIGINT)
            output, errors = await asyncio.to_thread(process.communicate, timeout=TIMEOUT)
    assert (process.returncode, errors) == (1, b"")
    assert b"Connections  0 opened\n" in output
    assert b"Nothing was sent.\n" in output


async def test_a_second_ctrl_c_does_not_wait_for_the_server():
    sending, closing = asyncio.Event(), asyncio.Event()

    async def play(peer):
        await peer.accept()
        assert (await peer.frame()).opcode == TEXT
        sending.set()
        assert (await peer.frame()).opcode == CLOSE
        closing.set()
        await peer.rest()

    async with raw_server(play) as uri:
        with ended(start("bench", uri, "-c", "1", "--quiet")) as process:
            await sending.wait()
            process.send_signal(signal.SIGINT)
            await closing.wait()
            process.send_signal(signal.SIGINT)
            output, errors = await asyncio.to_thread(process.communicate, timeout=TIMEOUT)
    assert (process.returncode, output, errors) == (130, b"", b"")


# --- What numbers look like, and what is said about them --------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0.000"),
        (0.0123, "0.012"),
        (0.5, "0.500"),
        (1, "1.00"),
        (9.876, "9.88"),
        (98.76, "98.8"),
        (987.6, "988"),
        (98765.4, "98,765"),
    ],
)
def test_numbers_are_short(value, text):
    assert short(value) == text


@pytest.mark.parametrize("cpu_wait", [0.0, 0.7])
def test_it_says_when_it_may_be_the_bottleneck(cpu_wait):
    load = a_load()
    load.cpu, load.cpu_wait = 0.89 - cpu_wait, cpu_wait
    assert "bottleneck" not in as_text(load)
    load.cpu += 0.02
    line = as_text(load).splitlines()[-1]
    assert line.startswith(f"This program ran {load.cpu:.0%} of the time and waited for a CPU ")
    assert line.endswith(f" {cpu_wait:.0%}: it may be the bottleneck.")


def test_it_says_when_it_cannot_keep_the_rate():
    load = a_load(rate=1000)
    for lateness in (0.3e6, 0.9e6, 30e6):
        load.lateness.record(int(lateness))
    assert "late:" not in as_text(load)
    load.lateness.record(int(20e6))
    load.lateness.record(int(20e6))
    assert "sent over 20.0 ms late: this program cannot keep that rate here." in as_text(load)
