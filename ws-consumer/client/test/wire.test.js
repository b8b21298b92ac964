// The bytes, without connections.

import assert from "node:assert/strict";
import { test } from "node:test";

import { EventParser, controlFrame, dataFrame, fromLines, readFrame, retryAfter, retryHint, toLines } from "../src/wire.js";
import { chance } from "./support/clock.js";

test("control objects and texts stay apart", () => {
  assert.deepEqual(readFrame(controlFrame({ ping: 1 })), { control: { ping: 1 } });
  for (const text of ["", "a", "\u0001", "\u0001{}", "\u0001\u0001", "{}"]) {
    assert.deepEqual(readFrame(dataFrame(text)), { data: text });
  }
  assert.equal(dataFrame("plain"), "plain");
  assert.throws(() => readFrame("\u0001 no JSON"), SyntaxError);
});

test("lines of a POST round-trip", () => {
  const bytes = new Uint8Array(20_000).map((_, index) => index * 7).buffer;
  const lines = toLines({ token: "t", cursor: 1 }, ["a\nb", "", bytes]);
  assert.equal(lines.split("\n").length, 5);
  assert.deepEqual(fromLines(lines), { control: { token: "t", cursor: 1 }, frames: ["a\nb", "", bytes] });
});

test("malformed answers are errors", () => {
  for (const text of ["", "<html>", "null\n", "1\n", "{}\n{}\n", '{}\n{"bytes":1}\n']) {
    assert.throws(() => fromLines(text), SyntaxError, text);
  }
});

const STREAM = ": hello\n\nid: t.1\ndata: a\ndata: b\n\nevent: text\r\nid: t.2\r\ndata:\"x\"\r\n\r\nretry: 5\rdata: last\r\rdata: cut";

test("event streams are parsed at any cut", () => {
  const expected = [
    { event: "message", id: "t.1", data: "a\nb" },
    { event: "text", id: "t.2", data: '"x"' },
    { event: "message", id: undefined, data: "last" },
  ];
  const random = chance(7);
  for (let round = 0; round < 500; round += 1) {
    const parser = new EventParser();
    const events = [];
    for (let at = 0; at < STREAM.length; ) {
      const next = at + 1 + Math.floor(random() * (round % 20));
      events.push(...parser.push(STREAM.slice(at, next)));
      at = next;
    }
    assert.deepEqual(events, expected);
  }
});

test("retry hints are parsed", () => {
  assert.equal(retryHint("retry-after=2.5"), 2.5);
  assert.equal(retryHint("retry-after=99999"), 600);
  for (const reason of ["", undefined, "5", "retry-after=", "retry-after=-1", "retry-after=1e9"]) {
    assert.equal(retryHint(reason), undefined);
  }
  assert.equal(retryAfter("3", 0), 3);
  assert.equal(retryAfter("Thu, 01 Jan 1970 00:00:10 GMT", 4_000), 6);
  assert.equal(retryAfter("Thu, 01 Jan 1970 00:00:10 GMT", 40_000), 0);
  for (const header of [null, "", "soon"]) assert.equal(retryAfter(header, 0), undefined);
});
