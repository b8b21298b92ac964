// A server of the protocol, written from its description alone: it shares no code with the client.

const WS_PROTOCOL = "channels.v1";

/** Sessions, and the carriers they are on. Times in milliseconds but for what goes over the wire. */
export class MockServer {
  sessions = [];
  /** Requests and upgrades that arrived: `{transport, headers, url, protocols}`. */
  seen = [];
  options = { heartbeat: 20, ttl: 60, window: 10_000, log: Infinity, ackEvery: 5, batch: 100, bytes: 64 * 1024, takes: Infinity };
  onopen = () => {};
  onframe = () => {};
  /** Answers a new carrier with a status instead, or null: `{status, headers}`. */
  refuse = () => null;

  #tokens = new Map();
  #issued = 0;

  constructor(clock, options = {}) {
    this.clock = clock;
    Object.assign(this.options, options);
  }

  /** The newest session. */
  get session() {
    return this.sessions.at(-1);
  }

  /** All sessions are forgotten, as by a restart; the carriers break off. */
  forgetAll() {
    for (const session of this.sessions) session.carrier?.cut();
    for (const session of this.sessions) session.carrier = null;
    this.#tokens.clear();
  }

  issue(session) {
    const token = `secret-${(this.#issued += 1)}`;
    this.#tokens.set(token, session);
    session.tokens.push(token);
    return token;
  }

  /** The session of a token; a token that is used ends those before it. */
  find(token) {
    const session = this.#tokens.get(token);
    if (session === undefined) return null;
    for (const old of session.tokens.splice(0, session.tokens.indexOf(token))) this.#tokens.delete(old);
    return session;
  }

  /** Begins a carrier: on the token's session, or on a new one. */
  begin(carrier, token, cursor, protocols) {
    const found = token === null ? null : this.find(token);
    const ended = found?.ended;
    if (found && !ended) return found.resume(carrier, cursor);
    const session = new Session(this, protocols[0] ?? null);
    this.sessions.push(session);
    const gap = token === null ? undefined : { from: cursor + 1, to: null };
    session.start(carrier, gap);
    return session;
  }

  /** A WebSocket: `conn` has `send(data)`, `close(code, reason)`, `cut()`. Returns `{protocol, start, message, closed}`. */
  websocket(conn, offered, headers = {}) {
    this.seen.push({ transport: "websocket", protocols: offered, headers });
    const refused = this.refuse("websocket");
    if (refused) return { refused };
    if (!offered.includes(WS_PROTOCOL) || this.options.plain) return this.#plainSocket(conn, offered);
    const resume = offered.find((name) => name.startsWith("channels.resume."))?.split(".");
    const own = offered.filter((name) => !name.startsWith("channels."));
    const carrier = new SocketLeg(conn);
    const start = () => {
      carrier.session = this.begin(carrier, resume?.slice(3).join(".") ?? null, Number(resume?.[2] ?? 0), own);
      carrier.number = carrier.session.ack;
    };
    return { protocol: WS_PROTOCOL, start, message: (data) => carrier.message(data), closed: (...why) => carrier.closed(...why) };
  }

  #plainSocket(conn, offered) {
    const session = { send: (data) => conn.send(data), close: (...why) => conn.close(...why), cut: () => conn.cut(), received: [], plain: true };
    const message = (data) => {
      session.received.push(data);
      this.onframe(session, data);
    };
    const start = () => {
      this.sessions.push(session);
      this.onopen(session);
    };
    return { protocol: offered.find((name) => !name.startsWith("channels.")) ?? "", start, message, closed() {} };
  }

  /** A request `{method, url, headers, body}`; resolves to `{status, headers, body}` or `{status, headers, stream}`. */
  async handle(request, left = () => {}) {
    const transport = request.method === "GET" ? "event-stream" : "post";
    this.seen.push({ transport, url: request.url, headers: request.headers, body: request.body });
    const protocols = new URL(request.url, "http://host").searchParams.getAll("protocol");
    if (transport === "event-stream") return this.#stream(request, protocols);
    const [control, ...lines] = request.body.trimEnd().split("\n").map((line) => JSON.parse(line));
    const refused = this.refuse(control.mode, control);
    if (refused) return { headers: {}, body: "", ...refused };
    return this.#post(control, lines, protocols, left, request.body.length);
  }

  #stream(request, protocols) {
    const refused = this.refuse("event-stream");
    if (refused) return { headers: {}, body: "", ...refused };
    const id = request.headers["last-event-id"];
    const at = id?.lastIndexOf(".");
    const stream = (sink) => {
      const carrier = new EventStreamCarrier(sink, this);
      carrier.session = this.begin(carrier, id?.slice(0, at) ?? null, Number(id?.slice(at + 1) ?? 0), protocols);
      carrier.comment();
      return () => carrier.left();
    };
    return { status: 200, headers: { "content-type": "text/event-stream; charset=utf-8" }, stream };
  }

  async #post(control, lines, protocols, left, size) {
    let session = control.token === undefined ? null : this.find(control.token);
    if (control.token === undefined || control.resume) {
      const carrier = new PollCarrier(this);
      session = this.begin(carrier, control.token ?? null, control.cursor ?? 0, protocols);
      return carrier.answer(control.cursor ?? 0);
    }
    if (session === null) return answer(410, {});
    if (lines.length > this.options.batch || size > this.options.bytes) return answer(413, {});
    if (session.ended) return answer(200, { ack: session.ack, close: session.ended });
    session.acknowledge(control.cursor);
    if (lines.length > 0 && control.first > session.ack + 1) return answer(409, { ack: session.ack });
    const taken = lines.slice(0, this.options.takes);
    taken.forEach((line, index) => session.take(control.first + index, decode(line)));
    if (control.close) session.leave(control.close);
    if (control.mode === "send") return answer(200, { ack: session.ack });
    if (!(session.carrier instanceof PollCarrier)) return answer(200, { ack: session.ack });
    return session.carrier.poll(control, left);
  }
}

const answer = (status, control, frames = []) => ({
  status,
  headers: { "content-type": "application/x-ndjson" },
  body: [control, ...frames].map((line) => `${JSON.stringify(line)}\n`).join(""),
});

const encode = (data) => (typeof data === "string" ? data : { bytes: Buffer.from(data).toString("base64") });
const decode = (line) => (typeof line === "string" ? line : new Uint8Array(Buffer.from(line.bytes, "base64")).buffer);

class Session {
  tokens = [];
  received = [];
  /** The server's frames that are not acknowledged; the first has the number `base`. */
  log = [];
  base = 1;
  /** Number of the client's last frame. */
  ack = 0;
  carrier = null;
  ended = null;
  /** How the client ended it. */
  left = null;

  constructor(server, protocol) {
    this.server = server;
    this.protocol = protocol;
  }

  get last() {
    return this.base + this.log.length - 1;
  }

  start(carrier, gap) {
    this.carrier = carrier;
    carrier.session = this;
    carrier.open(this.#open(false, 0), gap);
    this.server.onopen(this);
  }

  resume(carrier, cursor) {
    const old = this.carrier;
    this.carrier = carrier;
    carrier.session = this;
    old?.takenOver();
    const lost = cursor + 1 < this.base;
    const from = lost ? this.base - 1 : cursor;
    this.acknowledge(cursor);
    carrier.open(this.#open(true, from), lost ? { from: cursor + 1, to: from } : undefined);
    for (let number = from + 1; number <= this.last; number += 1) carrier.frame(number, this.log[number - this.base]);
    return this;
  }

  #open(resumed, cursor) {
    const { ttl, heartbeat } = this.server.options;
    const { ack, protocol } = this;
    return { token: this.server.issue(this), resumed, cursor, ack, ttl, heartbeat, protocol };
  }

  send(data) {
    this.log.push(data);
    while (this.log.length > this.server.options.log) {
      this.log.shift();
      this.base += 1;
    }
    this.carrier?.frame(this.last, data);
  }

  take(number, data) {
    if (number !== this.ack + 1) return;
    this.ack = number;
    this.received.push(data);
    this.server.onframe(this, data);
  }

  acknowledge(cursor) {
    if (cursor === undefined) return;
    if (cursor > this.last) throw new Error(`acknowledged ${cursor} of ${this.last}`);
    const known = Math.max(0, cursor - this.base + 1);
    this.log.splice(0, known);
    this.base += known;
  }

  /** The server ends it. */
  close(code, reason = "") {
    this.ended = { code, reason };
    this.carrier?.close(this.ended);
    this.carrier = null;
  }

  /** The client ends it. */
  leave(close) {
    this.left = this.ended = close;
    this.carrier = null;
  }
}

class SocketLeg {
  session = null;

  constructor(conn) {
    this.conn = conn;
  }

  open(open, gap) {
    this.#control({ open, gap });
  }

  frame(_number, data) {
    this.conn.send(typeof data === "string" && data.startsWith("\u0001") ? `\u0001${data}` : data);
  }

  message(data) {
    // A carrier that was replaced may not have noticed; what it says late is known, or comes again.
    const { session } = this;
    if (typeof data !== "string" || !data.startsWith("\u0001")) return this.#frame(data);
    if (data.startsWith("\u0001\u0001")) return this.#frame(data.slice(1));
    const { cursor, ping } = JSON.parse(data.slice(1));
    session.acknowledge(cursor);
    if (ping !== undefined) this.#control({ pong: ping, ack: session.ack });
  }

  #frame(data) {
    const { session } = this;
    this.number += 1;
    session.take(this.number, data);
    if (this.number % session.server.options.ackEvery === 0) this.#control({ ack: session.ack });
  }

  #control(control) {
    this.conn.send(`\u0001${JSON.stringify(control)}`);
  }

  /** `code` is null when the connection just broke. */
  closed(code, reason) {
    const { session } = this;
    if (session?.carrier !== this) return;
    session.carrier = null;
    if (code !== null && code !== 1001 && code !== 4408) session.leave({ code, reason });
  }

  takenOver() {
    this.conn.close(4408, "taken over");
  }

  close({ code, reason }) {
    this.conn.close(code, reason);
  }

  cut() {
    this.conn.cut();
  }
}

class EventStreamCarrier {
  constructor(sink, server) {
    this.sink = sink;
    this.server = server;
  }

  open(open, gap) {
    this.token = open.token;
    this.#event("control", JSON.stringify({ open, gap }), open.cursor);
  }

  frame(number, data) {
    if (typeof data !== "string") return this.#event("binary", Buffer.from(data).toString("base64"), number);
    if (data.includes("\r")) return this.#event("text", JSON.stringify(data), number);
    this.#event("message", data, number);
  }

  comment() {
    this.sink.write(":\n\n");
    this.timer = this.server.clock.setTimeout(() => this.comment(), this.server.options.heartbeat * 1000);
  }

  #event(event, data, number) {
    this.number = number;
    const name = event === "message" ? "" : `event: ${event}\n`;
    const lines = data.split("\n").map((line) => `data: ${line}\n`).join("");
    this.sink.write(`${name}id: ${this.token}.${number}\n${lines}\n`);
  }

  left() {
    this.server.clock.clearTimeout(this.timer);
    if (this.session?.carrier === this) this.session.carrier = null;
  }

  takenOver() {
    this.server.clock.clearTimeout(this.timer);
    this.sink.end();
  }

  close(close) {
    this.#event("control", JSON.stringify({ close }), this.number);
    this.takenOver();
  }

  cut() {
    this.server.clock.clearTimeout(this.timer);
    this.sink.cut();
  }
}

class PollCarrier {
  #waiting = null;

  constructor(server) {
    this.server = server;
  }

  open(open, gap) {
    this.control = { open, gap };
  }

  frame() {
    this.#wake();
  }

  answer(cursor, extra = this.control) {
    const { session } = this;
    const from = Math.max(extra?.open?.cursor ?? cursor, session.base - 1);
    const frames = session.log.slice(from - session.base + 1).slice(0, this.server.options.batch);
    const gap = extra?.open || from === cursor ? {} : { gap: { from: cursor + 1, to: from } };
    return answer(200, { ack: session.ack, first: from + 1, ...gap, ...extra }, frames.map(encode));
  }

  async poll({ cursor, mode }, left) {
    const { session } = this;
    this.#wake();
    if (mode === "long-poll" && session.last <= cursor) {
      await new Promise((resolve) => {
        const timer = this.server.clock.setTimeout(resolve, this.server.options.window);
        left(resolve);
        this.#waiting = () => {
          this.server.clock.clearTimeout(timer);
          resolve();
        };
      });
    }
    if (session.ended) return answer(200, { ack: session.ack, close: session.ended });
    return session.carrier === this ? this.answer(cursor, {}) : answer(200, { ack: session.ack });
  }

  #wake() {
    this.#waiting?.();
    this.#waiting = null;
  }

  takenOver() {
    this.#wake();
  }

  close() {
    this.#wake();
  }

  cut() {
    this.#wake();
  }
}
