// Where pages really run: workers, blobs, addresses with passwords, other engines, and none at all.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { promisify } from "node:util";

import { aimAt, namesOf } from "../src/address.js";
import { listen } from "./support/sockets.js";
import { World } from "./support/world.js";

const client = new URL("..", import.meta.url);
const run = (script) => promisify(execFile)(process.execPath, ["--input-type=module", "-e", script], { cwd: client, timeout: 20_000 });

const at = (href, baseURI) => ({ location: { href }, document: baseURI && { baseURI } });
const WORKER = at("https://host/static/worker.js");
const BASIC = `Basic ${Buffer.from("user:pä:ß").toString("base64")}`;

const ADDRESSES = [
  ["a path", "/ws/", WORKER, "https://host/ws/"],
  ["a path beside the page", "ws/", WORKER, "https://host/static/ws/"],
  ["a query alone", "?a=1", WORKER, "https://host/static/worker.js?a=1"],
  ["another host", "//other/ws/", WORKER, "https://other/ws/"],
  ["a WebSocket's", "ws://other:81/ws/?a=ws#part", WORKER, "http://other:81/ws/?a=ws"],
  ["a secure WebSocket's", "WSS://other/ws/", WORKER, "https://other/ws/"],
  ["one of HTTP, with spaces around", " http://other/ws/\n", {}, "http://other/ws/"],
  ["a URL", new URL("wss://other/ws/"), {}, "https://other/ws/"],
  ["IPv6", "ws://[::1]:8000/ws/", {}, "http://[::1]:8000/ws/"],
  ["a blob's page", "/ws/", at("blob:https://host:444/5e3a"), "https://host:444/ws/"],
  ["a blob's page, relative", "ws/", at("blob:https://host/5e3a"), "https://host/ws/"],
  ["a frame with no address of its own", "/ws/", at("about:srcdoc", "https://host/page"), "https://host/ws/"],
  ["a page with a password", "/ws/", at("https://user:p%C3%A4:%C3%9F@host/page"), "https://host/ws/", BASIC],
  ["a password in the address", "wss://user:p%C3%A4:%C3%9F@host/ws/", {}, "https://host/ws/", BASIC],
  ["a name alone", "http://user@host/", {}, "http://host/", `Basic ${btoa("user:")}`],
  ["a password that is no UTF-8", "http://u:%ff@host/", {}, "http://host/", `Basic ${btoa("u:%ff")}`],
  ["an @ behind the host", "http://host/@a?b@c", {}, "http://host/@a?b@c"],
];

for (const [what, address, environment, url, authorization] of ADDRESSES) {
  test(`an address can be ${what}`, () => {
    const aim = aimAt(address, { accept: "x" }, environment);
    assert.equal(aim.url, url);
    assert.deepEqual(aim.headers, { accept: "x", ...(authorization && { authorization }) });
    const socket = new URL(aim.socketUrl);
    assert.equal(socket.protocol, url.startsWith("https") ? "wss:" : "ws:");
    assert.equal(socket.username !== "", authorization !== undefined);
    assert.equal(aimAt(address, { Authorization: "mine" }, environment).headers.authorization, undefined);
  });
}

const NO_ADDRESSES = [
  ["nothing", undefined, WORKER, /neither a text nor a URL/],
  ["null", null, WORKER, /neither/],
  ["a number", 8000, WORKER, /neither/],
  ["an empty text", "", WORKER, /neither/],
  ["an object", {}, WORKER, /neither/],
  ["a path without a page", "/ws/", {}, /no page that it could be relative to/],
  ["a path of a file's page", "/ws/", at("file:///home/me/page.html"), /"file:\S+" is no base/],
  ["a path of a page made from data", "/ws/", at("data:text/javascript,1"), /is no base/],
  ["a path of a blob of nowhere", "/ws/", at("blob:null/5e3a"), /is no base/],
  ["a host without a scheme", "localhost:8000/ws/", WORKER, /scheme/],
  ["another scheme", "ftp://host/ws/", WORKER, /scheme/],
  ["a script", "javascript:alert(1)", WORKER, /scheme/],
  ["no host", "http://", WORKER, /cannot be read/],
  ["a port that is none", "ws://user:secret@host:99999/", WORKER, /^"ws:\/\/\.\.\.@host:99999\/"/],
  ["a host that is none", "ws://a b/", WORKER, /cannot be read/],
];

for (const [what, address, environment, message] of NO_ADDRESSES) {
  test(`${what} is an invalid address`, async () => {
    for (const given of [address ?? null, () => address, async () => address]) {
      const world = new World();
      const channel = world.connect({ environment: { location: undefined, document: undefined, ...environment } }, given);
      const reply = assert.rejects(channel.request("hello"), ({ code }) => code === "closed");
      await world.clock.advance(600_000);
      assert.equal(channel.state, "closed");
      const [{ code, reason, wasClean }] = channel.told("close");
      assert.deepEqual([code, wasClean], [1006, false]);
      assert.match(reason, message);
      assert.doesNotMatch(reason, /secret/);
      assert.deepEqual(channel.log.map(({ type }) => type), ["statechange", "close"]);
      assert.equal(world.server.seen.length, 0);
      await reply;
    }
  });
}

test("invalid subprotocols and missing transports are errors", async () => {
  assert.deepEqual(namesOf(["b", "a", "b"]), ["b", "a"]);
  assert.deepEqual([namesOf(), namesOf("chat+json")], [[], ["chat+json"]]);
  const wrong = [
    [{ protocols: ["a b"] }, /"a b" is no subprotocol/],
    [{ protocols: "" }, /"" is no subprotocol/],
    [{ protocols: [undefined] }, /undefined is no subprotocol/],
    [{ transports: ["carrier-pigeon"] }, /none of the transports "carrier-pigeon"/],
    [{ transports: [] }, /none of the transports/],
    [{ environment: { WebSocket: undefined, fetch: undefined } }, /none of the transports "websocket,event-stream,long-poll"/],
  ];
  for (const [options, message] of wrong) {
    const world = new World();
    const channel = world.connect(options);
    await world.clock.advance(600_000);
    assert.match(channel.told("close")[0].reason, message);
    assert.deepEqual(channel.told("reconnecting"), []);
  }
});

test("a failing address function is called again", async () => {
  const world = new World();
  let tries = 0;
  const channel = world.connect({}, async () => {
    tries += 1;
    if (tries < 3) throw new TypeError("Failed to fetch");
    return "/ws/chat/lobby/";
  });
  await world.opened(channel);
  assert.equal(channel.state, "open");
});

test("shouldReconnect may override an invalid address", async () => {
  const world = new World();
  let address = "";
  const channel = world.connect({ shouldReconnect: () => true }, () => address);
  await world.until(() => channel.told("reconnecting").length === 2);
  address = "/ws/chat/lobby/";
  await world.opened(channel);
});

test("a password in the page's address works", async () => {
  for (const transport of ["websocket", "event-stream", "long-poll", "poll"]) {
    const world = new World();
    const fetch = (url, options) => {
      // As browsers do.
      if (new URL(url).username) throw new TypeError("Request cannot be constructed from a URL that includes credentials");
      assert.equal(options.headers.authorization, `Basic ${btoa("me:secret")}`);
      return world.network.fetch(url, options);
    };
    const environment = { fetch, location: { href: "https://me:secret@host/page" } };
    const channel = world.connect({ transports: [transport], environment });
    channel.send("hello");
    await world.until(() => world.server.session?.received.length === 1, transport);
    channel.close();
    await world.clock.advance(1_000);
    assert.equal(world.server.session.left.code, 1000);
  }
});

test("a worker notices the network without events", async () => {
  for (const navigator of [{ onLine: false }, undefined, {}]) {
    const world = new World();
    world.network.down = true;
    const environment = { window: undefined, document: undefined, sessionStorage: undefined, location: WORKER.location, navigator };
    const channel = world.connect({ environment: { ...environment, random: () => 0.999 } });
    await world.clock.advance(120_000);
    assert.equal(channel.state, navigator?.onLine === false ? "offline" : "reconnecting");
    world.network.down = false;
    if (navigator) navigator.onLine = true;
    await world.clock.advance(31_000);
    assert.equal(channel.state, "open");
  }
});

test("a wrong offline state does not block", async () => {
  const world = new World();
  world.navigator.onLine = false;
  const channel = world.connect({ environment: { random: () => 0.999 } });
  await world.clock.advance(200);
  assert.equal(channel.state, "open");
  world.network.down = true;
  world.network.cutAll();
  await world.clock.advance(5_000);
  assert.equal(channel.state, "offline");
  world.network.down = false;
  await world.clock.advance(30_000);
  assert.equal(channel.state, "open", "it is tried at the longest wait");
  assert.deepEqual(channel.told("gap"), []);
});

test("a new network ends the wait", async () => {
  const world = new World();
  world.navigator.onLine = false;
  world.network.down = true;
  const channel = world.connect({ environment: { random: () => 0.999 } });
  await world.clock.advance(5_000);
  world.network.down = false;
  world.navigator.onLine = true;
  await world.clock.advance(1_500);
  assert.equal(channel.state, "open");
});

// As React Native had it: no setters, no parts, and a slash at the end of what it parses.
const OTHER_ENGINE = `
  globalThis.URL = class URL {
    #href;
    constructor(text, base) {
      if (base !== undefined) throw new Error("URL with a base is not implemented");
      this.#href = text.endsWith("/") ? text : text + "/";
    }
    get href() { return this.#href; }
    get protocol() { throw new Error("URL.protocol is not implemented"); }
    get origin() { throw new Error("URL.origin is not implemented"); }
    get pathname() { throw new Error("URL.pathname is not implemented"); }
    get searchParams() { throw new Error("URL.searchParams is not implemented"); }
  };
  for (const name of ["EventTarget", "Event", "TextEncoder", "TextDecoder", "ReadableStream", "location", "document"]) {
    Object.defineProperty(globalThis, name, { value: undefined });
  }
  delete String.prototype.toWellFormed;
`;

test("a minimal environment is enough", async () => {
  const server = await listen();
  server.mock.onframe = (session, data) => session.send(data);
  const script = `
    import { request } from "node:http";
    ${OTHER_ENGINE}
    const { connect } = await import("./channels.js");
    const urls = [];
    const fetch = (url, { method, headers, body, signal }) => new Promise((resolve, reject) => {
      urls.push(url);
      const sent = request(url, { method, headers, signal }, async (answer) => {
        const text = (await answer.toArray()).join("");
        resolve({ status: answer.statusCode, headers: { get: () => null }, text: async () => text });
      });
      sent.on("error", reject).end(body);
    });
    const channel = connect(${JSON.stringify(`${server.url}?room=a`)}, { protocols: "chat+json", environment: { WebSocket: undefined, fetch } });
    const told = [];
    const errors = [];
    process.on("uncaughtException", (error) => errors.push(error.message));
    for (const name of ["open", "message", "close"]) channel.addEventListener(name, (event) => told.push(event));
    channel.addEventListener("open", () => { throw new Error("a listener's"); });
    channel.send({ a: "\\ud83d" });
    await new Promise((resolve) => channel.addEventListener("message", { handleEvent: resolve }, { once: true }));
    channel.close(4000, "é".repeat(100));
    const [open, message, close] = told;
    console.log(JSON.stringify([open.transport, message.json(), message.target === channel, close.reason.length, urls[0].split("/").pop(), errors]));
  `;
  const { stdout } = await run(script);
  server.close();
  const expected = ["long-poll", { a: "\ufffd" }, true, 61, "?room=a&protocol=chat%2Bjson", ["a listener's"]];
  assert.deepEqual(JSON.parse(stdout), expected);
  assert.equal(server.mock.session.left.code, 4000);
});

test("an import has no side effects", async () => {
  const script = `
    const before = new Set(Object.getOwnPropertyNames(globalThis));
    const touched = [];
    for (const name of ["window", "document", "navigator", "location", "sessionStorage", "WebSocket", "fetch", "setTimeout"]) {
      const value = globalThis[name];
      Object.defineProperty(globalThis, name, { get: () => (touched.push(name), value), configurable: true });
    }
    const { connect } = await import("./channels.js");
    console.log(JSON.stringify(touched), Object.getOwnPropertyNames(globalThis).filter((name) => !before.has(name)).length <= 8);
    const channel = connect("/ws/");
    channel.addEventListener("close", ({ reason }) => console.log(reason));
  `;
  const { stdout, stderr } = await run(script);
  assert.equal(stdout.split("\n")[0].split(" ")[0], "[]");
  assert.match(stdout, /"\/ws\/" is no address of a channel: it is relative/);
  assert.equal(stderr, "");
});
