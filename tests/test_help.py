"""help() on the backend of the test run: it says what the stubs and docs/api.md say."""

import ast
import inspect
import re
from pathlib import Path

import pytest
from test_api_page import named

import wsfast
from wsfast import protocol

PACKAGE = Path(wsfast.__file__).parent
STUBS = ("_core", "_writing", "_protocol", "_parser", "_frame")


def words_of_the_stubs():
    """The docstrings of the stubs, by the class, or None, and the name."""
    words = {}
    for stub in STUBS:
        for node in ast.parse((PACKAGE / f"{stub}.pyi").read_text()).body:
            if isinstance(node, ast.FunctionDef):
                words[None, node.name] = ast.get_docstring(node)
            elif isinstance(node, ast.ClassDef):
                words[node.name, None] = ast.get_docstring(node)
                for member in node.body:
                    if isinstance(member, ast.FunctionDef) and ast.get_docstring(member):
                        words[node.name, member.name] = ast.get_docstring(member)
    return words


WORDS = words_of_the_stubs()


def attributes_named_by(of):
    """What the section "Attributes" of the docstrings of a class names, and of those above it."""
    documented = set()
    for cls in of.__mro__:
        section = re.search(r"\nAttributes:\n((?:    .*\n?)+)", inspect.cleandoc(cls.__doc__ or ""))
        if section:
            documented.update(re.findall(r"^    (\w+): ", section[1], re.MULTILINE))
    return documented


def public(of):
    return {name for name in dir(of) if not name.startswith("_")}


def has_words(of, name):
    """Whether help() of the class tells what this is."""
    member = inspect.getattr_static(of, name, None)
    if callable(member) or isinstance(member, property):
        return bool(member.__doc__)
    return bool(getattr(member, "__doc__", None)) or name in attributes_named_by(of)


@pytest.mark.parametrize("of", [wsfast.WebSocket, wsfast.WebSocketServer])
def test_every_method_and_attribute_of_the_page_has_words(of):
    names = named(f"Attributes and methods of a {of.__name__}")
    assert [name for name in sorted(names) if not has_words(of, name)] == []


@pytest.mark.parametrize("name", protocol.__all__)
def test_every_name_of_the_protocol_has_words(name):
    assert getattr(protocol, name).__doc__


def test_every_member_of_the_frame_reader_has_words():
    reader = protocol.FrameReader
    assert [name for name in sorted(public(reader)) if not has_words(reader, name)] == []


CALLED = [
    *("receive", "receive_eof", "open", "message", "ping", "pong", "close", "fail"),
    *("closed_error", "close_code", "close_reason", "text_type", "binary_type"),
]


@pytest.mark.parametrize("name", CALLED)
def test_what_a_protocol_without_io_is_called_by_has_words(name):
    assert inspect.getattr_static(protocol.EventProtocol, name).__doc__


@pytest.mark.parametrize(
    ("of", "owner", "names"),
    [
        (wsfast.WebSocket, "Connection", "discard drain is_paused is_reading pause resume"),
        (wsfast.WebSocket, "Connection", "recv recv_batch send"),
        (wsfast.WebSocket, "Writer", "cork is_blocked"),
        (wsfast.WebSocket, "Protocol", "binary_type close_code close_reason text_type"),
        (protocol.FrameReader, "FrameReader", "allow feed next state"),
    ],
)
def test_both_backends_have_the_words_of_the_stubs(of, owner, names):
    for name in names.split():
        assert inspect.getdoc(inspect.getattr_static(of, name)) == WORDS[owner, name], name


def test_both_backends_have_the_words_of_the_stubs_for_frames():
    assert inspect.getdoc(protocol.FrameReader) == WORDS["FrameReader", None]
    assert inspect.getdoc(protocol.encode_frame) == WORDS[None, "encode_frame"]
