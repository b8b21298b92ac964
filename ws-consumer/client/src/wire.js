// The bytes of the protocol `channels.v1`, without sockets, clocks and sessions.

/** The subprotocol that asks for a session. */
export const PROTOCOL = "channels.v1";

/** The close code of a carrier that another carrier of the same session replaces: the session goes on. */
export const TAKEN_OVER = 4408;

const MARK = "\u0001";

/** A control object as a WebSocket's text frame. */
export const controlFrame = (control) => MARK + JSON.stringify(control);

/** Data as a WebSocket's frame. A text that begins with the mark gets another one. */
export const dataFrame = (data) => (typeof data === "string" && data.startsWith(MARK) ? MARK + data : data);

/** The content of a WebSocket's frame: `{control}` or `{data}`. Throws SyntaxError for a mark without JSON behind it. */
export function readFrame(data) {
  if (typeof data !== "string" || !data.startsWith(MARK)) return { data };
  if (data.startsWith(MARK, 1)) return { data: data.slice(1) };
  return { control: objectOf(JSON.parse(data.slice(1))) };
}

function objectOf(value) {
  if (value === null || typeof value !== "object") throw new SyntaxError("no control object");
  return value;
}

/** The body of a POST: a control object, then frames, a line each. */
export const toLines = (control, frames) => [lineOf(control), ...frames.map(frameLine)].join("");

/** A frame as a line. */
export const frameLine = (data) => lineOf(typeof data === "string" ? data : { bytes: toBase64(data) });

const lineOf = (value) => `${JSON.stringify(value)}\n`;

/** The answer to a POST. Throws SyntaxError for other bodies, such as a proxy's page. */
export function fromLines(text) {
  const [control, ...frames] = text.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line));
  return { control: objectOf(control), frames: frames.map(fromLine) };
}

function fromLine(line) {
  if (typeof line === "string") return line;
  if (typeof line?.bytes !== "string") throw new SyntaxError("a line that is no frame");
  return fromBase64(line.bytes);
}

export function fromBase64(text) {
  return Uint8Array.from(atob(text), (char) => char.charCodeAt(0)).buffer;
}

function toBase64(buffer) {
  const bytes = new Uint8Array(buffer);
  let binary = "";
  // In pieces: the number of a call's arguments is limited.
  for (let at = 0; at < bytes.length; at += 8192) binary += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(binary);
}

/** Splits an event stream's text, however it is cut, into `{event, data, id}`. */
export class EventParser {
  #rest = "";
  #fields = {};

  push(chunk) {
    // A carriage return at the end may be the first half of a line's end.
    const lines = (this.#rest + chunk).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop();
    return lines.map((line) => this.#line(line)).filter((event) => event !== null);
  }

  #line(line) {
    if (line === "") return this.#dispatch();
    const [, name, value] = /^([^:]*):? ?([^]*)$/.exec(line);
    if (name === "data") (this.#fields.data ??= []).push(value);
    else if (name === "event" || name === "id") this.#fields[name] = value;
    return null;
  }

  #dispatch() {
    const { event = "message", data, id } = this.#fields;
    this.#fields = {};
    return data === undefined ? null : { event, id, data: data.join("\n") };
  }
}

/** Seconds to wait, from a `Retry-After` header: a number or a date; undefined without. */
export function retryAfter(header, now) {
  const seconds = /^[\d.]+$/.test(header ?? "") ? Number(header) : (Date.parse(header) - now) / 1000;
  return Number.isNaN(seconds) ? undefined : Math.min(Math.max(seconds, 0), LONGEST_HINT);
}

/** The same from the reason of a close, `retry-after=SECONDS`. */
export function retryHint(reason) {
  const seconds = /^retry-after=(\d+(?:\.\d+)?)$/.exec(reason ?? "")?.[1];
  return seconds === undefined ? undefined : Math.min(Number(seconds), LONGEST_HINT);
}

// Ten minutes: a mistyped hint must not silence a client for a day.
const LONGEST_HINT = 600;
