// The choice of the next transport: the one that worked is tried first, and not given up after one failure.

// Some hours: long enough for a working day behind one proxy, short enough to find out that it is gone.
const REMEMBERED_MS = 2 * 60 * 60 * 1000;
// The rounds in which only the transport that worked is tried: a server that restarts refuses all of them for a moment.
const FAITHFUL_TRIES = 3;

export class Choice {
  /** Whether only a WebSocket without session worked: the other transports need one. */
  plain = false;

  #environment;
  #transports;
  #memory;
  #proven = null;
  #misses = 0;

  /** `url` is the application's. For a function, whose result is not known yet, the page's address is used. */
  constructor(environment, transports, url) {
    this.#environment = environment;
    this.#transports = transports;
    this.#memory = new Memory(environment, typeof url === "function" ? "" : url);
  }

  /** Whether any transport has worked yet. */
  get untried() {
    return this.#proven === null;
  }

  /** The transports that this browser has. */
  get usable() {
    const { WebSocket, fetch, ReadableStream } = this.#environment;
    const needs = { websocket: [WebSocket], "event-stream": [fetch, ReadableStream], "long-poll": [fetch], poll: [fetch] };
    return this.#transports.filter((name) => needs[name]?.every((needed) => needed !== undefined));
  }

  /** The transports in the order of the next round. */
  order() {
    const all = this.usable;
    if (this.plain) return all.filter((name) => name === "websocket");
    if (this.#proven !== null && this.#misses < FAITHFUL_TRIES) return [this.#proven];
    const best = this.#memory.recall();
    return all.includes(best) ? [best, ...all.filter((name) => name !== best)] : all;
  }

  worked(name, plain) {
    this.#proven = name;
    this.#misses = 0;
    if (!plain) this.#memory.keep(name);
  }

  failed(name) {
    if (this.#memory.recall() === name) this.#memory.forget();
  }

  roundFailed() {
    this.#misses += 1;
  }

  /** Forgets the transport that worked, because the network may have changed. */
  forget() {
    if (!this.plain) this.#proven = null;
    this.#memory.forget();
  }
}

/** The transport that worked, stored for this tab and one address. Storage that is full or forbidden is ignored. */
class Memory {
  #environment;
  #address;

  constructor(environment, address) {
    this.#environment = environment;
    this.#address = address;
  }

  get #key() {
    const { origin, pathname } = new URL(this.#address, this.#environment.location?.href);
    return `channels-client ${origin}${pathname}`;
  }

  recall() {
    try {
      const { transport, at } = JSON.parse(this.#environment.sessionStorage.getItem(this.#key));
      const age = this.#environment.now() - at;
      return age >= 0 && age < REMEMBERED_MS ? transport : null;
    } catch {
      return null;
    }
  }

  keep(transport) {
    // A known transport keeps its age: otherwise a better one would never be tried again.
    if (this.recall() === transport) return;
    const value = JSON.stringify({ transport, at: this.#environment.now() });
    try {
      this.#environment.sessionStorage.setItem(this.#key, value);
    } catch {
      // The next connection tries all of them.
    }
  }

  forget() {
    try {
      this.#environment.sessionStorage.removeItem(this.#key);
    } catch {
      // It was not stored.
    }
  }
}
