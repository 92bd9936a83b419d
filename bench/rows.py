"""What is measured: groups of rows, and in each row the same work for several programs."""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["GROUPS", "ROWS", "Group", "Row", "spaced"]

SIZES = {
    "32B": 32,
    "128B": 128,
    "1KiB": 1024,
    "64KiB": 2**16,
    "1MiB": 2**20,
    "16MiB": 2**24,
}

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
        load: the arguments of the load generator.
        kind: "load", "memory", "burst" (memory after large messages), or "client".
        mode: of the server, with arguments.
        rate_of: the messages a second are half of what this row and program reached.
        tls: whether it goes over TLS.
        quick: whether it is in the subset; a tuple names the programs that are.
        rounds: None for as many as asked for.
    """

    name: str
    title: str
    peers: tuple[str, ...]
    load: tuple[str, ...] = ()
    kind: str = "load"
    mode: tuple[str, ...] = ("echo",)
    rate_of: tuple[str, str] | None = None
    tls: bool = False
    quick: bool | tuple[str, ...] = True
    rounds: int | None = None

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
        shows: the tables: "rate", "cpu", "bytes", "kept" or "latency".
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
        "client",
        "Receiving as a client",
        "A server in C sends messages of 200 B, each in a write of its own or 16 in one, as fast "
        "as the client takes them.",
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
        "1 MiB and are idle again.",
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
        "connections, beside one that keeps 256 messages in flight all the time.",
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
        "Processor time for each message, 10 connections, 1 in flight on each.",
        ("cpu",),
    ),
    Group("binary", "Binary messages, 100 connections, 1 in flight", "", ("rate", "cpu")),
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


def echo_rows() -> list[Row]:
    """All sizes and depths; the subset has the small ones at both depths, the large ones at 1."""
    quick = {("32B", 1), ("32B", 16), ("1KiB", 1), ("1KiB", 16), ("64KiB", 1), ("1MiB", 1)}
    fewer = tuple(key for key in ALL if key not in ("aiohttp", "uvicorn", "socketify"))
    rows = []
    for size in ("32B", "128B", "1KiB", "64KiB", "1MiB"):
        for depth in (1, 16):
            in_subset: bool | tuple[str, ...] = (size, depth) in quick
            if in_subset and (size, depth) not in (("32B", 1), ("32B", 16)):
                in_subset = fewer
            rows.append(
                Row(
                    f"echo/{size}/{depth}",
                    f"{spaced(size)}, {depth} in flight",
                    ALL,
                    ("--size", str(SIZES[size]), "--depth", str(depth)),
                    quick=in_subset,
                )
            )
    return rows


def other_echo_rows() -> list[Row]:
    """One connection, TLS, binary, the pure backend."""
    single = (*OURS, "uwebsockets", "picows-core", "websockets", "node", "bare-c")
    tls = (*OURS, "picows-core", "picows-websockets", "websockets", "aiohttp", "node")
    few = ("wsfast-event", "picows-core", "node")
    return [
        *(
            Row(
                f"single/{size}",
                spaced(size),
                single,
                ("--connections", "1", "--size", str(SIZES[size])),
                quick=("wsfast-event", "wsfast-coroutine", "picows-core", "bare-c")
                if size == "32B"
                else False,
            )
            for size in ("32B", "1KiB")
        ),
        *(
            Row(
                f"tls/{size}/{depth}",
                f"{spaced(size)}, {depth} in flight",
                tls,
                ("--size", str(SIZES[size]), "--depth", str(depth), "--tls"),
                tls=True,
                quick=few if size == "32B" else False,
            )
            for size in ("32B", "1KiB")
            for depth in (1, 16)
        ),
        *(
            Row(
                f"binary/{size}",
                spaced(size),
                (*OURS, "uwebsockets", "picows-core", "websockets", "node", "bare-c"),
                ("--size", str(SIZES[size]), "--binary"),
                quick=False,
            )
            for size in ("32B", "1KiB", "64KiB", "1MiB")
        ),
        *(
            Row(
                f"pure/{size}",
                spaced(size),
                PURE,
                ("--size", str(SIZES[size])),
                quick=size in ("32B", "1KiB", "64KiB"),
            )
            for size in ("32B", "128B", "1KiB", "64KiB", "1MiB")
        ),
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
                f"client/200B/{burst}",
                "one a write" if burst == 1 else f"{burst} a write",
                clients,
                ("200", str(burst)),
                kind="client",
                quick=quick,
            )
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
            for size in ("32B", "1KiB", "64KiB", "1MiB", "16MiB")
        ),
    ]


ROWS = echo_rows() + other_echo_rows() + sending_rows() + memory_rows() + remaining_rows()
