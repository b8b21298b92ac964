// The way between a client and the mock server, within memory: it delays, cuts, swallows and forbids.

/** `faults` are probabilities per message; `forbids` names what a proxy does not let through. */
export class Network {
  cuts = 0;
  open = new Set();
  faults = { cut: 0, lost: 0, swallowed: 0, late: 0 };
  forbids = new Set();
  /** Milliseconds from end to end, drawn between these. */
  latency = [1, 20];
  down = false;

  constructor(clock, server, random) {
    Object.assign(this, { clock, server, random });
    const network = this;
    this.WebSocket = class extends FakeWebSocket {
      constructor(url, protocols) {
        super(network, url, protocols);
      }
    };
  }

  fetch = (url, options) => new Exchange(this, url, options).run();

  delay() {
    const [least, most] = this.latency;
    return least + this.random() * (most - least);
  }

  happens(fault) {
    return this.random() < this.faults[fault];
  }

  after(delay, callback) {
    return this.clock.setTimeout(callback, delay);
  }

  /** Every connection breaks now. */
  cutAll() {
    for (const connection of [...this.open]) connection.cut();
  }
}

/** Delivers in order, each after its own delay. */
class Line {
  #last = 0;

  constructor(network, isOpen, deliver) {
    Object.assign(this, { network, isOpen, deliver });
  }

  push(item) {
    const { clock } = this.network;
    this.#last = Math.max(this.#last, clock.now() + this.network.delay());
    this.network.after(this.#last - clock.now(), () => this.isOpen() && this.deliver(item));
  }
}

class FakeWebSocket {
  protocol = "";
  readyState = 0;
  #network;
  #alive = true;
  #far = null;
  #up;
  #down;

  constructor(network, url, protocols) {
    if (!/^wss?:/.test(url)) throw new SyntaxError(`${url} is no WebSocket's address`);
    this.#network = network;
    this.#up = new Line(network, () => this.#alive, (item) => item());
    this.#down = new Line(network, () => this.#alive, (item) => item());
    network.after(network.delay(), () => this.#connect([protocols].flat(), url));
  }

  #connect(protocols, url) {
    const network = this.#network;
    if (!this.#alive || this.readyState !== 0) return;
    if (network.forbids.has("websocket-silently")) return;
    if (network.down || network.forbids.has("websocket") || network.happens("lost")) return this.#closed(1006, "", false);
    const far = network.server.websocket(this.#farEnd(), protocols, { url });
    if (far.refused) return this.#closed(1006, "", false);
    this.#far = far;
    network.open.add(this);
    this.#down.push(() => {
      this.readyState = 1;
      this.protocol = far.protocol;
      this.onopen?.({});
    });
    far.start();
  }

  #farEnd() {
    return {
      send: (data) => this.#transmit(this.#down, () => this.onmessage?.({ data: copied(data) })),
      close: (code, reason) => this.#down.push(() => this.#closed(code, reason, true)),
      cut: () => this.cut(),
    };
  }

  send(data) {
    if (this.readyState === 0) throw new Error("not open yet");
    if (this.readyState === 1) this.#transmit(this.#up, () => this.#far.message(copied(data)));
  }

  close(code = 1005, reason = "") {
    if (code !== 1000 && code !== 1005 && !(code >= 3000 && code <= 4999)) throw new Error(`a close code of ${code}`);
    if (Buffer.byteLength(reason) > 123) throw new SyntaxError("the reason is too long");
    if (this.readyState >= 2) return;
    const connecting = this.readyState === 0;
    this.readyState = 2;
    if (connecting) return this.#closed(1006, "", false);
    this.#up.push(() => {
      this.#far.closed(code, reason);
      this.#down.push(() => this.#closed(code, reason, true));
    });
  }

  cut() {
    if (!this.#alive) return;
    this.#alive = false;
    const network = this.#network;
    network.cuts += 1;
    network.open.delete(this);
    network.after(network.delay() * 50, () => this.#far?.closed(null));
    // A connection that dies without a word: only a heartbeat finds out.
    if (!network.happens("swallowed")) network.after(network.delay(), () => this.#tell(1006, "", false));
  }

  #transmit(line, item) {
    if (!this.#alive) return;
    line.push(item);
    if (this.#network.happens("cut")) this.#network.after(this.#network.delay() * 0.7, () => this.cut());
  }

  #closed(code, reason, wasClean) {
    this.#alive = false;
    this.#network.open.delete(this);
    this.#tell(code, reason, wasClean);
  }

  #tell(code, reason, wasClean) {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.onclose?.({ code, reason, wasClean });
  }
}

const copied = (data) => (typeof data === "string" ? data : data.slice(0));

class Exchange {
  #left = () => {};
  #abort = () => {
    this.#over(() => this.controller?.error(new Error("aborted")));
    this.reject(new Error("aborted"));
  };

  constructor(network, url, { method, headers = {}, body = "", signal }) {
    const lower = Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]);
    this.request = { method, url, headers: Object.fromEntries(lower), body };
    Object.assign(this, { network, signal });
  }

  run() {
    return new Promise((resolve, reject) => {
      Object.assign(this, { resolve, reject });
      this.signal?.addEventListener("abort", this.#abort);
      this.network.open.add(this);
      this.#send();
    });
  }

  #send() {
    const { network } = this;
    const mode = this.request.method === "GET" ? "event-stream" : "post";
    if (network.forbids.has(`${mode}-silently`)) return;
    if (network.down || network.forbids.has(mode)) return network.after(network.delay(), () => this.#fail());
    if (network.happens("late")) return this.#sendLate();
    if (network.happens("lost")) return network.after(network.delay(), () => this.cut());
    if (network.happens("swallowed")) return void (network.cuts += 1);
    network.after(network.delay(), () => this.#arrive());
  }

  // The client is told that it failed, and yet it arrives, when the client is further already.
  #sendLate() {
    this.network.after(this.network.delay(), () => this.cut());
    this.network.after(this.network.delay() * 100, () => this.#arrive());
  }

  async #arrive() {
    const { network } = this;
    const response = await network.server.handle(this.request, (left) => (this.#left = left));
    if (network.happens("lost")) return network.after(network.delay(), () => this.cut());
    network.after(network.delay(), () => this.#respond(response));
  }

  #respond(response) {
    if (this.isOver) {
      // The client has gone: a stream ends at once.
      response.stream?.({ write() {}, end() {}, cut() {} })();
      return;
    }
    const headers = new Headers(response.headers);
    if (response.stream) return this.resolve({ status: response.status, headers, body: this.#body(response.stream) });
    this.isOver = true;
    this.#forget();
    this.resolve({ status: response.status, headers, text: async () => response.body });
  }

  #body(stream) {
    const { network } = this;
    const encoder = new TextEncoder();
    const buffered = network.forbids.has("event-stream-buffered");
    let leave;
    const body = new ReadableStream({ start: (controller) => (this.controller = controller) });
    const line = new Line(network, () => !this.isOver, (item) => item());
    const write = (text) => {
      if (buffered) return;
      // In two parts: what is read need not end where an event does.
      const bytes = encoder.encode(text);
      const at = Math.floor(bytes.length * network.random());
      for (const part of [bytes.slice(0, at), bytes.slice(at)]) line.push(() => this.controller.enqueue(part));
      if (network.happens("cut")) network.after(network.delay() * 0.7, () => this.cut());
    };
    const end = () => line.push(() => this.#over(() => this.controller.close()));
    leave = stream({ write, end, cut: () => this.cut() });
    this.#left = leave;
    return body;
  }

  cut() {
    this.network.cuts += 1;
    this.#fail();
  }

  #fail() {
    this.#over(() => this.controller?.error(new TypeError("network error")));
    this.reject(new TypeError("network error"));
  }

  #forget() {
    this.network.open.delete(this);
    this.signal?.removeEventListener("abort", this.#abort);
  }

  #over(tell) {
    if (this.isOver) return;
    this.isOver = true;
    this.#forget();
    tell();
    this.network.after(this.network.delay(), () => this.#left());
  }
}

/** Storage of one tab. */
export class FakeStorage {
  values = new Map();
  getItem = (key) => this.values.get(key) ?? null;
  setItem = (key, value) => void this.values.set(key, value);
  removeItem = (key) => void this.values.delete(key);
}
