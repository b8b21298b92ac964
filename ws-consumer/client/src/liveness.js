// Signs of life and acknowledgements of a carrier.

// Frames are acknowledged after this number of frames, or this time.
const ACK_FRAMES = 50;
const ACK_MS = 500;
// The interval of signs of life until the server names one.
const HEARTBEAT_S = 25;
// Browsers' timers are limited to 24 days; longer ones fire at once.
const LONGEST_HEARTBEAT_S = 3_600;

export class Liveness {
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

  /** The interval in milliseconds within which the server expects a sign of life. */
  get heartbeat() {
    return this.#heartbeat * 1000;
  }

  /** Sets the server's interval, in seconds. */
  set(heartbeat) {
    this.#heartbeat = heartbeat > 0 ? Math.min(Math.max(heartbeat, 1), LONGEST_HEARTBEAT_S) : HEARTBEAT_S;
  }

  /** Makes the carrier ask for signs of life twice within a heartbeat, so that a late one does no harm. */
  check(carrier) {
    const check = () => {
      this.check(carrier);
      carrier.check();
    };
    this.#checkTimer = this.#environment.setTimeout(check, this.heartbeat / 2);
  }

  /** Ends the carrier unless there is a sign of life in time. */
  expect(carrier) {
    const silent = () => carrier.end({ reason: "the server is silent" });
    this.#signTimer ??= this.#environment.setTimeout(silent, this.#timeout);
  }

  heard() {
    this.#environment.clearTimeout(this.#signTimer);
    this.#signTimer = undefined;
  }

  /** Notes a frame, which the carrier acknowledges soon. */
  arrived(carrier) {
    const now = () => {
      this.#environment.clearTimeout(this.#ackTimer);
      this.#ackTimer = undefined;
      this.#unacknowledged = 0;
      if (carrier?.isProven && !carrier.ended) carrier.acknowledge();
    };
    this.#unacknowledged += 1;
    if (this.#unacknowledged >= ACK_FRAMES) now();
    else this.#ackTimer ??= this.#environment.setTimeout(now, ACK_MS);
  }

  /** Stops all timers at the end of a carrier. */
  stop() {
    for (const timer of [this.#checkTimer, this.#signTimer, this.#ackTimer]) this.#environment.clearTimeout(timer);
    this.#signTimer = this.#ackTimer = undefined;
    this.#unacknowledged = 0;
  }
}
