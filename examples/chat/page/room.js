// One chat room: a socket that comes back by itself, a log, and a line to write on.

const FIRST_RETRY_MS = 250;
const LONGEST_RETRY_MS = 10_000;
// A connection this old has proven itself: the next failure starts again with a fast retry.
const STABLE_MS = 5_000;
// A tab left open for days must not grow without bound.
const MOST_MESSAGES = 500;
const MOST_UNSEEN = 100;

/**
 * A WebSocket that reconnects until it is told to stop.
 *
 * `state` is one of connecting, open, closing, closed. `retryAt` is when the next attempt starts (ms since
 * the epoch), or null when none is planned; `reason` says why the last connection ended. `onlost` is called
 * once for every connection that ended, before the `onchange` that tells of it.
 */
class Connection {
  state = "closed";
  retryAt = null;
  reason = "";
  onchange = () => {};
  onmessage = () => {};
  onlost = () => {};

  #url;
  #socket = null;
  #stopping = false;
  #failures = 0;
  #retryTimer;
  #stableTimer;

  constructor(url) {
    this.#url = url;
  }

  /** Connects now; ends a wait for the next attempt. Does nothing while a socket lives. */
  start() {
    if (this.#socket !== null) return;
    this.#cancelRetry();
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    socket.addEventListener("open", () => this.#opened());
    socket.addEventListener("message", (event) => this.onmessage(event.data));
    socket.addEventListener("close", (event) => this.#closed(event));
    this.#enter("connecting");
  }

  /** Closes, and stays closed until `start`. */
  stop() {
    this.#cancelRetry();
    this.#failures = 0;
    if (this.#socket === null) {
      this.reason = "";
      this.#enter("closed");
      return;
    }
    this.#stopping = true;
    this.#socket.close(1000);
    this.#enter("closing");
  }

  /** False, and nothing sent, unless the socket is open. */
  send(text) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(text);
    return true;
  }

  #opened() {
    if (this.#stopping) return;
    this.reason = "";
    this.#stableTimer = setTimeout(() => { this.#failures = 0; }, STABLE_MS);
    this.#enter("open");
  }

  #closed(event) {
    clearTimeout(this.#stableTimer);
    this.#socket = null;
    const byHand = this.#stopping;
    this.#stopping = false;
    this.reason = byHand ? "" : reasonOf(event, this.state === "open");
    if (!byHand) this.#retryLater();
    this.onlost();
    this.#enter("closed");
  }

  // Exponential backoff with full jitter: after a restart of the server its clients come back spread out.
  #retryLater() {
    const ceiling = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** this.#failures);
    this.#failures += 1;
    const wait = Math.random() * ceiling;
    this.retryAt = Date.now() + wait;
    this.#retryTimer = setTimeout(() => this.start(), wait);
  }

  #cancelRetry() {
    clearTimeout(this.#retryTimer);
    this.retryAt = null;
  }

  #enter(state) {
    this.state = state;
    this.onchange();
  }
}

// 1006 is the browser's own word for "no close frame came"; a number alone tells a person nothing.
function reasonOf(event, wasOpen) {
  if (event.code === 1006) return wasOpen ? "The connection broke." : "The server cannot be reached.";
  if (event.code === 1001) return "The server is going away.";
  if (event.code === 1009) return "The message was too big for the server.";
  if (event.code === 1013) return "This connection was too slow for the server.";
  return `The server closed the connection (${event.code} ${event.reason}).`;
}

/** The log: shows texts as texts, follows the newest one unless the reader scrolled up. */
class Log {
  #list = document.querySelector("#log");
  #empty = document.querySelector("#empty");
  #newer = document.querySelector("#newer");

  constructor() {
    this.#newer.addEventListener("click", () => this.toEnd());
    this.#list.addEventListener("scroll", () => {
      if (this.#atEnd()) this.#newer.hidden = true;
    });
    // The on-screen keyboard and a turned phone change the height; the newest message stays in sight.
    new ResizeObserver(() => { if (this.#newer.hidden) this.toEnd(); }).observe(this.#list);
  }

  add(text, own) {
    const follow = own || this.#atEnd();
    this.#list.append(messageElement(text, own));
    while (this.#list.childElementCount > MOST_MESSAGES) this.#list.firstElementChild.remove();
    this.#empty.hidden = true;
    if (follow) this.toEnd();
    else this.#newer.hidden = false;
  }

  toEnd() {
    this.#list.scrollTop = this.#list.scrollHeight;
    this.#newer.hidden = true;
  }

  #atEnd() {
    return this.#list.scrollHeight - this.#list.scrollTop - this.#list.clientHeight < 48;
  }
}

function messageElement(text, own) {
  const message = element("article", own ? "message own" : "message");
  const body = element("p", "text");
  // textContent and never innerHTML: what others write is text, whatever it looks like.
  body.textContent = text;
  body.dir = "auto";
  const now = new Date();
  const time = element("time", "time");
  time.dateTime = now.toISOString();
  time.textContent = now.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  message.append(body, time);
  return message;
}

function element(tag, className) {
  const made = document.createElement(tag);
  made.className = className;
  return made;
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

const STATE_WORDS = { connecting: "Connecting", open: "Open", closing: "Closing", closed: "Closed" };

const room = location.pathname.split("/")[2] ?? "";
const scheme = location.protocol === "https:" ? "wss" : "ws";
const roomIsValid = /^[A-Za-z0-9._-]{1,94}$/.test(room);
const connection = new Connection(`${scheme}://${location.host}/ws/chat/${room}/`);
const log = new Log();
// The server names no author, so a message is one's own when it repeats what this tab sent and has not seen
// come back yet.
const unseen = [];

const status = document.querySelector("#status");
const detail = document.querySelector("#detail");
const connectButton = document.querySelector("#connect");
const closeButton = document.querySelector("#close");
const notice = document.querySelector("#notice");
const form = document.querySelector("#message-form");
const input = document.querySelector("#message-input");
const submit = document.querySelector("#message-submit");
const hint = document.querySelector("#message-hint");

function showState() {
  const { state } = connection;
  status.dataset.state = state;
  if (status.textContent !== STATE_WORDS[state]) status.textContent = STATE_WORDS[state];
  const open = state === "open";
  submit.disabled = !open;
  hint.textContent = open ? "" : "Not connected: what you type is kept, and can be sent once the connection is open.";
  showButtons(state);
  showDetail();
}

function showButtons(state) {
  const idle = state === "closed" && connection.retryAt === null;
  const focused = document.activeElement;
  connectButton.hidden = state !== "closed";
  connectButton.textContent = idle ? "Connect" : "Retry";
  closeButton.hidden = idle;
  closeButton.disabled = state === "closing";
  // A hidden button drops the keyboard focus; hand it to the one that took its place.
  if (focused === closeButton && closeButton.hidden) connectButton.focus();
  if (focused === connectButton && connectButton.hidden) closeButton.focus();
}

function showDetail() {
  const { state, reason, retryAt } = connection;
  const parts = [];
  if (reason !== "" && state !== "open") parts.push(reason);
  if (state === "closed" && retryAt === null && roomIsValid) parts.push("It stays closed until you press Connect.");
  if (state === "closed" && retryAt !== null) parts.push(nextTry(retryAt - Date.now()));
  detail.textContent = parts.join(" ");
}

function nextTry(wait) {
  return wait < 1000 ? "Trying again." : `Trying again in ${Math.ceil(wait / 1000)} s.`;
}

function receive(data) {
  const { message, error, notice: warning } = parsed(data);
  if (typeof error === "string") notice.textContent = `The server says: ${error}`;
  if (typeof warning === "string") notice.textContent = warning;
  if (typeof message !== "string") return;
  const sent = unseen.indexOf(message);
  if (sent !== -1) unseen.splice(sent, 1);
  log.add(message, sent !== -1);
}

function parsed(data) {
  try {
    return JSON.parse(data) ?? {};
  } catch {
    return { error: "something this page does not understand" };
  }
}

function warnOfLoss() {
  if (unseen.length === 0) return;
  const which = unseen.length === 1 ? "A message was" : `${unseen.length} messages were`;
  notice.textContent = `${which} on the way when the connection ended, and may be lost.`;
  unseen.length = 0;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = input.value;
  if (text.trim() === "") return;
  if (!connection.send(JSON.stringify({ message: text }))) return;
  unseen.push(text);
  if (unseen.length > MOST_UNSEEN) unseen.shift();
  notice.textContent = "";
  input.value = "";
  input.focus();
});

connectButton.addEventListener("click", () => connection.start());
closeButton.addEventListener("click", () => connection.stop());
connection.onchange = showState;
connection.onmessage = receive;
connection.onlost = warnOfLoss;

// A network that came back and a tab that is looked at again need not wait for the timer.
function hurry() {
  if (connection.retryAt !== null && document.visibilityState === "visible") connection.start();
}
addEventListener("online", hurry);
document.addEventListener("visibilitychange", hurry);
setInterval(showDetail, 1000);

const name = displayName(room);
document.querySelector("#room-name").textContent = name;
document.title = `${name} · chat`;
// The server refuses such a room with 400, which a browser cannot tell from a server that is down.
if (roomIsValid) {
  connection.start();
} else {
  notice.textContent = "This is no valid room name. Go back to all rooms and pick another.";
  connectButton.disabled = true;
  showState();
}
