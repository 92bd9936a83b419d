"""The load generator of the benchmark with permessage-deflate: it measures only what is right."""

import asyncio
import json
import shutil
import subprocess
import sys

import pytest

if sys.platform != "linux":
    pytest.skip("the benchmark runs on Linux", allow_module_level=True)

import programs
from peers import echo

import wsfast
from wsfast.extensions import PerMessageDeflate

TIMEOUT = 30


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    """The command, with messages of 200 bytes."""
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler")
    directory = tmp_path_factory.mktemp("load")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(programs, "BUILD", directory)
        if not programs.compile_program("load", *programs.FEATURES["zlib"]):
            pytest.skip("there are no headers of zlib")
        messages = programs.message_file.__wrapped__(200)
    return [str(directory / "load"), "--size", "200", "--deflate", messages, "--connections", "5"]


async def run(load, handler, *arguments, **options):
    """Load a server; gives the result, or what is said about it."""
    settings = {"server_max_window_bits": 12, "client_max_window_bits": 12, "threshold": 0}
    deflate = PerMessageDeflate(**settings | options)
    arguments += ("--server-bits", "12", "--client-bits", "12", "--seconds", "0.05")
    async with wsfast.serve(handler, "127.0.0.1", 0, compression=deflate) as server:
        port = str(server.sockets[0].getsockname()[1])
        result = await asyncio.to_thread(
            subprocess.run,
            [*load, "--port", port, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
    if result.returncode:
        assert result.stdout == ""
        return result.stderr.strip()
    return json.loads(result.stdout)


ALONE = ["--server-no-takeover", "--client-no-takeover"]


@pytest.mark.parametrize("depth", ["1", "16"])
@pytest.mark.parametrize(
    ("arguments", "low", "high"), [([], 0.2, 0.4), (ALONE, 0.7, 0.9)], ids=["takeover", "alone"]
)
async def test_the_answers_are_counted_with_their_size(load, arguments, low, high, depth):
    result = await run(load, echo, *arguments, "--depth", depth)
    assert result["messages"] > 0
    assert low < result["ratio"] < high


def spoil(how):
    """An echo that does something else with one message of each connection."""

    async def handler(ws):
        number = 0
        async for message in ws:
            number += 1
            if number != 7:
                await ws.send(message)
            else:
                await how(ws, message)

    return handler


@pytest.mark.parametrize(
    "change",
    [
        lambda message: message[:100] + "?" + message[101:],
        lambda message: message[:-1],
        lambda message: message + " ",
        lambda message: "",
    ],
    ids=["one byte", "shorter", "longer", "empty"],
)
@pytest.mark.parametrize("arguments", [[], ALONE], ids=["takeover", "alone"])
async def test_an_answer_that_is_wrong_is_noticed(load, change, arguments):
    said = await run(load, spoil(lambda ws, message: ws.send(change(message))), *arguments)
    assert "reply 6 of connection " in said


async def test_an_answer_in_the_place_of_another_is_noticed(load):
    async def nothing(ws, message):
        pass

    said = await run(load, spoil(nothing), "--depth", "16")
    assert "reply 6 of connection " in said
    assert "is not what it should be" in said


async def test_an_answer_that_is_not_compressed_is_noticed(load):
    async def plain(ws, message):
        await ws.send(message, compress=False)

    said = await run(load, spoil(plain))
    assert said.endswith("begins with 81 7e: not a compressed message in one frame")


@pytest.mark.parametrize(
    "options",
    [
        {"client_no_context_takeover": True},
        {"server_no_context_takeover": True},
        {"server_max_window_bits": 11},
        {"client_max_window_bits": 11},
    ],
)
async def test_a_server_that_wants_other_parameters_is_not_measured(load, options):
    said = await run(load, echo, **options)
    assert said.startswith("the server wants other parameters: permessage-deflate; ")


async def test_a_server_that_declines_is_not_measured(load):
    said = await run(load, echo, *ALONE, server_no_context_takeover=False)
    assert said.startswith("the server does not compress: HTTP/1.1 101 ")
