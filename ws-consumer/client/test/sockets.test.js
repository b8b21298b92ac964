// The same over real sockets, with the WebSocket and the fetch that Node has from browsers.

import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";

import { connect } from "../channels.js";
import { chance } from "./support/clock.js";
import { listen } from "./support/sockets.js";

const TRANSPORTS = ["websocket", "event-stream", "long-poll", "poll"];
const QUICK = { backoffBase: 5, backoffMax: 20, pollInterval: 5 };

test("this Node has a WebSocket", () => {
  assert.equal(typeof WebSocket, "function", "run it with: node --experimental-websocket --test");
});

for (const transport of TRANSPORTS) {
  test(`${transport}: cuts of real sockets lose no message`, async () => {
    const server = await listen({ ackEvery: 1, window: 200 });
    const random = chance(11);
    let session = null;
    server.mock.onframe = (heard, data) => {
      session = heard;
      heard.send(data);
      if (random() < 0.2) setImmediate(server.cut);
    };
    const channel = connect(server.url, { ...QUICK, transports: [transport] });
    const heard = [];
    const all = new Promise((resolve) => {
      channel.addEventListener("message", ({ data }) => heard.push(data) === 200 && resolve());
    });
    const said = Array.from({ length: 200 }, (_, number) => `${number} ${"é\n".repeat(number)}`);
    for (const text of said) {
      channel.send(text);
      if (random() < 0.3) await new Promise((resolve) => setImmediate(resolve));
    }
    await all;
    assert.deepEqual(heard, said);
    assert.deepEqual(session.received, said);
    channel.close();
    server.close();
  });
}

test("refused upgrades fall back to the event stream", async () => {
  const server = await listen();
  server.mock.refuse = (transport) => (transport === "websocket" ? { status: 403 } : null);
  const channel = connect(server.url);
  const [{ transport, resumed }] = await once(channel, "open");
  assert.deepEqual([transport, resumed], ["event-stream", false]);
  channel.close();
  server.close();
});

test("close codes and reasons arrive", async () => {
  const server = await listen();
  const channel = connect(server.url);
  await once(channel, "open");
  server.mock.session.close(4001, "kicked");
  const [{ code, reason, wasClean }] = await once(channel, "close");
  assert.deepEqual([code, reason, wasClean], [4001, "kicked", true]);
  server.close();
});
