#!/usr/bin/env python3
"""What a connection and a delivery cost as their number grows: real connections, and sessions over pipes in one process.
README.md says what and how."""

import argparse
import json
import math
import os
import re
import resource
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness.servers import HUB

BENCHES = Path(__file__).resolve().parent
PROJECT = BENCHES.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", PROJECT / "target")).resolve()
SOCKEYE = TARGET / "release" / "sockeye"
SERVER_CORE, LOAD_CORE = 0, 1
ACTIVE = 100  # connections that say something in `echo`; the others only are there
MEMBERS = 100  # of each channel, where there are many channels
ROUNDS = 3
SCALE_TEST = "worker::scale::everybody_is_told_and_what_it_costs"
UPGRADE = (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")


class Server:
    """A server on a core of its own, known by the line it prints; ended with its block."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen([str(SOCKEYE), *arguments, "--listen", "127.0.0.1:0"], text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, preexec_fn=pin(SERVER_CORE))
        found = next((found for line in self.process.stdout if (found := re.search(r"//([\d.]+):(\d+)", line))), None)
        if not found:
            sys.exit("the server printed no address")
        self.address = found[1], int(found[2])

    def load(self, what, *arguments, path=""):
        url = f"ws://{self.address[0]}:{self.address[1]}/{path}"
        command = [str(SOCKEYE), "bench", what, *arguments, url, "--pid", str(self.process.pid), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, preexec_fn=pin(LOAD_CORE))
        if done.returncode:
            sys.exit(f"{' '.join(arguments)}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def private(self):
        """Once four readings in a row agree."""
        seen = []
        while len(seen) < 4 or len(set(seen[-4:])) > 1:
            time.sleep(0.25)
            text = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
            seen.append(sum(int(kib) for kib in re.findall(r"Private_\w+:\s+(\d+)", text)) * 1024)
            if len(seen) > 40:
                break
        return seen[-1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def pin(core):
    cores = sorted(os.sched_getaffinity(0))
    return (lambda: os.sched_setaffinity(0, {cores[core]})) if len(cores) > 1 else None


def idle_connection(address, index):
    """From one of eight addresses, so that ports are no limit."""
    one = socket.create_connection(address, timeout=10, source_address=(f"127.0.0.{1 + index % 8}", 0))
    one.sendall(UPGRADE)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += one.recv(4096)
    if not head.startswith(b"HTTP/1.1 101 "):
        sys.exit(f"connection {index}: {head[:80]!r}")
    return one


def echo(count):
    """A closed loop over `ACTIVE` connections, beside idle ones."""
    with Server("demo", "echo") as server:
        empty = server.private()
        idle = [idle_connection(server.address, index) for index in range(count - ACTIVE)]
        each = (server.private() - empty) // len(idle) if idle else None
        rounds = [server.load("echo", "--connections", str(ACTIVE)) for _ in range(ROUNDS)]
        for one in idle:
            one.close()
    middle = sorted(rounds, key=lambda row: row["cpu_ns_per_message"])[ROUNDS // 2]
    return {"connections": count, "message_cpu_ns": round(middle["cpu_ns_per_message"]), "private_bytes_each": each,
            "p99_us": middle["p99_us"]}


def fanout(count, config):
    """One channel, everybody subscribed."""
    with Server("serve", "--config", config) as server:
        rounds = [server.load("fanout", "--subscribers", str(count), path="ws") for _ in range(ROUNDS)]
    middle = sorted(rounds, key=lambda row: row["cpu_ns_per_delivery"])[ROUNDS // 2]
    return {"subscribers": count, "delivery_cpu_ns": round(middle["cpu_ns_per_delivery"]), "p50_us": middle["p50_us"]}


def subscribed(count, config):
    with Server("serve", "--config", config) as server:
        got = server.load("idle", "--connections", str(count), "--channel", "scale", path="ws")
    return {"sessions": count, "private_bytes_each": got["after_handshake_each"]["private"]}


def sessions(count, channels):
    """Sessions over pipes in one process: a test of the server's, with other numbers."""
    scale = {"SOCKEYE_SCALE_SESSIONS": str(count), "SOCKEYE_SCALE_CHANNELS": str(channels)}
    command = ["cargo", "test", "--release", "--locked", "--quiet", "-p", "sockeye-server", "--lib", "--",
               "--exact", SCALE_TEST, "--nocapture"]
    done = subprocess.run(command, cwd=PROJECT, env={**os.environ, **scale}, capture_output=True, text=True)
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or len(rows) != 1:
        sys.exit(f"{count} sessions: {done.stdout[-500:]}{done.stderr[-500:]}")
    return rows[0]


def measure(options):
    results = {"echo": [], "fanout": [], "subscribed": [], "sessions": []}
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as config:
        config.write(HUB)
        config.flush()
        for count in options.connections:
            for name, row in (("echo", echo(count)), ("fanout", fanout(count, config.name)),
                              ("subscribed", subscribed(count, config.name))):
                print(f"{name}: {json.dumps(row)}", flush=True)
                results[name].append(row)
    for count in options.sessions:
        for channels in sorted({1, max(1, count // MEMBERS)}):
            row = sessions(count, channels)
            print(f"sessions: {json.dumps(row)}", flush=True)
            results["sessions"].append(row)
    return {"machine": machine(), "date": time.strftime("%Y-%m-%d"), "version": version(), "results": results}


def machine():
    model = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    return f"{model[1] if model else 'unknown'}, {os.cpu_count()} cores, Linux {os.uname().release}"


def version():
    git = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=PROJECT, capture_output=True, text=True)
    return git.stdout.strip()


def tables(record):
    """The same in Markdown."""
    of = record["results"]
    fanouts = {row["subscribers"]: row for row in of["fanout"]}
    memory = {row["sessions"]: row for row in of["subscribed"]}
    lines = [f"{record['machine']}; {record['date']}; commit {record['version']}", "",
             "| connections | idle, bytes each | CPU per echo | subscribed, bytes each | CPU per delivery | publication, p50 |",
             "| ---: | ---: | ---: | ---: | ---: | ---: |"]
    for row in of["echo"]:
        fan, held = fanouts[row["connections"]], memory[row["connections"]]
        each = f"{row['private_bytes_each']:,}" if row["private_bytes_each"] else ""
        lines.append(f"| {row['connections']:,} | {each} | {row['message_cpu_ns'] / 1e3:.2f} µs |"
                     f" {held['private_bytes_each']:,} | {fan['delivery_cpu_ns'] / 1e3:.2f} µs | {fan['p50_us'] / 1e3:.1f} ms |")
    lines += ["", "| sessions over pipes | channels | bytes each | CPU to open | CPU per delivery | a publication takes |",
              "| ---: | ---: | ---: | ---: | ---: | ---: |"]
    for row in of["sessions"]:
        lines.append(f"| {row['sessions']:,} | {row['channels']:,} | {row['private_bytes_each']:,} |"
                     f" {row['opening_cpu_ns_each'] / 1e3:.1f} µs | {row['delivery_cpu_ns']:,} ns |"
                     f" {row['publication_us'] / 1e3:,.3f} ms |")
    return "\n".join(lines)


WIDTH, HEIGHT, LEFT, TOP, PLOT_WIDTH, PLOT_HEIGHT = 760, 700, 70, 40, 640, 240
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #333 } .title { font-weight: 600 }
.grid { stroke: #bbb; stroke-width: .5 } polyline { fill: none; stroke-width: 2 }
.a { stroke: #0b6bcb; fill: #0b6bcb } .b { stroke: #b3441e; fill: #b3441e } .c { stroke: #2a7d46; fill: #2a7d46 }
text.a, text.b, text.c { stroke: none }
@media (prefers-color-scheme: dark) {
text { fill: #ddd } .grid { stroke: #555 }
.a { stroke: #6db3f8; fill: #6db3f8 } .b { stroke: #f0916d; fill: #f0916d } .c { stroke: #74cf93; fill: #74cf93 }
}"""


def drawing(record):
    of = record["results"]
    one = [row for row in of["sessions"] if row["channels"] == 1]
    many = [row for row in of["sessions"] if row["channels"] > 1]

    def points(rows, x, y, least=0):
        return [(row[x], row[y]) for row in rows if row[y] and row[x] >= least]

    # What is there once would weigh more on fewer than all that is to be seen.
    memory = [("a", "idle echo, TCP", points(of["echo"], "connections", "private_bytes_each", least=1_000)),
              ("b", "subscribed, TCP", points(of["subscribed"], "sessions", "private_bytes_each", least=1_000)),
              ("c", "subscribed, over a pipe", points(one, "sessions", "private_bytes_each", least=1_000))]
    delivery = [("b", "one channel, TCP", points(of["fanout"], "subscribers", "delivery_cpu_ns")),
                ("c", "one channel, over pipes", points(one, "sessions", "delivery_cpu_ns")),
                ("a", "channels of 100, over pipes", points(many, "sessions", "delivery_cpu_ns"))]
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
             f' aria-label="Memory and CPU as connections grow"><style>{STYLE}</style>']
    parts += panel(0, "Private memory of the server for each connection, bytes", memory)
    parts += panel(HEIGHT // 2, "CPU of the server for each delivery, ns", delivery)
    return "\n".join([*parts, "</svg>", ""])


def panel(down, title, lines):
    """Logarithmic to the right, from 100 to a million; linear from 0 upwards."""
    top = round_up(max((y for _, _, line in lines for _, y in line), default=1))

    def place(x, y):
        return (LEFT + PLOT_WIDTH * (math.log10(x) - 2) / 4, down + TOP + PLOT_HEIGHT * (1 - y / top))

    yield f'<text class="title" x="{LEFT}" y="{down + 22}">{title}</text>'
    for step in range(5):
        _, y = place(100, top * step / 4)
        yield f'<line class="grid" x1="{LEFT}" x2="{LEFT + PLOT_WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text text-anchor="end" x="{LEFT - 8}" y="{y + 4:.1f}">{top * step / 4:,.0f}</text>'
    for power in range(2, 7):
        x, y = place(10**power, 0)
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{down + TOP}" y2="{y:.1f}"/>'
        yield f'<text text-anchor="middle" x="{x:.1f}" y="{y + 20:.1f}">{10**power:,}</text>'
    for index, (kind, name, line) in enumerate(lines):
        placed = [place(*point) for point in sorted(line)]
        yield f'<polyline class="{kind}" style="fill:none" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in placed)}"/>'
        yield from (f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>' for x, y in placed)
        yield f'<text class="{kind}" x="{LEFT + 10 + 210 * index}" y="{down + TOP + PLOT_HEIGHT + 44}">{name}</text>'


def round_up(value):
    power = 10 ** math.floor(math.log10(value))
    return next(power * step for step in (1, 2, 4, 6, 8, 10) if power * step >= value)


def numbers(text):
    return [int(part.replace("_", "")) for part in text.split(",") if part]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=numbers, default=[100, 1_000, 5_000, 10_000, 19_000], metavar="N,N",
                        help="real ones; below the descriptor limit of a process")
    parser.add_argument("--sessions", type=numbers, default=[1_000, 10_000, 100_000, 1_000_000], metavar="N,N",
                        help="over pipes; a million take 3 GB")
    parser.add_argument("--no-build", action="store_true", help="take the binaries that are there")
    parser.add_argument("--from", type=Path, dest="record", metavar="FILE", help="measure nothing: what --json wrote before")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured to FILE")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw the curves into FILE")
    options = parser.parse_args()
    if options.record:
        record = json.loads(options.record.read_text())
    else:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        if not options.no_build and options.connections:
            subprocess.run(["cargo", "build", "--release", "--locked", "--quiet", "--bin", "sockeye"], cwd=PROJECT, check=True)
        record = measure(options)
    print(tables(record))
    if options.json:
        options.json.write_text(json.dumps(record, indent=1) + "\n")
    if options.svg:
        options.svg.write_text(drawing(record))


if __name__ == "__main__":
    main()
