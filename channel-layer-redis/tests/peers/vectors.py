"""Checks channel-layer/vectors/message.json with Python's msgpack: vectors.py FILE"""

import json
import struct
import sys

import msgpack


def value(tagged):
    if isinstance(tagged, list):
        return [value(item) for item in tagged]
    if not isinstance(tagged, dict):
        return tagged
    [(tag, content)] = tagged.items()
    if tag == "int":
        return int(content)
    if tag == "float":
        return struct.unpack(">d", bytes.fromhex(content))[0]
    if tag == "bytes":
        return bytes.fromhex(content)
    if tag == "map":
        return {key: value(item) for key, item in content}
    if tag == "nested":
        return [] if content == 1 else [value({"nested": content - 1})]
    raise ValueError(tag)


with open(sys.argv[1], encoding="utf-8") as file:
    vectors = json.load(file)
for vector in vectors["both"]:
    assert msgpack.packb(value(vector["value"])).hex() == vector["hex"], vector
# As text, since no NaN is equal to itself.
for vector in vectors["both"] + vectors["read"]:
    assert repr(msgpack.unpackb(bytes.fromhex(vector["hex"]))) == repr(value(vector["value"])), vector
print(len(vectors["both"]), len(vectors["read"]))
