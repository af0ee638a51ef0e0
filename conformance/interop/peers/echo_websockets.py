"""An echo server on the Python package `websockets`, for tests of our client.

The paths are those of `echo-ws.js`.
"""

import asyncio
import signal

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

MAX_MESSAGE_BYTES = 64 << 20

last_code = 0


async def handle(connection: ServerConnection) -> None:
    global last_code
    path = connection.request.path
    try:
        async for message in connection:
            await answer(connection, path, message)
    except ConnectionClosed:
        pass
    await connection.wait_closed()
    # A question about the last code is not an answer to the next one.
    if path != "/last-code":
        last_code = connection.close_code


async def answer(connection: ServerConnection, path: str, message: str | bytes) -> None:
    headers = connection.request.headers
    if path == "/fragments":
        cut = len(message) // 3
        await connection.send([message[:cut], message[cut : cut * 2], message[cut * 2 :]])
    elif path == "/ping":
        await (await connection.ping())
        await connection.send(message)
    elif path == "/thrice":
        for _ in range(3):
            await connection.send(message)
    elif path == "/kind":
        await connection.send(f"{'text' if isinstance(message, str) else 'binary'} {len(message)}")
    elif path == "/protocol":
        await connection.send(str(connection.subprotocol))
    elif path == "/headers":
        await connection.send(f"{headers['X-Interop']} {headers['Origin']}")
    elif path == "/last-code":
        await connection.send(str(last_code))
    elif path.startswith("/close/"):
        await connection.close(int(path.removeprefix("/close/")), "as asked")
    elif path == "/cut":
        connection.transport.abort()
    else:
        await connection.send(message)


def select_json(_connection: ServerConnection, offered: list[str]) -> str | None:
    return "json" if "json" in offered else None


async def main() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with serve(handle, "127.0.0.1", 0, max_size=MAX_MESSAGE_BYTES, select_subprotocol=select_json) as server:
        print(f"listening on ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/", flush=True)
        await stop.wait()


asyncio.run(main())
