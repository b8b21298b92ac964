// What a client costs: its requests and bytes, counted where they leave and enter the page.

// What an opening of a WebSocket takes beyond other requests, and its answer: the key, the version, the upgrade.
const HANDSHAKE_UP = 180;
const HANDSHAKE_DOWN = 200;
const STATUS_LINE = "HTTP/1.1 200 OK\r\n\r\n".length;
const MOST_DELAYS = 200;

// Of a request's head; what browsers add differs by a few hundred bytes.
let headSize = 500;

/** Asks the server how large the heads of this browser's requests are. */
export async function measureHead() {
  try {
    const response = await fetch("/head-size", { method: "POST", body: "1", headers: { "content-type": "application/json" } });
    headSize = await response.json();
  } catch {
    // Then it is a guess.
  }
}

export class Meter {
  requests = 0;
  up = 0;
  down = 0;
  reconnects = 0;
  heard = 0;
  last = null;
  /** Is there no network? Then nothing is counted, and all of it fails. */
  isOffline = false;
  #delays = [];

  /** A message has come, sent so many milliseconds ago if that is known. */
  hear(delay) {
    this.heard += 1;
    if (delay === null) return;
    this.last = delay;
    this.#delays.push(delay);
    if (this.#delays.length > MOST_DELAYS) this.#delays.shift();
  }

  get median() {
    if (this.#delays.length === 0) return null;
    return this.#delays.toSorted((a, b) => a - b)[this.#delays.length >> 1];
  }

  /** Bytes of all kinds for each message that came. */
  get each() {
    return this.heard === 0 ? null : (this.up + this.down) / this.heard;
  }

  /** `fetch`, counted. */
  fetch = async (address, options) => {
    if (this.isOffline) throw new TypeError("there is no network");
    this.requests += 1;
    this.up += headSize + byteLength(options.body ?? "");
    const response = await fetch(address, options);
    this.down += STATUS_LINE;
    for (const [name, value] of response.headers) this.down += name.length + value.length + 4;
    return response.body === null ? response : this.#counted(response);
  };

  /** `WebSocket`, counted. */
  get WebSocket() {
    const meter = this;
    return class extends WebSocket {
      constructor(...address) {
        if (meter.isOffline) throw new TypeError("there is no network");
        super(...address);
        meter.requests += 1;
        meter.up += headSize + HANDSHAKE_UP;
        this.addEventListener("open", () => (meter.down += HANDSHAKE_DOWN));
        this.addEventListener("message", ({ data }) => (meter.down += frameSize(data)));
      }

      send(data) {
        // A client's frames are masked.
        meter.up += frameSize(data) + 4;
        super.send(data);
      }
    };
  }

  #counted(response) {
    const count = (chunk, stream) => {
      this.down += chunk.length;
      stream.enqueue(chunk);
    };
    const body = response.body.pipeThrough(new TransformStream({ transform: count }));
    const { status, statusText, headers } = response;
    return new Response(body, { status, statusText, headers });
  }
}

const byteLength = (data) => (typeof data === "string" ? new TextEncoder().encode(data).length : data.byteLength);

function frameSize(data) {
  const size = byteLength(data);
  if (size < 126) return size + 2;
  return size < 65_536 ? size + 4 : size + 10;
}
