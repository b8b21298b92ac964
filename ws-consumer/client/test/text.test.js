// Texts as they are sent: halves of surrogate pairs, and what fits into so many bytes.

import assert from "node:assert/strict";
import { test } from "node:test";

import { frameOf } from "../src/session.js";
import { byteLength, cutToBytes, jsonOf, wellFormed } from "../src/text.js";
import { chance } from "./support/clock.js";
import { World } from "./support/world.js";

const HALF = "\ud83d";
const HALVES = [
  ["a value", { message: HALF }, '{"message":"\ufffd"}'],
  ["the other half", { message: "\ude00" }, '{"message":"\ufffd"}'],
  ["the halves in the wrong order", ["\ude00\ud83d"], '["\ufffd\ufffd"]'],
  ["a key", { [HALF]: 1 }, '{"\ufffd":1}'],
  ["what is nested", { a: [{ b: { [`x${HALF}`]: [`${HALF}y`] } }] }, '{"a":[{"b":{"x\ufffd":["\ufffdy"]}}]}'],
  ["what toJSON returns", { toJSON: () => HALF }, '"\ufffd"'],
  ["a whole pair", { a: "\ud83d\ude00" }, '{"a":"\ud83d\ude00"}'],
  ["a half before a pair", { a: "\ud83d\ud83d\ude00" }, '{"a":"\ufffd\ud83d\ude00"}'],
  ["the text of an escape", { a: "\\ud83d" }, '{"a":"\\\\ud83d"}'],
  ["a backslash before a half", { a: `\\${HALF}` }, '{"a":"\\\\\ufffd"}'],
  ["a half after quotes and controls", { a: `"\n\u0001${HALF}` }, '{"a":"\\"\\n\\u0001\ufffd"}'],
];

for (const [what, value, json] of HALVES) {
  test(`JSON has no half of a pair: ${what}`, () => {
    assert.equal(jsonOf(value), json);
    assert.deepEqual(frameOf(value), { data: json, size: Buffer.byteLength(json) });
    assert.doesNotMatch(json, /\p{Surrogate}/u);
  });
}

test("half an emoji arrives as U+FFFD", async () => {
  for (const transport of ["websocket", "event-stream", "long-poll", "poll"]) {
    const world = new World();
    const channel = world.connect({ transports: [transport], onrequest: () => `half ${HALF}` });
    channel.send(HALF);
    channel.send({ message: HALF });
    channel.request(HALF).catch(() => {});
    await world.until(() => world.server.session?.received.length === 3);
    world.server.session.send('{"ref":7,"request":1}');
    await world.until(() => world.server.session.received.length === 4);
    const expected = ["\ufffd", '{"message":"\ufffd"}', '{"ref":1,"request":"\ufffd"}', '{"ref":7,"reply":"half \ufffd"}'];
    assert.deepEqual(world.server.session.received, expected, transport);
    channel.close();
  }
});

test("well-formedness without toWellFormed", () => {
  const { toWellFormed } = String.prototype;
  const texts = [HALF, "a\ud83d\ude00b", "\ude00\ud83d", "", "汉"];
  const native = texts.map(wellFormed);
  delete String.prototype.toWellFormed;
  try {
    assert.deepEqual(texts.map(wellFormed), native);
    assert.deepEqual(native, ["\ufffd", "a\ud83d\ude00b", "\ufffd\ufffd", "", "汉"]);
  } finally {
    if (toWellFormed) Object.defineProperty(String.prototype, "toWellFormed", { value: toWellFormed, configurable: true, writable: true });
  }
});

test("texts are counted and cut in UTF-8", () => {
  const random = chance(5);
  const chars = ["a", "\u007f", "\u0080", "é", "\u07ff", "\u0800", "汉", "\uffff", "\ud83d\ude00"];
  for (let round = 0; round < 500; round += 1) {
    const text = Array.from({ length: random() * 60 }, () => chars[Math.floor(random() * chars.length)]).join("");
    assert.equal(byteLength(text), Buffer.byteLength(text));
    const most = Math.floor(random() * 130);
    const cut = cutToBytes(text, most);
    assert(text.startsWith(cut) && Buffer.byteLength(cut) <= most);
    const next = [...text.slice(cut.length)][0];
    assert(next === undefined || Buffer.byteLength(cut + next) > most, "as much as fits");
  }
});
