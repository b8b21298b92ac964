/**
 * Channels that stay open: one session over WebSocket, event stream or polls, whichever gets through.
 *
 * ```js
 * import { connect } from "./channels.js";
 * const channel = connect("/ws/chat/lobby/");
 * channel.addEventListener("message", ({ data }) => console.log(data));
 * channel.send({ text: "hello" });
 * ```
 *
 * @module
 */

import { aimAt, namesOf } from "./src/address.js";
import { Calls } from "./src/calls.js";
import { Choice } from "./src/choice.js";
import { ChannelEvent, ChannelMessageEvent, Target, objectOf } from "./src/events.js";
import { EventStreamCarrier, PollCarrier, endSession } from "./src/http.js";
import { LOST_FRAMES, WebSocketCarrier } from "./src/carrier.js";
import { DEFAULTS, environmentOf, withDefaults } from "./src/options.js";
import { watchPage } from "./src/page.js";
import { RetryWait } from "./src/retry-wait.js";
import { ChannelError, Session, frameOf, messagesOf } from "./src/session.js";
import { Liveness } from "./src/liveness.js";
import { cutToBytes } from "./src/text.js";
import { TAKEN_OVER, retryHint } from "./src/wire.js";

export { ChannelError, ChannelEvent, ChannelMessageEvent, DEFAULTS };

/** Opens a channel. It connects by itself, soon after this returns, and again whenever it breaks. */
export function connect(url, options = {}) {
  return new Channel(url, options);
}

const CARRIERS = { websocket: WebSocketCarrier, "event-stream": EventStreamCarrier, "long-poll": PollCarrier, poll: PollCarrier };

// A carrier that lived this long has proven itself: the next loss starts with short waits again.
const STABLE_MS = 5_000;
// A close frame has room for no more, less its code (RFC 6455, 5.5).
const REASON_BYTES = 123;
// The answers of servers whose only transport is the plain WebSocket.
const NO_HTTP = [400, 404, 405, 406, 426, 501];
const FINAL_STATUS = [400, 401, 403, 404];

// A browser names the page's origin in a POST, but not in a GET: a server that checks it refuses event streams.
const isFinal = (status, name) => FINAL_STATUS.includes(status) && !(status === 403 && name === "event-stream");

/** A channel; its events and options are in channels.d.ts. */
export class Channel extends Target {
  #url;
  #options;
  #environment;
  #session;
  #choice;
  #calls;
  #liveness;
  #wait;
  #unwatch;
  #host = this.#makeHost();

  #state = "connecting";
  #carrier = null;
  // The target of the last try, to end the session when there is no carrier.
  #target = null;
  #protocol = null;
  // Whether the application has yet to be notified of this session.
  #fresh = true;
  // Frames that came before the carrier was proven. They are dropped with it: the server still has them.
  #early = [];
  #attempt = 0;
  #openedAt = -Infinity;
  // A hint, which may be wrong.
  #offline = false;
  #frozen = false;
  #proofTimer;

  constructor(url, options) {
    super();
    this.#url = url;
    this.#options = withDefaults(options);
    this.#environment = environmentOf(options.environment);
    this.#session = new Session(this.#options);
    this.#choice = new Choice(this.#environment, this.#options.transports, url);
    this.#calls = new Calls(this.#environment, options.onrequest);
    this.#liveness = new Liveness(this.#environment, this.#options.timeout);
    this.#wait = new RetryWait(this.#environment);
    this.#unwatch = watchPage(this.#environment, this.#watcher());
    // Later, so that listeners can be added first.
    queueMicrotask(() => this.#live());
  }

  /** "connecting", "open", "reconnecting", "offline" or "closed". */
  get state() {
    return this.#state;
  }

  /** The transport in use: "websocket", "event-stream", "long-poll" or "poll"; null while there is none. */
  get transport() {
    return this.#state === "open" ? (this.#carrier?.name ?? null) : null;
  }

  /** The subprotocol that the server chose, or null. */
  get protocol() {
    return this.#protocol;
  }

  /** Bytes that are sent or wait, and that the server has not acknowledged. */
  get bufferedAmount() {
    return this.#session.bytes;
  }

  /**
   * Sends a text, bytes, or any other value as JSON; at once or as soon as there is a connection, once, in order.
   *
   * Throws ChannelError "buffer-full", and sends nothing, when too much is waiting, and "closed" after the end.
   */
  send(value) {
    this.#push(frameOf(value));
  }

  /**
   * Calls `listener` with each message that is a JSON object whose `type` is this one. Returns a function that removes the
   * listener. The object is shared with the other listeners of its type.
   */
  onMessage(type, listener) {
    const take = (event) => {
      const message = objectOf(event);
      if (message?.type === type) listener(message);
    };
    this.addEventListener("message", take);
    return () => this.removeEventListener("message", take);
  }

  /** Sends a request and resolves to the reply. Rejects with ChannelError: "timeout", "refused", "lost", "closed". */
  request(value, { timeout = this.#options.timeout } = {}) {
    return this.#calls.ask(value, timeout, {
      send: (call, ref) => this.#push({ ...frameOf(call), ref }),
      withdraw: (ref) => this.#session.withdraw(ref),
    });
  }

  /**
   * Tries again now, instead of when the wait is over; for a button. An open connection is asked for a
   * sign of life. If the try fails the waits go on growing.
   */
  reconnect() {
    if (this.#state === "open") return void this.#carrier?.check();
    this.#offline = false;
    this.#wait.end();
  }

  /**
   * Ends the session for good. Messages that wait are still sent if there is a connection. The reason is cut to 123 bytes of UTF-8.
   *
   * Throws RangeError for codes other than 1000 and 3000 to 4999 (without 4408, which is the protocol's own); the channel ends
   * all the same, with 1000.
   */
  close(code = 1000, reason = "") {
    const isOwn = Number.isInteger(code) && code >= 3000 && code <= 4999 && code !== TAKEN_OVER;
    const close = { code: isOwn ? code : 1000, reason: cutToBytes(String(reason ?? ""), REASON_BYTES) };
    if (this.#state !== "closed") this.#leaveWith(close);
    if (!isOwn && code !== 1000) throw new RangeError(`${String(code)} is no code to close with: 1000 and 3000 to 4999 are`);
  }

  #leaveWith(close) {
    const carrier = this.#carrier?.ended === false ? this.#carrier : null;
    try {
      if (carrier?.isOpened) return void carrier.close(close.code, close.reason);
      endSession(this.#host, this.#target, close);
      // Its request may begin a session.
      carrier?.leave(close);
    } finally {
      this.#finish({ ...close, wasClean: true });
    }
  }

  // The life of the channel: a round over the transports, then a rest, until it is over.
  async #live() {
    while (this.#state !== "closed") {
      await this.#untilWanted();
      const why = await this.#round();
      if (this.#state === "closed") return;
      if (why.over) this.#session.token = null;
      if (!this.#mayRetry(why)) return this.#finish(why);
      await this.#rest(why);
    }
  }

  get #isUnwanted() {
    return this.#frozen || this.#state === "closed";
  }

  async #untilWanted() {
    while (this.#isUnwanted && this.#state !== "closed") {
      this.#enter("offline");
      await this.#wait.forever();
    }
    if (this.#state === "offline" && !this.#offline) this.#enter(this.#openedAt < 0 ? "connecting" : "reconnecting");
  }

  /** Tries the transports in turn, stays with the first that works until it breaks. Returns why it is over. */
  async #round() {
    let why = { reason: `none of the transports "${this.#options.transports}" can be used here`, hopeless: true };
    for (const name of this.#choice.order()) {
      why = await this.#ride(name);
      if (why.proven || why.hopeless || why.offline || this.#isUnwanted) return why;
      this.#choice.failed(name);
      // The server has answered: another transport would get the same answer.
      if (why.over || why.retryAfter !== undefined || isFinal(why.status, name)) break;
    }
    this.#choice.roundFailed();
    const isNew = this.#choice.untried && !this.#session.known;
    return isNew && NO_HTTP.includes(why.status) ? this.#tryPlain(why) : why;
  }

  // There is no session at this address. A browser breaks off if none of the subprotocols that it offers is taken.
  async #tryPlain(why) {
    if (!this.#choice.usable.includes("websocket")) return why;
    const plain = await this.#ride("websocket", true);
    return plain.proven ? plain : why;
  }

  /** One carrier, from the try to its end. */
  async #ride(name, plain = this.#choice.plain || this.#options.plain) {
    let carrier;
    const late = { reason: `no proof within ${this.#options.timeout} ms` };
    const tooLate = new Promise((resolve) => {
      const end = () => (carrier ? carrier.end(late) : resolve(null));
      this.#proofTimer = this.#environment.setTimeout(end, this.#options.timeout);
    });
    try {
      const target = await Promise.race([this.#aim(name, plain), tooLate]);
      if (target === null || this.#isUnwanted) return late;
      this.#target = target;
      this.#early = [];
      this.#carrier = carrier = new CARRIERS[name](name, this.#host, target);
      // The server's data may be malformed.
      Promise.resolve(carrier.start()).catch((error) => carrier.end({ reason: error.message }));
      const why = await carrier.done;
      const hint = why.code === undefined ? why.retryAfter : retryHint(why.reason);
      return { ...why, retryAfter: hint, proven: carrier.isProven };
    } catch (error) {
      // The application's functions or the browser have failed: no ticket, mixed content.
      const reason = String(error?.message ?? error);
      carrier?.end({ reason });
      return { reason, hopeless: error?.code === "address" };
    } finally {
      this.#leave();
    }
  }

  /** The target, resolved again for every try, so that tickets are fresh. */
  async #aim(transport, plain) {
    const about = { transport, attempt: this.#attempt };
    const { protocols, headers, credentials, pollInterval } = this.#options;
    const values = [this.#url, protocols, headers].map((of) => (typeof of === "function" ? of(about) : of));
    const [address, names, fields] = await Promise.all(values);
    const target = aimAt(address, fields, this.#environment);
    return { ...target, protocols: namesOf(names), credentials, pollInterval, plain };
  }

  // The carrier is proven: from now on the application uses it.
  #begin(carrier) {
    const resumed = !this.#fresh;
    this.#fresh = false;
    this.#environment.clearTimeout(this.#proofTimer);
    this.#choice.worked(carrier.name, carrier.plain);
    this.#openedAt = this.#environment.now();
    this.#offline = false;
    this.#enter("open");
    this.#emit("open", { transport: carrier.name, resumed });
    if (resumed) this.#emit("resumed", { transport: carrier.name });
    for (const tell of this.#early.splice(0)) tell();
    if (carrier.ended || carrier.isClosing) return;
    carrier.flush();
    if (carrier.needsChecks && !carrier.plain) this.#liveness.check(carrier);
  }

  #leave() {
    this.#environment.clearTimeout(this.#proofTimer);
    this.#liveness.stop();
    this.#carrier = null;
  }

  /** Waits before the next round. */
  async #rest(why) {
    if (why.proven && this.#environment.now() - this.#openedAt >= STABLE_MS) this.#attempt = 0;
    this.#attempt += 1;
    // Not before a try has failed: the browser may be wrong.
    if (!why.proven && this.#environment.navigator?.onLine === false) this.#offline = true;
    let isOffline;
    do {
      if (this.#isUnwanted) return;
      isOffline = this.#offline;
      const delay = this.#delay(why, isOffline);
      this.#enter(isOffline ? "offline" : "reconnecting");
      this.#emit("reconnecting", { attempt: this.#attempt, delay, reason: why.reason ?? "" });
      if (this.#isUnwanted) return;
      await this.#wait.span(delay, why.retryAfter === undefined, () => this.#online());
    } while (this.#offline && !isOffline);
  }

  // Full jitter. A hidden page draws from the whole span at once, and so does one without a network, where most tries fail.
  #delay({ retryAfter = 0 }, isOffline) {
    const { backoffBase, backoffMax } = this.#options;
    const hidden = this.#environment.document?.visibilityState === "hidden";
    const span = hidden ? backoffMax : Math.min(backoffMax, backoffBase * 2 ** (this.#attempt - 1));
    const chance = this.#environment.random();
    return retryAfter * 1000 + (isOffline ? ((1 + chance) / 2) * backoffMax : chance * span);
  }

  #mayRetry({ code, reason = "", status, retryAfter, over = false, hopeless = false }) {
    const byDefault = () => {
      if (hopeless) return false;
      // A server that names a time is asked again, whatever its code.
      if (retryAfter !== undefined) return true;
      // The answers of a server of plain WebSockets to other requests have no meaning.
      if (status !== undefined) return this.#choice.plain || !FINAL_STATUS.includes(status);
      return !over || !(code === 1000 || code === 1008 || code >= 4000);
    };
    try {
      return this.#options.shouldReconnect?.({ code, reason, status, retryAfter }) ?? byDefault();
    } catch (error) {
      this.#environment.reportError(error);
      return byDefault();
    }
  }

  #finish({ code = 1006, reason = "", wasClean = false, status }) {
    if (!this.#carrier?.leaving) {
      this.#carrier?.end({ reason });
      // Without a carrier the target is still being resolved, which may take forever.
      this.#environment.clearTimeout(this.#proofTimer);
    }
    this.#unwatch();
    this.#enter("closed");
    this.#wait.end();
    const { sent, unsent } = this.#session.close();
    this.#calls.fail("closed", reason === "" ? "the channel is closed" : `the channel is closed: ${reason}`);
    const left = { uncertain: messagesOf(sent), unsent: messagesOf(unsent) };
    this.#emit("close", { code, reason, wasClean, status, ...left });
  }

  #enter(state) {
    const previous = this.#state;
    if (state === previous || previous === "closed") return;
    this.#state = state;
    this.#emit("statechange", { state, previous });
  }

  #emit(type, fields) {
    this.dispatchEvent(new ChannelEvent(type, fields));
  }

  // The channel's side of a carrier.
  #makeHost() {
    const channel = this;
    const whenProven = (carrier, tell) => (carrier.isProven ? tell() : this.#early.push(tell));
    return {
      get session() {
        return channel.#session;
      },
      get environment() {
        return channel.#environment;
      },
      get timeout() {
        return channel.#options.timeout;
      },
      get heartbeat() {
        return channel.#liveness.heartbeat;
      },
      /** Milliseconds of silence after which a carrier is dead. */
      get silence() {
        return this.heartbeat + channel.#options.timeout;
      },
      opened: (carrier, control) => this.#opened(carrier, control),
      proven: (carrier) => this.#begin(carrier),
      gap: (carrier, { to }) => whenProven(carrier, () => this.#gap(to)),
      received: (carrier, number, data) => whenProven(carrier, () => this.#deliver(number, data)),
      heard: () => this.#liveness.heard(),
      expectSign: (carrier) => this.#liveness.expect(carrier),
      endSession: (target, close) => endSession(this.#host, target, close),
    };
  }

  #opened(carrier, { open, gap }) {
    this.#protocol = open.protocol ?? null;
    if (carrier.plain) return this.#openedPlain(carrier);
    const isSession = typeof open.token === "string" && [open.cursor, open.ack].every(Number.isSafeInteger);
    if (!isSession) throw new Error("no session");
    this.#liveness.set(open.heartbeat);
    this.#session.token = open.token;
    if (carrier.leaving) return this.#openedTooLate(carrier, open);
    if (!open.resumed) return this.#restart(gap?.from);
    this.#gap(open.cursor);
    if (!this.#session.isPossible(open.ack)) return carrier.end(LOST_FRAMES);
    this.#session.acknowledge(open.ack);
  }

  // The application has closed the channel meanwhile, and was notified of messages that may be lost.
  #openedTooLate(carrier, open) {
    if (open.resumed && this.#session.isPossible(open.ack)) this.#session.acknowledge(open.ack);
    else this.#session.restart();
    carrier.close(carrier.leaving.code, carrier.leaving.reason);
  }

  #openedPlain(carrier) {
    if (carrier.leaving) return carrier.close(carrier.leaving.code, carrier.leaving.reason);
    const lost = this.#choice.plain || this.#session.known;
    this.#choice.plain = this.#fresh = true;
    if (!lost) return;
    this.#calls.fail("lost", "the connection is lost, and the reply with it");
    this.#emit("gap", { from: null, to: null, uncertain: [] });
  }

  /** Begins another session: the one before is lost, and its last frames may or may not have arrived. */
  #restart(from) {
    this.#fresh = true;
    if (!this.#session.known) {
      this.#session.known = true;
      return;
    }
    const lost = this.#session.restart();
    const uncertain = messagesOf(lost.sent);
    const waiting = new Set(lost.unsent.map(({ ref }) => ref));
    this.#calls.fail("lost", "the session is lost, and the reply with it", waiting);
    // Messages that the application sends again now go before those that have been waiting.
    this.#emit("gap", { from: from ?? lost.from, to: null, uncertain });
    this.#session.restore(lost.unsent);
  }

  #gap(to) {
    const gap = Number.isSafeInteger(to) ? this.#session.skip(to) : null;
    if (gap !== null) this.#emit("gap", { ...gap, uncertain: [] });
  }

  #deliver(number, data) {
    if (this.#state === "closed") return;
    if (number !== null) {
      // The server should have reported it; a gap is never silent.
      this.#gap(number - 1);
      if (!this.#session.take(number)) return;
      this.#liveness.arrived(this.#carrier);
    }
    const taken = this.#calls.take(data, (answer) => this.send(answer));
    if (!taken) this.dispatchEvent(new ChannelMessageEvent(data));
  }

  #watcher() {
    return {
      offline: () => this.#seemsOffline(),
      online: () => this.#online(),
      visible: () => {
        if (this.#state === "open") this.#carrier?.check();
        else this.#wait.hurry();
      },
      frozen: () => {
        this.#frozen = true;
        this.#carrier?.end({ reason: "the page is frozen" });
        this.#wait.end();
      },
      thawed: () => {
        this.#frozen = false;
        this.#wait.end();
      },
      gone: () => this.close(1000, "the page is gone"),
    };
  }

  #seemsOffline() {
    const isNews = !this.#offline;
    this.#offline = true;
    // Without a session a cut would lose messages, and some systems say "offline" too easily.
    if (!this.#choice.plain) this.#carrier?.end({ reason: "offline", offline: true });
    if (isNews) this.#wait.end();
  }

  #online() {
    this.#offline = false;
    this.#choice.forget();
    this.#attempt = 0;
    this.#wait.end();
    if (this.#state !== "open" || this.#choice.plain) return;
    if (this.#carrier.name === this.#choice.usable[0]) this.#carrier.check();
    else this.#carrier.end({ reason: "another network may let a better transport through" });
  }

  #push(frame) {
    if (this.#state === "closed") throw new ChannelError("closed", "the channel is closed");
    this.#session.push(frame);
    const carrier = this.#carrier;
    if (carrier?.isProven && !carrier.ended && !carrier.isClosing) carrier.flush();
  }
}
