// Which transport carries a channel, how it proves itself, and what goes over it.

import assert from "node:assert/strict";
import { test } from "node:test";

import { World } from "./support/world.js";

const forbidding = (...what) => {
  const world = new World();
  for (const item of what) world.network.forbids.add(item);
  return world;
};

const transports = (world) => world.server.seen.map(({ transport }) => transport);

test("a working WebSocket is used", async () => {
  const world = new World();
  const channel = world.connect();
  await world.opened(channel);
  assert.equal(channel.transport, "websocket");
  assert.deepEqual(transports(world), ["websocket"]);
});

for (const [forbidden, expected] of [
  [["websocket"], "event-stream"],
  [["websocket-silently"], "event-stream"],
  [["websocket", "event-stream"], "long-poll"],
  [["websocket", "event-stream-silently"], "long-poll"],
  [["websocket-silently", "event-stream-buffered"], "long-poll"],
]) {
  test(`without ${forbidden.join(" and ")} it uses ${expected}`, async () => {
    const world = forbidding(...forbidden);
    world.server.onframe = (session, data) => session.send(data);
    const channel = world.connect();
    channel.send("through");
    await world.until(() => channel.messages.length === 1);
    assert.equal(channel.transport, expected);
    assert.deepEqual(channel.told("reconnecting"), [], "all within the first round");
  });
}

test("the application orders transports", async () => {
  const world = new World();
  const channel = world.connect({ transports: ["poll", "websocket"] });
  await world.opened(channel);
  assert.equal(channel.transport, "poll");
});

test("a WebSocket without a pong is no proof", async () => {
  const world = new World();
  const { websocket } = world.server;
  world.server.websocket = (...upgrade) => ({ ...websocket.apply(world.server, upgrade), message() {} });
  world.server.onopen = (session) => session.send("first");
  const channel = world.connect();
  channel.send("up");
  await world.opened(channel);
  await world.until(() => channel.messages.length === 1 && world.server.session.received.length === 1);
  assert.equal(channel.transport, "event-stream");
  assert.equal(world.server.sessions.length, 1, "the session that the WebSocket began");
  assert.deepEqual(channel.told("open").map(({ resumed }) => resumed), [false], "new to the application");
  assert.deepEqual(channel.told("gap"), []);
});

test("an event stream without POST is no proof", async () => {
  const world = forbidding("websocket", "post");
  const channel = world.connect({ transports: ["websocket", "event-stream"] });
  await world.clock.advance(60_000);
  assert.notEqual(channel.state, "open");
  world.network.forbids.delete("post");
  await world.opened(channel);
  assert.equal(channel.transport, "event-stream");
});

test("missing features select other transports", async () => {
  const world = new World();
  const streams = world.connect({ environment: { WebSocket: undefined } });
  await world.opened(streams);
  assert.equal(streams.transport, "event-stream");
  const { fetch } = world.network;
  const whole = async (...request) => {
    const response = await fetch(...request);
    return Object.assign(response, { body: response.body && {} });
  };
  world.sessionStorage.values.clear();
  const polls = world.connect({ environment: { WebSocket: undefined, fetch: whole } });
  await world.opened(polls);
  assert.equal(polls.transport, "long-poll");
});

test("the working transport is remembered for hours", async () => {
  const world = forbidding("websocket");
  await world.opened(world.connect());
  world.network.forbids.clear();
  const start = world.server.seen.length;
  await world.opened(world.connect());
  assert.equal(world.server.seen[start].transport, "event-stream");
  const elsewhere = world.connect({}, "/ws/elsewhere/");
  await world.opened(elsewhere);
  assert.equal(elsewhere.transport, "websocket");
  // To be used again does not make it younger: otherwise a better one would never be tried.
  await world.clock.advance(1.5 * 3_600_000);
  const again = world.connect();
  await world.opened(again);
  assert.equal(again.transport, "event-stream");
  await world.clock.advance(3_600_000);
  const later = world.connect();
  await world.opened(later);
  assert.equal(later.transport, "websocket");
});

test("a failed transport is forgotten", async () => {
  const world = forbidding("websocket");
  await world.opened(world.connect());
  world.network.forbids.clear();
  world.network.forbids.add("event-stream");
  const remembered = () => [...world.sessionStorage.values.values()].map((value) => JSON.parse(value).transport);
  assert.deepEqual(remembered(), ["event-stream"]);
  const channel = world.connect();
  await world.opened(channel);
  assert.equal(channel.transport, "websocket");
  assert.deepEqual(remembered(), ["websocket"]);
});

test("the transport is forgotten if all fail", async () => {
  const world = forbidding("websocket");
  await world.opened(world.connect());
  world.network.down = true;
  const channel = world.connect();
  await world.until(() => channel.state === "reconnecting");
  assert.equal(world.sessionStorage.values.size, 0);
});

test("an address function is remembered by page", async () => {
  const world = forbidding("websocket");
  await world.opened(world.connect({}, () => "/ws/room/?ticket=1"));
  assert.deepEqual([...world.sessionStorage.values.keys()], ["channels-client https://host/page"]);
});

test("missing storage does no harm", async () => {
  const world = forbidding("websocket");
  const fail = () => {
    throw new Error("forbidden");
  };
  const channel = world.connect({ environment: { sessionStorage: { getItem: fail, setItem: fail, removeItem: fail } } });
  await world.opened(channel);
});

test("a restart keeps clients on WebSockets", async () => {
  const world = new World();
  const channel = world.connect();
  await world.opened(channel);
  world.network.down = true;
  world.network.cutAll();
  await world.until(() => channel.told("reconnecting").length === 2);
  world.network.down = false;
  await world.opened(channel);
  assert.equal(channel.transport, "websocket");
});

test("a blocked WebSocket falls back", async () => {
  const world = new World();
  const channel = world.connect();
  await world.opened(channel);
  world.network.forbids.add("websocket");
  world.network.cutAll();
  world.server.session.send("still here");
  await world.until(() => channel.messages.length === 1);
  assert.equal(channel.transport, "event-stream");
  assert.equal(world.server.sessions.length, 1);
});

test("tokens are not in addresses, and change", async () => {
  const world = forbidding("websocket");
  const channel = world.connect();
  for (let round = 0; round < 3; round += 1) {
    await world.opened(channel);
    await world.clock.advance(10_000);
    world.network.cutAll();
    await world.until(() => channel.state !== "open");
  }
  const carriers = world.server.seen.filter(({ transport }) => transport === "event-stream");
  assert.equal(new Set(carriers.map(({ headers }) => headers["last-event-id"])).size, 3);
  for (const { url } of world.server.seen) assert(!url.includes("secret"), url);
  assert(![...world.sessionStorage.values.values()].some((value) => value.includes("secret")));
});

test("functions of options are called at every try", async () => {
  const world = forbidding("websocket");
  let tries = 0;
  const asked = [];
  const url = async (about) => {
    asked.push(about);
    return `/ws/room/?ticket=${(tries += 1)}`;
  };
  const protocols = ({ transport }) => (transport === "event-stream" ? ["chat.v2"] : ["chat.v2", `ticket.${tries}`]);
  const channel = world.connect({ protocols, headers: () => ({ authorization: `Bearer ${tries}` }) }, url);
  await world.opened(channel);
  assert.deepEqual(asked, [{ transport: "websocket", attempt: 0 }, { transport: "event-stream", attempt: 0 }]);
  const [carrier] = world.server.seen;
  assert.equal(carrier.url, "https://host/ws/room/?ticket=2&protocol=chat.v2");
  assert.equal(carrier.headers.authorization, "Bearer 2");
  assert.equal(channel.protocol, "chat.v2");
});

test("failing and hanging functions fail the try", async () => {
  const world = new World();
  const outcomes = [() => Promise.reject(new Error("no ticket")), () => new Promise(() => {}), () => "/ws/room/"];
  const channel = world.connect({ transports: ["websocket"] }, () => outcomes.shift()());
  await world.opened(channel);
  assert.deepEqual(channel.told("reconnecting").map(({ reason }) => reason), ["no ticket", "no proof within 10000 ms"]);
});

test("addresses may be relative, HTTP or WebSocket", async () => {
  for (const url of ["room/?a=1#part", "https://host/room/?a=1", "wss://host/room/?a=1"]) {
    const world = forbidding("websocket");
    await world.opened(world.connect({}, url));
    assert.equal(world.server.seen[0].url, "https://host/room/?a=1");
  }
});

test("acknowledgements are batched", async () => {
  const world = new World();
  const channel = world.connect({ transports: ["websocket"] });
  await world.opened(channel);
  const { session } = world.server;
  const acknowledged = [];
  const { acknowledge } = session;
  session.acknowledge = (cursor) => {
    if (cursor) acknowledged.push(cursor);
    acknowledge.call(session, cursor);
  };
  for (let number = 0; number < 120; number += 1) session.send("x");
  await world.clock.advance(2_000);
  assert.deepEqual(acknowledged, [50, 100, 120]);
});

test("batches shrink to the server's limit", async () => {
  const world = forbidding("websocket");
  Object.assign(world.server.options, { bytes: 1_500, batch: 100 });
  const channel = world.connect({ transports: ["long-poll"] });
  const sent = Array.from({ length: 30 }, (_, number) => `${number}`.padEnd(100, "."));
  for (const text of sent) channel.send(text);
  await world.until(() => world.server.session?.received.length === 30);
  assert.deepEqual(world.server.session.received, sent);
});

test("a message that is too large ends the session", async () => {
  const world = forbidding("websocket");
  world.server.options.bytes = 500;
  const channel = world.connect({ transports: ["event-stream"] });
  await world.opened(channel);
  channel.send("x".repeat(600));
  await world.until(() => channel.told("gap").length === 1);
  assert.equal(channel.told("reconnecting")[0].reason, "the message is too big");
  assert.equal(channel.told("gap")[0].uncertain.length, 1);
});

test("frames that were not taken are sent again", async () => {
  const world = new World({ server: { takes: 2 } });
  const channel = world.connect({ transports: ["long-poll"] });
  for (let number = 0; number < 7; number += 1) channel.send(`${number}`);
  await world.until(() => world.server.session?.received.length === 7);
  assert.deepEqual(world.server.session.received, ["0", "1", "2", "3", "4", "5", "6"]);
});

test("servers without sessions get plain WebSockets", async () => {
  const world = new World({ server: { plain: true } });
  world.server.onframe = (session, data) => session.send(data);
  const channel = world.connect();
  channel.send("\u0001 as it is");
  await world.until(() => channel.messages.length === 1);
  assert.deepEqual(world.server.session.received, ["\u0001 as it is"]);
  assert.equal(channel.bufferedAmount, 0);
  world.network.cutAll();
  await world.until(() => channel.state === "reconnecting");
  await world.opened(channel);
  assert.deepEqual(channel.told("gap").map(({ from, to, uncertain }) => [from, to, uncertain]), [[null, null, []]]);
  assert.deepEqual(channel.told("open").map(({ resumed }) => resumed), [false, false]);
});

test("plain connections have no pings and no fallback", async () => {
  const world = new World({ server: { plain: true } });
  const channel = world.connect({ plain: true, protocols: "graphql" });
  await world.opened(channel);
  assert.deepEqual(world.server.seen[0].protocols, ["graphql"]);
  assert.equal(channel.protocol, "graphql");
  await world.clock.advance(600_000);
  assert.equal(channel.state, "open");
  assert.deepEqual(world.server.session.received, []);
  world.network.forbids.add("websocket");
  world.network.cutAll();
  await world.clock.advance(60_000);
  assert.deepEqual(transports(world), ["websocket"]);
});

test("a refused subprotocol is retried without", async () => {
  const world = new World({ server: { plain: true } });
  const { WebSocket } = world.network;
  const strict = class extends WebSocket {
    constructor(url, protocols) {
      super(url, protocols);
      if (protocols.length > 0) this.close();
    }
  };
  world.server.refuse = (transport) => (transport === "websocket" ? null : { status: 404 });
  const channel = world.connect({ environment: { WebSocket: strict } });
  await world.opened(channel);
  assert.equal(channel.transport, "websocket");
});

test("requests to a busy server are paced", async () => {
  const world = new World({ server: { takes: 0 } });
  const channel = world.connect({ transports: ["event-stream"] });
  await world.opened(channel);
  channel.send("later");
  const before = world.server.seen.length;
  await world.clock.advance(10_000);
  assert(world.server.seen.length - before <= 42, `${world.server.seen.length - before} requests in ten seconds`);
  world.server.options.takes = 1;
  await world.until(() => world.server.session.received.length === 1);
});

test("a refused event stream falls back to polls", async () => {
  const world = new World();
  world.network.forbids.add("websocket");
  world.server.refuse = (transport) => (transport === "event-stream" ? { status: 403 } : null);
  const channel = world.connect();
  await world.opened(channel);
  assert.equal(channel.transport, "long-poll");
});
