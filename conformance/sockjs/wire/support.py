"""What the checks of the wire share: the server under test, and clients that speak in bytes.

The server is `sockeye demo sockjs`, or whatever SOCKJS_URL names: there have to be /echo (with a response limit of 4,096),
/disabled_websocket_echo, /cookie_needed_echo and /close.
"""

import atexit
import base64
import hashlib
import os
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import unittest
import uuid
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[3]
SOCKEYE = os.environ.get("SOCKEYE_BIN", str(ROOT / "target/release/sockeye"))
WITHIN_S = 10
START_WITHIN_S = 15
STOP_WITHIN_S = 8
# Nothing here runs longer than this, whatever a check forgets.
LIFE_S = 240

_lock = threading.Lock()
_address = None


def address():
    """Host and port of the server, which is started for the first who asks."""
    global _address
    with _lock:
        if _address is None:
            url = os.environ.get("SOCKJS_URL")
            _address = (urlsplit(url).hostname, urlsplit(url).port) if url else _start()
        return _address


def _start():
    command = [SOCKEYE, "demo", "sockjs", "--listen", "127.0.0.1:0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=sys.stderr)
    life = threading.Timer(LIFE_S, server.kill)
    life.daemon = True
    life.start()
    atexit.register(_stop, server)
    if not select.select([server.stdout], [], [], START_WITHIN_S)[0]:
        raise RuntimeError("the server did not say where it listens in time")
    said = server.stdout.readline().decode()
    found = re.search(r"listening on http://([^:/]+):(\d+)/", said)
    if not found:
        raise RuntimeError(f"the server said: {said!r}")
    return found[1], int(found[2])


def _stop(server):
    server.send_signal(signal.SIGTERM)
    try:
        server.wait(STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    server.stdout.close()


def session(prefix="/echo"):
    """The path of a session that nobody else has."""
    return f"{prefix}/000/{uuid.uuid4()}"


class Response:
    """A head, and a body if it has been read."""

    def __init__(self, version, status, headers):
        self.version = version
        self.status = status
        self.headers = headers
        self.body = b""

    def all(self, name):
        return [value for own, value in self.headers if own.lower() == name.lower()]

    def __getitem__(self, name):
        """The value of a header; None if it is not there or empty."""
        return ", ".join(self.all(name)) or None

    @property
    def text(self):
        return self.body.decode()


class Connection:
    """One TCP connection, which speaks HTTP as one tells it to."""

    def __init__(self, timeout=WITHIN_S):
        self.socket = socket.create_connection(address(), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.input = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.input.close()
        self.socket.close()

    def send(self, method, path, headers=None, body=None, version="1.1", chunks=None):
        lines = [f"{method} {path} HTTP/{version}", "Host: {}:{}".format(*address())]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if chunks is not None:
            lines.append("Transfer-Encoding: chunked")
        elif body is not None or method == "POST":
            lines.append(f"Content-Length: {len(body or b'')}")
        out = "\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b"")
        for chunk in chunks or []:
            out += f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n"
        self.socket.sendall(out + b"0\r\n\r\n" if chunks is not None else out)

    def head(self):
        line = self.input.readline()
        version, status = re.match(rb"HTTP/(1\.[01]) (\d{3})", line).groups()
        headers = []
        while (line := self.input.readline().strip()) != b"":
            name, value = line.decode("latin-1").split(":", 1)
            headers.append((name, value.strip()))
        return Response(version.decode(), int(status), headers)

    def read(self, count):
        return self.input.read(count)

    def chunk(self):
        """One chunk of a body; empty at its end, None if the body was cut."""
        line = self.input.readline()
        if not line:
            return None
        data = self.input.read(int(line, 16))
        self.input.readline()
        return data

    def body(self, head, method="GET"):
        """What is left of a response."""
        if method == "HEAD" or head.status in (204, 304) or head.status < 200:
            return b""
        if (head["transfer-encoding"] or "").lower() == "chunked":
            data = b""
            while chunk := self.chunk():
                data += chunk
            return data if chunk == b"" else None
        if head["content-length"]:
            return self.input.read(int(head["content-length"]))
        return self.input.read()

    def ask(self, method, path, headers=None, body=None, **more):
        self.send(method, path, headers, body, **more)
        head = self.head()
        head.body = self.body(head, method)
        return head

    def is_closed(self):
        """Whether nothing more comes."""
        return self.input.read(1) == b""


def ask(method, path, headers=None, body=None, **more):
    with Connection() as connection:
        return connection.ask(method, path, headers, body, **more)


def get(path, headers=None, **more):
    return ask("GET", path, headers, **more)


def post(path, body=b"", headers=None, **more):
    return ask("POST", path, headers, body, **more)


class Stream(Connection):
    """A response that goes on, chunk by chunk."""

    def __init__(self, method, path, headers=None, timeout=WITHIN_S, **more):
        super().__init__(timeout)
        self.send(method, path, headers, **more)
        self.response = self.head()


class Poll(Connection):
    """A request that is answered when there is something to say."""

    def __init__(self, method, path, headers=None, timeout=WITHIN_S):
        super().__init__(timeout)
        self.send(method, path, headers)

    def answer(self):
        return self.body(self.head())


class WebSocket(Connection):
    """A WebSocket as short as it can be."""

    KEY = "x3JJHMbDL1EzLkh9GBhXDw=="
    TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10

    def __init__(self, path, headers=None, connection="Upgrade"):
        super().__init__()
        own = {"Upgrade": "websocket", "Connection": connection, "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": self.KEY}
        self.send("GET", path, {**own, **(headers or {})})
        self.response = self.head()

    @staticmethod
    def accept():
        digest = hashlib.sha1((WebSocket.KEY + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        return base64.b64encode(digest).decode()

    def say(self, payload, opcode=TEXT):
        payload = payload.encode() if isinstance(payload, str) else payload
        length = len(payload)
        if length < 126:
            head = struct.pack("!BB", 0x80 | opcode, 0x80 | length)
        elif length < 65_536:
            head = struct.pack("!BBH", 0x80 | opcode, 0xFE, length)
        else:
            head = struct.pack("!BBQ", 0x80 | opcode, 0xFF, length)
        self.socket.sendall(head + bytes(4) + payload)

    def frame(self):
        """Opcode and payload; None at the end of the connection."""
        head = self.input.read(2)
        if len(head) < 2:
            return None
        length = head[1] & 0x7F
        if length == 126:
            (length,) = struct.unpack("!H", self.input.read(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", self.input.read(8))
        return head[0] & 0x0F, self.input.read(length)

    def hear(self):
        """The text of the next message."""
        opcode, payload = self.frame()
        if opcode != self.TEXT:
            raise AssertionError(f"not a text message: {opcode} {payload!r}")
        return payload.decode()

    def closing(self):
        """Code and reason of the Close frame that has to come next, which is answered."""
        opcode, payload = self.frame()
        if opcode != self.CLOSE:
            raise AssertionError(f"not a Close frame: {opcode} {payload!r}")
        self.say(payload[:2], self.CLOSE)
        return struct.unpack("!H", payload[:2])[0], payload[2:].decode()

    def leave(self):
        self.say(struct.pack("!H", 1000), self.CLOSE)
        while (frame := self.frame()) is not None and frame[0] != self.CLOSE:
            pass
        self.close()


class Case(unittest.TestCase):
    """What is asserted again and again."""

    NO_CACHE = {"no-store", "no-cache", "no-transform", "must-revalidate", "max-age=0"}

    def assert_type(self, response, media_type):
        self.assertEqual((response["content-type"] or "").replace(" ", ""), media_type)

    def assert_not_cached(self, response):
        said = {each.strip() for each in (response["cache-control"] or "").split(",")}
        self.assertEqual(said, self.NO_CACHE)
        self.assertIsNone(response["expires"])
        self.assertIsNone(response["last-modified"])

    def assert_cached_for_a_year(self, response):
        said = {each.strip() for each in (response["cache-control"] or "").split(",")}
        self.assertEqual(said, {"public", "max-age=31536000"})
        self.assertRegex(response["expires"], r"^(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$")

    def assert_no_cors(self, response):
        self.assertEqual([name for name, _ in response.headers if name.lower().startswith("access-control-")], [])

    def assert_cors(self, response, origin=None):
        if origin is None:
            self.assertEqual(response["access-control-allow-origin"], "*")
            self.assertIsNone(response["access-control-allow-credentials"])
        else:
            self.assertEqual(response["access-control-allow-origin"], origin)
            self.assertEqual(response["access-control-allow-credentials"], "true")
            self.assertIn("Origin", response["vary"] or "")

    def assert_no_cookie(self, response):
        self.assertIsNone(response["set-cookie"])

    def assert_not_found(self, response):
        self.assertEqual(response.status, 404)

    def assert_not_allowed(self, response, methods):
        self.assertEqual(response.status, 405)
        self.assertEqual({each.strip() for each in response["allow"].split(",")}, methods)
        self.assertIsNone(response["content-type"])
        self.assertEqual(response.body, b"")

    def assert_sent(self, response):
        self.assertEqual((response.status, response.body), (204, b""))

    def assert_polled(self, response, frames):
        self.assertEqual((response.status, response.text), (200, frames))

    def open_by_polling(self, prefix="/echo", headers=None):
        """A session after its `o`."""
        url = session(prefix)
        self.assert_polled(post(f"{url}/xhr", headers=headers), "o\n")
        return url
