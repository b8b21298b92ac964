// Nothing is lost, doubled or out of order, wherever connections break.

import assert from "node:assert/strict";
import { test } from "node:test";

import { World } from "./support/world.js";

const MESSAGES = 40;
// Of each kind: ten thousand in all.
const CUTS = 2_000;
const FAULTS = { cut: 0.04, lost: 0.03, swallowed: 0.1, late: 0.04 };
const TRANSPORTS = ["websocket", "event-stream", "long-poll", "poll"];

for (const transport of TRANSPORTS) {
  test(`${transport}: two thousand cuts lose no message`, async () => {
    let cuts = 0;
    for (let seed = 1; cuts < CUTS; seed += 1) cuts += await converse(seed, [transport], FAULTS);
  });
}

test("two thousand cuts over all transports lose no message", async () => {
  let cuts = 0;
  const used = new Set();
  for (let seed = 1; cuts < CUTS; seed += 1) {
    cuts += await converse(seed, TRANSPORTS.slice(0, 3), FAULTS, (world, channel) => {
      used.add(channel.transport);
      forbidSome(world);
    });
  }
  for (const transport of TRANSPORTS.slice(0, 3)) assert(used.has(transport), `${transport} was in use`);
});

test("the check finds skipped frames", async () => {
  await assert.rejects(converse(1, ["websocket"], {}, (_world, _channel, session) => session?.log.shift()));
});

// As if the client moved between networks whose proxies forbid one thing or another.
function forbidSome({ network, random }) {
  network.forbids.clear();
  for (const what of ["websocket", "websocket-silently", "event-stream", "event-stream-buffered"]) {
    if (random() < 0.3) network.forbids.add(what);
  }
}

/** Both sides say numbers, at random times; returns how often they were cut off. */
async function converse(seed, transports, faults, meanwhile = () => {}) {
  const world = new World({ seed, server: { takes: 3, window: 2_000 } });
  Object.assign(world.network.faults, faults);
  const channel = world.connect({ transports, pollInterval: 200 });
  const said = { up: [], down: [] };
  // Not just the newest session: an answer that got lost left one behind that nobody has.
  let session = null;
  world.server.onframe = (heard) => (session = heard);
  while (said.up.length < MESSAGES || said.down.length < MESSAGES) {
    if (said.up.length < MESSAGES) say(said.up, (data) => channel.send(data));
    if (said.down.length < MESSAGES && session) say(said.down, (data) => session.send(data));
    meanwhile(world, channel, session);
    await world.clock.advance(world.random() * 400);
  }
  const arrived = () => channel.messages.length >= MESSAGES && session.received.length >= MESSAGES;
  await world.until(arrived, `seed ${seed}: all arrives`);
  await world.clock.advance(60_000);
  assert.deepEqual(channel.messages, said.down, `seed ${seed}: down`);
  assert.deepEqual(session.received, said.up, `seed ${seed}: up`);
  assert.deepEqual(channel.told("gap"), [], `seed ${seed}: no gap`);
  channel.close();
  return world.network.cuts;
}

// Texts of every kind: marks, line ends, empty ones, none of ASCII.
const KINDS = ["", "\u0001", "\u0001\u0001", "line\nline\n", "\r", "\r\n", "汉字 🎉", "{}", " "];

function say(said, send) {
  const text = `${KINDS[said.length % KINDS.length]}${said.length}`;
  said.push(text);
  send(text);
}
