"""What is measured: groups of rows, and in each row the same work for several programs."""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["GROUPS", "ROWS", "Group", "Row", "spaced"]

SIZES = {
    "32B": 32,
    "64B": 64,
    "128B": 128,
    "200B": 200,
    "1KiB": 2**10,
    "16KiB": 2**14,
    "64KiB": 2**16,
    "128KiB": 2**17,
    "1MiB": 2**20,
    "16MiB": 2**24,
    "500MiB": 500 * 2**20,
}
# A ratio that holds for one size need not hold for another: in full, rows come in all of these.
USUAL = ("32B", "128B", "1KiB", "64KiB", "1MiB")

# What ws's own bench/speed.js sends, and how often; binary, and all but the last as text too.
SPEED = {"64B": 10_000, "16KiB": 5_000, "128KiB": 1_000, "1MiB": 100, "500MiB": 1}
SPEED_LIMIT = 600 * 2**20

GIB = 2**30

OURS = ("wsfast-event", "wsfast-coroutine")
ALL = (
    *OURS,
    "uwebsockets",
    "picows-core",
    "picows-websockets",
    "websockets",
    "aiohttp",
    "uvicorn",
    "node",
    "socketify",
    "bare-c",
)
PURE = ("wsfast-pure", "websockets", "websockets-plain")


@dataclass(frozen=True)
class Row:
    """One piece of work.

    Args:
        name: group/what/how, as ``--rows`` matches it.
        title: the head of its column.
        peers: the keys of the programs that do it.
        load: the arguments of the load generator; "MESSAGES", here or in mode and deflate, stands
            for a file of messages of ``--size`` bytes.
        kind: "load", "memory", "burst" (memory after large messages), "client" or "speed".
        mode: of the server, with arguments.
        rate_of: the messages a second are half of what this row and program reached.
        deflate: the arguments of the load generator for permessage-deflate.
        tls: whether it goes over TLS.
        quick: whether it is in the subset; a tuple names the programs that are.
        rounds: at most so many; None for as many as asked for.
        needs: so much memory must be free, in bytes.
    """

    name: str
    title: str
    peers: tuple[str, ...]
    load: tuple[str, ...] = ()
    kind: str = "load"
    mode: tuple[str, ...] = ("echo",)
    rate_of: tuple[str, str] | None = None
    deflate: tuple[str, ...] = ()
    tls: bool = False
    quick: bool | tuple[str, ...] = True
    rounds: int | None = None
    needs: int = 0

    @property
    def group(self) -> str:
        """The group it belongs to."""
        return self.name.partition("/")[0]

    def in_subset(self) -> Row | None:
        """The row with the programs of the subset; None if it is not part of it."""
        if isinstance(self.quick, tuple):
            return replace(self, peers=self.quick)
        return self if self.quick else None


@dataclass(frozen=True)
class Group:
    """Rows that are the columns of one table.

    Args:
        name: the first part of the names of its rows.
        title: the heading.
        text: what is measured.
        shows: the tables: "rate", "cpu", "per_byte", "ratio", "bytes", "kept", "latency" or
            "seconds".
        unit: what is counted.
    """

    name: str
    title: str
    text: str
    shows: tuple[str, ...]
    unit: str = "message"


GROUPS = [
    Group(
        "echo",
        "Echo, 100 connections",
        "Every connection keeps 1 message in flight, or sends 16 and waits for the 16 answers "
        "(which is kind to servers that write each answer on its own: they still get to read 16 "
        "at once).",
        ("rate", "cpu"),
    ),
    Group("single", "Echo, one connection, 1 in flight", "", ("rate", "cpu", "latency")),
    Group("tls", "Echo over TLS, 100 connections", "TLS 1.3.", ("rate", "cpu")),
    Group(
        "kind",
        "Text, binary and ping, 100 connections, 1 in flight",
        "The same echo with text, which has to be valid UTF-8 and is a str in Python, and with "
        "binary messages; and pings, which are answered with pongs.",
        ("rate", "cpu"),
    ),
    Group(
        "speed",
        "Serial echo, as in ws's own benchmark",
        "Server and client are two processes of the same library, with one connection between "
        "them; a message goes when the last one came back. Sizes and counts are those of ws's "
        "`bench/speed.js`, and as there the bytes of both directions count.",
        ("seconds",),
    ),
    Group(
        "client",
        "Receiving as a client",
        "A server in C sends messages, each in a write of its own or 16 in one, as fast as the "
        "client takes them.",
        ("rate", "cpu"),
    ),
    Group(
        "push",
        "Pushing to 100 connections",
        "A task sends 16 messages of 128 B to each connection in every turn of the loop.",
        ("rate", "cpu"),
    ),
    Group(
        "broadcast",
        "Broadcasting 1 KiB to 1,000 connections",
        "The next round begins when the last one arrived everywhere. The bare C loop is a "
        "`send()` for each message and recipient.",
        ("cpu",),
        "recipient and message",
    ),
    Group(
        "deflate",
        "Compressed echo, 100 connections",
        "permessage-deflate with context takeover, level 6, a window of 4 KiB on both sides "
        "(`max_window_bits` 12) and memory level 5, which are the defaults of websockets; "
        "picows.websockets cannot be told its memory level, which is 8. Messages are JSON and all "
        "different; what the load generator sends was compressed before.",
        ("rate", "cpu", "ratio"),
    ),
    Group(
        "deflate-alone",
        "Compressed echo, 100 connections, no context takeover",
        "The same with messages that do not refer to those before, in either direction.",
        ("rate", "cpu", "ratio"),
    ),
    Group(
        "deflate-broadcast",
        "Broadcasting 1 KiB to 1,000 connections, compressed",
        "With context takeover, and each time another message.",
        ("cpu", "ratio"),
        "recipient and message",
    ),
    Group(
        "deflate-memory",
        "Memory of 1,000 connections with compression",
        "Resident memory of the server for each connection that has echoed 16 messages of 1 KiB, "
        "above what it needs for none.",
        ("bytes",),
    ),
    Group(
        "memory",
        "Memory of 10,000 connections",
        "Resident memory of the server for each connection, above what it needs for none: idle; "
        "with one byte of a frame that does not go on; each with the header of a frame of 1 MiB "
        "that does not come.",
        ("bytes",),
    ),
    Group(
        "given-back",
        "Memory after a burst",
        "What the server has kept of its memory when 100 connections have echoed messages of "
        "1 MiB and are idle again. With coroutines it is the last message of each, which is in the "
        "variable of its loop until the next one comes; with `del message` behind `await "
        "ws.send(message)` it is as with listeners.",
        ("kept",),
    ),
    Group(
        "handshake",
        "Opening handshakes",
        "1,000 connections are opened, 64 at a time. Then they are closed, with the closing "
        "handshake; the second column has that, too.",
        ("rate", "cpu"),
        "handshake",
    ),
    Group(
        "latency",
        "Latency at a fixed rate",
        "100 connections with messages of 32 B, at half of the rate that picows core reaches, for "
        "all the same. Latency counts from when a message was due. Then the same rate on 99 "
        "connections, beside one that keeps 256 messages in flight all the time. The percentiles "
        "are those of the quietest of the rounds: this machine stands still for milliseconds now "
        "and then, whichever program is measured.",
        ("latency",),
    ),
    Group(
        "growth",
        "How cost grows with connections",
        "Processor time for each message of 32 B, 1 in flight on each connection.",
        ("cpu",),
    ),
    Group(
        "size",
        "How cost grows with size",
        "10 connections, 1 in flight on each.",
        ("cpu", "per_byte"),
    ),
    Group(
        "pure",
        "Without compiled modules, 100 connections, 1 in flight",
        "The pure backend of wsfast, on asyncio's own loop.",
        ("rate", "cpu"),
    ),
]


def spaced(size: str) -> str:
    """A size as in a text, with a space before its unit."""
    number = size.rstrip("BKiM")
    return f"{number} {size.removeprefix(number)}"


def exchanges(size: str, depth: int) -> tuple[str, tuple[str, ...]]:
    """The title of an echo on many connections, and the arguments of the load generator.

    100 connections with 16 MiB in flight each would measure the machine's memory.
    """
    connections = 10 if (size, depth) == ("1MiB", 16) else 100
    title = f"{spaced(size)}, {depth} in flight"
    if connections != 100:
        title += f", {connections} connections"
    load = ("--size", str(SIZES[size]), "--depth", str(depth), "--connections", str(connections))
    return title, load


def echo_rows() -> list[Row]:
    """All sizes and depths; the subset has the small ones at both depths, the large ones at 1."""
    quick = {("32B", 1), ("32B", 16), ("1KiB", 1), ("1KiB", 16), ("64KiB", 1), ("1MiB", 1)}
    fewer = tuple(key for key in ALL if key not in ("aiohttp", "uvicorn", "socketify"))
    rows = []
    for size in USUAL:
        for depth in (1, 16):
            in_subset: bool | tuple[str, ...] = (size, depth) in quick
            if in_subset and size != "32B":
                in_subset = fewer
            title, load = exchanges(size, depth)
            rows.append(Row(f"echo/{size}/{depth}", title, ALL, load, quick=in_subset))
    return rows


def other_echo_rows() -> list[Row]:
    """One connection, TLS, kinds of messages, the pure backend."""
    few = (*OURS, "uwebsockets", "picows-core", "websockets", "node", "bare-c")
    tls = (*OURS, "picows-core", "picows-websockets", "websockets", "aiohttp", "node")
    return [
        *(
            Row(
                f"single/{size}",
                spaced(size),
                few,
                ("--connections", "1", "--size", str(SIZES[size])),
                quick=(*OURS, "picows-core", "bare-c") if size == "32B" else False,
            )
            for size in USUAL
        ),
        *(
            Row(
                f"tls/{size}/{depth}",
                exchanges(size, depth)[0],
                tls,
                (*exchanges(size, depth)[1], "--tls"),
                tls=True,
                quick=("wsfast-event", "picows-core", "node") if size == "32B" else False,
            )
            for size in USUAL
            for depth in (1, 16)
        ),
        *(
            Row(
                f"kind/{kind}/{size}",
                f"{kind}, {spaced(size)}",
                few,
                ("--size", str(SIZES[size]), *options),
                quick=("wsfast-event", "picows-core", "node") if size == "32B" else False,
            )
            for size in USUAL
            for kind, options in (("text", ()), ("binary", ("--binary",)), ("ping", ("--ping",)))
            if kind != "ping" or size == "32B"
        ),
        *(
            Row(
                f"pure/{size}",
                spaced(size),
                PURE,
                ("--size", str(SIZES[size])),
                quick=size in ("32B", "1KiB", "64KiB"),
            )
            for size in USUAL
        ),
    ]


def speed_rows() -> list[Row]:
    """Those of ws's bench/speed.js."""
    quick = ("binary/64B", "binary/1MiB")
    return [
        Row(
            f"speed/{kind}/{size}",
            f"{kind}, {count:,} x {spaced(size)}",
            (*OURS, "node", "websockets"),
            (kind, str(SIZES[size]), str(count)),
            kind="speed",
            mode=("echo", "--max-size", str(SPEED_LIMIT)),
            quick=(OURS[0], "node", "websockets") if f"{kind}/{size}" in quick else False,
            rounds=1 if size == "500MiB" else None,
            needs=GIB * 8 if size == "500MiB" else 0,
        )
        for kind in ("binary", "text")
        for size, count in SPEED.items()
        if kind == "binary" or size != "500MiB"
    ]


def sending_rows() -> list[Row]:
    """Clients that receive, pushes and broadcasts."""
    clients = (*OURS, "picows-core", "picows-websockets", "websockets")
    pushing = ("wsfast-event", "picows-core", "picows-websockets", "websockets", "node")
    broadcasting = (*pushing, "bare-c")
    quick = ("wsfast-event", "picows-core", "websockets")
    return [
        *(
            Row(
                f"client/{size}/{burst}",
                f"{spaced(size)}, " + ("one a write" if burst == 1 else f"{burst} a write"),
                clients,
                (str(SIZES[size]), str(burst)),
                kind="client",
                quick=quick if size == "200B" else False,
            )
            for size in ("32B", "128B", "200B", "1KiB", "64KiB")
            for burst in (1, 16)
        ),
        Row(
            "push/128B",
            "16 messages of 128 B",
            pushing,
            ("--receive", "--size", "128"),
            mode=("push", "--count", "16", "--size", "128"),
            quick=quick,
        ),
        *(
            Row(
                f"broadcast/1KiB/{count}",
                "one broadcast" if count == 1 else f"{count} in one turn",
                broadcasting,
                ("--broadcast", str(count), "--size", "1024", "--connections", "1000"),
                mode=("broadcast", "--count", str(count), "--size", "1024"),
                quick=("wsfast-event", "websockets", "bare-c"),
            )
            for count in (1, 16)
        ),
    ]


# Of permessage-deflate, on both sides.
WINDOW = "12"
LEVELS = ("--level", "6", "--mem-level", "5")


def deflate_rows() -> list[Row]:
    """permessage-deflate: echo, broadcast, memory."""
    pushing = ("wsfast-event", "wsfast-ng", "picows-websockets", "websockets", "node")
    peers = (*OURS, *pushing[1:])
    quick = ("wsfast-event", "wsfast-ng", "picows-websockets", "websockets", "node")
    rows = []
    for takeover in (True, False):
        group = "deflate" if takeover else "deflate-alone"
        mode: tuple[str, ...] = ("--deflate", WINDOW, *LEVELS)
        load: tuple[str, ...] = ("--deflate", "MESSAGES", *LEVELS)
        load += ("--server-bits", WINDOW, "--client-bits", WINDOW)
        if not takeover:
            mode += ("--no-takeover",)
            load += ("--server-no-takeover", "--client-no-takeover")
        rows += [
            Row(
                f"{group}/{size}/{depth}",
                title,
                peers,
                arguments,
                mode=("echo", *mode),
                deflate=load,
                quick=quick if (group, size) == ("deflate", "1KiB") else False,
            )
            for size in ("200B", "1KiB", "16KiB")
            for depth in (1, 16)
            for title, arguments in (exchanges(size, depth),)
        ]
        rows.append(
            Row(
                f"deflate-memory/{'takeover' if takeover else 'alone'}",
                "context takeover" if takeover else "no context takeover",
                peers,
                ("--idle", "--connections", "1000", "--size", "1024"),
                "memory",
                mode=("echo", *mode),
                deflate=load,
                quick=quick if takeover else False,
                rounds=1,
            )
        )
        rows += [
            Row(
                f"deflate-broadcast/1KiB/{count}",
                "one broadcast" if count == 1 else f"{count} in one turn",
                pushing,
                ("--broadcast", str(count), "--size", "1024", "--connections", "1000"),
                mode=(
                    *("broadcast", "--count", str(count), "--size", "1024"),
                    *("--messages", "MESSAGES", *mode),
                ),
                deflate=load,
                quick=("wsfast-event", "websockets"),
            )
            for count in (1, 16)
            if takeover
        ]
    # A group's rows share their servers, so they have to follow one another.
    return sorted(rows, key=lambda row: row.group)


def memory_rows() -> list[Row]:
    """Memory does not vary from round to round as times do."""
    idle = ("--idle", "--connections", "10000")
    peers = (*ALL[:-1],)
    quick = (*OURS, "uwebsockets", "picows-core", "websockets", "node")
    return [
        Row("memory/idle", "idle", peers, idle, "memory", quick=quick, rounds=1),
        Row(
            "memory/pending",
            "one byte of a frame",
            peers,
            (*idle, "--pending-byte"),
            "memory",
            quick=OURS,
            rounds=1,
        ),
        Row(
            "memory/declared",
            "1 MiB declared",
            peers,
            (*idle, "--declare", str(2**20)),
            "memory",
            quick=OURS,
            rounds=1,
        ),
        Row(
            "given-back/1MiB",
            "after 1 MiB messages",
            peers,
            ("--size", str(2**20), "--hold"),
            "burst",
            quick=(*OURS, "picows-core"),
            rounds=1,
        ),
    ]


def remaining_rows() -> list[Row]:
    """Handshakes, latency and growth."""
    half = ("echo/32B/1", "picows-core")
    latency = (*OURS, "uwebsockets", "picows-core", "node", "bare-c")
    growth = (*OURS, "uwebsockets", "picows-core", "websockets", "node", "bare-c")
    few = ("wsfast-event", "uwebsockets", "picows-core")
    return [
        *(
            Row(
                f"handshake/{name}",
                title,
                (OURS[0], "wsfast-h11", *ALL[1:-1]),
                ("--handshakes", "--connections", "1000", *closing),
                quick=(OURS[0], "wsfast-h11", "uwebsockets", "picows-core", "websockets", "node"),
                rounds=3,
            )
            for name, title, closing in (
                ("open", "opened", ()),
                ("close", "opened and closed", ("--with-closing",)),
            )
        ),
        Row("latency/even", "all polite", latency, ("--size", "32"), rate_of=half, quick=few),
        Row(
            "latency/flooded",
            "one floods",
            latency,
            ("--size", "32", "--flooders", "1"),
            rate_of=half,
            quick=few,
        ),
        *(
            Row(
                f"growth/{count}",
                f"{count:,}",
                growth,
                ("--size", "32", "--connections", str(count)),
                quick=("wsfast-event", "wsfast-coroutine", "uwebsockets", "bare-c")
                if count in (100, 10000)
                else False,
                rounds=3 if count == 10000 else None,
            )
            for count in (1, 10, 100, 1000, 10000)
        ),
        *(
            Row(
                f"size/{size}",
                spaced(size),
                growth,
                ("--size", str(SIZES[size]), "--connections", "10"),
                quick=False,
            )
            for size in (*USUAL, "16MiB")
        ),
    ]


ROWS = (
    echo_rows()
    + other_echo_rows()
    + speed_rows()
    + sending_rows()
    + deflate_rows()
    + memory_rows()
    + remaining_rows()
)
