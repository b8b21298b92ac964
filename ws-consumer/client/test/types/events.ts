// Names and messages of events. A line after `@ts-expect-error` has to be an error: the check fails if it is none.

import { connect, type ChannelMessageEvent, type Messages, type MessageType } from "../../channels.js";

// As generated from a serde enum with `#[serde(tag = "type")]`.
type FromServer =
  | { type: "chat.message"; text: string; author: string }
  | { type: "chat.joined"; member: number };

const channel = connect<FromServer, { text: string }>("/ws/chat/lobby/");

const remove: () => void = channel.onMessage("chat.message", ({ text, author }) => `${author.trim()}: ${text.trim()}`);
channel.onMessage("chat.joined", ({ member }) => member.toFixed());
remove();
// @ts-expect-error: a mistyped name
channel.onMessage("chat.mesage", () => {});
// @ts-expect-error: a field of another message
channel.onMessage("chat.joined", ({ text }) => text);
// @ts-expect-error: a field of another type
channel.onMessage("chat.message", ({ text }) => text.toFixed());
// @ts-expect-error: an event of the channel is no message
channel.onMessage("statechange", () => {});

channel.addEventListener("gap", ({ from, to }) => [from, to]);
channel.addEventListener("message", (event: ChannelMessageEvent<FromServer>) => event.json().type);
channel.addEventListener("statechange", ({ state }) => state === "open");
// @ts-expect-error: a mistyped name
channel.addEventListener("mesage", () => {});
// @ts-expect-error: a mistyped name
channel.removeEventListener("statechanged", () => {});
// @ts-expect-error: a field that the event has not
channel.addEventListener("open", ({ code }) => code);
// @ts-expect-error: a mistyped state
channel.addEventListener("statechange", ({ state }) => state === "opened");

channel.send({ text: "hello" });
// @ts-expect-error: a mistyped field
channel.send({ txt: "hello" });

// From a map of the types.
const mapped = connect<Messages<{ "lot.bid": { amount: number }; "lot.closed": { winner: string | null } }>>("/ws/lots/");
mapped.onMessage("lot.bid", ({ amount }) => amount.toFixed());
mapped.onMessage("lot.closed", ({ type, winner }) => [type === "lot.closed", winner?.trim()]);
// @ts-expect-error: a mistyped name
mapped.onMessage("lot.bids", () => {});

// Without types all names are allowed.
const untyped = connect("/ws/");
untyped.onMessage("anything", (message) => message.any.thing);
const anyType: MessageType<any> = "anything";
// @ts-expect-error: the name of a transport
connect("/ws/", { transports: ["websocket", "sse"] });
connect("/ws/", { transports: ["websocket", "event-stream", "long-poll", "poll"] });

// A channel is an EventTarget.
const target: EventTarget = channel;
export { anyType, target };
