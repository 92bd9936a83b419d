"""The numbers that wsfast is held to, and what a run says of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rows import spaced

__all__ = ["TARGETED", "TARGETS", "Target", "judge"]

Results = dict[str, Any]

EVENT, COROUTINE = "wsfast-event", "wsfast-coroutine"


@dataclass(frozen=True)
class Target:
    """A ratio of two measured numbers, or a bound on one.

    Args:
        work: in words.
        ours: row, program and number.
        theirs: the same; nothing if the number itself is bounded.
        at_least, at_most: what is wanted of ours / theirs.
        against: whom it is compared with, in words.
    """

    work: str
    ours: tuple[str, str, str]
    theirs: tuple[str, str, str] | None
    against: str
    at_least: float | None = None
    at_most: float | None = None
    unit: float = 1.0

    def cells(self) -> set[tuple[str, str]]:
        """The rows and programs it is about."""
        return {cell[:2] for cell in (self.ours, self.theirs) if cell is not None}

    def measure(self, results: Results) -> float | None:
        """The ratio or the number in a run; None if it was not measured."""
        ours = number(results, *self.ours)
        if self.theirs is None:
            return None if ours is None else ours / self.unit
        theirs = number(results, *self.theirs)
        return ours / theirs if ours is not None and theirs else None

    def is_met(self, measured: float) -> bool:
        """Whether a measured ratio or number is what is wanted."""
        return (self.at_least is None or measured >= self.at_least) and (
            self.at_most is None or measured <= self.at_most
        )

    def text(self, measured: float) -> str:
        """A measured number with two digits, or with as many as the verdict can be seen from."""
        for digits in range(2, 9):
            text = f"{measured:.{digits}f}"
            if self.is_met(float(text)) == self.is_met(measured):
                break
        return text


class Growth(Target):
    """How ours grows from one row to another, over how the floor grows."""

    def cells(self) -> set[tuple[str, str]]:
        after = super().cells()
        return after | {("growth/100", peer) for _, peer in after}

    def measure(self, results: Results) -> float | None:
        assert self.theirs is not None
        growth = []
        for row, peer, name in (self.ours, self.theirs):
            before = number(results, "growth/100", peer, name)
            after = number(results, row, peer, name)
            if not before or not after:
                return None
            growth.append(after / before)
        return growth[0] / growth[1]


def number(results: Results, row: str, peer: str, name: str) -> float | None:
    """One number of a run, None if it is not there."""
    cell = results["rows"].get(row, {}).get("cells", {}).get(peer, {})
    value = cell.get("median", {}).get(name)
    return None if value is None else float(value)


def faster(
    work: str, row: str, us: str, wanted: dict[str, float], what: str = "rate"
) -> list[Target]:
    """Targets against several peers: so many times their rate, or so much less processor time."""
    targets = []
    for peer, ratio in wanted.items():
        ours, theirs = (row, us, what), (row, peer, what)
        if what == "cpu":
            ours, theirs = theirs, ours
        targets.append(Target(work, ours, theirs, peer, at_least=ratio))
    return targets


def echo_targets() -> list[Target]:
    """Echo, of both styles and of all sizes."""
    targets = []
    for size in ("32B", "1KiB"):
        words, one, many = spaced(size), f"echo/{size}/1", f"echo/{size}/16"
        event = f"listeners, echo of {words}"
        coroutine = f"coroutines, echo of {words}"
        targets += faster(
            f"{event}, 1 in flight",
            one,
            EVENT,
            {"uwebsockets": 0.9, "picows-core": 1.15, "node": 1.5},
        )
        targets.append(
            Target(
                f"{event}, 1 in flight: user time",
                (one, EVENT, "user"),
                (one, "picows-core", "user"),
                "picows-core",
                at_most=0.5,
            )
        )
        targets += faster(
            f"{event}, 16 in flight",
            many,
            EVENT,
            {"uwebsockets": 0.8, "picows-core": 12, "node": 15},
        )
        targets += faster(
            f"{coroutine}, 1 in flight",
            one,
            COROUTINE,
            {"websockets": 2.1, "picows-websockets": 1.1, "node": 1.15},
        )
        targets.append(
            Target(
                f"{coroutine}, 1 in flight: user time",
                (one, COROUTINE, "user"),
                (one, "picows-websockets", "user"),
                "picows-websockets",
                at_most=0.8,
            )
        )
        targets += faster(
            f"{coroutine}, 16 in flight",
            many,
            COROUTINE,
            {"websockets": 13, "picows-websockets": 6},
        )
    for size in ("64KiB", "1MiB"):
        for depth in (1, 16):
            targets += faster(
                f"listeners, echo of {spaced(size)}, {depth} in flight",
                f"echo/{size}/{depth}",
                EVENT,
                {"uwebsockets": 0.9, "websockets": 1.3},
            )
    for size in ("32B", "1KiB"):
        targets += faster(
            f"listeners, one connection, {spaced(size)}",
            f"single/{size}",
            EVENT,
            {"picows-core": 1},
        )
        for depth, ratio in ((1, 1.1), (16, 4.0)):
            targets += faster(
                f"listeners, TLS, {spaced(size)}, {depth} in flight",
                f"tls/{size}/{depth}",
                EVENT,
                {"picows-core": ratio, "node": 1},
            )
    return targets


def sending_targets() -> list[Target]:
    """Clients, pushes, broadcasts."""
    return [
        *faster(
            "client, listeners, 200 B one a write",
            "client/200B/1",
            EVENT,
            {"picows-core": 1.05, "websockets": 2},
        ),
        *faster(
            "client, listeners, 200 B 16 a write",
            "client/200B/16",
            EVENT,
            {"picows-core": 1.3, "websockets": 8},
        ),
        *faster(
            "push of 16 messages a turn", "push/128B", EVENT, {"websockets": 6, "picows-core": 4}
        ),
        *faster(
            "one broadcast, time a recipient", "broadcast/1KiB/1", EVENT, {"websockets": 1.6}, "cpu"
        ),
        *faster("16 broadcasts in one turn", "broadcast/1KiB/16", EVENT, {"websockets": 9}, "cpu"),
    ]


def deflate_targets() -> list[Target]:
    """permessage-deflate."""
    targets = []
    for group, words in (("deflate", ""), ("deflate-alone", ", no context takeover")):
        for size in ("200B", "1KiB", "16KiB"):
            for depth in (1, 16):
                work = f"compressed echo of {spaced(size)}, {depth} in flight{words}"
                row = f"{group}/{size}/{depth}"
                wanted = {"picows-websockets": 1.0, "node": 1.0}
                if size == "1KiB":
                    wanted["websockets"] = 1.4 if depth == 1 else 1.8
                targets += faster(f"listeners, {work}", row, EVENT, wanted)
                if (size, depth) == ("1KiB", 16):
                    targets += faster(
                        f"listeners with zlib-ng, {work}", row, "wsfast-ng", {"websockets": 2.2}
                    )
    for count, ratio in ((1, 4.0), (16, 18.0)):
        turn = "one broadcast" if count == 1 else f"{count} broadcasts in one turn"
        row = f"deflate-broadcast/1KiB/{count}"
        targets += faster(f"{turn}, compressed", row, EVENT, {"websockets": ratio}, "cpu")
    return targets


def resource_targets() -> list[Target]:
    """Memory, handshakes, latency, the pure backend, growth."""
    targets = [
        Target(
            f"idle connection, {words}, KiB",
            ("memory/idle", us, "bytes"),
            None,
            "",
            at_most=most,
            unit=1024,
        )
        for us, words, most in ((EVENT, "listeners", 1.5), (COROUTINE, "coroutines", 2.5))
    ]
    for row, what in (("handshake/open", "opening"), ("handshake/close", "opening and closing")):
        for us, words, peer, most in (
            (EVENT, "with httptools", "websockets", 0.25),
            (EVENT, "with httptools", "node", 1.0),
            ("wsfast-h11", "with h11", "websockets", 0.5),
        ):
            targets.append(
                Target(
                    f"{what}, {words}: processor time",
                    (row, us, "cpu"),
                    (row, peer, "cpu"),
                    peer,
                    at_most=most,
                )
            )
    targets += [
        Target(
            "p99 at half of picows core's maximum",
            ("latency/even", EVENT, "p99"),
            ("latency/even", "picows-core", "p99"),
            "picows-core",
            at_most=1,
        ),
        Target(
            "p99 of the polite ones beside one that floods",
            ("latency/flooded", EVENT, "p99"),
            ("latency/even", EVENT, "p99"),
            "without it",
            at_most=5,
        ),
    ]
    for size in ("32B", "128B", "1KiB", "64KiB", "1MiB"):
        wanted = {"websockets": 1.0} if size in ("32B", "128B", "1KiB") else {}
        targets += faster(
            f"pure backend, coroutines, echo of {spaced(size)}",
            f"pure/{size}",
            "wsfast-pure",
            {**wanted, "websockets-plain": 1},
        )
    targets += [
        Growth(
            f"{words}, processor time at 10,000 connections over that at 100",
            ("growth/10000", us, "cpu"),
            ("growth/10000", floor, "cpu"),
            floor,
            at_most=1.1,
        )
        for us, words in ((EVENT, "listeners"), (COROUTINE, "coroutines"))
        for floor in ("uwebsockets", "bare-c")
    ]
    return targets


TARGETS = echo_targets() + sending_targets() + deflate_targets() + resource_targets()

# The rows and programs on which a verdict depends.
TARGETED = {cell for target in TARGETS for cell in target.cells()}


def judge(results: Results) -> list[tuple[Target, float | None]]:
    """Each target with what was measured."""
    return [(target, target.measure(results)) for target in TARGETS]
