"""A WebSocket extension that signs messages, so that nothing between the two ends can change,
repeat or leave out one of them.

Both ends know a key. Each says a nonce in the opening handshake, from which the key of the
connection is made. Every message then begins with a signature of its sender, its number, its type
and its data, and has the RSV3 bit set.

It works with every library that has this interface of extensions, and imports none of them.
"""

import hmac
import secrets

SIZE = 16  # bytes of a signature: half of SHA-256


class BadSignature(Exception):
    """A message is not what the peer has sent. The connection is closed with this code."""

    close_code = 1008  # policy violation


class Signature:
    """The extension: one object for all connections of a server or a client.

    Args:
        key: the secret of both ends; at least 16 bytes.
    """

    name = "message-signature"
    type = "permessage"
    rsv1 = False
    rsv2 = False
    rsv3 = True

    def __init__(self, key):
        if len(key) < 16:
            raise ValueError("the key must have at least 16 bytes")
        self._key = key

    def create_client_session(self):
        return ClientSession(self._key)

    def create_server_session(self, offers):
        for offer in offers:
            if is_nonce(offer.get("nonce")):
                return ServerSession(self._key, offer["nonce"])
        return None  # go on without this extension


class Session:
    """What the sessions of both sides do with messages."""

    sender = receiver = b""

    def __init__(self, key):
        self._key = key
        self._nonce = "n" + secrets.token_hex(16)  # with a letter, or it might become a number
        self._sent = self._received = 0

    def _start(self, client_nonce, server_nonce):
        self._key = hmac.digest(self._key, f"{client_nonce} {server_nonce}".encode(), "sha256")

    def _sign(self, sender, number, message, data):
        header = b"%s %d %d " % (sender, number, message.opcode)
        return hmac.digest(self._key, header + data, "sha256")[:SIZE]

    def process_outgoing_message(self, message):
        self._sent += 1
        message.data = self._sign(self.sender, self._sent, message, message.data) + message.data
        message.rsv3 = True
        return message

    def process_incoming_message(self, message):
        self._received += 1
        signature, data = message.data[:SIZE], message.data[SIZE:]
        expected = self._sign(self.receiver, self._received, message, data)
        if not message.rsv3 or not hmac.compare_digest(signature, expected):
            raise BadSignature(f"message {self._received} is not from the peer")
        message.data = data
        message.rsv3 = False
        return message

    def close(self):
        pass  # there is nothing to release


class ClientSession(Session):
    sender, receiver = b"client", b"server"

    def generate_offer(self):
        return {"nonce": self._nonce}

    def activate(self, parameters):
        if not is_nonce(parameters.get("nonce")):
            return False
        self._start(self._nonce, parameters["nonce"])
        return True


class ServerSession(Session):
    sender, receiver = b"server", b"client"

    def __init__(self, key, client_nonce):
        super().__init__(key)
        self._start(client_nonce, self._nonce)

    def generate_response(self):
        return {"nonce": self._nonce}


def is_nonce(value):
    return isinstance(value, str) and len(value) == 33
