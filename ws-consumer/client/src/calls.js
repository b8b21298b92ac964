// Requests and their replies, in both directions: `{ref, request}`, then `{ref, reply}` or `{ref, error}`.

import { ChannelError } from "./session.js";

export class Calls {
  #environment;
  #onrequest;
  #open = new Map();
  #last = 0;

  constructor(environment, onrequest) {
    this.#environment = environment;
    this.#onrequest = onrequest;
  }

  /** Makes a request. `send(call, ref)` sends it, `withdraw(ref)` takes it back when the time is over. */
  ask(request, timeout, { send, withdraw }) {
    const ref = (this.#last += 1);
    return new Promise((resolve, reject) => {
      const late = () => {
        withdraw(ref);
        this.#settle(ref, new ChannelError("timeout", `no reply within ${timeout} ms`));
      };
      const timer = this.#environment.setTimeout(late, timeout);
      this.#open.set(ref, { resolve, reject, timer });
      try {
        send({ ref, request }, ref);
      } catch (error) {
        this.#settle(ref, error);
      }
    });
  }

  /** Handles a reply to an open request, or a request of the server, whose answer goes to `send`. Returns false for others. */
  take(data, send) {
    if (typeof data !== "string" || !data.startsWith("{") || !data.includes('"ref"')) return false;
    const call = parsed(data);
    if (call?.ref === undefined) return false;
    if ("request" in call) return this.#answer(call, send);
    if (!this.#open.has(call.ref) || !("reply" in call || "error" in call)) return false;
    const refused = call.error !== undefined && new ChannelError("refused", String(call.error));
    this.#settle(call.ref, refused || null, call.reply);
    return true;
  }

  /** Rejects all open requests, except those in `waiting`. */
  fail(code, message, waiting = new Set()) {
    for (const ref of [...this.#open.keys()].filter((ref) => !waiting.has(ref))) {
      this.#settle(ref, new ChannelError(code, message));
    }
  }

  #answer({ ref, request }, send) {
    if (this.#onrequest === undefined) return false;
    const work = async () => this.#onrequest(request);
    const answer = work().then(
      (reply = null) => ({ ref, reply }),
      (error) => ({ ref, error: error?.message ?? String(error) }),
    );
    // A failed send is left to the server's deadline.
    answer.then(send).catch(() => {});
    return true;
  }

  #settle(ref, error, reply) {
    const { resolve, reject, timer } = this.#open.get(ref);
    this.#open.delete(ref);
    this.#environment.clearTimeout(timer);
    if (error) reject(error);
    else resolve(reply);
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
