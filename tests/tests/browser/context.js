// Runs in every context: a channel that sends half an emoji, receives it, and closes with a reason that is too long.

import { connect } from "ORIGIN/channels/channels.js";

export function talk(transport, tell) {
  const channel = connect("/ws/echo/", { transports: [transport] });
  let heard = null;
  channel.addEventListener("message", ({ data }) => {
    heard = data;
    channel.close(4000, "é".repeat(100));
  });
  channel.addEventListener("close", ({ code, reason }) => tell([heard, code, reason]));
  channel.send({ message: "\ud83d" });
}

const obey = ({ data, ports: [port] }) => talk(data, (told) => port.postMessage(told));

if (globalThis.window === undefined) {
  globalThis.addEventListener("message", obey);
  globalThis.addEventListener("connect", ({ ports: [port] }) => (port.onmessage = obey));
}
