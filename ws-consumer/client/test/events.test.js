// Messages by their type.

import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";

import { World } from "./support/world.js";

test("messages go to the listeners of their type", async () => {
  const world = new World();
  const channel = world.connect();
  const heard = [];
  channel.onMessage("chat.message", ({ text }) => heard.push(text));
  const remove = channel.onMessage("chat.message", (message) => heard.push(message));
  channel.onMessage("chat.joined", () => heard.push("joined"));
  await world.opened(channel);
  const said = { type: "chat.message", text: "hello" };
  const others = ["chat.message", '"chat.message"', "null", "[1]", "{not json", '{"kind":"chat.message"}', '{"type":["chat.message"]}'];
  world.server.session.send(JSON.stringify(said));
  for (const other of others) world.server.session.send(other);
  world.server.session.send(new TextEncoder().encode(JSON.stringify(said)).buffer);
  await world.until(() => channel.messages.length === others.length + 2);
  assert.deepEqual(heard, ["hello", said]);
  remove();
  world.server.session.send(`\n ${JSON.stringify(said)}`);
  world.server.session.send('{"type":"chat.joined"}');
  await world.until(() => channel.messages.length === others.length + 4);
  assert.deepEqual(heard.slice(2), ["hello", "joined"]);
});

test("a message is parsed once for all listeners", async () => {
  const world = new World();
  const channel = world.connect();
  const heard = [];
  for (let n = 0; n < 2; n += 1) channel.onMessage("a", (message) => heard.push(message));
  await world.opened(channel);
  world.server.session.send('{"type":"a"}');
  await world.until(() => heard.length === 2);
  assert.equal(heard[0], heard[1]);
});

// Node's `once` and `on` take an object with a method `on` for an EventEmitter.
test("Node's event helpers take a channel for an EventTarget", async () => {
  const world = new World();
  const channel = world.connect();
  const opened = once(channel, "open");
  await world.opened(channel);
  const [{ transport }] = await opened;
  assert.equal(transport, "websocket");
});
