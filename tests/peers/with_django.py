"""One room, a member at Django's door and one at Rust's. Arguments: Django's port, Rust's port, Redis's address, the backend, the
Rust chat's lane."""

import asyncio
import json
import os
import sys
import urllib.parse
import urllib.request
from pathlib import Path

from verdict import judge, same
from websockets.asyncio.client import connect

FOLDER = Path(__file__).resolve().parents[2] / "examples/with-django"


def member(port):
    # proxy=None: a proxy in the environment is not for a server on this machine.
    return connect(f"ws://127.0.0.1:{port}/ws/chat/lobby/", proxy=None)


def post(port, message):
    data = urllib.parse.urlencode({"message": message}).encode()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}/announce/lobby/", data, timeout=20) as answer:
        return answer.status


async def main(django, rust, redis, layer, lane):
    async with member(django) as ann, member(rust) as bob:

        async def heard_by_both(text):
            for socket in (ann, bob):
                same(json.loads(await socket.recv()), {"message": text})

        async def django_page():
            await ann.send(json.dumps({"message": "from Django's page, 汉字"}))
            await heard_by_both("from Django's page, 汉字")

        async def rust_page():
            await bob.send(json.dumps({"message": "from Rust's page, 汉字"}))
            await heard_by_both("from Rust's page, 汉字")

        async def view():
            same(await asyncio.to_thread(post, django, "from a view"), 204)
            await heard_by_both("from a view")

        async def command():
            environment = dict(os.environ, REDIS_URL=redis, LAYER=layer)
            command = [sys.executable, "-B", "manage.py", "announce", "lobby", "from a command"]
            process = await asyncio.create_subprocess_exec(*command, cwd=FOLDER, env=environment)
            same(await process.wait(), 0)
            await heard_by_both("from a command")

        async def order():
            for number in range(50):
                await bob.send(json.dumps({"message": str(number)}))
            for number in range(50):
                await heard_by_both(str(number))

        checks = [
            ("a message from Rust's page reaches both", rust_page),
            ("50 messages keep their order", order),
        ]
        if lane == "handler":
            # Events: a Rust consumer in the frame lane understands none.
            checks += [
                ("a message from Django's page reaches both", django_page),
                ("a Django view reaches both", view),
                ("a management command reaches both", command),
            ]
        return await judge(checks)


sys.exit(not asyncio.run(main(*sys.argv[1:])))
