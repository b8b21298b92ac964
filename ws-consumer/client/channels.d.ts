// Types of channels.js. Times are in milliseconds.

/** The name of a transport. */
export type Transport = "websocket" | "event-stream" | "long-poll" | "poll";

/**
 * The state of a channel: `connecting` before the first connection, `open`, `reconnecting` after a loss, `offline` while tries
 * fail and the browser says that there is no network, or the page is frozen, `closed` for good.
 */
export type ChannelState = "connecting" | "open" | "reconnecting" | "offline" | "closed";

/** The argument of the options' functions: the try for which they are called. */
export interface Try {
  readonly transport: Transport;
  /** The number of rounds over the transports that have failed: 0 for the first try. */
  readonly attempt: number;
}

/** A value, or a function that is called at every try, so that a ticket is fresh. */
export type PerTry<T> = T | ((about: Try) => T | Promise<T>);

/** The end of a connection. */
export interface Loss {
  /** The close code, if there was one. */
  readonly code?: number;
  readonly reason: string;
  /** The HTTP status of a refusal. Browsers do not show that of a WebSocket. */
  readonly status?: number;
  /** Seconds after which the server asks for another try, if it does. The default is then to try again. */
  readonly retryAfter?: number;
}

export interface ChannelOptions {
  /** The transports, the best first. Default: `["websocket", "event-stream", "long-poll"]`. */
  transports?: readonly Transport[];
  /** Subprotocols. Over HTTP they are part of the address: a ticket among them belongs into `headers` there. */
  protocols?: PerTry<string | readonly string[] | undefined>;
  /** Headers for the transports of HTTP; a page cannot add any to a WebSocket. */
  headers?: PerTry<Record<string, string> | undefined>;
  /** The option `credentials` of fetch. Default: "same-origin". */
  credentials?: RequestCredentials;
  /** Whether to use a WebSocket without session, for servers that have none. Default: false. */
  plain?: boolean;
  /** Answers requests of the server; a thrown error is sent to it. Without it requests are messages. */
  onrequest?: (request: any) => unknown;
  /** Whether to try again. Undefined leaves it to the default; so does an error, which is reported. */
  shouldReconnect?: (loss: Loss) => boolean | undefined;
  /** The deadline of each proof of a transport, each answer and each sign of life. Default: 10,000. */
  timeout?: number;
  /** The longest wait before the first new try; it doubles with each. The wait itself is random. Default: 500. */
  backoffBase?: number;
  /** The longest wait of all. Default: 30,000. */
  backoffMax?: number;
  /** The pause between plain polls. Default: 3,000. */
  pollInterval?: number;
  /** Messages that may wait for the server's acknowledgement. Default: 4,096. */
  maxMessages?: number;
  /** The bytes of these messages. Default: 1,048,576. */
  maxBytes?: number;
  /** Replacements of the browser's environment, for tests and other engines. */
  environment?: Partial<Environment>;
}

export interface Environment {
  WebSocket: unknown;
  fetch: unknown;
  /** Event streams are left out where there is none. */
  ReadableStream: unknown;
  setTimeout(callback: () => void, delay: number): unknown;
  clearTimeout(timer: any): void;
  /** Milliseconds since the epoch. */
  now(): number;
  /** From 0 to 1, without 1. */
  random(): number;
  /** Called with the errors of the application's functions. */
  reportError(error: unknown): void;
  /** The target of the events `online`, `offline`, `pagehide` and `pageshow`: the global scope in a worker. */
  window: EventTarget | undefined;
  document: (EventTarget & { readonly visibilityState: string; readonly baseURI?: string }) | undefined;
  navigator: { readonly onLine?: boolean } | undefined;
  location: { readonly href: string } | undefined;
  sessionStorage: Pick<Storage, "getItem" | "setItem" | "removeItem"> | undefined;
}

/** The defaults of the options. */
export const DEFAULTS: Readonly<
  Required<
    Pick<
      ChannelOptions,
      | "transports"
      | "credentials"
      | "plain"
      | "timeout"
      | "backoffBase"
      | "backoffMax"
      | "pollInterval"
      | "maxMessages"
      | "maxBytes"
    >
  >
>;

/** An event with fields next to its `type`. */
export type ChannelEvent<Fields = unknown> = Event & Readonly<Fields>;

/** A message: a text, or bytes as an ArrayBuffer. */
export interface ChannelMessageEvent<In = any> extends Event {
  readonly data: string | ArrayBuffer;
  /** The message as JSON. Throws SyntaxError for other texts, TypeError for bytes. */
  json(): In;
}

export interface ChannelEventMap<In = any> {
  /** A transport has proven itself. `resumed`: the session goes on, nothing is lost. */
  open: ChannelEvent<{ transport: Transport; resumed: boolean }>;
  message: ChannelMessageEvent<In>;
  /**
   * The end of the channel. `status` is that of a refusal. `uncertain` has the messages that were sent and never acknowledged:
   * perhaps they arrived (none on plain WebSockets, which do not acknowledge). `unsent` has those that were not sent.
   */
  close: ChannelEvent<{
    code: number;
    reason: string;
    wasClean: boolean;
    status?: number;
    uncertain: readonly (string | ArrayBuffer)[];
    unsent: readonly (string | ArrayBuffer)[];
  }>;
  /** The next try is `delay` away, and is the `attempt`th. */
  reconnecting: ChannelEvent<{ attempt: number; delay: number; reason: string }>;
  /** The session goes on over another connection. */
  resumed: ChannelEvent<{ transport: Transport }>;
  /**
   * Messages `from` to `to` are lost. `to` is null when the session itself is lost and a new one begins; then `uncertain`
   * has the messages that were sent and never acknowledged. Messages of the listener go before those that wait.
   * Both are null on plain WebSockets, whose messages have no numbers.
   */
  gap: ChannelEvent<{
    from: number | null;
    to: number | null;
    uncertain: readonly (string | ArrayBuffer)[];
  }>;
  statechange: ChannelEvent<{ state: ChannelState; previous: ChannelState }>;
}

/** A listener: a function, or an object with one. */
export type ChannelListener<Heard> = ((event: Heard) => void) | { handleEvent(event: Heard): void };

/**
 * A union of messages from a map of their types, as `Channel.onMessage` selects them:
 * `Messages<{ "chat.message": { text: string } }>` is `{ type: "chat.message"; text: string }`.
 */
export type Messages<Fields> = { [Type in keyof Fields]: { readonly type: Type } & Fields[Type] }[keyof Fields];

/** The types of a union of messages; `string` if the messages are `any`. */
export type MessageType<In> = In extends { readonly type: infer Type extends string } ? Type : never;

/** The error of a channel. */
export class ChannelError extends Error {
  constructor(code: ChannelError["code"], message: string);
  /**
   * `buffer-full` and `closed` for messages; for requests also `timeout`, `refused`, and `lost` with the session.
   * `address` ends a channel whose address is invalid; the reason of its `close` says why.
   */
  readonly code: "buffer-full" | "closed" | "timeout" | "refused" | "lost" | "address";
}

/**
 * The fields and the reply of a request, by the value of `type`: `{ members: { request: { room: string }; reply: string[] } }` for a
 * serde enum with `#[serde(tag = "type")]`. `request` is left out where there are no fields.
 */
export type RequestMap<Requests> = {
  [Name in keyof Requests]: { readonly request?: object; readonly reply: unknown };
};

/** The function `request` of a channel: of any value where the channel has no types of requests. */
export type RequestFunction<Requests extends RequestMap<Requests>> = 0 extends 1 & Requests
  ? <Reply = any>(value: unknown, options?: { timeout?: number }) => Promise<Reply>
  : <Name extends keyof Requests>(
      request: RequestOf<Requests, Name>,
      options?: { timeout?: number },
    ) => Promise<Requests[Name]["reply"]>;

/** A request of this type, with its fields. */
export type RequestOf<Requests extends RequestMap<Requests>, Name extends keyof Requests> = {
  readonly type: Name;
} & (Requests[Name] extends { readonly request: infer Fields } ? Readonly<Fields> : {});

/**
 * A channel: messages in both directions, once and in order, over any connection. `In` are the server's messages, `Out` the client's, and
 * `Requests` the client's requests with their replies, a `RequestMap`.
 */
export class Channel<In = any, Out = any, Requests extends RequestMap<Requests> = any> extends EventTarget {
  private constructor();
  readonly state: ChannelState;
  /** The transport in use; null while there is none. */
  readonly transport: Transport | null;
  /** The subprotocol that the server chose, or null. */
  readonly protocol: string | null;
  /** Bytes that are sent or wait, and that the server has not acknowledged. */
  readonly bufferedAmount: number;
  /**
   * Sends a text, bytes, or any other value as JSON; at once or as soon as there is a connection. Half of a surrogate pair, as
   * in a text that was cut within an emoji, is sent as U+FFFD: in texts, and in the values and keys of JSON.
   *
   * @throws ChannelError `buffer-full`, and nothing is sent, when too much is waiting; `closed` after the end.
   * @throws TypeError for a value that has no JSON.
   */
  send(value: string | ArrayBuffer | ArrayBufferView | Out): void;
  /**
   * Calls `listener` with each message that is a JSON object whose `type` is this one. Returns a function that removes the
   * listener. The object is shared with the other listeners of its type.
   */
  onMessage<Type extends MessageType<In>>(
    type: Type,
    listener: (message: Extract<In, { readonly type: Type }>) => void,
  ): () => void;
  /**
   * Sends a request and resolves to the server's reply.
   *
   * Rejects with ChannelError `timeout`, `refused`, `lost`, `closed` or `buffer-full`. A request that was not sent by its
   * timeout is not sent at all.
   */
  request: RequestFunction<Requests>;
  /**
   * Tries again now: ends the wait before the next try, even one that the server asked for or that is long because the
   * browser says that it is offline. For a button; the waits go on growing if the try fails. What is open is asked for a
   * sign of life. Does nothing during a try, and after the end.
   */
  reconnect(): void;
  /**
   * Ends the session for good. Messages that wait are still sent if there is a connection. The reason is cut to 123 bytes of UTF-8,
   * between characters. A session that is only being opened is ended as soon as its answer has come.
   *
   * @throws RangeError for codes other than 1000 and 3000 to 4999, and for 4408, which is the protocol's own. The channel ends
   * all the same, with 1000.
   */
  close(code?: number, reason?: string): void;
  addEventListener<Name extends keyof ChannelEventMap>(
    type: Name,
    listener: ChannelListener<ChannelEventMap<In>[Name]> | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<Name extends keyof ChannelEventMap>(
    type: Name,
    listener: ChannelListener<ChannelEventMap<In>[Name]> | null,
    options?: boolean | EventListenerOptions,
  ): void;
}

/**
 * Opens a channel. It connects by itself, soon after this returns, and again whenever it breaks. A function's address keeps its
 * path: the session is found only there. An invalid address ends the channel: its `close` has the code 1006 and the reason.
 */
export function connect<In = any, Out = any, Requests extends RequestMap<Requests> = any>(
  url: PerTry<string | URL>,
  options?: ChannelOptions,
): Channel<In, Out, Requests>;
