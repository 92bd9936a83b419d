"""examples/signature.py: an extension that signs messages, in a container of both sides."""

import ast
import runpy
from pathlib import Path

import pytest

from wsfast.exceptions import ExtensionError, NegotiationError
from wsfast.extensions import Extensions, Message

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
Signature = runpy.run_path(str(EXAMPLES / "signature.py"))["Signature"]
KEY = b"0123456789abcdef"


def connect(client_key=KEY, server_key=KEY):
    """The containers of a client and a server that agree on the extension."""
    client, server = Extensions([Signature(client_key)]), Extensions([Signature(server_key)])
    client.activate(server.generate_response(client.generate_offer()))
    assert client.names == server.names == ("message-signature",)
    assert client.rsv == server.rsv == 1
    return client, server


@pytest.fixture
def pair():
    return connect()


def send(sender, data=b"data", opcode=1):
    return sender.process_outgoing_message(Message(opcode=opcode, data=data))


def refused(receiver, message, number=1):
    with pytest.raises(ExtensionError) as caught:
        receiver.process_incoming_message(message)
    assert str(caught.value) == f"message-signature: message {number} is not from the peer"
    assert caught.value.close_code == 1008


def test_it_imports_no_websocket_library():
    tree = ast.parse((EXAMPLES / "signature.py").read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert {alias.name for node in imports for alias in node.names} == {"hmac", "secrets"}


def test_messages_go_both_ways(pair):
    for sender, receiver in [pair, pair[::-1], pair]:
        for opcode, data in (1, b"text"), (2, b"\x00\xff"), (1, b""):
            message = send(sender, data, opcode)
            assert message.rsv3
            assert len(message.data) == 16 + len(data)
            assert receiver.process_incoming_message(message) == Message(opcode=opcode, data=data)


def test_each_change_of_a_message_is_noticed():
    def change(**changes):
        def apply(message):
            for name, value in changes.items():
                setattr(message, name, value(getattr(message, name)))

        return apply

    for apply in (
        change(data=lambda data: data[:-1] + b"x"),
        change(data=lambda data: b"\x00" * 16 + data[16:]),
        change(data=lambda data: data[16:]),
        change(data=lambda data: data[:15]),
        change(opcode=lambda opcode: 2),
        change(rsv3=lambda rsv3: False),
    ):
        client, server = connect()
        message = send(client)
        apply(message)
        refused(server, message)


def test_messages_that_are_repeated_left_out_or_sent_back_are_noticed():
    client, server = connect()
    message = send(client)
    copy = Message(False, False, True, 1, message.data)
    server.process_incoming_message(message)
    refused(server, copy, 2)
    client, server = connect()
    send(client)
    refused(server, send(client))
    client, server = connect()
    refused(client, send(client))


def test_a_message_of_another_connection_is_noticed(pair):
    refused(connect()[1], send(pair[0]))


def test_another_key_is_noticed_at_the_first_message():
    client, server = connect(server_key=b"another 16 bytes")
    refused(server, send(client))


@pytest.mark.parametrize("offer", ["", "; nonce", "; nonce=1", "; nonce=a; nonce=b", "; nonce=abc"])
def test_without_a_nonce_it_is_not_agreed_on(offer):
    assert Extensions([Signature(KEY)]).generate_response("message-signature" + offer) is None
    client = Extensions([Signature(KEY)])
    client.generate_offer()
    with pytest.raises(NegotiationError, match="unacceptable extension parameters"):
        client.activate("message-signature" + offer)


def test_a_short_key_is_refused():
    with pytest.raises(ValueError, match="at least 16 bytes"):
        Signature(b"short")


def test_the_program_is_valid():
    compile((EXAMPLES / "signed_echo.py").read_text(), "signed_echo.py", "exec")
