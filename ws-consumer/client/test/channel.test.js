// What an application sees of a channel: events, messages, gaps, requests, its end.

import assert from "node:assert/strict";
import { test } from "node:test";

import { ChannelError } from "../channels.js";
import { World } from "./support/world.js";

const TRANSPORTS = ["websocket", "event-stream", "long-poll", "poll"];

for (const transport of TRANSPORTS) {
  test(`${transport}: texts, bytes and objects arrive both ways`, async () => {
    const world = new World();
    world.server.onframe = (session, data) => session.send(data);
    const channel = world.connect({ transports: [transport] });
    const bytes = new Uint8Array([0, 1, 254, 255]);
    const sent = ["", "\u0001 marked", "a\r\nb\rc\nd", "汉字 🎉", "half \ud800"];
    for (const text of sent) channel.send(text);
    channel.send({ type: "chat", text: "hi" });
    channel.send(bytes.subarray(1, 3));
    channel.send(bytes.buffer);
    bytes.fill(7);
    await world.until(() => channel.messages.length === 8);
    assert.deepEqual(channel.messages.slice(0, 5), [...sent.slice(0, 4), "half \ufffd"]);
    assert.deepEqual(channel.told("message")[5].json(), { type: "chat", text: "hi" });
    assert.deepEqual([...new Uint8Array(channel.messages[6])], [1, 254]);
    assert.deepEqual([...new Uint8Array(channel.messages[7])], [0, 1, 254, 255]);
    assert.throws(() => channel.told("message")[6].json(), TypeError);
  });

  test(`${transport}: waiting frames are acknowledged and dropped`, async () => {
    const world = new World({ server: { ackEvery: 1 } });
    const channel = world.connect({ transports: [transport] });
    channel.send("12345");
    assert.equal(channel.bufferedAmount, 5);
    await world.opened(channel);
    world.server.session.send("hello");
    await world.clock.advance(30_000);
    assert.equal(channel.bufferedAmount, 0);
    assert.equal(world.server.session.log.length, 0, "the server need not keep it");
  });

  test(`${transport}: a lost session is a gap`, async () => {
    const world = new World({ server: { ackEvery: 1_000 } });
    const channel = world.connect({ transports: [transport] });
    await world.opened(channel);
    world.server.session.send("before");
    await world.until(() => channel.messages.length === 1);
    channel.send("perhaps");
    world.network.down = true;
    world.network.cutAll();
    world.server.forgetAll();
    await world.until(() => channel.state === "reconnecting");
    channel.send("certainly");
    channel.addEventListener("gap", ({ uncertain }) => uncertain.forEach((data) => channel.send(`again ${data}`)));
    world.network.down = false;
    await world.opened(channel);
    await world.until(() => world.server.session.received.length === 2);
    assert.deepEqual(world.server.session.received, ["again perhaps", "certainly"]);
    const [{ from, to, uncertain }] = channel.told("gap");
    assert.deepEqual([from, to, uncertain], [2, null, ["perhaps"]]);
    assert.deepEqual(channel.told("open").map(({ resumed }) => resumed), [false, false]);
    world.server.session.send("after");
    await world.until(() => channel.messages.length === 2);
  });

  test(`${transport}: frames dropped from the log are a gap`, async () => {
    const world = new World({ server: { log: 3 } });
    const channel = world.connect({ transports: [transport] });
    await world.opened(channel);
    const { session } = world.server;
    world.network.down = true;
    world.network.cutAll();
    for (let number = 1; number <= 5; number += 1) session.send(`${number}`);
    await world.clock.advance(60_000);
    world.network.down = false;
    await world.until(() => channel.messages.length === 3);
    assert.deepEqual(channel.messages, ["3", "4", "5"]);
    assert.deepEqual(channel.told("gap").map(({ from, to, uncertain }) => [from, to, uncertain]), [[1, 2, []]]);
    assert.equal(channel.told("gap").length, 1);
  });

  test(`${transport}: a final close comes after the last message`, async () => {
    const world = new World();
    const channel = world.connect({ transports: [transport] });
    world.server.onopen = (session) => {
      session.send("goodbye");
      session.close(4001, "kicked");
    };
    await world.until(() => channel.state === "closed");
    await world.clock.advance(600_000);
    const [{ code, reason, wasClean }] = channel.told("close");
    assert.deepEqual([code, reason, wasClean], [4001, "kicked", true]);
    assert.equal(world.server.sessions.length, 1, "it does not come back");
    if (transport === "websocket" || transport === "event-stream") assert.deepEqual(channel.messages, ["goodbye"]);
  });

  test(`${transport}: close ends the session after earlier messages`, async () => {
    const world = new World();
    const channel = world.connect({ transports: [transport] });
    await world.opened(channel);
    channel.send("last words");
    channel.close(3001, "done");
    assert.equal(channel.state, "closed");
    await world.clock.advance(60_000);
    assert.deepEqual(world.server.session.received, ["last words"]);
    assert.equal(world.server.session.left?.code, 3001);
    assert.equal(world.network.open.size, 0);
    assert.equal(channel.told("close").length, 1);
    assert.throws(() => channel.send("late"), (error) => error instanceof ChannelError && error.code === "closed");
  });
}

test("events come in order, with their fields", async () => {
  const world = new World();
  const channel = world.connect({ transports: ["websocket"] });
  assert.equal(channel.state, "connecting");
  assert.equal(channel.transport, null);
  await world.opened(channel);
  assert.equal(channel.transport, "websocket");
  world.network.cutAll();
  await world.until(() => channel.state === "reconnecting");
  await world.opened(channel);
  const told = channel.log.map(({ type, state, transport, resumed, attempt }) => [type, state ?? transport ?? attempt, resumed]);
  assert.deepEqual(told, [
    ["statechange", "open", undefined],
    ["open", "websocket", false],
    ["statechange", "reconnecting", undefined],
    ["reconnecting", 1, undefined],
    ["statechange", "open", undefined],
    ["open", "websocket", true],
    ["resumed", "websocket", undefined],
  ]);
});

test("final and temporary closes", async () => {
  const final = [1000, 1008, 4000, 4001, 4999];
  const passing = [1001, 1005, 1009, 1011, 1012, 1013];
  for (const code of [...final, ...passing]) {
    const world = new World();
    const channel = world.connect({ transports: ["websocket"] });
    await world.opened(channel);
    world.server.session.close(code, "");
    await world.until(() => channel.state !== "open");
    assert.equal(channel.state, final.includes(code) ? "closed" : "reconnecting", `${code}`);
    channel.close();
  }
});

test("a replaced carrier resumes without loss", async () => {
  const world = new World();
  const channel = world.connect({ transports: ["websocket"] });
  await world.opened(channel);
  world.server.session.carrier.takenOver();
  world.server.session.carrier = null;
  world.server.session.send("meanwhile");
  await world.until(() => channel.messages.length === 1);
  assert.equal(channel.told("resumed").length, 1);
  assert.deepEqual(channel.told("gap"), []);
});

test("shouldReconnect decides instead", async () => {
  const world = new World();
  const asked = [];
  const shouldReconnect = (why) => {
    asked.push(why);
    return why.code === 4001;
  };
  const channel = world.connect({ transports: ["websocket"], shouldReconnect });
  await world.opened(channel);
  world.server.session.close(4001, "token expired");
  await world.until(() => channel.state === "reconnecting");
  await world.opened(channel);
  world.server.session.close(1012, "");
  await world.until(() => channel.state === "closed");
  assert.deepEqual(asked.map(({ code, reason }) => [code, reason]), [[4001, "token expired"], [1012, ""]]);
});

for (const status of [400, 401, 403, 404]) {
  test(`a refusal with ${status} is final`, async () => {
    const world = new World();
    world.server.refuse = () => ({ status });
    const channel = world.connect();
    await world.until(() => channel.state === "closed");
    assert.equal(channel.told("close")[0].status, status);
    assert.equal(channel.told("close")[0].wasClean, false);
  });
}

test("the text of a 400 is the reason", async () => {
  const world = new World();
  world.server.refuse = () => ({ status: 400, headers: { "content-type": "text/plain" }, body: "query: no `room`" });
  const channel = world.connect({ transports: ["long-poll"] });
  await world.until(() => channel.state === "closed");
  assert.equal(channel.told("close")[0].reason, "query: no `room`");
});

test("a full buffer throws and recovers", async () => {
  const world = new World({ server: { ackEvery: 1 } });
  const channel = world.connect({ maxMessages: 3, maxBytes: 10 });
  channel.send("12345");
  assert.throws(() => channel.send("123456"), (error) => error.code === "buffer-full");
  channel.send("a");
  channel.send("b");
  assert.throws(() => channel.send(""), (error) => error.code === "buffer-full");
  assert.equal(channel.bufferedAmount, 7);
  await world.until(() => channel.bufferedAmount === 0);
  channel.send("c");
  await world.clock.advance(1_000);
  assert.deepEqual(world.server.session.received, ["12345", "a", "b", "c"]);
});

test("a value without JSON is an error", () => {
  const channel = new World().connect();
  assert.throws(() => channel.send(undefined), TypeError);
  assert.equal(channel.state, "connecting");
  channel.close();
});

test("duplicates are dropped", async () => {
  const world = new World();
  const channel = world.connect({ transports: ["websocket"] });
  await world.opened(channel);
  const { session } = world.server;
  for (const text of ["1", "2", "3"]) session.send(text);
  await world.until(() => channel.messages.length === 3);
  // As a server that forgot what it was told: it begins again with the first.
  const resume = session.resume.bind(session);
  session.acknowledge = () => {};
  Object.assign(session, { log: ["1", "2", "3", "4"], base: 1, resume: (carrier) => resume(carrier, 0) });
  world.network.cutAll();
  await world.until(() => channel.messages.length === 4);
  assert.deepEqual(channel.messages, ["1", "2", "3", "4"]);
  assert.deepEqual(channel.told("gap"), []);
});

test("a session that lost acknowledged frames is a gap", async () => {
  const world = new World({ server: { ackEvery: 1 } });
  const channel = world.connect({ transports: ["websocket"] });
  channel.send("acknowledged");
  await world.until(() => world.server.session?.ack === 1 && channel.bufferedAmount === 0);
  world.server.session.ack = 0;
  world.network.cutAll();
  await world.until(() => channel.told("gap").length === 1);
  await world.opened(channel);
  assert.equal(world.server.sessions.length, 2);
});

test("malformed frames end the carrier only", async () => {
  const nonsense = ["\u0001", "\u0001[", "\u0001null", '\u0001{"open":1}', '\u0001{"gap":{"to":1}}', '\u0001{"gap":null,"open":null}', "early"];
  for (const text of nonsense) {
    const world = new World();
    const { websocket } = world.server;
    let first = true;
    world.server.websocket = (conn, ...rest) => {
      if (first) conn.send(text);
      first = false;
      return websocket.call(world.server, conn, ...rest);
    };
    const channel = world.connect({ transports: ["websocket"] });
    await world.opened(channel);
    world.server.session.send("fine");
    await world.until(() => channel.messages.includes("fine"), text);
    assert.deepEqual(channel.messages, ["fine"], text);
  }
});

test("malformed answers end the carrier only", async () => {
  const { body: page, ...head } = { status: 200, headers: { "content-type": "text/html" }, body: "<html>please log in</html>" };
  for (const body of [page, "", "1\n", '{"open":{}}\n5\n', '{"gap":null,"close":5}\n{}\n']) {
    const world = new World();
    const { handle } = world.server;
    const channel = world.connect({ transports: ["long-poll"] });
    await world.opened(channel);
    world.server.handle = async () => ({ ...head, body });
    channel.send("up");
    await world.until(() => channel.state === "reconnecting");
    world.server.handle = handle;
    await world.until(() => world.server.session.received.length === 1);
    assert.equal(world.server.sessions.length, 1, body);
  }
});

test("a gap at the end is reported at once", async () => {
  const world = new World({ server: { log: 0 } });
  const channel = world.connect({ transports: ["websocket"] });
  await world.opened(channel);
  world.network.down = true;
  world.network.cutAll();
  world.server.session.send("lost");
  await world.until(() => channel.state === "reconnecting");
  world.network.down = false;
  await world.opened(channel);
  assert.deepEqual(channel.told("gap").map(({ from, to }) => [from, to]), [[1, 1]]);
});

test("missing numbers are gaps", async () => {
  const world = new World();
  const channel = world.connect({ transports: ["event-stream"] });
  await world.opened(channel);
  world.server.session.carrier.frame(4, "fourth");
  await world.until(() => channel.messages.length === 1);
  assert.deepEqual(channel.told("gap").map(({ from, to }) => [from, to]), [[1, 3]]);
});

test("a closed channel removes its listeners", async () => {
  const world = new World();
  const listening = new Set();
  for (const target of [world.window, world.document]) {
    target.addEventListener = (name, listener) => listening.add(listener);
    target.removeEventListener = (name, listener) => listening.delete(listener);
  }
  const channel = world.connect();
  await world.opened(channel);
  assert.equal(listening.size, 5);
  channel.close();
  assert.equal(listening.size, 0);
});

test("a session survives a server's 1001", async () => {
  for (const code of [1001, 1012, 1013]) {
    const world = new World();
    const channel = world.connect({ transports: ["websocket"] });
    await world.opened(channel);
    const { session } = world.server;
    session.carrier.close({ code, reason: "" });
    session.carrier = null;
    session.send("kept");
    await world.until(() => channel.messages.length === 1);
    assert.deepEqual(channel.told("gap"), []);
    assert.equal(channel.told("resumed").length, 1);
  }
});

test("a session closed at its resumption stays closed", async () => {
  const world = new World();
  const channel = world.connect({ transports: ["websocket"] });
  await world.opened(channel);
  const { session } = world.server;
  const resume = session.resume.bind(session);
  session.resume = (carrier, cursor) => {
    resume(carrier, cursor);
    carrier.close({ code: 1012, reason: "" });
    return session;
  };
  session.carrier.close({ code: 1012, reason: "" });
  await world.until(() => world.server.sessions.length === 2);
  await world.opened(channel);
  assert.equal(channel.told("gap").length, 1);
});

test("invalid numbers are ignored", async () => {
  for (const first of ["2", "x", 1.5, {}]) {
    const world = new World();
    const { handle } = world.server;
    const channel = world.connect({ transports: ["long-poll"] });
    await world.opened(channel);
    world.server.handle = async () => ({ status: 200, headers: {}, body: `{"first":${JSON.stringify(first)}}\n"odd"\n` });
    await world.clock.advance(11_000);
    world.server.handle = handle;
    world.server.session.send("fine");
    await world.until(() => channel.messages.includes("fine"), `${first}`);
    assert.equal(world.server.sessions.length, 1, `${first}`);
  }
});

test("invalid heartbeats are limited", async () => {
  for (const heartbeat of [1e12, 1e-6, -5, "soon", NaN]) {
    const world = new World({ server: { heartbeat } });
    let timers = 0;
    const setTimeout = (callback, delay) => {
      timers += 1;
      // As browsers do: what is no number of milliseconds, or needs more than 31 bits, is due at once. No more than shows it.
      if (timers < 1_000) return world.clock.setTimeout(callback, delay > 0 && delay < 2 ** 31 ? delay : 0);
    };
    const channel = world.connect({ transports: ["websocket"], environment: { setTimeout } });
    await world.opened(channel);
    await world.clock.advance(10_000);
    assert(timers < 50, `${heartbeat}: ${timers} timers in ten seconds`);
    channel.close();
  }
});
