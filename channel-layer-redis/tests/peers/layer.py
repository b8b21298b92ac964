"""A channel layer of channels_redis, controlled by one JSON request per line, with one JSON answer per line.

Values travel as JSON with bytes as {"$bytes": hex} and floats as {"$float": repr}, so that none changes its type; what JSON
cannot hold comes as {"$literal": repr}.
"""

import ast
import asyncio
import json
import sys

from channels.exceptions import ChannelFull
from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer
from channels_redis.serializers import BaseMessageSerializer, registry

LAYERS = {"core": RedisChannelLayer, "pubsub": RedisPubSubChannelLayer}


class ReversedSerializer(BaseMessageSerializer):
    """A format of the application: JSON, reversed."""

    def as_bytes(self, message, *args, **kwargs):
        return json.dumps(message).encode()[::-1]

    def from_bytes(self, message, *args, **kwargs):
        return json.loads(message[::-1])


registry.register_serializer("reversed", ReversedSerializer)


def thaw(value):
    if isinstance(value, dict):
        if "$bytes" in value:
            return bytes.fromhex(value["$bytes"])
        if "$float" in value:
            return float(value["$float"])
        if "$literal" in value:
            return ast.literal_eval(value["$literal"])
        return {key: thaw(item) for key, item in value.items()}
    return [thaw(item) for item in value] if isinstance(value, list) else value


def freeze(value):
    if isinstance(value, dict):
        return {key: freeze(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [freeze(item) for item in value]
    if isinstance(value, bytes):
        return {"$bytes": value.hex()}
    if isinstance(value, float):
        return {"$float": repr(value)}
    return value


class Peer:
    def __init__(self, mode, config):
        self.layer = LAYERS[mode](**config)
        self.logs = {}
        self.tasks = []

    async def new_channel(self):
        return await self.layer.new_channel()

    async def send(self, channel, message):
        try:
            await self.layer.send(channel, thaw(message))
        except ChannelFull:
            return "full"
        return "ok"

    async def send_many(self, channel, messages):
        for message in messages:
            await self.layer.send(channel, thaw(message))

    async def group_send(self, group, message):
        await self.layer.group_send(group, thaw(message))

    async def group_send_many(self, group, messages):
        for message in messages:
            await self.layer.group_send(group, thaw(message))

    async def group_add(self, group, channel):
        await self.layer.group_add(group, channel)

    async def group_discard(self, group, channel):
        await self.layer.group_discard(group, channel)

    async def flush(self):
        await self.layer.flush()

    async def receive(self, channel, patience):
        try:
            return freeze(await asyncio.wait_for(self.layer.receive(channel), patience))
        except asyncio.TimeoutError:
            return None

    async def receive_many(self, channel, count, patience):
        return [await self.receive(channel, patience) for _ in range(count)]

    async def work(self, channel):
        """Receives in the background until the messages are requested."""
        log = self.logs[channel] = []

        async def listen():
            while True:
                log.append(freeze(await self.layer.receive(channel)))

        self.tasks.append(asyncio.create_task(listen()))

    async def worked(self, channel):
        return self.logs[channel]

    async def rate(self, group, members, seconds):
        """The rate of sequential group_sends to this number of members, per second."""
        channels = [await self.layer.new_channel() for _ in range(members)]
        for channel in channels:
            await self.layer.group_add(group, channel)
        loop = asyncio.get_running_loop()
        end, count = loop.time() + seconds, 0
        while loop.time() < end:
            await self.layer.group_send(group, {"type": "chat.message", "text": "x" * 64})
            await asyncio.gather(*(self.layer.receive(channel) for channel in channels))
            count += 1
        return count / seconds


async def main():
    peer = Peer(sys.argv[1], json.loads(sys.argv[2]))
    reader = asyncio.StreamReader(limit=1 << 28)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    print(json.dumps("ready"), flush=True)
    while line := await reader.readline():
        name, arguments = json.loads(line)
        try:
            answer = {"ok": await getattr(peer, name)(*arguments)}
        except Exception as error:  # returned to the caller
            answer = {"error": repr(error)}
        print(json.dumps(answer), flush=True)
    for task in peer.tasks:
        task.cancel()
    await asyncio.gather(*peer.tasks, return_exceptions=True)


asyncio.run(main())
