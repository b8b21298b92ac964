// Carriers over plain HTTP: an event stream or polls for the server's frames, POSTs for the client's.

import { LOST_FRAMES, Carrier } from "./carrier.js";
import { byteLength } from "./text.js";
import { EventParser, frameLine, fromBase64, fromLines, retryAfter, toLines } from "./wire.js";

// The limits of one POST. The server allows a hundred frames, and a little more than the bytes of one message.
const BATCH_FRAMES = 100;
const BATCH_BYTES = 48 * 1024;
// The pause after a POST of which the server took no frame, and after a long poll that it answered at once without any.
const BREATH_MS = 250;
// The length to which the text of a refusal is cut.
const REASON_CHARS = 200;
// Browsers refuse more than 64 KiB in requests that may outlive the page.
const KEEPALIVE_BYTES = 60_000;

class HttpCarrier extends Carrier {
  #abort = new AbortController();
  #posting = false;
  #checkWanted = false;
  #single = false;
  // Functions that end the present pauses.
  #wake = new Set();
  // The time of the last request.
  spokeAt = -Infinity;

  /** The address, with the offered subprotocols. */
  get url() {
    const { url, protocols } = this.target;
    const pairs = protocols.map((name) => `protocol=${encodeURIComponent(name)}`);
    if (pairs.length === 0) return url;
    return `${url}${url.includes("?") ? "&" : "?"}${pairs.join("&")}`;
  }

  flush() {
    if (!this.isProven || this.#posting) return;
    this.#postAll().catch((error) => this.end({ reason: error.message }));
  }

  acknowledge() {
    this.check();
  }

  check() {
    this.#checkWanted = true;
    this.flush();
  }

  close(code, reason) {
    this.end({ reason });
    endSession(this.host, this.target, { code, reason });
  }

  drop() {
    this.#abort.abort();
    for (const wake of this.#wake) wake();
  }

  /** Waits for `delay` milliseconds, or until the carrier ends. */
  pause(delay) {
    if (this.ended) return Promise.resolve();
    const { environment } = this.host;
    return new Promise((resolve) => {
      const wake = () => {
        environment.clearTimeout(timer);
        this.#wake.delete(wake);
        resolve();
      };
      const timer = environment.setTimeout(wake, delay);
      this.#wake.add(wake);
    });
  }

  /** Makes a request with a limit in milliseconds. Resolves to null, with the carrier at its end, if it fails. */
  async request(options, limit) {
    const { environment } = this.host;
    const timer = environment.setTimeout(() => this.end({ reason: "no answer in time" }), limit);
    try {
      const response = await environment.fetch(this.url, {
        cache: "no-store",
        ...options,
        credentials: this.target.credentials,
        headers: { ...this.target.headers, ...options.headers },
        signal: this.#abort.signal,
      });
      const taken = this.ended ? null : await options.take(response);
      return this.ended ? null : taken;
    } catch (error) {
      this.end({ reason: error.message });
      return null;
    } finally {
      environment.clearTimeout(timer);
    }
  }

  /** Makes a POST. Resolves to `{status, control, frames}`, or to null if the carrier has ended. */
  post(control, frames = [], limit = this.host.timeout) {
    const { token, cursor } = this.host.session;
    const body = toLines(token === null ? control : { token, cursor, ...control }, frames);
    this.spokeAt = this.host.environment.now();
    const take = async (response) => {
      const known = response.status === 409 || response.status === 413;
      if (known) return { ...(await readQuietly(response)), status: response.status };
      if (response.status !== 200) return this.refused(response);
      return { ...fromLines(await response.text()), status: 200 };
    };
    return this.request({ method: "POST", headers: NDJSON, body, take }, limit);
  }

  /** Ends the carrier after a status other than 200. The text of a 400 tells what is wrong with the address. */
  async refused(response) {
    const { status, headers } = response;
    const hint = retryAfter(headers.get("retry-after"), this.host.environment.now());
    const isText = status === 400 && headers.get("content-type")?.startsWith("text/plain");
    const text = isText ? (await response.text().catch(() => "")).slice(0, REASON_CHARS) : "";
    const reason = text === "" ? `status ${status}` : text;
    this.end({ status, reason, retryAfter: hint, over: status === 410 });
    return null;
  }

  /** Takes the numbers and frames of an answer; the session may end with it. */
  takeAnswer({ control, frames }) {
    if (control.ack !== undefined) this.host.session.acknowledge(control.ack);
    let number = control.first ?? this.host.session.cursor + 1;
    if (!Number.isSafeInteger(number)) throw new SyntaxError("a first number that is none");
    for (const data of frames) {
      if (this.ended) return;
      this.host.received(this, number, data);
      number += 1;
    }
    if (control.close) this.closedBy(control.close);
  }

  // One POST at a time, until no frame waits: the numbers of the next depend on the frames that the server took.
  async #postAll() {
    this.#posting = true;
    const { session } = this.host;
    while (!this.ended && (session.waiting > 0 || this.#checkWanted)) {
      this.#checkWanted = false;
      const before = session.acked;
      const count = await this.#postBatch();
      if (!this.ended && count > 0 && session.acked === before) await this.pause(BREATH_MS);
    }
    this.#posting = false;
  }

  async #postBatch() {
    const { session } = this.host;
    const frames = this.#batch();
    session.wrote(session.acked + frames.length);
    const answer = await this.post({ mode: "send", first: session.acked + 1 }, frames.map(({ data }) => data));
    if (answer === null) return frames.length;
    this.host.heard();
    if (answer.status === 413) this.#tooLarge(frames);
    else if (answer.status === 409 && !session.isPossible(answer.control.ack)) this.end(LOST_FRAMES);
    else this.takeAnswer(answer);
    return frames.length;
  }

  #batch() {
    const { session } = this.host;
    const frames = session.after(session.acked, this.#single ? 1 : BATCH_FRAMES);
    let bytes = 0;
    const most = frames.findIndex(({ size }) => (bytes += size) > BATCH_BYTES);
    return most < 0 ? frames : frames.slice(0, Math.max(most, 1));
  }

  #tooLarge(frames) {
    this.#single = true;
    if (frames.length > 1) return;
    // The code with which a WebSocket is closed for a message that is too big.
    const close = { code: 1009, reason: "the message is too big" };
    endSession(this.host, this.target, close, []);
    this.closedBy(close);
  }
}

const NDJSON = { "content-type": "application/x-ndjson" };

// The answer to a refusal may be a proxy's.
async function readQuietly(response) {
  try {
    return fromLines(await response.text());
  } catch {
    return { control: {}, frames: [] };
  }
}

/** An event stream, read with fetch: unlike EventSource it tells the status, and sends headers. */
export class EventStreamCarrier extends HttpCarrier {
  async start() {
    const { session } = this.host;
    const headers = { accept: "text/event-stream" };
    if (session.token !== null) headers["last-event-id"] = `${session.token}.${session.cursor}`;
    const take = (response) => this.#begin(response);
    const reader = await this.request({ method: "GET", headers, take }, this.host.timeout);
    if (reader !== null) await this.#readAll(reader);
  }

  drop() {
    super.drop();
    this.host.environment.clearTimeout(this.silence);
  }

  #begin(response) {
    if (response.status !== 200) return this.refused(response);
    if (!response.headers.get("content-type")?.startsWith("text/event-stream")) throw new Error("no event stream");
    if (!response.body?.getReader) throw new Error("this browser does not stream");
    return response.body.getReader();
  }

  async #readAll(reader) {
    const decoder = new TextDecoder();
    const parser = new EventParser();
    try {
      while (!this.ended) {
        this.#expectMore();
        const { done, value } = await reader.read();
        if (this.ended) return;
        if (done) return this.end({ reason: "the stream ended" });
        this.host.heard();
        for (const event of parser.push(decoder.decode(value, { stream: true }))) this.#take(event);
        this.#speakUp();
      }
    } catch (error) {
      this.end({ reason: error.message });
    }
  }

  // Apart from other signs of life: answers to POSTs are none of the stream.
  #expectMore() {
    const { environment, silence } = this.host;
    environment.clearTimeout(this.silence);
    this.silence = environment.setTimeout(() => this.end({ reason: "the stream is silent" }), silence);
  }

  // Browsers slow down the timers of hidden pages, to one a minute, but not input: the server's sign of life is
  // answered if the client's own is overdue.
  #speakUp() {
    const { environment, heartbeat } = this.host;
    if (this.isProven && environment.now() - this.spokeAt > heartbeat * 0.6) this.check();
  }

  #take({ event, data, id }) {
    if (this.ended) return;
    const control = event === "control" ? JSON.parse(data) : null;
    if (!this.isOpened && !control?.open && !control?.close) throw new Error("an event before the session began");
    if (control !== null) return this.#control(control);
    const number = Number(id?.slice(id.lastIndexOf(".") + 1) ?? NaN);
    if (!Number.isSafeInteger(number)) throw new SyntaxError("an event without a number");
    if (event === "message") this.host.received(this, number, data);
    if (event === "text") this.host.received(this, number, JSON.parse(data));
    if (event === "binary") this.host.received(this, number, fromBase64(data));
  }

  #control(control) {
    if (control.open) {
      this.isOpened = true;
      this.host.opened(this, control);
      this.#provePost().catch((error) => this.end({ reason: error.message }));
    } else if (control.gap) {
      this.host.gap(this, control.gap);
    }
    if (control.ack !== undefined) this.host.session.acknowledge(control.ack);
    if (control.close) this.closedBy(control.close);
  }

  // POSTs must work too before this carrier is used.
  async #provePost() {
    const answer = await this.post({ mode: "send" });
    if (answer === null) return;
    this.takeAnswer(answer);
    if (!this.ended) this.prove();
  }
}

/** Long polls, or plain ones with a pause between them. */
export class PollCarrier extends HttpCarrier {
  needsChecks = false;

  // The next poll acknowledges.
  acknowledge() {}

  async start() {
    const { session } = this.host;
    const resume = session.token === null ? {} : { resume: true };
    const answer = await this.post({ mode: this.name, ...resume });
    if (answer === null) return;
    if (!answer.control.open) return this.#unopened(answer.control);
    this.isOpened = true;
    this.host.opened(this, answer.control);
    this.prove();
    await this.#pollAll(answer);
  }

  #unopened({ close }) {
    if (close) this.closedBy(close);
    else this.end({ reason: "no session was opened" });
  }

  async #pollAll(answer) {
    const { environment } = this.host;
    while (answer !== null && !this.ended) {
      if (answer.control.gap && !answer.control.open) this.host.gap(this, answer.control.gap);
      this.takeAnswer(answer);
      if (this.ended) return;
      if (this.name === "poll") await this.pause(this.target.pollInterval);
      const asked = environment.now();
      if (!this.ended) answer = await this.post({ mode: this.name }, [], this.host.silence);
      const empty = answer?.frames.length === 0;
      if (empty && this.name !== "poll" && environment.now() - asked < BREATH_MS) await this.pause(BREATH_MS);
      this.host.heard();
    }
  }
}

/** Ends the session at the server, with the frames that still wait; also from a page that goes away. */
export function endSession({ environment, session }, target, close, waiting) {
  const { token, cursor, acked } = session;
  if (token === null) return;
  const frames = fitting((waiting ?? session.after(acked, BATCH_FRAMES)).map(({ data }) => data));
  const control = { token, cursor, first: acked + 1, mode: "send", close };
  const body = toLines(control, frames);
  session.wrote(acked + frames.length);
  const headers = { ...target.headers, ...NDJSON };
  const options = { method: "POST", headers, body, keepalive: true, credentials: target.credentials };
  try {
    environment.fetch(target.url, options).catch(() => {});
  } catch {
    // The page goes away, or has no fetch: the session's time limit ends it.
  }
}

/** The first frames that fit into one request. */
function fitting(frames) {
  let left = KEEPALIVE_BYTES;
  const end = frames.findIndex((data) => (left -= byteLength(frameLine(data))) < 0);
  return end < 0 ? frames : frames.slice(0, end);
}
