// The waits between tries, and what ends them early.

// Some systems do not tell that the network is back: so often it is looked at.
const LOOK_MS = 1_000;

export class Pause {
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

  /** Ends it for somebody who looks at the page; but a server that named a time is not to be hurried. */
  hurry() {
    if (this.#mayHurry) this.#end();
  }

  /** Waits until it is ended. */
  forever() {
    this.#mayHurry = false;
    return new Promise((resolve) => (this.#end = resolve));
  }

  /** Waits so long. `cameOnline` is called when the browser has meanwhile noticed that there is a network. */
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
