"""What every client of the serial echo has in common: what it sends, and what it prints.

usage: CLIENT PORT binary|text SIZE COUNT

Sends COUNT messages of SIZE bytes, each when the last one came back, and prints the seconds from
the first to the end.
"""

import random
import sys
from time import perf_counter

port, size, count = int(sys.argv[1]), int(sys.argv[3]), int(sys.argv[4])
uri = f"ws://127.0.0.1:{port}/"

# As in ws's benchmark: bytes from 0 to 126, which are text as well. A mebibyte of them, repeated.
_some = random.Random(1).randbytes(2**20).translate(bytes(value % 127 for value in range(256)))
_bytes = (_some * (size // len(_some) + 1))[:size]
data = _bytes if sys.argv[2] == "binary" else _bytes.decode("ascii")

# Larger than the largest message, so that no client is held up by a limit.
MAX_SIZE = 600 * 2**20


def report(start, answer):
    """Print the seconds since the start, if the last answer is right."""
    seconds = perf_counter() - start
    if answer != data:
        sys.exit("the answer differs from what was sent")
    print(seconds)
