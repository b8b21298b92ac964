// The session, which outlives the connections: numbers in both directions, and the frames that are not acknowledged. No IO.

import { byteLength, jsonOf, wellFormed } from "./text.js";

/** A failure with a `code`: "buffer-full", "closed", "timeout", "refused", "lost" or "address". */
export class ChannelError extends Error {
  constructor(code, message) {
    super(message);
    this.name = "ChannelError";
    this.code = code;
  }
}

export class Session {
  /** The secret of the session; null before the first and after its end. */
  token = null;
  /** Whether there has been a session: another one is then a loss. */
  known = false;
  /** Number of the last frame that arrived. */
  cursor = 0;
  /** Number of the client's last frame that the server has. */
  acked = 0;
  /** Bytes that wait for an acknowledgement. */
  bytes = 0;

  // From number acked + 1 on: {data, size, ref}. `ref` marks a request.
  #frames = [];
  // The highest number that a carrier was given: later frames have certainly not reached the server.
  #written = 0;
  #limits;

  /** The limits are the messages and bytes that may wait for their acknowledgement. */
  constructor({ maxMessages, maxBytes }) {
    this.#limits = { maxMessages, maxBytes };
  }

  /** The number of frames that wait for an acknowledgement. */
  get waiting() {
    return this.#frames.length;
  }

  /** Takes a frame to send. Throws ChannelError "buffer-full", and takes nothing, when too much waits. */
  push(frame) {
    const { maxMessages, maxBytes } = this.#limits;
    if (this.#frames.length >= maxMessages || this.bytes + frame.size > maxBytes) {
      throw new ChannelError("buffer-full", `${this.#frames.length} messages, ${this.bytes} bytes wait already`);
    }
    this.#frames.push(frame);
    this.bytes += frame.size;
  }

  /** Takes back a request that no carrier has been given yet. */
  withdraw(ref) {
    const at = this.#frames.findIndex((frame) => frame.ref === ref);
    if (at < 0 || this.acked + at < this.#written) return;
    this.bytes -= this.#frames[at].size;
    this.#frames.splice(at, 1);
  }

  /** The frames after this number, at most `most` of them. */
  after(number, most = Infinity) {
    const from = number - this.acked;
    return this.#frames.slice(from, from + most);
  }

  /** Notes that a carrier was given all frames up to this number. */
  wrote(number) {
    this.#written = Math.max(this.#written, number);
  }

  /** Whether the server can have frames up to this number. If not, it has another session. */
  isPossible(number) {
    return number >= this.acked && number <= this.acked + this.#frames.length;
  }

  /** Notes that the server has all frames up to this number. A late answer with an older number has no effect. */
  acknowledge(number) {
    for (const frame of this.#frames.splice(0, Math.max(0, number - this.acked))) {
      this.bytes -= frame.size;
      this.acked += 1;
    }
    this.wrote(this.acked);
  }

  /** False for a frame that has arrived before. */
  take(number) {
    if (number <= this.cursor) return false;
    this.cursor = number;
    return true;
  }

  /** Skips the frames up to this number, which are lost. Returns `{from, to}`, or null if none is missing. */
  skip(to) {
    if (to <= this.cursor) return null;
    const from = this.cursor + 1;
    this.cursor = to;
    return { from, to };
  }

  /** Begins another session. Returns the old one's frames: those that may have arrived, and `unsent` that no carrier was given. */
  restart() {
    const sent = this.#frames.splice(0, this.#written - this.acked);
    const unsent = this.#frames.splice(0);
    const from = this.cursor + 1;
    this.cursor = this.acked = this.#written = this.bytes = 0;
    return { from, sent, unsent };
  }

  /** Ends the session. Returns the frames without an acknowledgement, and forgets those that no carrier was given. */
  close() {
    const unsent = this.#frames.splice(Math.max(0, this.#written - this.acked));
    for (const frame of unsent) this.bytes -= frame.size;
    return { sent: [...this.#frames], unsent };
  }

  /** Puts frames behind those that wait, without regard to the limits, which they have met before. */
  restore(frames) {
    this.#frames.push(...frames);
    for (const frame of frames) this.bytes += frame.size;
  }
}

/** The frame of a text, of bytes, or of any other value as JSON. Throws TypeError for a value without JSON. */
export function frameOf(value) {
  if (value instanceof ArrayBuffer) return { data: value.slice(0), size: value.byteLength };
  if (ArrayBuffer.isView(value)) {
    const data = value.buffer.slice(value.byteOffset, value.byteOffset + value.byteLength);
    return { data, size: value.byteLength };
  }
  const text = typeof value === "string" ? wellFormed(value) : jsonOf(value);
  if (text === undefined) throw new TypeError("a value that has no JSON");
  return { data: text, size: byteLength(text) };
}

/** The data of those frames that are messages: requests have their promises. */
export const messagesOf = (frames) => frames.filter(({ ref }) => ref === undefined).map(({ data }) => data);
