"""The servers under test: how each is started, and what the load generator has to know about it.

A server has modes: `echo` and `large` (messages of 64 KiB and more) send back what comes, `idle` does so with as little
memory as it can, `deflate` with compression; `broadcast` sends to all others what one sends.
"""

import os
import re
import shlex
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from . import build
from .machine import SERVER_CORE, pin
from .sections import EVENTS, LIBRARY, ONE_BY_ONE, RUST, SOCKEYE

START_SECONDS = 10
# One worker, as the floor has one thread; and no limit on how often one client may publish.
HUB = """
[server]
workers = 1
[session]
commands_per_second = 1_000_000
commands_burst = 1_000_000
[namespaces.default]
anonymous = "publish"
session_rate = 1_000_000
channel_rate = 1_000_000
"""
# One worker; the newest message is kept for those who come later, as nchan passes nothing on without; no pings.
NCHAN = """
daemon off;
worker_processes 1;
error_log stderr crit;
pid {folder}/pid;
load_module {module};
events {{ worker_connections 16384; }}
http {{
    access_log off;
    tcp_nodelay on;
    client_body_temp_path {folder}/body;
    nchan_shared_memory_size 128M;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location = / {{
            nchan_pubsub websocket;
            nchan_channel_id bench;
            nchan_message_buffer_length 1;
            nchan_subscriber_first_message newest;
            nchan_websocket_ping_interval 0;
        }}
    }}
}}
"""
SETTINGS = {
    "floor": "no protocol: epoll, one thread, one `recv` and one `send` for each readiness",
    "sockeye": "one worker; `demo echo`, and `serve` with a channel for what is fanned out; deflate level 2",
    ONE_BY_ONE: "the same with `server.io_uring = \"never\"`: a system call for each subscriber",
    EVENTS: "the same as `sockeye`, whose subscribers listen over HTTP/1.1: `GET /sse`",
    "sockeye-library": "our library on tokio, without the server; what waits is flushed together; deflate level 1",
    "fastwebsockets": "hyper's upgrade, `FragmentCollector`, `writev` above 1 KiB; a write for each reply (it has no"
    " buffer for several)",
    "tokio-websockets": "replies that wait are flushed together, from 64 KiB on earlier",
    "tokio-tungstenite": "replies that wait are flushed together; buffers of 16 KiB (for large messages 64, when idle"
    " 4); a queue for each connection where it fans out",
    "axum": "its `ws`, as tokio-tungstenite, which is inside",
    "sockudo-ws": "stream over plain TCP, no heartbeat, replies that wait are flushed together; its `PubSub`; deflate"
    " level 1",
    "yawc": "hyper's upgrade, buffers of 64 KiB (512 B when idle), replies that wait are flushed together; zlib-rs"
    " from a pool, deflate level 1",
    "ws": "Node {node}, bufferutil, no tracking of clients in an echo; a loop over `clients` where it fans out; deflate"
    " level 1",
    "bun": "`Bun.serve`, no idle timeout; `publish` to a topic; deflate with its shared compressor",
    "nchan": "one worker, `nchan_pubsub websocket`, one message kept",
}


class Failed(Exception):
    """One measurement did not come off; the others go on."""


class Kit:
    """What there is to start: what failed to be built, and servers that the command line brought along."""

    def __init__(self, failures, extra=()):
        self.failures, self.extra = failures, dict(extra)
        self.folder = tempfile.TemporaryDirectory(prefix="sockeye-bench-")
        Path(self.folder.name).chmod(0o755)  # nginx' worker is another user
        self.hub = Path(self.folder.name) / "hub.toml"
        self.hub.write_text(HUB)
        self.one_by_one = self.hub.with_name("one-by-one.toml")
        self.one_by_one.write_text(HUB.replace("[server]\n", '[server]\nio_uring = "never"\n'))

    def start(self, name, mode):
        """A running server. `NAME again` is another process of the same."""
        which = name.removesuffix(" again")
        if which in self.failures:
            raise Failed(self.failures[which])
        if which == "nchan":
            return nchan(name, Path(self.folder.name))
        path = "ws" if which.startswith(SOCKEYE) and mode == "broadcast" else ""
        return Server(name, self.command(which, mode), path=path)

    def command(self, which, mode):
        if which in self.extra:
            return self.extra[which]
        if which == "floor":
            return [build.binary(build.BENCHES, "floor"), "127.0.0.1:0", *(["fanout"] if mode == "broadcast" else [])]
        if which in (SOCKEYE, ONE_BY_ONE, EVENTS):
            sockeye = build.binary(build.PROJECT, "sockeye")
            if mode == "broadcast":
                hub = self.one_by_one if which == ONE_BY_ONE else self.hub
                return [sockeye, "serve", "--config", hub, "--listen", "127.0.0.1:0"]
            deflate = ["--deflate"] if mode == "deflate" else []
            return [sockeye, "demo", "echo", "--listen", "127.0.0.1:0", "--max-message", "32MiB", *deflate]
        if which == LIBRARY or which in RUST:
            return [build.binary(build.BENCHES, which), mode]
        runtime = {"ws": "node", "bun": build.bun()}[which]
        return [runtime, build.JS / f"{which}.js", mode]


class Server:
    """A child process pinned to one core, known by the line with its address, unless that is known."""

    def __init__(self, name, command, path="", url=None):
        self.name = name
        command = [str(part) for part in command]
        self.errors = tempfile.TemporaryFile("w+")
        environment = os.environ | {"PEERS_MODULES": str(build.modules())}
        try:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.errors, text=True,
                env=environment, preexec_fn=pin(SERVER_CORE),
            )
        except OSError as error:
            raise Failed(f"does not start: {error}") from error
        self.pid = self.process.pid
        self.url = url or self._said_address(path)
        if not self.url:
            self.stop()
            raise Failed(f"`{shlex.join(command)}` printed no address to connect to: {self.last_error()}")
        # Whatever else it prints must not fill the pipe.
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def _said_address(self, path):
        timer = threading.Timer(START_SECONDS, self.process.kill)
        timer.start()
        for line in self.process.stdout:
            if found := re.search(r"(?:http|ws)://\S+", line):
                timer.cancel()
                return found[0] + path
        timer.cancel()
        return None

    def last_error(self):
        self.errors.seek(0)
        return (self.errors.read().strip().splitlines() or ["nothing said"])[-1]

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def nchan(name, folder):
    """nginx takes no port 0 and says nothing: it gets a free one, and answers when it is there."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = Path(tempfile.mkdtemp(dir=folder))
    folder.chmod(0o755)
    (folder / "nginx.conf").write_text(NCHAN.format(folder=folder, module=build.NCHAN, port=port))
    command = [build.nginx(), "-p", folder, "-c", folder / "nginx.conf"]
    server = Server(name, command, url=f"http://127.0.0.1:{port}/")
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.process.poll() is None:
        # The first child is the worker; its time and memory are measured.
        children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
        if children and accepts(port):
            server.pid = int(children[0])
            return server
        time.sleep(0.05)
    server.stop()
    raise Failed(f"does not start: {server.last_error()}")


def accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
