// Names, fields and replies of requests. A line after `@ts-expect-error` has to be an error: the check fails if it is none.

import { type Channel, connect } from "../../channels.js";

interface ChatRequests {
  members: { request: { room: string }; reply: string[] };
  history: { request: { before: number; limit?: number }; reply: { text: string }[] };
  count: { reply: number };
}

const channel = connect<{ type: "said"; text: string }, { text: string }, ChatRequests>("/ws/chat/lobby/");

async function requests(): Promise<void> {
  const members: string[] = await channel.request({ type: "members", room: "lobby" });
  const history = await channel.request({ type: "history", before: 7 }, { timeout: 5000 });
  const count: number = await channel.request({ type: "count" });
  history.map(({ text }) => text.trim()).concat(members, count.toFixed());

  // @ts-expect-error: a mistyped name
  await channel.request({ type: "member", room: "lobby" });
  // @ts-expect-error: a mistyped field
  await channel.request({ type: "members", rom: "lobby" });
  // @ts-expect-error: a missing field
  await channel.request({ type: "members" });
  // @ts-expect-error: a field of another type
  await channel.request({ type: "history", before: "7" });
  // @ts-expect-error: a field of another request
  await channel.request({ type: "members", room: "lobby", before: 7 });
  // @ts-expect-error: another reply
  const wrong: number[] = await channel.request({ type: "members", room: "lobby" });
  // @ts-expect-error: a mistyped option
  await channel.request({ type: "count" }, { time: 5000 });
  // @ts-expect-error: no request at all
  await channel.request("members");
  // @ts-expect-error: a field that the reply has not
  (await channel.request({ type: "history", before: 7 })).map(({ author }) => author);
  return void wrong;
}

async function untyped(): Promise<number> {
  const plain = connect("/ws/");
  const members: string[] = await plain.request("members");
  const sum: number = await plain.request<number>([1, 2], { timeout: 5000 });
  const half = connect<{ type: "said" }, { text: string }>("/ws/");
  return members.length + sum + (await half.request<number>({ anything: true }));
}

// Channels with and without the types of requests.
const general: Channel = channel;
export { general, requests, untyped };
