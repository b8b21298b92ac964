// A leg: one connection that carries the session for a while.

import { PROTOCOL, TAKEN_OVER, controlFrame, dataFrame, readFrame } from "./wire.js";

/** The server has fewer frames than it acknowledged. That cannot be: another session is the only way out. */
export const LOST_FRAMES = { reason: "the server lost frames", over: true };

/**
 * What every leg does. `host` is told what happens: `opened(leg, control)`, `proven(leg)`, `gap(leg, gap)`,
 * `received(leg, number, data)`, `heard()`. `target` is where to: `url` (http or https), `socketUrl`, `protocols`, `headers`.
 */
export class Leg {
  /** The server has opened a session or gone on with one. */
  isOpened = false;
  /** A round trip has shown that it works. */
  isProven = false;
  /** The server has closed: nothing can be sent any more. */
  isClosing = false;
  ended = false;
  /** The channel has been closed before the session was opened: how it is to be ended once it is, `{code, reason}`. */
  leaving = null;
  /** Has to be asked for a sign of life now and then. */
  needsChecks = true;

  constructor(name, host, target) {
    Object.assign(this, { name, host, target });
    /** Resolves when it is over, with why: `{reason, code, wasClean, status, retryAfter, over}`, `over` with the session. */
    this.done = new Promise((resolve) => (this.resolveDone = resolve));
  }

  /** It works: what has come is delivered, what waits is sent. */
  prove() {
    if (this.ended || this.isProven) return;
    this.isProven = true;
    this.host.proven(this);
  }

  end(why) {
    if (this.ended) return;
    this.ended = true;
    try {
      this.drop();
    } finally {
      this.resolveDone(why);
    }
  }

  /** The server ends the session. What it said before counts, even if there was no time for a proof. */
  closedBy({ code, reason = "", wasClean = true }) {
    this.isClosing = true;
    if (this.isOpened) this.prove();
    this.end({ code, reason, wasClean, over: true });
  }

  /** Ends the session that is only being opened: when its answer tells which that is. */
  leave(close) {
    this.leaving = close;
  }

  /** Acknowledges, if nothing else will. */
  acknowledge() {}
}

// The `readyState` of a WebSocket.
const OPEN = 1;

// 1006 is the browser's word for "no close frame came": the leg broke off, the session goes on.
const BROKEN_OFF = [1006, TAKEN_OVER];
// A server that goes away, restarts, or finds its client slow may have the session still. If not, it says so.
const GOES_AWAY = [1001, 1012, 1013];

/** A WebSocket; without session if `plain`, or if the server wants none. */
export class WebSocketLeg extends Leg {
  #socket;
  #sent = 0;
  #next = 0;

  constructor(name, host, target) {
    super(name, host, target);
    this.plain = target.plain;
  }

  start() {
    const { session, environment } = this.host;
    const resume = session.token === null ? [] : [`channels.resume.${session.cursor}.${session.token}`];
    const offered = [...(this.plain ? [] : [PROTOCOL, ...resume]), ...this.target.protocols];
    const socket = new environment.WebSocket(this.target.socketUrl, offered);
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      if (this.leaving) this.leave(this.leaving);
      else if (!this.ended && socket.protocol !== PROTOCOL) this.#openPlain();
    };
    socket.onmessage = ({ data }) => this.#take(data);
    socket.onclose = (event) => this.#closed(event);
    // Browsers close after an error, Node's WebSocket not always.
    socket.onerror = () => this.isOpened || this.#closed({ code: 1006, reason: "", wasClean: false });
  }

  flush() {
    const { session } = this.host;
    for (const { data } of session.after(this.#sent)) {
      this.#socket.send(this.plain ? data : dataFrame(data));
      this.#sent += 1;
    }
    session.wrote(this.#sent);
    // Nobody will acknowledge.
    if (this.plain) session.acknowledge(this.#sent);
  }

  acknowledge() {
    if (!this.plain) this.#socket.send(controlFrame({ cursor: this.host.session.cursor }));
  }

  /** Asks for a sign of life, which is to come before the time is over. */
  check() {
    if (this.plain) return;
    this.#socket.send(controlFrame({ ping: "check", cursor: this.host.session.cursor }));
    this.host.expectSign(this);
  }

  /** Ends the session, after what waits. */
  close(code, reason) {
    // What no round trip has proven may swallow all that it is given.
    if (!this.isProven) this.host.farewell(this.target, { code, reason });
    this.leaving = { code, reason };
    try {
      this.flush();
    } finally {
      this.end({ code, reason });
    }
  }

  // Here a close says of which session it is, even before that has a name.
  leave(close) {
    super.leave(close);
    if (this.#socket.readyState === OPEN) this.end(close);
  }

  drop() {
    // A close without a code would end the session; and one that nobody can resume has to end.
    const { session } = this.host;
    const { code, reason } = this.leaving ?? { code: session.token === null ? 1000 : TAKEN_OVER, reason: "" };
    this.#socket?.close(code, reason);
  }

  #openPlain() {
    this.plain = true;
    this.#sent = this.host.session.acked;
    this.isOpened = true;
    this.host.opened(this, { open: { protocol: this.#socket.protocol || null } });
    this.prove();
  }

  #take(data) {
    if (this.ended) return;
    this.host.heard();
    try {
      if (this.plain) this.host.received(this, null, data);
      else this.#read(readFrame(data));
    } catch (error) {
      this.end({ reason: error.message });
    }
  }

  #read({ control, data }) {
    if (!this.isOpened && !control?.open) throw new Error("a frame before the session began");
    if (control) return this.#control(control);
    this.host.received(this, this.#next, data);
    this.#next += 1;
  }

  #control(control) {
    if (control.open) {
      this.#next = control.open.cursor + 1;
      this.#sent = control.open.ack;
      this.isOpened = true;
      this.host.opened(this, control);
      this.#socket.send(controlFrame({ ping: "proof" }));
    } else if (control.gap) {
      this.host.gap(this, control.gap);
      if (Number.isSafeInteger(control.gap.to)) this.#next = Math.max(this.#next, control.gap.to + 1);
    }
    if (control.ack !== undefined) this.host.session.acknowledge(control.ack);
    if (control.pong === "proof") this.prove();
  }

  #closed({ code, reason, wasClean }) {
    // The close has not reached a server whose connection was broken already.
    if (this.ended && this.leaving && !wasClean) this.host.farewell(this.target, this.leaving);
    if (this.ended) return;
    if (BROKEN_OFF.includes(code) || (GOES_AWAY.includes(code) && this.isProven)) this.end({ code, reason, wasClean });
    else this.closedBy({ code, reason, wasClean });
  }
}
