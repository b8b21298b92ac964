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

test("a WebSocket is taken where it works", async () => {
  const world = new World();
  const channel = world.connect();
  await world.opened(channel);
  assert.equal(channel.transport, "websocket");
  assert.deepEqual(transports(world), ["websocket"]);
});

for (const [forbidden, expected] of [
  [["websocket"], "sse"],
  [["websocket-silently"], "sse"],
  [["websocket", "sse"], "long-poll"],
  [["websocket", "sse-silently"], "long-poll"],
  [["websocket-silently", "sse-buffered"], "long-poll"],
]) {
  test(`behind a proxy that forbids ${forbidden.join(" and ")} it is ${expected}`, async () => {
    const world = forbidding(...forbidden);
    world.server.onframe = (session, data) => session.send(data);
    const channel = world.connect();
    channel.send("through");
    await world.until(() => channel.messages.length === 1);
    assert.equal(channel.transport, expected);
    assert.deepEqual(channel.told("reconnecting"), [], "all within the first round");
  });
}

test("the order is the application's", async () => {
  const world = new World();
  const channel = world.connect({ transports: ["poll", "websocket"] });
  await world.opened(channel);
  assert.equal(channel.transport, "poll");
});

test("a WebSocket that opens but lets no ping through is no proof: its session goes on elsewhere", async () => {
  const world = new World();
  const { websocket } = world.server;
  world.server.websocket = (...upgrade) => ({ ...websocket.apply(world.server, upgrade), message() {} });
  world.server.onopen = (session) => session.send("first");
  const channel = world.connect();
  channel.send("up");
  await world.opened(channel);
  await world.until(() => channel.messages.length === 1 && world.server.session.received.length === 1);
  assert.equal(channel.transport, "sse");
  assert.equal(world.server.sessions.length, 1, "the session that the WebSocket began");
  assert.deepEqual(channel.told("open").map(({ resumed }) => resumed), [false], "new to the application");
  assert.deepEqual(channel.told("gap"), []);
});

test("an event stream whose way up is blocked is no proof", async () => {
  const world = forbidding("websocket", "post");
  const channel = world.connect({ transports: ["websocket", "sse"] });
  await world.clock.advance(60_000);
  assert.notEqual(channel.state, "open");
  world.network.forbids.delete("post");
  await world.opened(channel);
  assert.equal(channel.transport, "sse");
});

test("a browser without WebSocket takes the event stream, one that cannot stream polls", async () => {
  const world = new World();
  const streams = world.connect({ environment: { WebSocket: undefined } });
  await world.opened(streams);
  assert.equal(streams.transport, "sse");
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

test("what worked is remembered for the address, until some hours have passed", async () => {
  const world = forbidding("websocket");
  await world.opened(world.connect());
  world.network.forbids.clear();
  const start = world.server.seen.length;
  await world.opened(world.connect());
  assert.equal(world.server.seen[start].transport, "sse");
  const elsewhere = world.connect({}, "/ws/elsewhere/");
  await world.opened(elsewhere);
  assert.equal(elsewhere.transport, "websocket");
  // To be used again does not make it younger: otherwise a better one would never be tried.
  await world.clock.advance(1.5 * 3_600_000);
  const again = world.connect();
  await world.opened(again);
  assert.equal(again.transport, "sse");
  await world.clock.advance(3_600_000);
  const later = world.connect();
  await world.opened(later);
  assert.equal(later.transport, "websocket");
});

test("what was remembered is forgotten when it fails", async () => {
  const world = forbidding("websocket");
  await world.opened(world.connect());
  world.network.forbids.clear();
  world.network.forbids.add("sse");
  const remembered = () => [...world.sessionStorage.values.values()].map((value) => JSON.parse(value).transport);
  assert.deepEqual(remembered(), ["sse"]);
  const channel = world.connect();
  await world.opened(channel);
  assert.equal(channel.transport, "websocket");
  assert.deepEqual(remembered(), ["websocket"]);
});

test("what was remembered is forgotten when everything fails", async () => {
  const world = forbidding("websocket");
  await world.opened(world.connect());
  world.network.down = true;
  const channel = world.connect();
  await world.until(() => channel.state === "reconnecting");
  assert.equal(world.sessionStorage.values.size, 0);
});

test("for an address from a function it is remembered by the page's", async () => {
  const world = forbidding("websocket");
  await world.opened(world.connect({}, () => "/ws/room/?ticket=1"));
  assert.deepEqual([...world.sessionStorage.values.keys()], ["channels-client https://host/page"]);
});

test("a storage that is forbidden or full does no harm", async () => {
  const world = forbidding("websocket");
  const fail = () => {
    throw new Error("forbidden");
  };
  const channel = world.connect({ environment: { sessionStorage: { getItem: fail, setItem: fail, removeItem: fail } } });
  await world.opened(channel);
});

test("a server that restarts does not drive its clients off the WebSocket", async () => {
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

test("a network that comes to forbid the WebSocket: the session goes on over the event stream", async () => {
  const world = new World();
  const channel = world.connect();
  await world.opened(channel);
  world.network.forbids.add("websocket");
  world.network.cutAll();
  world.server.session.send("still here");
  await world.until(() => channel.messages.length === 1);
  assert.equal(channel.transport, "sse");
  assert.equal(world.server.sessions.length, 1);
});

test("no secret is in an address, and a token is another at each carrier", async () => {
  const world = forbidding("websocket");
  const channel = world.connect();
  for (let round = 0; round < 3; round += 1) {
    await world.opened(channel);
    await world.clock.advance(10_000);
    world.network.cutAll();
    await world.until(() => channel.state !== "open");
  }
  const carriers = world.server.seen.filter(({ transport }) => transport === "sse");
  assert.equal(new Set(carriers.map(({ headers }) => headers["last-event-id"])).size, 3);
  for (const { url } of world.server.seen) assert(!url.includes("secret"), url);
  assert(![...world.sessionStorage.values.values()].some((value) => value.includes("secret")));
});

test("address, subprotocols and headers are asked for at every try", async () => {
  const world = forbidding("websocket");
  let tries = 0;
  const asked = [];
  const url = async (about) => {
    asked.push(about);
    return `/ws/room/?ticket=${(tries += 1)}`;
  };
  const protocols = ({ transport }) => (transport === "sse" ? ["chat.v2"] : ["chat.v2", `ticket.${tries}`]);
  const channel = world.connect({ protocols, headers: () => ({ authorization: `Bearer ${tries}` }) }, url);
  await world.opened(channel);
  assert.deepEqual(asked, [{ transport: "websocket", attempt: 0 }, { transport: "sse", attempt: 0 }]);
  const [carrier] = world.server.seen;
  assert.equal(carrier.url, "https://host/ws/room/?ticket=2&protocol=chat.v2");
  assert.equal(carrier.headers.authorization, "Bearer 2");
  assert.equal(channel.protocol, "chat.v2");
});

test("a function that fails is a try that failed, one that hangs is given up", async () => {
  const world = new World();
  const outcomes = [() => Promise.reject(new Error("no ticket")), () => new Promise(() => {}), () => "/ws/room/"];
  const channel = world.connect({ transports: ["websocket"] }, () => outcomes.shift()());
  await world.opened(channel);
  assert.deepEqual(channel.told("reconnecting").map(({ reason }) => reason), ["no ticket", "no proof within 10000 ms"]);
});

test("addresses may be relative, of HTTP or of WebSocket", async () => {
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

test("batches are bounded, and made smaller where the server takes less", async () => {
  const world = forbidding("websocket");
  Object.assign(world.server.options, { bytes: 1_500, batch: 100 });
  const channel = world.connect({ transports: ["long-poll"] });
  const sent = Array.from({ length: 30 }, (_, number) => `${number}`.padEnd(100, "."));
  for (const text of sent) channel.send(text);
  await world.until(() => world.server.session?.received.length === 30);
  assert.deepEqual(world.server.session.received, sent);
});

test("a message that the server never takes is the end of the session, as on a WebSocket", async () => {
  const world = forbidding("websocket");
  world.server.options.bytes = 500;
  const channel = world.connect({ transports: ["sse"] });
  await world.opened(channel);
  channel.send("x".repeat(600));
  await world.until(() => channel.told("gap").length === 1);
  assert.equal(channel.told("reconnecting")[0].reason, "the message is too big");
  assert.equal(channel.told("gap")[0].uncertain.length, 1);
});

test("a server that takes few frames at once gets the rest again", async () => {
  const world = new World({ server: { takes: 2 } });
  const channel = world.connect({ transports: ["long-poll"] });
  for (let number = 0; number < 7; number += 1) channel.send(`${number}`);
  await world.until(() => world.server.session?.received.length === 7);
  assert.deepEqual(world.server.session.received, ["0", "1", "2", "3", "4", "5", "6"]);
});

test("a server without sessions that takes a WebSocket is served by it, plainly", async () => {
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

test("plain connections are kept open by their server alone: no pings, no fallback", async () => {
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

test("where a browser breaks off because no subprotocol is taken, and HTTP is unknown, it tries without", async () => {
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

test("a server that takes nothing for a while is not asked without a pause", async () => {
  const world = new World({ server: { takes: 0 } });
  const channel = world.connect({ transports: ["sse"] });
  await world.opened(channel);
  channel.send("later");
  const before = world.server.seen.length;
  await world.clock.advance(10_000);
  assert(world.server.seen.length - before <= 42, `${world.server.seen.length - before} requests in ten seconds`);
  world.server.options.takes = 1;
  await world.until(() => world.server.session.received.length === 1);
});

test("where an event stream is refused because a browser does not say whose page it is, it polls", async () => {
  const world = new World();
  world.network.forbids.add("websocket");
  world.server.refuse = (transport) => (transport === "sse" ? { status: 403 } : null);
  const channel = world.connect();
  await world.opened(channel);
  assert.equal(channel.transport, "long-poll");
});
