"""The types that extensions and drivers share, and that nobody has to import them."""

import subprocess
import sys
from dataclasses import fields

import pytest

import wsfast.extensions
from wsfast.extensions import Extensions, Frame, Message


def test_a_frame_has_the_attributes_of_the_documentation():
    frame = Frame(True, True, False, False, 2, True, b"\x01\x02\x03\x04", b"data")
    assert [field.name for field in fields(frame)] == [
        *("final", "rsv1", "rsv2", "rsv3", "opcode", "masked", "masking_key", "payload")
    ]
    assert frame.masking_key == b"\x01\x02\x03\x04"
    assert frame.payload == b"data"
    assert Frame() == Frame(True, False, False, False, 1, False, None, b"")


def test_a_message_has_the_attributes_of_the_documentation():
    message = Message(True, False, False, 2, b"data")
    assert [field.name for field in fields(message)] == ["rsv1", "rsv2", "rsv3", "opcode", "data"]
    assert Message() == Message(False, False, False, 1, b"")


@pytest.mark.parametrize("kind", [Frame, Message])
def test_frames_and_messages_are_small_and_can_be_changed(kind):
    item = kind()
    item.rsv1 = True
    item.opcode = 2
    assert item != kind()
    with pytest.raises(AttributeError):
        item.another = 1


def test_the_public_names():
    """E5, E6."""
    assert {
        *("Extensions", "Frame", "Message", "Extension", "Session", "ClientSession"),
        *("ServerSession", "parse_extensions", "format_extensions"),
    } <= set(wsfast.extensions.__all__)


# What an author of an extension writes, without wsfast.
EXTENSION = """
class Message:
    def __init__(self, data):
        self.rsv1 = self.rsv2 = self.rsv3 = False
        self.opcode = 1
        self.data = data

class Session:
    def generate_offer(self):
        return {"by": 1}

    def activate(self, parameters):
        return parameters == {"by": 1}

    def generate_response(self):
        return {"by": 1}

    def process_incoming_message(self, message):
        return Message(bytes(byte - 1 for byte in message.data))

    def process_outgoing_message(self, message):
        return Message(bytes(byte + 1 for byte in message.data))

    def close(self):
        pass

class Shift:
    name = "shift"
    type = "permessage"
    rsv1 = rsv2 = rsv3 = False

    def create_client_session(self):
        return Session()

    def create_server_session(self, offers):
        return Session() if {"by": 1} in offers else None
"""

TYPES = """
from wsfast.extensions import Extension, Extensions, Message

class Session:
    def generate_offer(self) -> list[dict[str, int | bool]]:
        return [{"by": 1, "flag": True}, {}]

    def activate(self, parameters: dict[str, object]) -> bool:
        return True

    def generate_response(self) -> dict[str, str]:
        return {}

    async def process_incoming_message(self, message: Message) -> Message:
        return message

    def process_outgoing_message(self, message: Message, callback: object) -> None:
        pass

    def close(self) -> None:
        pass

class Shift:
    name = "shift"
    type = "permessage"
    rsv1 = rsv2 = rsv3 = False

    def create_client_session(self) -> Session:
        return Session()

    def create_server_session(self, offers: list[dict[str, object]]) -> Session | None:
        return Session()

extension: Extension = Shift()
extensions = Extensions([Shift()])
header: str | None = extensions.generate_offer()
"""


def test_an_extension_imports_nothing_and_works_on_both_sides():
    names = {}
    exec(EXTENSION, names)
    client = Extensions([names["Shift"]()])
    server = Extensions([names["Shift"]()])
    client.activate(server.generate_response(client.generate_offer()))
    assert client.names == server.names == ("shift",)
    for sender, receiver in (client, server), (server, client):
        message = sender.process_outgoing_message(Message(data=b"abc"))
        assert message.data == b"bcd"
        assert receiver.process_incoming_message(message).data == b"abc"


def test_type_checkers_accept_an_extension_that_imports_nothing(tmp_path):
    pytest.importorskip("mypy")
    path = tmp_path / "shift.py"
    path.write_text(TYPES)
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--follow-imports=silent",
            "--cache-dir",
            str(tmp_path),
            str(path),
        ],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert result.returncode == 0, result.stdout
