"""What the Python tests share: our server as a child process, messages of every size, a bound on time."""

import asyncio
import functools
import os
import pathlib
import re
import signal
import subprocess

import trustme

ROOT = pathlib.Path(__file__).resolve().parents[3]
SOCKEYE = os.environ.get("SOCKEYE_BIN") or str(ROOT / "target/release/sockeye")
SIZES = [0, 1, 125, 126, 65_535, 65_536, 1 << 20, 8 << 20]
STOP_TIMEOUT_S = 8
TEST_TIMEOUT_S = 60


class Echo:
    """Our server, stopped by its own process id."""

    def __init__(self, *options: str) -> None:
        command = [SOCKEYE, "demo", "echo", "--listen", "127.0.0.1:0", "--max-message", "16MiB", *options]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        found = re.search(r"listening on https?://([^/\s]+)/", line)
        if not found:
            self.process.kill()
            raise RuntimeError(f"{SOCKEYE} did not say where it listens: {line!r}")
        self.address = found.group(1)
        self.url = f"ws://{self.address}/"

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()
        finally:
            self.process.stdout.close()


class Certificate:
    """The files of a certificate for localhost and 127.0.0.1, and of the authority that signed it."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.cert, self.key, self.ca = (folder / name for name in ("cert.pem", "key.pem", "ca.pem"))
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self.ca)
        issued = authority.issue_cert("localhost", "127.0.0.1")
        issued.private_key_pem.write_to_path(self.key)
        for blob in issued.cert_chain_pems:
            blob.write_to_path(self.cert, append=True)


def text_of(size: int) -> str:
    unit = "sockeye ä € 🐟 "
    length = len(unit.encode())
    return unit * (size // length) + "x" * (size % length)


def bytes_of(size: int) -> bytes:
    return (bytes(i * 31 % 251 for i in range(251)) * (size // 251 + 1))[:size]


def bounded(test):
    """Fail a test that hangs."""

    @functools.wraps(test)
    async def within(self) -> None:
        await asyncio.wait_for(test(self), TEST_TIMEOUT_S)

    return within
