"""What is measured, as data: each section is one table."""

from dataclasses import dataclass

RUST = ("fastwebsockets", "tokio-websockets", "tokio-tungstenite", "axum", "sockudo-ws", "yawc")
FLOOR, NOISE, SOCKEYE, LIBRARY = "floor", "floor again", "sockeye", "sockeye-library"
ONE_BY_ONE, EVENTS = "sockeye without io_uring", "sockeye over /sse"


@dataclass(frozen=True)
class Goal:
    """`of` must cost at most `limit` times what `to` costs in the same round.

    `to` is a server, or several: then the best of them.
    """

    limit: float
    to: str | tuple[str, ...]
    of: str = SOCKEYE


@dataclass(frozen=True)
class Column:
    """A column beside the cost and its ratio: the median over the rounds."""

    heading: str
    path: str
    scale: float = 1.0
    digits: int = 0


@dataclass(frozen=True)
class Section:
    """Rounds of one load on several servers, interleaved."""

    name: str
    title: str
    mode: str
    """What the servers do: see servers.py."""
    load: tuple[str, ...]
    """The arguments of the load generator."""
    cost: str
    """The field of its report that ratios are made of."""
    heading: str
    servers: tuple[str, ...]
    goals: tuple[Goal, ...] = ()
    columns: tuple[Column, ...] = ()
    base: str = FLOOR
    """What the column of ratios divides by."""
    seconds: float = 1.0
    """Rounds are so many times as long as others."""
    rounds: float = 1.0
    """And so many times as many."""


@dataclass(frozen=True)
class Memory:
    """Bytes of private memory for each of many connections; each server is measured once."""

    name: str
    title: str
    mode: str
    load: tuple[str, ...]
    servers: tuple[str, ...]
    columns: tuple[Column, ...]
    limit: float
    """What `of` must stay under, in the last column but one, with `connections` or more."""
    of: tuple[str, ...] = (SOCKEYE,)
    connections: int = 10_000
    """With fewer, what is there once weighs too much on each."""


@dataclass(frozen=True)
class Attack:
    """Memory that a hostile peer makes the server hold; each server is measured once."""

    name: str
    title: str
    servers: tuple[str, ...]
    mode: str = "echo"


ECHO = (
    Column("messages/s", "messages_per_second"),
    Column("busy %", "busy", 100),
    Column("p50 us", "p50_us"),
    Column("p99 us", "p99_us"),
)
FANOUT = (
    Column("deliveries/s", "deliveries_per_second"),
    Column("busy %", "busy", 100),
    Column("p50 us", "p50_us"),
    Column("p99 us", "p99_us"),
)


def echo(name, title, load, floor, peers, mode="echo"):
    servers = (FLOOR, NOISE, SOCKEYE, LIBRARY, *RUST, "ws", "bun")
    goals = tuple(Goal(limit, to, of) for of in (SOCKEYE, LIBRARY) for limit, to in ((floor, FLOOR), (peers, RUST)))
    return Section(name, title, mode, ("echo", *load), "cpu_ns_per_message", "ns/message", servers, goals, ECHO)


def fanout(name, title, payload):
    servers = (FLOOR, NOISE, SOCKEYE, ONE_BY_ONE, "bun", "ws", "tokio-tungstenite", "axum", "fastwebsockets", "sockudo-ws", "nchan")
    load = ("fanout", "--subscribers", "1000", "--payload", payload)
    goals = (Goal(0.95, FLOOR), Goal(1.05, FLOOR, ONE_BY_ONE), Goal(0.85, "bun"))
    return Section(name, title, "broadcast", load, "cpu_ns_per_delivery", "ns/delivery", servers, goals, FANOUT)


SECTIONS = (
    echo("echo", "echo of 128 B, 100 connections, 1 in flight", ("--in-flight", "1"), 1.05, 0.90),
    echo("pipelined", "echo of 128 B, 100 connections, 16 in flight", ("--in-flight", "16"), 1.12, 0.75),
    echo("large", "echo of 64 KiB, 100 connections, 1 in flight", ("--payload", "65536"), 1.20, 0.90, "large"),
    echo(
        "huge",
        "echo of 1 MiB, 16 connections, 1 in flight",
        ("--payload", "1048576", "--connections", "16"),
        1.15,
        0.90,
        "large",
    ),
    fanout("fanout", "128 B to 1,000 subscribers of one channel", "128"),
    Section(
        "events",
        "128 B to 1,000 subscribers of one channel, by server-sent events",
        "broadcast",
        ("fanout", "--subscribers", "1000", "--payload", "128"),
        "cpu_ns_per_delivery",
        "ns/delivery",
        (SOCKEYE, "sockeye again", ONE_BY_ONE, EVENTS),
        (Goal(1.3, SOCKEYE, EVENTS),),
        FANOUT,
        base=SOCKEYE,
    ),
    fanout("fanout-1k", "1 KiB to 1,000 subscribers of one channel", "1024"),
    Section(
        "latency",
        "50 publications of 128 B a second to 1,000 subscribers, each delivery",
        "broadcast",
        ("fanout", "--subscribers", "1000", "--payload", "128", "--rate", "50"),
        # Not of the last delivery of each publication: of so few the 99th percentile is the slowest.
        "each.p99_us",
        "p99 us",
        (FLOOR, NOISE, SOCKEYE, "bun", "ws", "tokio-tungstenite", "nchan"),
        (Goal(1.0, "bun"),),
        (
            Column("p50 us", "each.p50_us"),
            Column("the last: p50 us", "p50_us"),
            Column("busy %", "busy", 100, 1),
        ),
        base="bun",
        seconds=6,
        rounds=0.5,
    ),
    Section(
        "deflate",
        "echo of 1 KiB of JSON, permessage-deflate without context takeover, 100 connections, 1 in flight",
        "deflate",
        ("echo", "--deflate", "--payload", "1024"),
        "cpu_ns_per_message",
        "ns/message",
        (SOCKEYE, "sockeye again", LIBRARY, "yawc", "sockudo-ws", "ws", "bun"),
        (Goal(0.5, "ws"), Goal(0.9, "yawc"), Goal(0.5, "ws", LIBRARY), Goal(0.9, "yawc", LIBRARY)),
        (*ECHO, Column("bytes back", "bytes_in")),
        base=SOCKEYE,
    ),
    Section(
        "handshakes",
        "connections opened and closed again, 64 at once",
        "echo",
        ("storm", "--close", "--connections", "1000000"),
        "cpu_ns_per_handshake",
        "ns/handshake",
        (SOCKEYE, "sockeye again", LIBRARY, *RUST, "ws", "bun"),
        (Goal(1.0, RUST), Goal(1.0, RUST, LIBRARY)),
        (Column("handshakes/s", "handshakes_per_second"), Column("p50 us", "p50_us"), Column("p99 us", "p99_us")),
        base=SOCKEYE,
    ),
    Memory(
        "idle",
        "idle connections, bytes for each above the empty server",
        "idle",
        ("idle",),
        (FLOOR, SOCKEYE, LIBRARY, *RUST, "ws", "bun"),
        (
            Column("handshake", "after_handshake_each.private"),
            Column("one echo", "after_echo_each.private"),
            Column("kept after close", "after_close.private"),
        ),
        1100,
        (SOCKEYE, LIBRARY),
    ),
    Memory(
        "sessions",
        "idle sessions of the realtime server, subscribed to one channel",
        "broadcast",
        ("idle", "--channel", "bench"),
        (SOCKEYE,),
        (Column("subscribed", "after_echo_each.private"), Column("kept after close", "after_close.private")),
        2048,
    ),
    Section(
        "publish",
        "128 B published and acknowledged, memory, 100 connections with a channel each",
        "broadcast",
        ("publish",),
        "cpu_ns_each",
        "ns/publication",
        (SOCKEYE, "sockeye again"),
        (),
        (Column("a second", "per_second"), Column("p50 us", "p50_us"), Column("p99 us", "p99_us")),
        base=SOCKEYE,
        rounds=0.5,
    ),
    Attack("attack", "private bytes that an attack makes the server hold", (SOCKEYE, LIBRARY, *RUST, "ws", "bun")),
)
