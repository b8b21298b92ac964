// Four panels, each a client with one transport, and what the server tells of its sessions.

import { measureHead } from "./meter.js";
import { Panel } from "./panel.js";

const POLL_EVERY_MS = 2_000;
const REFRESH_MS = 250;
const STATS_MS = 3_000;

const TRANSPORTS = [
  {
    name: "poll",
    title: "Polling",
    how: `Asks every ${POLL_EVERY_MS / 1000} s whether there is anything new. Mostly there is not. It works everywhere, `
      + "is late by half the pause, and pays for every question.",
  },
  {
    name: "long-poll",
    title: "Long polling",
    how: "Asks, and the server holds on to the question until there is an answer, 10 s at most. Prompt; each answer costs "
      + "another question.",
  },
  {
    name: "event-stream",
    title: "Event stream",
    how: "One answer that never ends: the server adds each message as it comes. What this side says goes up in requests "
      + "of its own.",
  },
  {
    name: "websocket",
    title: "WebSocket",
    how: "One connection, upgraded once, for both directions, and a few bytes around each message. Some proxies let "
      + "none through.",
  },
];

const sessions = document.querySelector("#sessions");
const titles = new Map(TRANSPORTS.map(({ name, title }) => [name, title]));

await measureHead();
const panels = TRANSPORTS.map((transport) => new Panel(transport, titles, { pollInterval: POLL_EVERY_MS }));
document.querySelector("#panels").append(...panels.map(({ element }) => element));

async function showSessions() {
  if (document.visibilityState === "hidden") return;
  try {
    const response = await fetch("/stats", { cache: "no-store" });
    const counts = await response.json();
    sessions.replaceChildren(...TRANSPORTS.map(({ name, title }) => entry(title, counts[name] ?? 0)));
  } catch {
    // The server is away: the panels say so.
  }
}

function entry(title, count) {
  const [pair, term, value] = ["div", "dt", "dd"].map((tag) => document.createElement(tag));
  term.textContent = title;
  value.textContent = count;
  pair.append(term, value);
  return pair;
}

setInterval(() => panels.forEach((panel) => panel.refresh()), REFRESH_MS);
setInterval(showSessions, STATS_MS);
setTimeout(showSessions, 500);
