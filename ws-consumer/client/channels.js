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

import { Calls } from "./src/calls.js";
import { Choice } from "./src/choice.js";
import { ChannelEvent, ChannelMessageEvent } from "./src/events.js";
import { StreamLeg, PollLeg, farewell } from "./src/http.js";
import { LOST_FRAMES, WebSocketLeg } from "./src/leg.js";
import { DEFAULTS, environmentOf, withDefaults } from "./src/options.js";
import { watchPage } from "./src/page.js";
import { ChannelError, Session, frameOf } from "./src/session.js";
import { retryHint } from "./src/wire.js";

export { ChannelError, ChannelEvent, ChannelMessageEvent, DEFAULTS };

/** Opens a channel. It connects by itself, soon after this returns, and again whenever it breaks. */
export function connect(url, options = {}) {
  return new Channel(url, options);
}

const LEGS = { websocket: WebSocketLeg, sse: StreamLeg, "long-poll": PollLeg, poll: PollLeg };

// The server hears of what arrived after so many frames or so long.
const ACK_FRAMES = 50;
const ACK_MS = 500;
// A leg that lived this long has proven itself: the next loss starts with short waits again.
const STABLE_MS = 5_000;
// Until the server says how often it wants to hear of the client.
const HEARTBEAT_S = 25;
// Timers of browsers end at 24 days, and what is longer is due at once.
const LONGEST_HEARTBEAT_S = 3_600;
// What servers answer whose only transport is the plain WebSocket.
const NO_HTTP = [400, 404, 405, 406, 426, 501];
const FINAL_STATUS = [401, 403, 404];

// Over plain HTTP a browser does not say whose page asks for a stream, so a server that must know refuses it; a POST says it.
const isFinal = (status, name) => FINAL_STATUS.includes(status) && !(status === 403 && name === "sse");

/** A channel; its events and options are in channels.d.ts. */
export class Channel extends EventTarget {
  #url;
  #options;
  #environment;
  #session;
  #choice;
  #calls;
  #unwatch;
  #host = this.#makeHost();

  #state = "connecting";
  #leg = null;
  // Of the last try: where a farewell goes when there is no leg.
  #target = null;
  #protocol = null;
  // The application has not been told of this session yet.
  #fresh = true;
  // What came before the leg was proven; lost with it, because the server has it still.
  #early = [];
  #attempt = 0;
  #openedAt = -Infinity;
  #offline;
  #frozen = false;
  // Ends the wait for the next round, if there is one; `hurry` only if the server did not name a time.
  #interrupt = () => {};
  #hurry = () => {};

  #heartbeat = HEARTBEAT_S;
  #proofTimer;
  #checkTimer;
  #signTimer;
  #ackTimer;
  #unacknowledged = 0;

  constructor(url, options) {
    super();
    this.#url = url;
    this.#options = withDefaults(options);
    this.#environment = environmentOf(options.environment);
    this.#session = new Session(this.#options);
    this.#choice = new Choice(this.#environment, this.#options.transports, url);
    this.#calls = new Calls(this.#environment, options.onrequest);
    this.#offline = this.#environment.navigator?.onLine === false;
    this.#unwatch = watchPage(this.#environment, this.#watcher());
    // Later, so that listeners can be added first.
    queueMicrotask(() => this.#live());
  }

  /** "connecting", "open", "reconnecting", "offline" or "closed". */
  get state() {
    return this.#state;
  }

  /** The transport in use: "websocket", "sse", "long-poll" or "poll"; null while there is none. */
  get transport() {
    return this.#state === "open" ? (this.#leg?.name ?? null) : null;
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

  /** Sends a request and resolves to the reply. Rejects with ChannelError: "timeout", "refused", "lost", "closed". */
  request(value, { timeout = this.#options.timeout } = {}) {
    return this.#calls.ask(value, timeout, {
      send: (call, ref) => this.#push({ ...frameOf(call), ref }),
      withdraw: (ref) => this.#session.withdraw(ref),
    });
  }

  /**
   * Tries again now, instead of when the wait is over or the browser is online; for a button. What is open is asked for a
   * sign of life. If the try fails the waits go on growing.
   */
  reconnect() {
    if (this.#state === "open") return void this.#leg?.check();
    this.#offline = false;
    this.#interrupt();
  }

  /** Ends the session for good. What waits is still sent if there is a connection. Codes as for a WebSocket's close. */
  close(code = 1000, reason = "") {
    if (code !== 1000 && !(code >= 3000 && code <= 4999)) throw new RangeError(`a close code of ${code}`);
    if (this.#state === "closed") return;
    const leg = this.#leg;
    if (leg?.isProven && !leg.ended) {
      leg.close(code, reason);
    } else if (this.#target && this.#choice.usable.some((name) => name !== "websocket")) {
      farewell(this.#host, this.#target, { code, reason });
    }
    this.#finish({ code, reason, wasClean: true });
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
    return this.#offline || this.#frozen || this.#state === "closed";
  }

  async #untilWanted() {
    while (this.#isUnwanted && this.#state !== "closed") {
      this.#enter("offline");
      await new Promise((resolve) => (this.#interrupt = resolve));
    }
    if (this.#state === "offline") this.#enter(this.#openedAt < 0 ? "connecting" : "reconnecting");
  }

  /** Tries the transports in turn, stays with the first that works until it breaks. Returns why it is over. */
  async #round() {
    let why = { reason: "no transport can be used" };
    for (const name of this.#choice.order()) {
      why = await this.#ride(name);
      if (why.proven || this.#isUnwanted) return why;
      this.#choice.failed(name);
      // The server has answered: another transport would hear the same.
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

  /** One leg, from the try to its end. */
  async #ride(name, plain = this.#choice.plain || this.#options.plain) {
    let leg;
    const late = { reason: `no proof within ${this.#options.timeout} ms` };
    const tooLate = new Promise((resolve) => {
      const end = () => (leg ? leg.end(late) : resolve(null));
      this.#proofTimer = this.#environment.setTimeout(end, this.#options.timeout);
    });
    try {
      const target = await Promise.race([this.#aim(name, plain), tooLate]);
      if (target === null || this.#isUnwanted) return late;
      this.#target = target;
      this.#early = [];
      this.#leg = leg = new LEGS[name](name, this.#host, target);
      // What the server says may be anything.
      Promise.resolve(leg.start()).catch((error) => leg.end({ reason: error.message }));
      const why = await leg.done;
      const hint = why.code === undefined ? why.retryAfter : retryHint(why.reason);
      return { ...why, retryAfter: hint, proven: leg.isProven };
    } catch (error) {
      // The application's functions or the browser refuse: an address that is none, mixed content.
      leg?.end({ reason: error.message });
      return { reason: error.message };
    } finally {
      this.#leave();
    }
  }

  /** Where to: asked for anew at every try, so that tickets are fresh. */
  async #aim(transport, plain) {
    const about = { transport, attempt: this.#attempt };
    const { protocols, headers, credentials, pollInterval } = this.#options;
    const values = [this.#url, protocols, headers].map((of) => (typeof of === "function" ? of(about) : of));
    const [address, names = [], fields] = await Promise.all(values);
    const url = new URL(address, this.#environment.location?.href);
    url.protocol = url.protocol.replace("ws", "http");
    url.hash = "";
    return { url: url.href, protocols: [names].flat(), headers: fields, credentials, pollInterval, plain };
  }

  // The leg is proven: from now on the application uses it.
  #begin(leg) {
    const resumed = !this.#fresh;
    this.#fresh = false;
    this.#environment.clearTimeout(this.#proofTimer);
    this.#choice.worked(leg.name, leg.plain);
    this.#openedAt = this.#environment.now();
    this.#enter("open");
    this.#emit("open", { transport: leg.name, resumed });
    if (resumed) this.#emit("resumed", { transport: leg.name });
    for (const tell of this.#early.splice(0)) tell();
    if (leg.ended || leg.isClosing) return;
    leg.flush();
    if (leg.needsChecks && !leg.plain) this.#checkLater();
  }

  #leave() {
    const timers = [this.#proofTimer, this.#checkTimer, this.#signTimer, this.#ackTimer];
    for (const timer of timers) this.#environment.clearTimeout(timer);
    this.#signTimer = this.#ackTimer = undefined;
    this.#unacknowledged = 0;
    this.#leg = null;
  }

  /** Waits before the next round. */
  async #rest(why) {
    if (why.proven && this.#environment.now() - this.#openedAt >= STABLE_MS) this.#attempt = 0;
    this.#attempt += 1;
    // Somebody has tried all the same, and the browser was right.
    if (!why.proven && this.#environment.navigator?.onLine === false) this.#offline = true;
    if (this.#isUnwanted) return;
    const delay = this.#delay(why);
    this.#enter("reconnecting");
    this.#emit("reconnecting", { attempt: this.#attempt, delay, reason: why.reason ?? "" });
    if (this.#isUnwanted) return;
    await new Promise((resolve) => {
      const timer = this.#environment.setTimeout(resolve, delay);
      this.#interrupt = () => {
        this.#environment.clearTimeout(timer);
        resolve();
      };
      // Who looks at the page need not wait; but a server that named a time is not to be hurried.
      this.#hurry = why.retryAfter === undefined ? this.#interrupt : () => {};
    });
  }

  // Full jitter. A page that nobody sees has time: the whole span from the start.
  #delay({ retryAfter = 0 }) {
    const { backoffBase, backoffMax } = this.#options;
    const hidden = this.#environment.document?.visibilityState === "hidden";
    const span = hidden ? backoffMax : Math.min(backoffMax, backoffBase * 2 ** (this.#attempt - 1));
    return retryAfter * 1000 + this.#environment.random() * span;
  }

  #mayRetry({ code, reason = "", status, over = false }) {
    const byDefault = () => {
      // A server of plain WebSockets says nothing by its answers to other requests.
      if (status !== undefined) return this.#choice.plain || !FINAL_STATUS.includes(status);
      return !over || !(code === 1000 || code === 1008 || code >= 4000);
    };
    try {
      return this.#options.shouldReconnect?.({ code, reason, status }) ?? byDefault();
    } catch (error) {
      this.#environment.reportError(error);
      return byDefault();
    }
  }

  #finish({ code = 1006, reason = "", wasClean = false, status }) {
    this.#leg?.end({ reason });
    // Without a leg its address is waited for, maybe for ever.
    this.#environment.clearTimeout(this.#proofTimer);
    this.#unwatch();
    this.#enter("closed");
    this.#interrupt();
    this.#calls.fail("closed", "the channel is closed");
    this.#emit("close", { code, reason, wasClean, status });
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

  // What legs may do with the channel.
  #makeHost() {
    const channel = this;
    const whenProven = (leg, tell) => (leg.isProven ? tell() : this.#early.push(tell));
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
      /** Milliseconds within which the server wants to hear of the client. */
      get heartbeat() {
        return channel.#heartbeat * 1000;
      },
      /** Milliseconds without a word after which a leg is dead. */
      get silence() {
        return this.heartbeat + channel.#options.timeout;
      },
      opened: (leg, control) => this.#opened(leg, control),
      proven: (leg) => this.#begin(leg),
      gap: (leg, { to }) => whenProven(leg, () => this.#gap(to)),
      received: (leg, number, data) => whenProven(leg, () => this.#deliver(number, data)),
      heard: () => this.#heard(),
      expectSign: (leg) => this.#expectSign(leg),
    };
  }

  #opened(leg, { open, gap }) {
    this.#protocol = open.protocol ?? null;
    if (leg.plain) return this.#openedPlain();
    const isSession = typeof open.token === "string" && [open.cursor, open.ack].every(Number.isSafeInteger);
    if (!isSession) throw new Error("no session");
    this.#heartbeat = open.heartbeat > 0 ? Math.min(Math.max(open.heartbeat, 1), LONGEST_HEARTBEAT_S) : HEARTBEAT_S;
    this.#session.token = open.token;
    if (!open.resumed) return this.#restart(gap?.from);
    this.#gap(open.cursor);
    if (!this.#session.isPossible(open.ack)) return leg.end(LOST_FRAMES);
    this.#session.acknowledge(open.ack);
  }

  #openedPlain() {
    const lost = this.#choice.plain || this.#session.known;
    this.#choice.plain = this.#fresh = true;
    if (!lost) return;
    this.#calls.fail("lost", "the connection is lost, and the reply with it");
    this.#emit("gap", { from: null, to: null, uncertain: [] });
  }

  /** A new session: if there was one before, it is lost, and what became of its last frames nobody knows. */
  #restart(from) {
    this.#fresh = true;
    if (!this.#session.known) {
      this.#session.known = true;
      return;
    }
    const lost = this.#session.restart();
    const uncertain = lost.sent.filter(({ ref }) => ref === undefined).map(({ data }) => data);
    const waiting = new Set(lost.unsent.map(({ ref }) => ref));
    this.#calls.fail("lost", "the session is lost, and the reply with it", waiting);
    // What the application sends again now goes before what has been waiting behind it.
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
      // Never silently: the server should have told of it.
      this.#gap(number - 1);
      if (!this.#session.take(number)) return;
      this.#acknowledgeSoon();
    }
    const taken = this.#calls.take(data, (answer) => this.send(answer));
    if (!taken) this.dispatchEvent(new ChannelMessageEvent(data));
  }

  #acknowledgeSoon() {
    const now = () => {
      this.#environment.clearTimeout(this.#ackTimer);
      this.#ackTimer = undefined;
      this.#unacknowledged = 0;
      if (this.#leg?.isProven && !this.#leg.ended) this.#leg.acknowledge();
    };
    this.#unacknowledged += 1;
    if (this.#unacknowledged >= ACK_FRAMES) now();
    else this.#ackTimer ??= this.#environment.setTimeout(now, ACK_MS);
  }

  // Twice within a heartbeat, so that one that is late does no harm.
  #checkLater() {
    const check = () => {
      this.#checkLater();
      this.#leg.check();
    };
    this.#checkTimer = this.#environment.setTimeout(check, (this.#heartbeat * 1000) / 2);
  }

  #heard() {
    this.#environment.clearTimeout(this.#signTimer);
    this.#signTimer = undefined;
  }

  #expectSign(leg) {
    const silent = () => leg.end({ reason: "the server is silent" });
    this.#signTimer ??= this.#environment.setTimeout(silent, this.#options.timeout);
  }

  #watcher() {
    return {
      offline: () => {
        this.#offline = true;
        // Without a session a cut would lose messages, and some systems say "offline" too easily.
        if (!this.#choice.plain) this.#leg?.end({ reason: "offline" });
        this.#interrupt();
      },
      online: () => {
        this.#offline = false;
        this.#choice.forget();
        this.#attempt = 0;
        this.#interrupt();
      },
      visible: () => {
        if (this.#state === "open") this.#leg?.check();
        else this.#hurry();
      },
      frozen: () => {
        this.#frozen = true;
        this.#leg?.end({ reason: "the page is frozen" });
        this.#interrupt();
      },
      thawed: () => {
        this.#frozen = false;
        this.#interrupt();
      },
      gone: () => this.close(1000, "the page is gone"),
    };
  }

  #push(frame) {
    if (this.#state === "closed") throw new ChannelError("closed", "the channel is closed");
    this.#session.push(frame);
    const leg = this.#leg;
    if (leg?.isProven && !leg.ended && !leg.isClosing) leg.flush();
  }
}
