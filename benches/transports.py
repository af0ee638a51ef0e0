#!/usr/bin/env python3
"""What each transport costs the server: CPU time for each delivery, bytes on the wire, memory of a client that is idle.
README.md says what and how."""

import argparse
import json
import re
import secrets
import selectors
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path

from harness import build, servers
from harness.machine import LOAD_CORE, cpu_seconds, name, pin

MARK = b"PUB"  # once in each publication, and nowhere else
DATA = MARK.decode() + "x" * 123
PAUSE = 0.3  # until what is counted has settled
PATIENCE = 10


class Client:
    """One subscriber of its transport's channel, over a socket that is never waited for once it has subscribed."""

    def __init__(self, address, channel):
        self.address, self.channel = address, channel
        self.socket = socket.create_connection(address, timeout=PATIENCE)
        self.tail, self.bytes = b"", 0
        self.begin(json.dumps({"id": 1, "subscribe": channel}))
        self.socket.setblocking(False)

    def begin(self, subscribe):
        raise NotImplementedError

    def heard(self, data):
        """How many publications there are in what has come."""
        if not data:
            raise SystemExit(f"{self.title}: the server has hung up")
        self.bytes += len(data)
        data, self.tail = self.tail + data, data[-2:]
        return data.count(MARK)

    def ask(self, method, path, body="", accept=None):
        self.socket.sendall(request(method, path, body))
        return self.until(accept) if accept else b""

    def until(self, end):
        got = b""
        while end not in got:
            more = self.socket.recv(65536)
            if not more:
                raise SystemExit(f"{type(self).__name__}: the server said {got[:200]!r}")
            got += more
        return got

    def post(self, path, body):
        """On a connection of its own, as it happens once."""
        with socket.create_connection(self.address, timeout=PATIENCE) as other:
            other.sendall(request("POST", path, body))
            if b" 204 " not in (answer := other.recv(4096)):
                raise SystemExit(f"{path}: {answer[:200]!r}")


class WebSocket(Client):
    title = "WebSocket"

    def begin(self, subscribe):
        self.socket.sendall(b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
                            b"Sec-WebSocket-Protocol: sockeye.v1.json\r\n\r\n")
        self.until(b"\r\n\r\n")
        self.say(subscribe)
        self.until(b'"ok"')

    def heard(self, data):
        if data.startswith(b"\x89"):
            length = data[1]
            self.socket.sendall(bytes([0x8A, 0x80 | length]) + bytes(4) + data[2:2 + length])
        return super().heard(data)

    def say(self, text):
        """Masked with zeros, which is a mask too."""
        length = len(text)
        size = bytes([0x80 | length]) if length < 126 else bytes([0xFE]) + length.to_bytes(2, "big")
        self.socket.sendall(b"\x81" + size + bytes(4) + text.encode())


class Listen(Client):
    title = "`GET /sse`, one way"

    def begin(self, subscribe):
        self.ask("GET", f"/sse?channel={self.channel}", accept=b"subscribed")


class Stream(Client):
    title, path = "`/ws/stream` and POST", "/ws/stream"

    def begin(self, subscribe):
        opened = self.ask("GET", self.path, accept=b"heartbeat_ms")
        self.id = re.search(rb'"id":"(\w+)"', opened)[1].decode()
        self.post(f"/ws/send?id={self.id}&sent=0", f"[{subscribe}]")
        self.until(b'"ok"')


class Events(Stream):
    title, path = "`/ws/events` and POST", "/ws/events"


class Poll(Stream):
    title, path = "`/ws/poll` and POST", "/ws/poll"

    def begin(self, subscribe):
        self.waiting, self.count = b"", 0
        opened = self.ask("GET", self.path, accept=b"]")
        self.id = re.search(rb'"id":"(\w+)"', opened)[1].decode()
        self.post(f"/ws/send?id={self.id}&sent=0", f"[{subscribe}]")
        self.again()
        self.until(b'"ok"')
        self.count = 1
        self.again()

    def again(self):
        self.socket.sendall(request("GET", f"/ws/poll?id={self.id}&received={self.count}"))

    def heard(self, data):
        found = super().heard(data)
        self.waiting += data
        head, _, body = self.waiting.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        if length and len(body) >= int(length[1]):
            self.count += len(json.loads(body))
            self.waiting = b""
            self.again()
        return found


class SockJs(Client):
    title, receive = "SockJS `xhr_streaming`", "xhr_streaming"

    def begin(self, subscribe):
        self.base = f"/sockjs/000/{secrets.token_hex(8)}"
        self.ask("POST", f"{self.base}/{self.receive}", accept=b"o\n")
        self.post(f"{self.base}/xhr_send", json.dumps([subscribe]))
        self.until(b"ok")


class SockJsPoll(SockJs):
    title, receive = "SockJS `xhr`", "xhr"

    def begin(self, subscribe):
        self.waiting = b""
        self.base = f"/sockjs/000/{secrets.token_hex(8)}"
        self.ask("POST", f"{self.base}/xhr", accept=b"o\n")
        self.post(f"{self.base}/xhr_send", json.dumps([subscribe]))
        self.ask("POST", f"{self.base}/xhr", accept=b"ok")
        self.ask("POST", f"{self.base}/xhr")

    def heard(self, data):
        found = super().heard(data)
        self.waiting += data
        if self.waiting.endswith((b"]\n", b"h\n")):
            self.waiting = b""
            self.socket.sendall(request("POST", f"{self.base}/xhr"))
        return found


TRANSPORTS = (WebSocket, Listen, Stream, Events, Poll, SockJs, SockJsPoll)


def request(method, path, body=""):
    length = f"Content-Length: {len(body)}\r\n" if method == "POST" else ""
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{length}\r\n{body}".encode()


def private(pid):
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(kib) for kib in re.findall(r"Private_\w+:\s+(\d+)", text)) * 1024


class Group:
    """Clients of one transport, all subscribed to a channel of their own."""

    def __init__(self, kind, address, pid, selector, options):
        self.title, self.channel = kind.title, f"bench-{kind.__name__.lower()}"
        warm = [kind(address, f"{self.channel}-warm") for _ in range(options.clients // 2)]
        time.sleep(PAUSE)
        before = private(pid)
        self.clients = [kind(address, self.channel) for _ in range(options.clients)]
        time.sleep(PAUSE)
        self.memory = (private(pid) - before) / len(self.clients)
        self.costs, self.pid, self.selector = [], pid, selector
        for client in warm + self.clients:
            selector.register(client.socket, selectors.EVENT_READ, client)

    def measure(self, publisher, options):
        """One round: publications at a fixed rate, until all have been heard by all. Whoever else is there is attended to meanwhile: who
        answers no ping, or asks no more, is gone after a while."""
        wanted = options.publications * len(self.clients)
        text = json.dumps({"publish": self.channel, "data": DATA})
        before, began, sent, heard = cpu_seconds(self.pid), time.monotonic(), 0, 0
        bytes_before = sum(client.bytes for client in self.clients)
        while heard < wanted:
            now = time.monotonic()
            if now - began > PATIENCE + options.publications / options.rate:
                raise SystemExit(f"{self.title}: {heard} of {wanted} deliveries")
            if sent < options.publications and now - began >= sent / options.rate:
                publisher.say(text)
                sent += 1
            for key, _ in self.selector.select(0.002):
                heard += key.data.heard(key.data.socket.recv(65536))
        time.sleep(PAUSE)
        self.costs.append((cpu_seconds(self.pid) - before) / wanted * 1e6)
        self.bytes = (sum(client.bytes for client in self.clients) - bytes_before) / wanted


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=300, help="of each transport (300)")
    parser.add_argument("--publications", type=int, default=60, help="in a round (60)")
    parser.add_argument("--rate", type=float, default=25, help="publications a second (25)")
    parser.add_argument("--rounds", type=int, default=5, help="of each transport, one after the other (5)")
    parser.add_argument("--no-build", action="store_true", help="take the binary that is there")
    options = parser.parse_args()
    if not options.no_build and (why := build.cargo(build.PROJECT, "--bin", "sockeye")):
        sys.exit(why)
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as config:
        config.write(servers.HUB)
        config.flush()
        command = [build.binary(build.PROJECT, "sockeye"), "serve", "--config", config.name, "--listen", "127.0.0.1:0"]
        with servers.Server("sockeye", command) as server:
            (pin(LOAD_CORE) or (lambda: None))()
            host, port = re.search(r"//([\d.]+):(\d+)", server.url).groups()
            address = host, int(port)
            selector = selectors.DefaultSelector()
            groups = [Group(kind, address, server.pid, selector, options) for kind in TRANSPORTS]
            publisher = WebSocket(address, "bench-nobody")
            publisher.socket.setblocking(True)
            selector.register(publisher.socket, selectors.EVENT_READ, publisher)
            for _ in range(options.rounds):
                for group in groups:
                    group.measure(publisher, options)
    print(f"{name()}; {time.strftime('%Y-%m-%d')}; {options.clients} clients of each transport,"
          f" {options.rate:g} publications of {len(DATA) + 2} B a second\n")
    print("| transport | CPU per delivery | to WebSocket | bytes on the wire | idle client, private memory |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for group in groups:
        ratios = [own / base for own, base in zip(group.costs, groups[0].costs)]
        print(f"| {group.title} | {statistics.median(group.costs):.1f} µs | {statistics.median(ratios):.2f} |"
              f" {group.bytes:.0f} | {group.memory:,.0f} B |")


if __name__ == "__main__":
    main()
