// Which transport next: what worked is tried first, and not given up for one failure.

// Some hours: long enough for a working day behind one proxy, short enough to find out that it is gone.
const REMEMBERED_MS = 2 * 60 * 60 * 1000;
// So often the transport that worked is tried alone: a server that restarts refuses every one for a moment.
const FAITHFUL_TRIES = 3;

export class Choice {
  /** Only a WebSocket without session worked: the others need one. */
  plain = false;

  #environment;
  #transports;
  #memory;
  #proven = null;
  #misses = 0;

  /** `url` is what the application gave: of what a function will return nothing is known, so its page stands for it. */
  constructor(environment, transports, url) {
    this.#environment = environment;
    this.#transports = transports;
    this.#memory = new Memory(environment, typeof url === "function" ? "" : url);
  }

  /** Has any worked yet? */
  get untried() {
    return this.#proven === null;
  }

  /** Those that this browser has. */
  get usable() {
    const { WebSocket, fetch, ReadableStream } = this.#environment;
    const needs = { websocket: [WebSocket], sse: [fetch, ReadableStream], "long-poll": [fetch], poll: [fetch] };
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

  /** Another network, perhaps: what worked before says nothing. */
  forget() {
    if (!this.plain) this.#proven = null;
    this.#memory.forget();
  }
}

/** Which transport worked, for this tab and one address. A storage that is full or forbidden is none. */
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
    // What is remembered keeps its age: otherwise a better transport would never be tried again.
    if (this.recall() === transport) return;
    const value = JSON.stringify({ transport, at: this.#environment.now() });
    try {
      this.#environment.sessionStorage.setItem(this.#key, value);
    } catch {
      // Then the next connection finds out anew.
    }
  }

  forget() {
    try {
      this.#environment.sessionStorage.removeItem(this.#key);
    } catch {
      // Nothing was kept.
    }
  }
}
