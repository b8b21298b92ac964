// Time that passes only when a test says so, and chance that a seed decides.

export class Clock {
  #now = 1_000_000;
  #timers = new Map();
  #last = 0;

  now = () => this.#now;

  setTimeout = (callback, delay = 0) => {
    const id = (this.#last += 1);
    this.#timers.set(id, { at: this.#now + Math.max(0, delay), id, callback });
    return id;
  };

  clearTimeout = (id) => void this.#timers.delete(id);

  /** Lets so many milliseconds pass, or less: `enough` ends it. */
  async advance(span, enough = () => false) {
    const end = this.#now + span;
    await settled();
    while (!enough()) {
      const next = this.#earliest();
      if (next === null || next.at > end) break;
      this.#timers.delete(next.id);
      this.#now = next.at;
      next.callback();
      await settled();
    }
    if (!enough()) this.#now = end;
  }

  #earliest() {
    let first = null;
    for (const timer of this.#timers.values()) {
      if (first === null || timer.at < first.at || (timer.at === first.at && timer.id < first.id)) first = timer;
    }
    return first;
  }
}

/** All that promises still have to say. */
export const settled = () => new Promise((resolve) => setImmediate(resolve));

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
export function chance(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
