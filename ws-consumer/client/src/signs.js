// Signs of life and acknowledgements, for as long as a leg lives.

// The server hears of what arrived after so many frames or so long.
const ACK_FRAMES = 50;
const ACK_MS = 500;
// Until the server says how often it wants to hear of the client.
const HEARTBEAT_S = 25;
// Timers of browsers end at 24 days, and what is longer is due at once.
const LONGEST_HEARTBEAT_S = 3_600;

export class Signs {
  #environment;
  #timeout;
  #heartbeat = HEARTBEAT_S;
  #checkTimer;
  #signTimer;
  #ackTimer;
  #unacknowledged = 0;

  constructor(environment, timeout) {
    this.#environment = environment;
    this.#timeout = timeout;
  }

  /** Milliseconds within which the server wants to hear of the client. */
  get heartbeat() {
    return this.#heartbeat * 1000;
  }

  /** Takes what the server says of it, in seconds. */
  set(heartbeat) {
    this.#heartbeat = heartbeat > 0 ? Math.min(Math.max(heartbeat, 1), LONGEST_HEARTBEAT_S) : HEARTBEAT_S;
  }

  /** Asks the leg for a sign of life twice within a heartbeat, so that one that is late does no harm. */
  check(leg) {
    const check = () => {
      this.check(leg);
      leg.check();
    };
    this.#checkTimer = this.#environment.setTimeout(check, this.heartbeat / 2);
  }

  /** The leg ends if it is not heard of in time. */
  expect(leg) {
    const silent = () => leg.end({ reason: "the server is silent" });
    this.#signTimer ??= this.#environment.setTimeout(silent, this.#timeout);
  }

  heard() {
    this.#environment.clearTimeout(this.#signTimer);
    this.#signTimer = undefined;
  }

  /** A frame has arrived: the leg acknowledges it soon. */
  arrived(leg) {
    const now = () => {
      this.#environment.clearTimeout(this.#ackTimer);
      this.#ackTimer = undefined;
      this.#unacknowledged = 0;
      if (leg?.isProven && !leg.ended) leg.acknowledge();
    };
    this.#unacknowledged += 1;
    if (this.#unacknowledged >= ACK_FRAMES) now();
    else this.#ackTimer ??= this.#environment.setTimeout(now, ACK_MS);
  }

  /** The leg is over. */
  stop() {
    for (const timer of [this.#checkTimer, this.#signTimer, this.#ackTimer]) this.#environment.clearTimeout(timer);
    this.#signTimer = this.#ackTimer = undefined;
    this.#unacknowledged = 0;
  }
}
