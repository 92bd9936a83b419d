"""Messages to measure compression with: JSON as an application sends it, each one another."""

from __future__ import annotations

import json
import random

__all__ = ["SMALLEST", "make_messages"]

KINDS = ("order.created", "order.updated", "order.cancelled", "trade", "quote")
SYMBOLS = ("AAPL", "AMZN", "BAYN", "DBK", "GOOG", "IBM", "MSFT", "NESN", "SAP", "TSLA")
NAMES = ("alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy")
STATES = ("open", "filled", "partially_filled", "rejected")
TEXT = (
    "the of and to in is that for was on are with as they at be this from have or by one had not "
    "but what all were when we there can an your which their said if do will each about how up out "
    "them then she many some so these would other into has more her two like him see time could"
)
WORDS = TEXT.split()

# Of a message: what is around the records and the text at the end.
SMALLEST = 80


def make_messages(size: int, count: int, seed: int = 1) -> list[bytes]:
    """Make messages of JSON, which are the same for the same arguments.

    Each is an event with an id, a time and as many records as fit, with numbers, names and states
    that are drawn anew for each; words fill the rest. So a message shares its keys with those
    before, and hardly anything else.

    Args:
        size: of each message in bytes, at least `SMALLEST`.
        count: how many.
        seed: other seeds give other messages.
    """
    if size < SMALLEST:
        raise ValueError(f"a message has at least {SMALLEST} bytes, not {size}")
    source = random.Random(seed)
    return [make_message(source, number, size) for number in range(count)]


def make_message(source: random.Random, number: int, size: int) -> bytes:
    time = 1_700_000_000_000 + 250 * number + source.randrange(250)
    head = {"id": 100_000 + number % 900_000, "type": source.choice(KINDS), "time": time}
    text = json.dumps(head, separators=(",", ":"))[:-1]
    records: list[str] = []
    room = size - len(text) - len(',"items":[],"note":""}')
    while len(record := make_record(source)) + 1 <= room:
        records.append(record)
        room -= len(record) + (len(records) > 1)
    note = ""
    while len(note) < room:
        note += f"{source.choice(WORDS)} "
    items = ",".join(records)
    return f'{text},"items":[{items}],"note":"{note[:room]}"}}'.encode()


def make_record(source: random.Random) -> str:
    record = {
        "symbol": source.choice(SYMBOLS),
        "price": round(source.uniform(1, 1000), 2),
        "quantity": source.randrange(1, 10_000),
        "account": f"{source.getrandbits(32):08x}",
        "owner": source.choice(NAMES),
        "state": source.choice(STATES),
    }
    return json.dumps(record, separators=(",", ":"))
