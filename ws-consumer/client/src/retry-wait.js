// The waits between tries, which may be ended early.

// The interval of checks for a network: some systems send no event when it is back.
const LOOK_MS = 1_000;

export class RetryWait {
  #environment;
  #end = () => {};
  #mayHurry = false;

  constructor(environment) {
    this.#environment = environment;
  }

  /** Ends the wait, if there is one. */
  end() {
    this.#end();
  }

  /** Ends the wait for a user who looks at the page, unless the server has named a time. */
  hurry() {
    if (this.#mayHurry) this.#end();
  }

  /** Waits until it is ended. */
  forever() {
    this.#mayHurry = false;
    return new Promise((resolve) => (this.#end = resolve));
  }

  /** Waits for `delay` milliseconds. `cameOnline` is called if the browser finds a network meanwhile. */
  span(delay, mayHurry, cameOnline) {
    const { navigator, now, setTimeout, clearTimeout } = this.#environment;
    const until = now() + delay;
    let wasOnLine = navigator?.onLine;
    this.#mayHurry = mayHurry;
    return new Promise((resolve) => {
      let timer;
      this.#end = () => {
        clearTimeout(timer);
        resolve();
      };
      const wait = () => {
        const left = until - now();
        const isOnLine = navigator?.onLine;
        if (isOnLine === true && wasOnLine === false) cameOnline();
        else if (left <= 0) this.#end();
        else timer = setTimeout(wait, isOnLine === false ? Math.min(left, LOOK_MS) : left);
        wasOnLine = isOnLine;
      };
      wait();
    });
  }
}
