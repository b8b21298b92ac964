// How a channel ends: codes and reasons, sessions that have only begun, and what is told of the rest.

import assert from "node:assert/strict";
import { test } from "node:test";

import { World } from "./support/world.js";

const TRANSPORTS = ["websocket", "event-stream", "long-poll", "poll"];

const REASONS = [
  ["of two bytes a character", "é".repeat(100), "é".repeat(61)],
  ["of three", "汉".repeat(42), "汉".repeat(41)],
  ["of four", "🎉".repeat(31), "🎉".repeat(30)],
  ["of 123 bytes", "x".repeat(123), "x".repeat(123)],
  ["with half a pair", "no\ud83d", "no\ufffd"],
  ["of a megabyte", "é".repeat(1 << 19), "é".repeat(61)],
  ["that is a number", 7, "7"],
  ["that is null", null, ""],
];

for (const transport of TRANSPORTS) {
  for (const [what, given, reason] of REASONS) {
    test(`${transport}: a reason ${what} is cut to a close frame's size`, async () => {
      const world = new World();
      const channel = world.connect({ transports: [transport] });
      await world.opened(channel);
      channel.close(4000, given);
      await world.clock.advance(1_000);
      const [told] = channel.told("close");
      assert.deepEqual([told.code, told.reason, channel.state], [4000, reason, "closed"]);
      assert.deepEqual(world.server.session.left, { code: 4000, reason });
    });
  }

  test(`${transport}: an invalid code is an error and a close`, async () => {
    for (const code of [0, 999, 1001, 1005, 1006, 1011, 2999, 4408, 5000, 3000.5, NaN, "4000", null, {}, Symbol("code")]) {
      for (const isOpen of [true, false]) {
        const world = new World();
        const channel = world.connect({ transports: [transport] });
        if (isOpen) await world.opened(channel);
        assert.throws(() => channel.close(code, "bye"), (error) => error instanceof RangeError && /1000 and 3000/.test(error.message));
        await world.clock.advance(1_000);
        assert.equal(channel.state, "closed");
        assert.equal(channel.told("close")[0].code, 1000);
        assert(world.server.sessions.every(({ left }) => left?.code === 1000), "the server is told");
      }
    }
  });

  test(`${transport}: an early close leaves no session`, async () => {
    for (let moment = 0; moment < 200; moment += 3) {
      const world = new World({ seed: moment + 1 });
      const channel = world.connect({ transports: [transport] });
      await world.clock.advance(moment);
      channel.close(4002, "soon");
      assert.equal(channel.state, "closed");
      await world.clock.advance(20_000);
      for (const { left } of world.server.sessions) assert.equal(left?.code, 4002, `after ${moment} ms`);
      assert.equal(world.network.open.size, 0);
      assert.equal(channel.told("close").length, 1);
      assert.deepEqual(channel.told("open").length + channel.messages.length, channel.log.findIndex(({ type }) => type === "open") < 0 ? 0 : 1);
    }
  });

  test(`${transport}: a close while resuming leaves no session`, async () => {
    for (let moment = 0; moment < 200; moment += 7) {
      const world = new World({ seed: moment + 1 });
      const channel = world.connect({ transports: [transport], environment: { random: () => 0 } });
      await world.opened(channel);
      world.network.cutAll();
      channel.send("last");
      await world.clock.advance(moment);
      channel.close();
      await world.clock.advance(60_000);
      assert(world.server.sessions.every(({ left }) => left !== null), `after ${moment} ms`);
      assert.deepEqual(world.server.sessions.flatMap(({ received }) => received), ["last"], `after ${moment} ms`);
    }
  });

  test(`${transport}: an abandoned try leaves no session`, async () => {
    const world = new World();
    world.network.latency = [1, 20];
    const channel = world.connect({ transports: [transport], timeout: 30, environment: { random: () => 0.5 } });
    await world.clock.advance(200);
    world.network.latency = [1, 2];
    await world.opened(channel);
    channel.close();
    await world.clock.advance(60_000);
    if (transport === "websocket") assert(world.server.sessions.every(({ left }) => left !== null));
  });
}

test("a reload ends an unproven session", async () => {
  for (const transport of TRANSPORTS) {
    const world = new World();
    const channel = world.connect({ transports: [transport] });
    await world.until(() => world.server.sessions.length === 1);
    assert.equal(channel.state, "connecting");
    world.tell(world.window, "pagehide", { persisted: false });
    await world.clock.advance(1_000);
    assert.equal(world.server.session.left?.code, 1000, transport);
  }
});

test("a page that goes closes a new WebSocket", async () => {
  const world = new World();
  const sockets = [];
  const Kept = class extends world.network.WebSocket {
    constructor(...address) {
      super(...address);
      sockets.push(this);
    }
  };
  world.connect({ transports: ["websocket"], environment: { WebSocket: Kept } });
  await world.until(() => sockets[0]?.readyState === 1);
  world.tell(world.window, "pagehide", { persisted: false });
  assert.equal(sockets[0].readyState, 2);
  await world.clock.advance(1_000);
  assert.equal(world.server.session.left.code, 1000);
});

test("close works without fetch", async () => {
  const broken = () => {
    throw new Error("the page goes away");
  };
  for (const fetch of [undefined, broken, () => Promise.reject(new Error("no network"))]) {
    const world = new World();
    const channel = world.connect({ transports: ["websocket"], environment: { fetch } });
    await world.opened(channel);
    world.network.down = true;
    world.network.cutAll();
    await world.until(() => channel.state === "reconnecting");
    channel.close();
    await world.clock.advance(1_000);
    assert.equal(channel.state, "closed");
  }
});

test("a throwing WebSocket ends the channel once", async () => {
  const world = new World();
  const Odd = class extends world.network.WebSocket {
    close() {
      throw new Error("an odd one");
    }
  };
  const channel = world.connect({ transports: ["websocket"], environment: { WebSocket: Odd } });
  await world.opened(channel);
  assert.throws(() => channel.close(), /an odd one/);
  assert.equal(channel.state, "closed");
  assert.equal(channel.told("close").length, 1);
});

test("close lists uncertain and unsent messages", async () => {
  for (const transport of TRANSPORTS) {
    const world = new World({ server: { ackEvery: 1 } });
    let isEnough = false;
    const channel = world.connect({ transports: [transport], shouldReconnect: () => !isEnough });
    channel.send("acknowledged");
    await world.until(() => channel.bufferedAmount === 0);
    world.network.down = true;
    channel.send("perhaps");
    channel.request("a request").catch(() => {});
    world.network.cutAll();
    await world.until(() => channel.state === "reconnecting");
    channel.send("never");
    isEnough = true;
    await world.until(() => channel.state === "closed");
    const [{ uncertain, unsent }] = channel.told("close");
    assert.deepEqual([uncertain, unsent], [["perhaps"], ["never"]], transport);
  }
});

test("the last request of a page is uncertain", async () => {
  const world = new World();
  const channel = world.connect();
  await world.opened(channel);
  world.network.cutAll();
  await world.until(() => channel.state === "reconnecting");
  channel.send("goes along");
  channel.close();
  const [{ uncertain, unsent }] = channel.told("close");
  assert.deepEqual([uncertain, unsent], [["goes along"], []]);
});

test("an early close lists unsent messages", async () => {
  const world = new World();
  const channel = world.connect();
  channel.send("a");
  await world.clock.advance(5);
  channel.send("b");
  channel.close();
  await world.clock.advance(60_000);
  const [{ uncertain, unsent }] = channel.told("close");
  assert.deepEqual([uncertain, unsent], [[], ["a", "b"]]);
  assert.deepEqual(world.server.sessions.flatMap(({ received }) => received), [], "and it does not");
});

test("a rate limit's close is temporary", async () => {
  for (const [code, reason, least] of [[1013, "too fast", 0], [1008, "retry-after=3", 3_000], [4029, "retry-after=1.5", 1_500]]) {
    for (const transport of TRANSPORTS) {
      const world = new World({ server: { ackEvery: 1_000 } });
      const channel = world.connect({ transports: [transport] });
      await world.opened(channel);
      world.server.onframe = (session) => session.close(code, reason);
      channel.send("too much");
      await world.until(() => channel.state === "reconnecting", `${code} over ${transport}`);
      assert(channel.told("reconnecting")[0].delay >= least);
      world.server.onframe = () => {};
      await world.opened(channel);
      assert.deepEqual(channel.told("close"), []);
      assert.equal(channel.told("gap").length, 1, `${code} over ${transport}`);
    }
  }
});

test("a policy's close is final", async () => {
  const world = new World({ server: { ackEvery: 1_000 } });
  const channel = world.connect({ transports: ["websocket"] });
  await world.opened(channel);
  world.server.onframe = (session) => session.close(1008, "banned");
  channel.send("too much");
  await world.until(() => channel.state === "closed");
  assert.deepEqual(channel.told("close")[0].uncertain, ["too much"]);
});
