"""Two members of a chat room by the `websockets` package. Argument: the room's ws:// address."""

import asyncio
import json
import sys

from verdict import judge, same
from websockets.asyncio.client import connect


def member(url, **options):
    # proxy=None: a proxy in the environment is not for a server on this machine.
    return connect(url, proxy=None, max_size=None, **options)


async def say(socket, text):
    await socket.send(json.dumps({"message": text}))


async def hear(socket):
    data = await socket.recv()
    same(type(data), str)
    found = json.loads(data)
    same(list(found), ["message"])
    return found["message"]


async def main(url):
    async with member(url, compression=None) as ann, member(url, compression=None) as bob:

        async def heard_by_both(text):
            same(await hear(bob), text)
            same(await hear(ann), text)

        async def broadcast():
            await say(ann, "hello from Python, 汉字")
            await heard_by_both("hello from Python, 汉字")
            await say(bob, "and back")
            await heard_by_both("and back")

        async def order():
            for number in range(100):
                await say(ann, f"number {number}")
            for number in range(100):
                await heard_by_both(f"number {number}")

        async def fragments():
            await ann.send(['{"mess', 'age": "in ', "", 'pieces 汉"', "}"])
            await heard_by_both("in pieces 汉")

        async def ping():
            for payload in (None, b"", b"x" * 125):
                await (await ann.ping(payload))

        async def big():
            text = "0123456789" * 20_000
            await say(ann, text)
            await heard_by_both(text)

        async def empty():
            await say(ann, "")
            await heard_by_both("")

        async def bad_input():
            for frame in ("", "not json", b"\x00\xff"):
                await ann.send(frame)
                same(list(json.loads(await ann.recv())), ["error"])
            await say(ann, "still here")
            await heard_by_both("still here")

        # Whether it is accepted is the server's choice; what is said must arrive either way.
        async def compression():
            async with member(url, compression="deflate") as eve:
                await say(eve, "pressed " * 100)
                same(await hear(eve), "pressed " * 100)
                await heard_by_both("pressed " * 100)

        async def close():
            await ann.close(1000, "bye")
            same(ann.protocol.close_rcvd is not None, True)
            same(ann.close_code, 1000)

        return await judge(
            [
                ("a message reaches both", broadcast),
                ("100 messages keep their order", order),
                ("fragments are one message", fragments),
                ("a ping is answered", ping),
                ("a message of 200 KB arrives whole", big),
                ("an empty message arrives", empty),
                ("bad input is answered", bad_input),
                ("compression may be offered", compression),
                ("the close code is 1000", close),
            ]
        )


sys.exit(0 if asyncio.run(main(sys.argv[1])) else 1)
