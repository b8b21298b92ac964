// One chat room: a channel that stays open, a log, and a line to write on.

import { ChannelError, connect } from "/channels/channels.js";
import { Log } from "./log.js";

// A chat is looked at: nobody wants to wait half a minute for it.
const LONGEST_RETRY_MS = 10_000;

const STATE_WORDS = {
  connecting: "Connecting",
  open: "Open",
  reconnecting: "Reconnecting",
  offline: "Offline",
  closed: "Closed",
};
const TRANSPORT_WORDS = { websocket: "WebSocket", "event-stream": "Event stream", "long-poll": "Long polls", poll: "Polls" };
const HINTS = {
  open: "",
  closed: "Closed: what you type is kept, and can be sent once you are connected.",
};
const WAITS = "Not connected: what you send waits, and goes out once the connection is there.";

const room = location.pathname.split("/")[2] ?? "";
const roomIsValid = /^[A-Za-z0-9._-]{1,94}$/.test(room);
const log = new Log();
let channel = null;
let wasOpen = false;
// While the channel waits for its next try: when that is (ms since the epoch), and why.
let retry = null;
// Why the channel is closed for good, if not by hand.
let ending = "";

const status = document.querySelector("#status");
const transport = document.querySelector("#transport");
const detail = document.querySelector("#detail");
const connectButton = document.querySelector("#connect");
const closeButton = document.querySelector("#close");
const retryButton = document.querySelector("#retry");
const notice = document.querySelector("#notice");
const form = document.querySelector("#message-form");
const input = document.querySelector("#message-input");
const submit = document.querySelector("#message-submit");
const hint = document.querySelector("#message-hint");

function open() {
  ending = "";
  wasOpen = false;
  channel = connect(`/ws/chat/${room}/`, { backoffMax: LONGEST_RETRY_MS });
  const listeners = {
    statechange: showState,
    open: opened,
    message: receive,
    reconnecting: ({ delay, attempt }) => showRetry(delay, attempt),
    gap: missed,
    close: closed,
  };
  for (const [name, listener] of Object.entries(listeners)) channel.addEventListener(name, listener);
  showState();
}

function opened() {
  wasOpen = true;
  retry = null;
  log.sending();
  showState();
}

function closed({ code, reason, status: refused }) {
  retry = null;
  if (refused !== undefined) ending = `The server refuses this room (${refused}).`;
  else if (code !== 1000) ending = `The server closed the connection (${`${code} ${reason}`.trim()}).`;
  // Nothing will come back any more.
  log.doubt(true);
  showState();
}

// The channel tells of what is lost for good, and so does the server when its own connections had a gap.
function missed() {
  log.mark("Messages may have been missed here.");
  log.doubt(false);
}

function receive(event) {
  const { message, error, notice: warning } = parsed(event);
  if (typeof error === "string") {
    notice.textContent = `The server says: ${error}`;
    // It is about one of them, and does not say which.
    log.doubt(false);
  }
  if (typeof warning === "string") log.mark(warning);
  if (typeof message === "string") log.add(message);
}

function parsed(event) {
  try {
    return event.json() ?? {};
  } catch {
    return { error: "something this page does not understand" };
  }
}

function send(text) {
  notice.textContent = "";
  try {
    channel.send({ message: text });
  } catch (error) {
    if (!(error instanceof ChannelError)) throw error;
    notice.textContent = error.code === "buffer-full" ? "Too much is waiting already." : "The connection is closed.";
    return false;
  }
  log.expect(text, channel.state !== "open");
  return true;
}

function showRetry(delay, attempt) {
  const reason = wasOpen && attempt === 1 ? "The connection broke." : "The server cannot be reached.";
  retry = { at: Date.now() + delay, reason };
  showDetail();
}

function showState() {
  const state = channel?.state ?? "closed";
  status.dataset.state = state;
  if (status.textContent !== STATE_WORDS[state]) status.textContent = STATE_WORDS[state];
  transport.textContent = TRANSPORT_WORDS[channel?.transport] ?? "";
  submit.disabled = state === "closed";
  hint.textContent = HINTS[state] ?? WAITS;
  showButtons(state);
  showDetail();
}

function showButtons(state) {
  const focused = document.activeElement;
  const isClosed = state === "closed";
  connectButton.hidden = !isClosed;
  closeButton.hidden = isClosed;
  retryButton.hidden = state !== "reconnecting" && state !== "offline";
  // A hidden button drops the keyboard focus; hand it to the one that took its place.
  if (focused === closeButton && isClosed) connectButton.focus();
  if (focused === connectButton && !isClosed) closeButton.focus();
  if (focused === retryButton && retryButton.hidden) input.focus();
}

function retryNow() {
  if (retry !== null) retry.at = Date.now();
  channel.reconnect();
  showDetail();
}

function showDetail() {
  const state = channel?.state ?? "closed";
  const parts = [];
  if (state === "offline") parts.push("There is no network. It goes on by itself when it is back.");
  if (state === "reconnecting" && retry !== null) parts.push(retry.reason, nextTry(retry.at - Date.now()));
  if (state === "closed" && roomIsValid) parts.push(ending, "It stays closed until you press Connect.");
  detail.textContent = parts.join(" ").trim();
}

function nextTry(wait) {
  return wait < 1000 ? "Trying again." : `Trying again in ${Math.ceil(wait / 1000)} s.`;
}

/** The name people gave the room: `u-` and hex is how the first page writes other scripts. */
function displayName(room) {
  const digits = /^u-((?:[0-9a-f]{2})+)$/.exec(room)?.[1];
  if (digits === undefined) return room;
  const bytes = Uint8Array.from(digits.match(/../g), (pair) => parseInt(pair, 16));
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return room;
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  // As it will come back: half a character, which a cut or a paste may leave, is replaced on the way.
  const text = new TextDecoder().decode(new TextEncoder().encode(input.value));
  if (text.trim() === "" || submit.disabled || !send(text)) return;
  input.value = "";
  input.focus();
});

connectButton.addEventListener("click", open);
closeButton.addEventListener("click", () => channel.close());
retryButton.addEventListener("click", retryNow);
log.onagain = send;
setInterval(showDetail, 1000);

const name = displayName(room);
document.querySelector("#room-name").textContent = name;
document.title = `${name} · chat`;
// The server refuses such a room, and a page that asks for it again and again helps nobody.
if (roomIsValid) {
  open();
} else {
  notice.textContent = "This is no valid room name. Go back to all rooms and pick another.";
  connectButton.disabled = true;
  showState();
}
