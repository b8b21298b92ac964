"""The echo server by the `websockets` package. Arguments: the ws:// address of one with room for 16 MiB, of one
with a small limit, and that limit in bytes."""

import asyncio
import sys

from verdict import judge, same
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed


def client(url):
    return connect(url, proxy=None, max_size=None, compression=None, close_timeout=10)


async def main(url, limited, limit):
    async with client(url) as socket:

        async def echoed(message):
            await socket.send(message)
            same(await socket.recv(), message)

        async def kinds():
            await echoed("text 汉字 🎉")
            await echoed(bytes(range(256)))

        async def empty():
            await echoed("")
            await echoed(b"")

        async def fragments():
            await socket.send(["one ", "", "two ", "汉"])
            same(await socket.recv(), "one two 汉")
            await socket.send([b"\x00", b"", b"\xff" * 70_000])
            same(await socket.recv(), b"\x00" + b"\xff" * 70_000)

        async def mebibyte():
            await echoed("é" * (1 << 19))
            await echoed(b"\x07" * (1 << 20))

        async def sixteen():
            await echoed(b"\x07" * (1 << 24))

        async def close():
            await socket.close(1000)
            same(socket.protocol.close_rcvd is not None, True)
            same(socket.close_code, 1000)

        async def over_the_limit():
            same(await close_code_after(limited, b"x" * (limit + 1)), 1009)

        async def fragments_over_the_limit():
            same(await close_code_after(limited, [b"x" * limit, b"x"]), 1009)

        return await judge(
            [
                ("text and binary come back", kinds),
                ("empty messages come back", empty),
                ("fragments are one message", fragments),
                ("1 MiB comes back", mebibyte),
                ("16 MiB come back", sixteen),
                ("the close code is 1000", close),
                ("over the limit is 1009", over_the_limit),
                ("fragments over the limit are 1009", fragments_over_the_limit),
            ]
        )


async def close_code_after(url, message):
    async with client(url) as socket:
        try:
            await socket.send(message)
            answer = await socket.recv()
        except ConnectionClosed:
            return socket.close_code
        raise AssertionError(f"{len(answer)} bytes came back")


sys.exit(0 if asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]))) else 1)
