// Requests and replies, in both directions.

import assert from "node:assert/strict";
import { test } from "node:test";

import { ChannelError } from "../channels.js";
import { World } from "./support/world.js";

const code = (wanted) => (error) => error instanceof ChannelError && error.code === wanted;

/** A world whose server treats requests with `reply(request)`: an object to merge into the answer, or null for none. */
function calls(reply, options) {
  const world = new World();
  world.server.onframe = (session, data) => {
    const { ref, request } = JSON.parse(data);
    const answer = request === undefined ? null : reply(request);
    if (answer) session.send(JSON.stringify({ ref, ...answer }));
  };
  return { world, channel: world.connect({ transports: ["websocket"], ...options }) };
}

test("replies resolve their requests", async () => {
  const { world, channel } = calls((request) => ({ reply: request * 2 }));
  const replies = Promise.all([channel.request(1), channel.request(2)]);
  await world.opened(channel);
  await world.clock.advance(1_000);
  assert.deepEqual(await replies, [2, 4]);
  assert.deepEqual(channel.messages, []);
});

test("an error of the server rejects", async () => {
  const { world, channel } = calls(() => ({ error: "no such room" }));
  const refused = assert.rejects(channel.request("join"), (error) => code("refused")(error) && error.message === "no such room");
  await world.clock.advance(1_000);
  await refused;
});

test("a late reply is a message", async () => {
  const { world, channel } = calls(() => null);
  await world.opened(channel);
  const late = assert.rejects(channel.request("slow", { timeout: 2_000 }), code("timeout"));
  await world.clock.advance(3_000);
  await late;
  world.server.session.send('{"ref":1,"reply":0}');
  await world.until(() => channel.messages.length === 1);
});

test("an unsent request is withdrawn at its timeout", async () => {
  const { world, channel } = calls(() => null);
  world.network.down = true;
  const late = assert.rejects(channel.request("never", { timeout: 2_000 }), code("timeout"));
  channel.send({ kept: true });
  await world.clock.advance(3_000);
  await late;
  world.network.down = false;
  await world.until(() => world.server.session?.received.length === 1);
  assert.deepEqual(world.server.session.received, ['{"kept":true}']);
});

test("a request survives a cut", async () => {
  const { world, channel } = calls((request) => ({ reply: request }));
  await world.opened(channel);
  const reply = channel.request("over the gap", { timeout: 60_000 });
  world.network.cutAll();
  await world.clock.advance(30_000);
  assert.equal(await reply, "over the gap");
});

test("a lost session rejects sent requests", async () => {
  const { world, channel } = calls((request) => (request === "unsent" ? { reply: "ok" } : null));
  await world.opened(channel);
  const lost = assert.rejects(channel.request("sent", { timeout: 90_000 }), code("lost"));
  world.network.down = true;
  world.network.cutAll();
  world.server.forgetAll();
  await world.until(() => channel.state === "reconnecting");
  const kept = channel.request("unsent", { timeout: 90_000 });
  world.network.down = false;
  await world.clock.advance(60_000);
  await lost;
  assert.equal(await kept, "ok");
  assert.deepEqual(channel.told("gap")[0].uncertain, [], "a request is no message that might be sent again");
});

test("close rejects open requests", async () => {
  const { world, channel } = calls(() => null);
  const closed = assert.rejects(channel.request("?"), code("closed"));
  await world.opened(channel);
  channel.close();
  await closed;
  await assert.rejects(channel.request("?"), code("closed"));
});

test("onrequest answers the server", async () => {
  const onrequest = async (request) => {
    if (request === "zone?") return "UTC";
    if (request === "nothing") return undefined;
    throw new Error("what?");
  };
  const { world, channel } = calls(() => null, { onrequest });
  await world.opened(channel);
  for (const [ref, request] of [[1, "zone?"], ["two", "nothing"], [3, "else"]]) {
    world.server.session.send(JSON.stringify({ ref, request }));
  }
  await world.until(() => world.server.session.received.length === 3);
  const answers = world.server.session.received.map((text) => JSON.parse(text));
  assert.deepEqual(answers, [{ ref: 1, reply: "UTC" }, { ref: "two", reply: null }, { ref: 3, error: "what?" }]);
  assert.deepEqual(channel.messages, []);
});

test("without onrequest requests are messages", async () => {
  const { world, channel } = calls(() => null);
  await world.opened(channel);
  const texts = ['{"ref":1,"request":2}', '{"ref":9,"reply":2}', '{"ref"', '{"a":"\\"ref\\""}', "[1]", '{"ref":null}'];
  for (const text of texts) world.server.session.send(text);
  await world.until(() => channel.messages.length === texts.length);
  assert.deepEqual(channel.messages, texts);
});
