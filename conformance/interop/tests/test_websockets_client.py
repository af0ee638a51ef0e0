"""The Python package `websockets` as a client of our server: python3 tests/test_websockets_client.py

SOCKEYE_BIN names the program under test.
"""

import asyncio
import pathlib
import ssl
import tempfile
import unittest

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from support import SIZES, TEST_TIMEOUT_S, Certificate, Echo, bounded, bytes_of, text_of

class WebsocketsClient(unittest.IsolatedAsyncioTestCase):
    echo: Echo

    @classmethod
    def setUpClass(cls) -> None:
        cls.echo = Echo()

    @classmethod
    def tearDownClass(cls) -> None:
        cls.echo.stop()

    def connect(self, **options) -> connect:
        return connect(self.echo.url, max_size=64 << 20, **options)

    async def assert_echo(self, socket: ClientConnection, message: str | bytes) -> None:
        await socket.send(message)
        answer = await socket.recv()
        self.assertIs(type(answer), type(message))
        # Without assertEqual: its report on eight megabytes helps nobody.
        self.assertTrue(answer == message, f"{len(message)} came back as {len(answer)}")

    @bounded
    async def test_text_and_binary_of_every_size(self) -> None:
        for size in SIZES:
            with self.subTest(size=size):
                async with self.connect() as socket:
                    await self.assert_echo(socket, text_of(size))
                    await self.assert_echo(socket, bytes_of(size))

    @bounded
    async def test_fragments_come_back_as_one_message(self) -> None:
        async with self.connect() as socket:
            await socket.send(["ab", "", "€", "cd"])
            self.assertEqual(await socket.recv(), "ab€cd")
            await socket.send([b"\x00" * 1000 for _ in range(1000)])
            self.assertTrue(await socket.recv() == b"\x00" * 1_000_000)

    @bounded
    async def test_ping_between_fragments(self) -> None:
        async with self.connect() as socket:
            async def pieces():
                yield "before "
                await (await socket.ping(b"between"))
                yield "after"

            await socket.send(pieces())
            self.assertEqual(await socket.recv(), "before after")

    @bounded
    async def test_ping_is_answered_with_its_payload(self) -> None:
        async with self.connect() as socket:
            for payload in (b"", b"p" * 125):
                latency_s = await (await socket.ping(payload))
                self.assertLess(latency_s, TEST_TIMEOUT_S)

    @bounded
    async def test_close_codes_come_back(self) -> None:
        for code in (1000, 1001, 3000, 4999):
            with self.subTest(code=code):
                async with self.connect() as socket:
                    await socket.close(code, "bye")
                    self.assertEqual(socket.protocol.close_rcvd.code, code)

    @bounded
    async def test_server_that_stops_closes_with_1001(self) -> None:
        echo = Echo()
        async with connect(echo.url) as socket:
            stopped = asyncio.get_running_loop().run_in_executor(None, echo.stop)
            with self.assertRaises(ConnectionClosed) as raised:
                await socket.recv()
            self.assertEqual(raised.exception.rcvd.code, 1001)
            self.assertEqual(await stopped, 0)

    @bounded
    async def test_subprotocol_json_is_selected(self) -> None:
        async with self.connect(subprotocols=["soap", "json"]) as socket:
            self.assertEqual(socket.subprotocol, "json")

    @bounded
    async def test_other_subprotocols_are_refused(self) -> None:
        with self.assertRaises(InvalidStatus) as raised:
            async with self.connect(subprotocols=["soap"]):
                pass
        self.assertEqual(raised.exception.response.status_code, 400)


class Compressed(unittest.IsolatedAsyncioTestCase):
    """permessage-deflate as `websockets` offers it by default: context takeover both ways."""

    async def echo(self, options: list[str], expected: str) -> None:
        echo = Echo("--deflate", *options)
        self.addCleanup(echo.stop)
        async with connect(echo.url, max_size=64 << 20) as socket:
            self.assertRegex(socket.response.headers["Sec-WebSocket-Extensions"], expected)
            for size in SIZES:
                for message in (text_of(size), bytes_of(size)):
                    await socket.send(message)
                    self.assertTrue(await socket.recv() == message, f"{size} bytes")

    @bounded
    async def test_without_takeover(self) -> None:
        await self.echo([], "^permessage-deflate; .*server_no_context_takeover")

    @bounded
    async def test_with_takeover(self) -> None:
        await self.echo(["--takeover"], "^permessage-deflate(?!.*no_context_takeover)")


class Secure(unittest.IsolatedAsyncioTestCase):
    @bounded
    async def test_wss(self) -> None:
        with tempfile.TemporaryDirectory(prefix="sockeye-tls-") as folder:
            certificate = Certificate(pathlib.Path(folder))
            echo = Echo("--tls-cert", str(certificate.cert), "--tls-key", str(certificate.key), "--deflate")
            self.addCleanup(echo.stop)
            tls = ssl.create_default_context(cafile=str(certificate.ca))
            async with connect(f"wss://{echo.address}/", ssl=tls, max_size=64 << 20) as socket:
                for size in SIZES:
                    await socket.send(text_of(size))
                    self.assertTrue(await socket.recv() == text_of(size), f"{size} bytes")


if __name__ == "__main__":
    unittest.main()
