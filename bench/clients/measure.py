"""What every client of the benchmark has in common: it counts the messages that a feed sends.

usage: CLIENT PORT WARMUP SECONDS SIZE

Prints one line of JSON: how many messages came in how many seconds, and the processor time that
they took.
"""

import json
import os
import sys
from time import perf_counter, process_time

port = int(sys.argv[1])
warmup, seconds = float(sys.argv[2]), float(sys.argv[3])
size = int(sys.argv[4])
uri = f"ws://127.0.0.1:{port}/"

# The clock is looked at once in so many messages.
BLOCK = 256


class Measurement:
    """Counts blocks of messages."""

    def __init__(self):
        self.messages = 0
        self.start = perf_counter() + warmup
        self.measuring = False
        self.times = None
        self.processor = 0.0

    def add_block(self, total):
        """Add a block with so many bytes altogether; when the time is over, report and exit."""
        if total != BLOCK * size:
            print(f"{BLOCK} messages have {total} bytes, not {BLOCK * size}", file=sys.stderr)
            os._exit(1)
        now = perf_counter()
        if self.measuring:
            self.messages += BLOCK
            if now - self.start >= seconds:
                self.report(now)
        elif now >= self.start:
            self.measuring = True
            self.start = now
            self.times = os.times()
            self.processor = process_time()

    def report(self, now):
        """Print the result and end the process, as the feed would go on for ever."""
        elapsed = now - self.start
        processor = process_time() - self.processor
        times = os.times()
        user, system = times.user - self.times.user, times.system - self.times.system
        share = user / (user + system) if user + system else 0.5
        result = {
            "messages": self.messages,
            "rate": self.messages / elapsed,
            "seconds": elapsed,
            "server_user": processor * share,
            "server_system": processor * (1 - share),
            "server_share": processor / elapsed,
        }
        print(json.dumps(result), flush=True)
        os._exit(0)
