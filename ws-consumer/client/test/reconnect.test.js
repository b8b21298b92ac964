// When a channel tries again, and how it finds out that it has to.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { promisify } from "node:util";

import { World } from "./support/world.js";

const client = new URL("..", import.meta.url);
const run = (script) => promisify(execFile)(process.execPath, ["--input-type=module", "-e", script], { cwd: client });

const delays = (channel) => channel.told("reconnecting").map(({ delay }) => delay);

async function openWorld(options, setup) {
  const world = new World(setup);
  const channel = world.connect(options);
  await world.opened(channel);
  return { world, channel };
}

function breakDown({ network }) {
  network.down = true;
  network.cutAll();
}

test("retries never end, with growing random waits", async () => {
  const ceilings = [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000];
  for (const part of [0, 0.5, 0.999]) {
    const world = new World();
    world.network.down = true;
    const channel = world.connect({ environment: { random: () => part } });
    await world.until(() => delays(channel).length === ceilings.length);
    assert.deepEqual(delays(channel), ceilings.map((ceiling) => ceiling * part));
    assert.deepEqual(channel.told("reconnecting").map(({ attempt }) => attempt), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    channel.close();
  }
});

test("a stable connection resets the waits", async () => {
  const { world, channel } = await openWorld({ environment: { random: () => 0.999 } });
  for (let round = 0; round < 3; round += 1) {
    world.network.cutAll();
    await world.until(() => delays(channel).length === round + 1);
    await world.opened(channel);
  }
  assert.deepEqual(delays(channel).map(Math.round), [500, 999, 1998]);
  await world.clock.advance(20_000);
  world.network.cutAll();
  await world.until(() => delays(channel).length === 4);
  assert.equal(Math.round(delays(channel)[3]), 500);
});

test("a close reason's retry-after is respected", async () => {
  const { world, channel } = await openWorld();
  world.server.session.close(1012, "retry-after=7.5");
  await world.until(() => delays(channel).length === 1);
  assert(delays(channel)[0] >= 7_500 && delays(channel)[0] < 8_000);
  world.tell(world.document, "visibilitychange");
  await world.clock.advance(7_000);
  assert.equal(world.server.seen.length, 1, "not even a user who looks hurries it");
});

test("a Retry-After header is respected", async () => {
  for (const hint of [(now) => "20", (now) => new Date(now + 20_000).toUTCString()]) {
    const world = new World();
    world.network.forbids.add("websocket");
    world.server.refuse = () => ({ status: 503, headers: { "retry-after": hint(world.clock.now()) } });
    const channel = world.connect();
    await world.until(() => delays(channel).length === 1);
    assert(delays(channel)[0] >= 18_000 && delays(channel)[0] < 21_000, `${delays(channel)}`);
  }
});

test("a hint of days is limited", async () => {
  const { world, channel } = await openWorld();
  world.server.session.close(1012, "retry-after=999999");
  await world.until(() => delays(channel).length === 1);
  assert(delays(channel)[0] <= 601_000);
});

test("a visible page ends the wait of a hidden one", async () => {
  const { world, channel } = await openWorld({ environment: { random: () => 0.9 } });
  world.document.visibilityState = "hidden";
  world.network.cutAll();
  await world.until(() => delays(channel).length === 1);
  assert.equal(delays(channel)[0], 27_000);
  world.document.visibilityState = "visible";
  world.tell(world.document, "visibilitychange");
  await world.clock.advance(100);
  assert.equal(channel.state, "open");
});

test("online events cause a try at once", async () => {
  const { world, channel } = await openWorld({ environment: { random: () => 0.999 } });
  world.server.session.send("before");
  world.network.down = true;
  world.tell(world.window, "offline");
  await world.clock.advance(0);
  assert.equal(channel.state, "offline");
  await world.clock.advance(3_600_000);
  assert(delays(channel).length > 100 && delays(channel).length < 125, `${delays(channel).length} tries in an hour`);
  assert.equal(channel.state, "offline");
  channel.send("kept");
  world.network.down = false;
  world.tell(world.window, "online");
  await world.clock.advance(200);
  assert.equal(channel.state, "open");
  assert.deepEqual(world.server.session.received, ["kept"]);
  assert.deepEqual(channel.messages, ["before"]);
});

test("a false offline event loses no message", async () => {
  const { world, channel } = await openWorld();
  world.tell(world.window, "offline");
  channel.send("kept");
  await world.clock.advance(31_000);
  assert.deepEqual([channel.state, channel.told("resumed").length], ["open", 1]);
  assert.deepEqual(world.server.session.received, ["kept"]);
  assert.deepEqual(channel.told("gap"), []);
});

test("a loss while falsely offline is retried at once", async () => {
  const { world, channel } = await openWorld();
  world.navigator.onLine = false;
  world.network.cutAll();
  await world.clock.advance(1_500);
  assert.deepEqual([channel.state, channel.told("resumed").length], ["open", 1]);
});

test("offline keeps plain WebSockets", async () => {
  const { world, channel } = await openWorld({ plain: true });
  world.tell(world.window, "offline");
  world.tell(world.window, "online");
  await world.clock.advance(60_000);
  assert.deepEqual(channel.told("statechange").map(({ state }) => state), ["open"]);
});

test("a page that starts offline tries", async () => {
  const world = new World();
  world.navigator.onLine = false;
  world.network.down = true;
  const channel = world.connect();
  await world.clock.advance(60_000);
  assert.equal(channel.state, "offline");
  world.network.down = false;
  world.tell(world.window, "online");
  await world.opened(channel);
  assert.deepEqual(channel.told("statechange").map(({ state }) => state), ["offline", "connecting", "open"]);
});

test("offline ends tries and waits", async () => {
  const world = new World();
  world.network.forbids.add("websocket-silently");
  const channel = world.connect();
  await world.clock.advance(5);
  world.tell(world.window, "offline");
  await world.clock.advance(1);
  assert.equal(channel.state, "offline");
  world.network.down = true;
  world.tell(world.window, "online");
  await world.until(() => channel.state === "reconnecting");
  world.tell(world.window, "offline");
  await world.clock.advance(1);
  assert.equal(channel.state, "offline");
  world.tell(world.window, "offline");
  await world.clock.advance(1);
  assert.equal(channel.told("reconnecting").length, 3, "the same news twice is no news");
});

test("falsely offline, all transports are tried", async () => {
  const world = new World();
  world.navigator.onLine = false;
  world.network.forbids.add("websocket");
  world.network.forbids.add("event-stream");
  world.network.forbids.add("post");
  const channel = world.connect();
  await world.until(() => channel.state === "offline");
  world.network.forbids.delete("post");
  await world.opened(channel);
  assert.equal(channel.transport, "long-poll");
});

test("a new network tries the best transport", async () => {
  const world = new World();
  world.network.forbids.add("websocket");
  const channel = world.connect();
  await world.opened(channel);
  world.network.forbids.clear();
  world.tell(world.window, "offline");
  await world.clock.advance(1_000);
  world.tell(world.window, "online");
  await world.opened(channel);
  assert.equal(channel.transport, "websocket");
  assert.equal(world.server.sessions.length, 1);
});

test("a visible page checks its connection", async () => {
  const { world, channel } = await openWorld();
  world.network.faults.swallowed = 1;
  world.network.cutAll();
  world.tell(world.document, "visibilitychange");
  world.network.faults.swallowed = 0;
  await world.clock.advance(11_000);
  assert(channel.told("reconnecting").length === 1);
  await world.opened(channel);
});

test("a page resumes after the back-forward cache", async () => {
  for (const transport of ["websocket", "event-stream", "long-poll"]) {
    const { world, channel } = await openWorld({ transports: [transport] });
    world.tell(world.window, "pagehide", { persisted: true });
    await world.clock.advance(5_000);
    assert.equal(world.network.open.size, 0);
    assert.equal(world.server.session.left, null, "the session goes on");
    world.server.session.send("meanwhile");
    await world.clock.advance(5_000);
    world.tell(world.window, "pageshow", { persisted: true });
    await world.clock.advance(500);
    assert.deepEqual(channel.messages, ["meanwhile"]);
    assert.equal(world.server.sessions.length, 1);
  }
});

test("a page that goes ends its session", async () => {
  for (const transport of ["websocket", "event-stream", "long-poll"]) {
    const { world, channel } = await openWorld({ transports: [transport] });
    world.tell(world.window, "pagehide", { persisted: false });
    assert.equal(channel.state, "closed");
    await world.clock.advance(1_000);
    assert.equal(world.server.session.left.code, 1000);
  }
});

test("close without a connection posts", async () => {
  const world = new World();
  const requests = [];
  const fetch = (url, options) => {
    requests.push(options);
    return world.network.fetch(url, options);
  };
  const channel = world.connect({ environment: { fetch } });
  await world.opened(channel);
  world.network.cutAll();
  await world.until(() => channel.state === "reconnecting");
  channel.send("last");
  channel.close();
  await world.clock.advance(1_000);
  assert.equal(requests[0].keepalive, true);
  assert.deepEqual(world.server.session.received, ["last"]);
  assert.equal(world.server.session.left.code, 1000);
});

test("close ends tries and waits", async () => {
  for (const moment of [0, 5, 300]) {
    const world = new World();
    world.network.down = true;
    const channel = world.connect();
    await world.clock.advance(moment);
    channel.close();
    const before = channel.log.length;
    world.network.down = false;
    world.tell(world.window, "online");
    await world.clock.advance(600_000);
    assert.equal(channel.log.length, before, "nothing is told after the end");
    assert(world.server.sessions.every(({ ended }) => ended !== null), "what was under way is ended");
  }
});

for (const transport of ["websocket", "event-stream", "long-poll"]) {
  test(`${transport}: a silent server is found in time`, async () => {
    const { world, channel } = await openWorld({ transports: [transport] }, { server: { heartbeat: 20 } });
    const { session } = world.server;
    world.network.faults.swallowed = 1;
    const [connection] = world.network.open;
    if (transport === "websocket") connection.cut();
    // A stream and a poll fall silent: they go on, and nothing comes any more.
    else Object.assign(connection, { isOver: true });
    world.network.faults.swallowed = 0;
    session.send("not heard");
    await world.clock.advance(31_000);
    await world.until(() => channel.messages.length === 1);
    assert.equal(channel.told("reconnecting").length, 1);
  });

  test(`${transport}: an idle client sends signs of life`, async () => {
    const { world, channel } = await openWorld({ transports: [transport] }, { server: { heartbeat: 20, window: 10_000 } });
    const { session } = world.server;
    let heard = world.clock.now();
    let longest = 0;
    const { acknowledge } = session;
    session.acknowledge = (cursor) => {
      longest = Math.max(longest, world.clock.now() - heard);
      heard = world.clock.now();
      acknowledge.call(session, cursor);
    };
    await world.clock.advance(600_000);
    assert(longest > 0 && longest <= 20_000, `${longest} ms`);
    assert.deepEqual(channel.told("reconnecting"), []);
  });
}

test("empty long polls are paced", async () => {
  const { world } = await openWorld({ transports: ["long-poll"] }, { server: { window: 0 } });
  const before = world.server.seen.length;
  await world.clock.advance(10_000);
  assert(world.server.seen.length - before <= 40, `${world.server.seen.length - before} polls in ten seconds`);
});

test("reconnect ends the wait", async () => {
  const world = new World();
  world.network.down = true;
  const channel = world.connect({ environment: { random: () => 0.999 } });
  await world.until(() => delays(channel).length === 4);
  channel.reconnect();
  await world.clock.advance(500);
  assert.deepEqual(delays(channel).map(Math.round), [500, 999, 1998, 3996, 7992]);
  world.network.down = false;
  channel.reconnect();
  await world.clock.advance(500);
  assert.equal(channel.state, "open");
});

test("reconnect ignores the server's time", async () => {
  const { world, channel } = await openWorld();
  world.server.session.close(1012, "retry-after=60");
  await world.until(() => delays(channel).length === 1);
  channel.reconnect();
  await world.clock.advance(500);
  assert.equal(channel.state, "open");
});

test("reconnect tries while offline", async () => {
  const world = new World();
  world.navigator.onLine = false;
  world.network.down = true;
  const channel = world.connect();
  await world.clock.advance(1_000);
  channel.reconnect();
  await world.clock.advance(60_000);
  assert.deepEqual(channel.told("statechange").map(({ state }) => state), ["offline", "connecting", "offline"]);
  // Some systems say so without reason.
  world.network.down = false;
  channel.reconnect();
  await world.opened(channel);
});

test("reconnect checks an open connection", async () => {
  const { world, channel } = await openWorld();
  world.network.faults.swallowed = 1;
  world.network.cutAll();
  channel.reconnect();
  await world.clock.advance(10_001);
  assert.equal(channel.told("reconnecting").length, 1);
  world.network.faults.swallowed = 0;
  channel.reconnect();
  await world.clock.advance(1);
  channel.reconnect();
  await world.opened(channel);
  channel.close();
  const before = channel.log.length;
  channel.reconnect();
  await world.clock.advance(60_000);
  assert.equal(channel.log.length, before);
});

test("a hidden page answers signs of life in time", async () => {
  const world = new World({ server: { heartbeat: 20 } });
  const setTimeout = (callback, delay) => world.clock.setTimeout(callback, Math.ceil(delay / 60_000) * 60_000);
  const channel = world.connect({ transports: ["event-stream"], environment: { setTimeout } });
  await world.opened(channel);
  let [heard, longest] = [world.clock.now(), 0];
  const { acknowledge } = world.server.session;
  world.server.session.acknowledge = function (cursor) {
    longest = Math.max(longest, world.clock.now() - heard);
    heard = world.clock.now();
    acknowledge.call(this, cursor);
  };
  await world.clock.advance(600_000);
  // What is left of the server's patience is for one that is late.
  assert(longest > 0 && longest < 35_000, `${longest} ms`);
  assert.deepEqual(channel.told("reconnecting"), []);
});

test("a last request that is full sends the rest", async () => {
  const world = new World();
  const channel = world.connect({ transports: ["long-poll"] });
  await world.opened(channel);
  world.network.down = true;
  world.network.cutAll();
  await world.until(() => channel.state === "reconnecting");
  // Three bytes a character: what browsers count.
  const texts = [1, 2, 3].map((n) => `${n}${"\u6c49".repeat(8_000)}`);
  for (const text of texts) channel.send(text);
  world.network.down = false;
  channel.close();
  await world.clock.advance(1_000);
  assert.deepEqual(world.server.session.received, texts.slice(0, 2));
  assert.equal(world.server.session.left.code, 1000);
});

test("undefined options are defaults", async () => {
  const names = ["transports", "backoffBase", "backoffMax", "timeout", "maxMessages", "maxBytes", "plain", "credentials"];
  const world = new World();
  world.network.down = true;
  const undefinedOptions = Object.fromEntries(names.map((name) => [name, undefined]));
  const channel = world.connect({ ...undefinedOptions, environment: { random: () => 0.5 } });
  await world.until(() => delays(channel).length === 3);
  assert.deepEqual(delays(channel), [250, 500, 1_000]);
  channel.send("kept");
});

test("errors of shouldReconnect are reported", async () => {
  const reported = [];
  const shouldReconnect = () => {
    throw new Error("the application's");
  };
  const environment = { reportError: (error) => reported.push(error.message) };
  const { world, channel } = await openWorld({ shouldReconnect, environment });
  world.network.cutAll();
  await world.until(() => channel.told("resumed").length === 1);
  assert.deepEqual(reported, ["the application's"]);
  world.server.session.close(4000, "enough");
  await world.until(() => channel.state === "closed");
  assert.equal(reported.length, 2);
});

test("without reportError errors are uncaught", async () => {
  const script = `
    import { connect } from "./channels.js";
    process.on("uncaughtException", (error) => console.log("uncaught", error.message));
    class WebSocket { constructor() { throw new Error("none"); } }
    const environment = { WebSocket, random: () => 0 };
    const shouldReconnect = () => { throw new Error("mine"); };
    const channel = connect("ws://127.0.0.1:9/", { transports: ["websocket"], environment, shouldReconnect });
    channel.addEventListener("reconnecting", ({ attempt }) => {
      if (attempt === 3) channel.close();
      throw new Error("a listener's");
    });
  `;
  const { stdout } = await run(script);
  assert.deepEqual(stdout.trim().split("\n").filter((line) => line.endsWith("mine")), Array(3).fill("uncaught mine"));
  assert.equal(stdout.match(/uncaught a listener's/g).length, 3);
});

/** The client's own timers, in a world whose network and server have some too. */
function countTimers(world) {
  const { setTimeout, clearTimeout } = world.clock;
  const left = new Set();
  const counted = (callback, delay) => {
    const id = setTimeout(() => left.delete(id) && callback(), delay);
    left.add(id);
    return id;
  };
  return { left, setTimeout: counted, clearTimeout: (id) => left.delete(id) && clearTimeout(id) };
}

test("a closed channel leaves no timers", async () => {
  for (const transports of [["websocket"], ["event-stream"], ["long-poll"], ["poll"]]) {
    for (const wait of [0, 1_000, 4_000]) {
      const world = new World();
      const { left, ...environment } = countTimers(world);
      const channel = world.connect({ transports, environment });
      await world.opened(channel);
      await world.clock.advance(wait);
      assert(left.size > 0, `${transports}: there are some to be cleared`);
      channel.close();
      await world.clock.advance(0);
      assert.equal(left.size, 0, `${transports} after ${wait} ms`);
    }
  }
});

test("an early close leaves no timers", async () => {
  const world = new World();
  const { left, ...environment } = countTimers(world);
  const channel = world.connect({ environment }, () => new Promise(() => {}));
  await world.clock.advance(1_000);
  assert.equal(left.size, 1);
  channel.close();
  assert.equal(left.size, 0);
});
