// A carrier: one connection that carries the session for a while.

import { PROTOCOL, TAKEN_OVER, controlFrame, dataFrame, readFrame } from "./wire.js";

/** The end of a session whose server has fewer frames than it acknowledged: another session has to begin. */
export const LOST_FRAMES = { reason: "the server lost frames", over: true };

/**
 * The base of all carriers. `host` is notified by `opened(carrier, control)`, `proven(carrier)`, `gap(carrier, gap)`,
 * `received(carrier, number, data)`, `heard()`. `target` has `url` (http or https), `socketUrl`, `protocols`, `headers`.
 */
export class Carrier {
  /** Whether the server has opened or resumed a session. */
  isOpened = false;
  /** Whether a round trip has shown that it works. */
  isProven = false;
  /** Whether the server has closed, so that nothing can be sent any more. */
  isClosing = false;
  ended = false;
  /** The close of a channel that was closed before its session was opened, `{code, reason}`: sent once it is. */
  leaving = null;
  /** Whether it has to be asked for signs of life. */
  needsChecks = true;

  constructor(name, host, target) {
    Object.assign(this, { name, host, target });
    /** Resolves at its end to `{reason, code, wasClean, status, retryAfter, over}`; `over`: the session has ended too. */
    this.done = new Promise((resolve) => (this.resolveDone = resolve));
  }

  /** Marks it as working: received frames are delivered, and waiting ones are sent. */
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

  /** Handles a session's end by the server. Frames before it count, proven or not. */
  closedBy({ code, reason = "", wasClean = true }) {
    this.isClosing = true;
    if (this.isOpened) this.prove();
    this.end({ code, reason, wasClean, over: true });
  }

  /** Ends a session that is being opened, once the server's answer has named it. */
  leave(close) {
    this.leaving = close;
  }

  /** Acknowledges, if no other request does. */
  acknowledge() {}
}

// The `readyState` of a WebSocket.
const OPEN = 1;

// 1006 stands for a missing close frame: the carrier broke off, the session goes on.
const BROKEN_OFF = [1006, TAKEN_OVER];
// A server that goes away, restarts, or finds its client slow may still have the session. If not, the next carrier learns it.
const GOES_AWAY = [1001, 1012, 1013];

/** A WebSocket; without session if `plain`, or if the server wants none. */
export class WebSocketCarrier extends Carrier {
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
    // A plain server does not acknowledge.
    if (this.plain) session.acknowledge(this.#sent);
  }

  acknowledge() {
    if (!this.plain) this.#socket.send(controlFrame({ cursor: this.host.session.cursor }));
  }

  /** Asks for a sign of life, which has a deadline. */
  check() {
    if (this.plain) return;
    this.#socket.send(controlFrame({ ping: "check", cursor: this.host.session.cursor }));
    this.host.expectSign(this);
  }

  /** Ends the session, after the frames that wait. */
  close(code, reason) {
    // A carrier that is not proven may lose everything.
    if (!this.isProven) this.host.endSession(this.target, { code, reason });
    this.leaving = { code, reason };
    try {
      this.flush();
    } finally {
      this.end({ code, reason });
    }
  }

  // A WebSocket's close ends its session even before that has a token.
  leave(close) {
    super.leave(close);
    if (this.#socket.readyState === OPEN) this.end(close);
  }

  drop() {
    // A close without a code would end the session. A session without a token cannot be resumed, and has to end.
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
    if (this.ended && this.leaving && !wasClean) this.host.endSession(this.target, this.leaving);
    if (this.ended) return;
    if (BROKEN_OFF.includes(code) || (GOES_AWAY.includes(code) && this.isProven)) this.end({ code, reason, wasClean });
    else this.closedBy({ code, reason, wasClean });
  }
}
