"""Compression on the command line; and what it does to messages, without a server."""

import json
import re
import sys

import pytest
from commands import Peer, failure, run, serving

import wsfast
from wsfast import cli
from wsfast.cli.compression import Setting, available, measure, memory, resident
from wsfast.cli.samples import SMALLEST, make_messages
from wsfast.cli.study import SETTINGS
from wsfast.extensions.deflate_options import (
    DEFAULT_LEVEL,
    DEFAULT_MEM_LEVEL,
    DEFAULT_WINDOW_BITS,
)

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the resident memory")


def compare(capsys, *arguments):
    """What is printed."""
    assert cli.main(["bench", "--compression", *arguments]) == 0
    output, errors = capsys.readouterr()
    assert errors == ""
    return output


# --- Messages that are made -------------------------------------------------------------------


@pytest.mark.parametrize("size", [SMALLEST, 81, 100, 200, 1024, 16384])
def test_messages_are_json_of_the_size_and_each_another(size):
    messages = make_messages(size, 100)
    assert {len(message) for message in messages} == {size}
    assert len(set(messages)) == 100
    assert all(json.loads(message)["id"] for message in messages)


def test_the_same_messages_are_made_again():
    assert make_messages(200, 10) == make_messages(200, 20)[:10]
    assert make_messages(200, 10, seed=2) != make_messages(200, 10)


def test_the_smallest_message_has_no_records():
    with pytest.raises(ValueError, match="a message has at least 80 bytes, not 79"):
        make_messages(SMALLEST - 1, 1)


# --- What is measured -------------------------------------------------------------------------


@pytest.mark.parametrize("module", available())
@pytest.mark.parametrize(
    ("takeover", "sizes"),
    # RFC 7692 sections 7.2.3.1 and 7.2.3.2: f2 48 cd c9 c9 07 00, and again in the same context
    # f2 00 11 00 00.
    [(False, [7, 7]), (True, [7, 5])],
)
def test_what_is_left_are_the_bytes_of_the_rfc(module, takeover, sizes):
    setting = Setting(module, 6, 12, 5, takeover)
    cost = measure(setting, [b"Hello", b"Hello"], seconds=0.001)
    assert cost.ratio == sum(sizes) / 10
    assert cost.setting is setting
    assert 0 < cost.inflate < 1
    assert 0 < cost.deflate < 1


def test_with_takeover_a_message_that_comes_again_is_short():
    messages = make_messages(200, 2) * 10
    alone, after = (measure(Setting("zlib", 6, 12, 5, t), messages, 0.001) for t in (False, True))
    assert after.ratio < 0.3 * alone.ratio
    assert alone.memory == 0


@LINUX
def test_memory_is_that_of_the_windows_and_tables():
    messages = make_messages(1024, 64)
    # zlib's own figures: 1 << (bits + 2) and 1 << (mem_level + 9) bytes to deflate, 1 << bits and
    # about 7 KiB to inflate.
    for bits, level in ((10, 4), (15, 8)):
        expected = (4 << bits) + (512 << level) + (1 << bits) + 7 * 1024
        assert memory(Setting("zlib", 6, bits, level), messages) == pytest.approx(expected, rel=0.5)


def test_where_the_system_does_not_tell_there_is_no_memory(monkeypatch):
    monkeypatch.setattr("wsfast.cli.compression.resident", lambda: None)
    assert measure(Setting("zlib", 1, 9, 1), [b"x"], 0.001).memory is None


@LINUX
def test_the_resident_memory_is_some_megabytes():
    assert 2**20 < resident() < 2**34


@pytest.fixture
def without_zlib_ng(monkeypatch):
    monkeypatch.setitem(sys.modules, "zlib_ng", None)
    monkeypatch.setitem(sys.modules, "zlib_ng.zlib_ng", None)


@pytest.mark.usefixtures("without_zlib_ng")
def test_a_module_that_is_not_installed():
    assert available() == ["zlib"]
    with pytest.raises(ValueError, match="zlib_ng is not installed"):
        measure(Setting("zlib_ng", 6, 12, 5), [b"x"])


# --- The command ------------------------------------------------------------------------------


NUMBER = r"[\d,]+(\.\d+)?"
TIME = rf" +{NUMBER} us"
KEPT = rf" +({NUMBER}|-)"
LINE = rf"zlib +\d +\d+ +\d +{NUMBER}%{TIME}{TIME}{KEPT} +{NUMBER}%{TIME}{TIME}(  [\w', ]+)?"


@pytest.mark.usefixtures("without_zlib_ng")
def test_the_table(capsys):
    output = compare(capsys, "--size", "200")
    head, blank, _, columns, *lines = output.splitlines()
    assert head == "1,000 messages of 200 bytes, 200,000 in all, made here"
    assert columns.split()[:4] == ["zlib", "level", "window", "mem"]
    table = lines[: len(SETTINGS)]
    for line in table:
        assert re.fullmatch(LINE, line), line
    assert [tuple(map(int, line.split()[1:4])) for line in table] == list(SETTINGS)
    (default,) = [line for line in table if "wsfast" in line]
    assert [int(word) for word in default.split()[1:4]] == [
        *(DEFAULT_LEVEL, DEFAULT_WINDOW_BITS, DEFAULT_MEM_LEVEL),
    ]
    assert lines[len(SETTINGS)] == ""
    assert lines[len(SETTINGS) + 1].startswith("Sent: what is left of the messages.")


def test_as_json(capsys, tmp_path):
    path = tmp_path / "messages.txt"
    path.write_bytes(b"one\r\n\nthree\nfour")
    result = json.loads(compare(capsys, str(path), "--json"))
    assert result["messages"] == {"count": 3, "bytes": 12, "smallest": 3, "largest": 5}
    assert len(result["settings"]) == 2 * len(SETTINGS) * len(available())
    first, second = result["settings"][:2]
    assert list(first) == [
        *("zlib", "level", "window_bits", "mem_level", "takeover"),
        *("ratio", "deflate", "inflate", "memory"),
    ]
    assert (first["takeover"], second["takeover"]) == (True, False)


def test_messages_from_a_file_and_from_standard_input(tmp_path):
    path = tmp_path / "a\x1bb.txt"
    path.write_text("grün\nrot\n")
    status, output, errors = run("bench", "--compression", str(path))
    assert (status, errors) == (0, "")
    assert output.startswith(f"2 messages of 3 to 5 bytes, 8 in all, from {tmp_path}/a\\x1bb.txt\n")
    status, output, errors = run("bench", "--compression", "-", stdin=b"one")
    assert (status, errors) == (0, "")
    assert output.startswith("1 message of 3 bytes, 3 in all, from standard input\n")


def test_more_than_enough_is_not_read(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("wsfast.cli.study.ENOUGH", 50)
    path = tmp_path / "messages.txt"
    path.write_text(f"{'x' * 20}\n" * 10)
    result = json.loads(compare(capsys, str(path), "--json"))
    assert result["messages"]["count"] == 3


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot read {path}: No such file or directory"),
        (b"", "there is no message in {path}; it takes one on each line"),
        (b"\n\r\n\n", "there is no message in {path}; it takes one on each line"),
    ],
)
def test_files_without_messages(content, said, tmp_path):
    path = tmp_path / "messages.txt"
    if content is not None:
        path.write_bytes(content)
    assert failure("bench", "--compression", str(path)) == said.format(path=path)


def test_messages_that_are_too_small_to_be_made():
    said = failure("bench", "--compression", "--size", "79")
    assert said == "the messages that are made have at least 80 bytes"


def test_without_a_file_and_without_a_server(capsys):
    with pytest.raises(SystemExit) as exit:
        cli.main(["bench"])
    assert exit.value.code == 2
    assert "the following arguments are required: URI" in capsys.readouterr().err


@pytest.mark.parametrize("compression", [True, False])
async def test_the_server_compresses_if_it_is_told_to(compression):
    with serving(*["--compression"] * compression) as process:
        async with wsfast.connect(f"ws://{process.address}/echo") as ws:
            assert ws.extensions == (("permessage-deflate",) if compression else ())


@pytest.mark.parametrize("arguments", [[], ["--no-compression"]], ids=["", "--no-compression"])
def test_compression_is_offered_unless_it_is_not_wanted(arguments):
    async def handler(ws):
        await ws.send(str(ws.extensions))

    with Peer(handler, compression=True) as peer:
        _, output, _ = run("connect", *arguments, "--wait", "inf", peer.url)
    assert output == ("()\n" if arguments else "('permessage-deflate',)\n")
