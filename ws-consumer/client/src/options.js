// The default options, and the browser's environment.

import { reportLater } from "./events.js";

/** The defaults. Times are in milliseconds. */
export const DEFAULTS = Object.freeze({
  transports: Object.freeze(["websocket", "event-stream", "long-poll"]),
  // The wait before try n is drawn from 0 to base * 2^(n-1): random from the first on, so that clients do not come
  // back together.
  backoffBase: 500,
  backoffMax: 30_000,
  // The deadline of each proof, each answer and each sign of life.
  timeout: 10_000,
  pollInterval: 3_000,
  credentials: "same-origin",
  plain: false,
  maxMessages: 4_096,
  maxBytes: 1 << 20,
});

/** The options, with the defaults for those that are absent or undefined. */
export function withDefaults(options) {
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  return { ...DEFAULTS, ...Object.fromEntries(given) };
}

/** The browser's environment, with the given replacements. */
export function environmentOf(given = {}) {
  const { WebSocket, ReadableStream, fetch, window, document, navigator, location } = globalThis;
  // Workers have no window, and get its events themselves.
  const page = window ?? (typeof globalThis.addEventListener === "function" ? globalThis : undefined);
  return {
    WebSocket,
    ReadableStream,
    fetch: fetch && ((...request) => fetch(...request)),
    setTimeout: (...timer) => globalThis.setTimeout(...timer),
    clearTimeout: (timer) => globalThis.clearTimeout(timer),
    now: () => Date.now(),
    random: () => Math.random(),
    reportError: globalThis.reportError ? (error) => globalThis.reportError(error) : reportLater,
    window: page,
    document,
    navigator,
    location,
    // A getter: where storage is forbidden, access is an error.
    get sessionStorage() {
      return globalThis.sessionStorage;
    },
    ...given,
  };
}
