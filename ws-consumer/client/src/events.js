// The events of a channel.

// Older versions of React Native have neither.
const isNative = typeof globalThis.EventTarget === "function" && typeof globalThis.Event === "function";

class PlainEvent {
  constructor(type) {
    this.type = type;
  }
}

/** A small EventTarget: no phases, no cancelling. */
class PlainTarget {
  #listeners = [];

  addEventListener(type, listener, options) {
    const isKnown = this.#listeners.some((known) => known.type === type && known.listener === listener);
    if (listener && !isKnown) this.#listeners.push({ type, listener, once: options?.once === true });
  }

  removeEventListener(type, listener) {
    this.#listeners = this.#listeners.filter((known) => known.type !== type || known.listener !== listener);
  }

  dispatchEvent(event) {
    event.target = event.currentTarget = this;
    for (const { type, listener, once } of [...this.#listeners]) {
      if (type !== event.type) continue;
      if (once) this.removeEventListener(type, listener);
      try {
        if (typeof listener === "function") listener.call(this, event);
        else listener.handleEvent(event);
      } catch (error) {
        reportLater(error);
      }
    }
    return true;
  }
}

/** Reports an error as uncaught, without interrupting the caller. */
export function reportLater(error) {
  queueMicrotask(() => {
    throw error;
  });
}

/** The base class of channels. */
export const Target = isNative ? globalThis.EventTarget : PlainTarget;

/** An event with fields next to its `type`. */
export class ChannelEvent extends (isNative ? globalThis.Event : PlainEvent) {
  constructor(type, fields) {
    super(type);
    Object.assign(this, fields);
  }
}

/** A message: a text, or bytes as an ArrayBuffer, in `data`. */
export class ChannelMessageEvent extends ChannelEvent {
  constructor(data) {
    super("message", { data });
  }

  /** The message as JSON. Throws SyntaxError for other texts, TypeError for bytes. */
  json() {
    if (typeof this.data !== "string") throw new TypeError("a binary message is no JSON");
    return JSON.parse(this.data);
  }
}

const objects = new WeakMap();

/** The object that a message of JSON is, parsed once for all listeners; null for any other message. Shared: do not change it. */
export function objectOf(event) {
  if (!objects.has(event)) objects.set(event, parsedObject(event.data));
  return objects.get(event);
}

function parsedObject(data) {
  if (typeof data !== "string" || !data.trimStart().startsWith("{")) return null;
  try {
    return JSON.parse(data);
  } catch {
    return null;
  }
}
