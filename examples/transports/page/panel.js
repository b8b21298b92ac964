// A panel: one client, restricted to one transport, its costs, and what it hears.

import { ChannelError, connect } from "/channels/channels.js";
import { Meter } from "./meter.js";

const MOST_HEARD = 60;
const REPEAT_MS = 100;

const STATE_WORDS = {
  connecting: "Connecting",
  open: "Open",
  reconnecting: "Reconnecting",
  offline: "Offline",
  closed: "Closed",
};

// The delay of a message is known to the page that sent it only: clocks differ.
const page = crypto.getRandomValues(new Uint32Array(2)).join("-");

export class Panel {
  #name;
  #titles;
  #meter = new Meter();
  // What the client takes for its window and its browser: a panel goes offline without the others.
  #window = new EventTarget();
  #navigator = { onLine: true };
  #channel;
  #said = 0;
  #repeating;
  // The newest line stays in sight, unless the reader scrolled up.
  #follows = true;

  constructor({ name, title, how }, titles, options) {
    this.#name = name;
    this.#titles = titles;
    this.element = document.querySelector("#panel").content.firstElementChild.cloneNode(true);
    this.#label(title, how);
    this.#listen();
    this.#channel = this.#connect(options);
  }

  /** Shows what it has cost so far. */
  refresh() {
    const { requests, reconnects, up, down, last, median, each } = this.#meter;
    const shown = {
      requests: requests.toLocaleString(),
      reconnects: reconnects.toLocaleString(),
      up: bytes(up),
      down: bytes(down),
      last: milliseconds(last),
      median: milliseconds(median),
      each: each === null ? "–" : bytes(Math.round(each)),
    };
    for (const [name, text] of Object.entries(shown)) {
      const field = this.#find(`[data-cost="${name}"]`);
      if (field.textContent !== text) field.textContent = text;
    }
  }

  #connect(options) {
    const environment = {
      fetch: this.#meter.fetch,
      WebSocket: this.#meter.WebSocket,
      window: this.#window,
      navigator: this.#navigator,
    };
    const channel = connect("/ws/room/", { ...options, transports: [this.#name], environment });
    const listeners = {
      statechange: ({ state }) => this.#showState(state),
      message: (event) => this.#hear(event),
      open: ({ resumed }) => resumed && this.#note("Resumed: nothing is missing."),
      // Tries without a network cost nothing.
      reconnecting: () => (this.#meter.reconnects += this.#meter.isOffline ? 0 : 1),
      gap: () => this.#note("Messages may have been missed."),
      close: ({ code, reason }) => this.#note(`Closed: ${code} ${reason}`),
    };
    for (const [name, listener] of Object.entries(listeners)) channel.addEventListener(name, listener);
    for (const name of ["pagehide", "pageshow"]) {
      const pass = ({ persisted }) => this.#window.dispatchEvent(new PageTransitionEvent(name, { persisted }));
      window.addEventListener(name, pass);
    }
    return channel;
  }

  #label(title, how) {
    const [heading, input, heard] = ["h2", "input", ".heard"].map((selector) => this.#find(selector));
    this.element.id = `panel-${this.#name}`;
    heading.textContent = title;
    heading.id = `title-${this.#name}`;
    this.element.setAttribute("aria-labelledby", heading.id);
    this.#find(".how").textContent = how;
    input.id = `input-${this.#name}`;
    const label = this.#find("label");
    label.textContent = `Message by ${title}`;
    label.htmlFor = input.id;
    heard.setAttribute("aria-label", `Heard by ${title}`);
    for (const name of ["repeat", "offline"]) this.#find(`[data-action="${name}"]`).id = `${name}-${this.#name}`;
    this.#find("[type=submit]").id = `send-${this.#name}`;
  }

  #listen() {
    const list = this.#find(".heard");
    list.addEventListener("scroll", () => {
      this.#follows = list.scrollHeight - list.scrollTop - list.clientHeight < 32;
    });
    new ResizeObserver(() => { if (this.#follows) list.scrollTop = list.scrollHeight; }).observe(list);
    this.#find("form").addEventListener("submit", (event) => {
      event.preventDefault();
      const input = this.#find("input");
      this.#send(input.value.trim() || undefined);
      input.value = "";
    });
    this.#find('[data-action="repeat"]').addEventListener("click", () => this.#repeat(this.#repeating === undefined));
    this.#find('[data-action="offline"]').addEventListener("click", () => this.#goOffline(this.#navigator.onLine));
  }

  #send(text = `Message ${(this.#said += 1)}`) {
    try {
      this.#channel.send({ text, page, at: performance.now() });
    } catch (error) {
      if (!(error instanceof ChannelError)) throw error;
      this.#repeat(false);
      this.#note("Too much is waiting to be sent.");
    }
  }

  #repeat(on) {
    clearInterval(this.#repeating);
    this.#repeating = on ? setInterval(() => this.#send(), REPEAT_MS) : undefined;
    this.#find('[data-action="repeat"]').setAttribute("aria-pressed", String(on));
  }

  #goOffline(offline) {
    this.#navigator.onLine = !offline;
    // The client believes no browser that says so: it tries.
    this.#meter.isOffline = offline;
    this.#find('[data-action="offline"]').textContent = offline ? "Go online" : "Go offline";
    this.#window.dispatchEvent(new Event(offline ? "offline" : "online"));
    if (!offline) this.#meter.reconnects += 1;
  }

  #hear(event) {
    const { from, text, page: origin, at, error } = event.json();
    if (typeof error === "string") return this.#note(error);
    const delay = origin === page ? performance.now() - at : null;
    this.#meter.hear(delay);
    const line = element("p", "line");
    const who = element("span", "who");
    who.dataset.from = from;
    who.textContent = this.#titles.get(from) ?? from;
    const said = element("span", "said");
    said.textContent = text;
    const late = element("span", "late");
    late.textContent = delay === null ? "" : milliseconds(delay);
    line.append(who, said, late);
    this.#show(line);
  }

  #note(text) {
    const line = element("p", "note");
    line.textContent = text;
    this.#show(line);
  }

  #show(line) {
    const list = this.#find(".heard");
    list.append(line);
    while (list.childElementCount > MOST_HEARD) list.firstElementChild.remove();
    if (this.#follows) list.scrollTop = list.scrollHeight;
  }

  #showState(state) {
    const status = this.#find(".status");
    status.dataset.state = state;
    status.textContent = STATE_WORDS[state];
  }

  #find(selector) {
    return this.element.querySelector(selector);
  }
}

function element(tag, className) {
  const made = document.createElement(tag);
  made.className = className;
  return made;
}

function bytes(count) {
  if (count < 10_000) return `${count.toLocaleString()} B`;
  return count < 10_000_000 ? `${(count / 1000).toFixed(0)} kB` : `${(count / 1e6).toFixed(1)} MB`;
}

function milliseconds(time) {
  if (time === null) return "–";
  return time < 1000 ? `${time.toFixed(time < 10 ? 1 : 0)} ms` : `${(time / 1000).toFixed(1)} s`;
}
