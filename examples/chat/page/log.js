// What was said in a room, what one said oneself and has not seen come back yet, and where something may be missing.

// A tab left open for days must not grow without bound.
const MOST_MESSAGES = 500;

/**
 * The log: shows texts as texts, follows the newest one unless the reader scrolled up.
 *
 * The server names no author, so a message is one's own when it repeats what this tab sent and has not seen come back.
 * Until then it stands at the end, as pending.
 */
export class Log {
  /** Called with the text of a message that a person wants to send once more; false if that cannot be. */
  onagain = () => false;

  #list = document.querySelector("#log");
  #empty = document.querySelector("#empty");
  #newer = document.querySelector("#newer");
  #pending = [];

  constructor() {
    this.#newer.addEventListener("click", () => this.#toEnd());
    this.#list.addEventListener("scroll", () => {
      if (this.#atEnd()) this.#newer.hidden = true;
    });
    // The on-screen keyboard and a turned phone change the height; the newest message stays in sight.
    new ResizeObserver(() => { if (this.#newer.hidden) this.#toEnd(); }).observe(this.#list);
  }

  /** A message arrived. */
  add(text) {
    const at = this.#pending.findIndex((pending) => pending.text === text);
    if (at !== -1) this.#pending.splice(at, 1)[0].element.remove();
    this.#show(messageElement(text, at !== -1), at !== -1);
  }

  /** Says that something may be missing here. */
  mark(text) {
    const mark = element("p", "mark-missing");
    mark.textContent = text;
    this.#show(mark, false);
  }

  /** A message is on its way, or waits for the connection. */
  expect(text, waits) {
    const pending = { text, waits, element: pendingElement(text, waits ? "Waiting" : "Sending") };
    this.#pending.push(pending);
    this.#list.append(pending.element);
    this.#empty.hidden = true;
    this.#toEnd();
  }

  /** What has waited is on its way. */
  sending() {
    for (const pending of this.#pending.filter(({ waits }) => waits)) {
      pending.waits = false;
      label(pending.element, "Sending");
    }
  }

  /** What was on its way may be lost; with `all`, what has waited is, too. */
  doubt(all) {
    for (const pending of this.#pending.filter(({ waits }) => all || !waits)) {
      pending.waits = false;
      label(pending.element, "Perhaps lost");
      if (pending.element.querySelector("button") === null) pending.element.append(this.#againButton(pending));
    }
  }

  #againButton(pending) {
    const button = element("button", "again");
    button.type = "button";
    button.textContent = "Send again";
    button.addEventListener("click", () => {
      if (!this.onagain(pending.text)) return;
      this.#pending.splice(this.#pending.indexOf(pending), 1);
      pending.element.remove();
    });
    return button;
  }

  #show(shown, own) {
    const follow = own || this.#atEnd();
    this.#list.insertBefore(shown, this.#pending[0]?.element ?? null);
    while (this.#list.childElementCount > MOST_MESSAGES + this.#pending.length) this.#list.firstElementChild.remove();
    this.#empty.hidden = true;
    if (follow) this.#toEnd();
    else this.#newer.hidden = false;
  }

  #toEnd() {
    this.#list.scrollTop = this.#list.scrollHeight;
    this.#newer.hidden = true;
  }

  #atEnd() {
    return this.#list.scrollHeight - this.#list.scrollTop - this.#list.clientHeight < 48;
  }
}

function messageElement(text, own) {
  const message = bubble(own ? "message own" : "message", text);
  const now = new Date();
  const time = element("time", "time");
  time.dateTime = now.toISOString();
  time.textContent = now.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  message.append(time);
  return message;
}

function pendingElement(text, state) {
  const pending = bubble("pending own", text);
  const told = element("span", "time");
  told.textContent = state;
  pending.append(told);
  return pending;
}

function label(pending, state) {
  pending.querySelector(".time").textContent = state;
}

function bubble(className, text) {
  const made = element("article", className);
  const body = element("p", "text");
  // textContent and never innerHTML: what others write is text, whatever it looks like.
  body.textContent = text;
  body.dir = "auto";
  made.append(body);
  return made;
}

function element(tag, className) {
  const made = document.createElement(tag);
  made.className = className;
  return made;
}
