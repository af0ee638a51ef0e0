"""nginx in front of our server, with TLS: wss:// from outside, HTTP/1.1 in the clear behind.

SOCKEYE_BIN names the program under test, NGINX the proxy. The configuration is the one of docs/guide/src/behind-a-proxy.md.
"""

import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import unittest
import urllib.request

from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from support import SIZES, SOCKEYE, Certificate, Echo, bounded, bytes_of, text_of

NGINX = os.environ.get("NGINX") or shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
START_TIMEOUT_S = 10

CONFIGURATION = """
daemon off;
pid {folder}/pid;
error_log stderr error;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    map $http_upgrade $connection_upgrade {{
        default upgrade;
        ''      '';
    }}
    server {{
        listen 127.0.0.1:{port} ssl;
        server_name localhost;
        ssl_certificate {folder}/cert.pem;
        ssl_certificate_key {folder}/key.pem;
        location / {{
            proxy_pass http://{backend};
            proxy_http_version 1.1;
            proxy_set_header Host $host:$server_port;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_read_timeout 75s;
        }}
    }}
}}
"""


class Nginx:
    """The proxy with a certificate of its own authority, ended by its own process id."""

    def __init__(self, backend: str) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="sockeye-nginx-")
        folder = pathlib.Path(self.folder.name)
        self.ca_file = Certificate(folder).ca
        # nginx cannot be given port 0.
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        (folder / "nginx.conf").write_text(CONFIGURATION.format(folder=folder, port=self.port, backend=backend))
        command = [NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.02)
        self.stop()
        raise RuntimeError("nginx did not start")

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(8)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.folder.cleanup()


class BehindNginx(unittest.IsolatedAsyncioTestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.echo = Echo()
        cls.addClassCleanup(cls.echo.stop)
        cls.nginx = Nginx(cls.echo.address)
        cls.addClassCleanup(cls.nginx.stop)
        cls.tls = ssl.create_default_context(cafile=str(cls.nginx.ca_file))
        cls.url = f"wss://localhost:{cls.nginx.port}/"

    @bounded
    async def test_every_size_goes_through_and_comes_back(self) -> None:
        for size in SIZES:
            with self.subTest(size=size):
                async with connect(self.url, ssl=self.tls, max_size=64 << 20) as peer:
                    for message in (text_of(size), bytes_of(size)):
                        await peer.send(message)
                        self.assertTrue(await peer.recv() == message)

    @bounded
    async def test_the_close_code_comes_through(self) -> None:
        async with connect(self.url, ssl=self.tls) as peer:
            await peer.close(4999, "bye")
            self.assertEqual(peer.protocol.close_rcvd.code, 4999)

    @bounded
    async def test_a_refusal_comes_through(self) -> None:
        with self.assertRaises(InvalidStatus) as raised:
            async with connect(self.url, ssl=self.tls, subprotocols=["soap"]):
                pass
        self.assertEqual(raised.exception.response.status_code, 400)

    def test_pages_come_through(self) -> None:
        page = f"https://localhost:{self.nginx.port}/"
        with urllib.request.urlopen(page, context=self.tls, timeout=10) as answer:
            self.assertEqual(answer.status, 200)

    def test_our_client_trusts_what_it_is_told_to(self) -> None:
        def run(*options: str) -> subprocess.CompletedProcess:
            command = [SOCKEYE, "connect", *options, self.url]
            return subprocess.run(command, input=b"a\nb\n", capture_output=True, timeout=30, check=False)

        told = run("--cacert", str(self.nginx.ca_file))
        self.assertEqual((told.returncode, told.stdout), (0, b"a\nb\n"), told.stderr)
        self.assertEqual(run("--insecure").stdout, b"a\nb\n")
        untold = run()
        self.assertNotEqual(untold.returncode, 0)
        self.assertIn(b"certificate", untold.stderr.lower())


if __name__ == "__main__":
    unittest.main()
