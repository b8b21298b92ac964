// One lot: live bids and the countdown over a channel, and the user's own bids as requests.

import { connect } from "/channels/channels.js";
import { clock, euros, showUser } from "./shared.js";

const STEP = 5;
const element = (id) => document.querySelector(`#${id}`);
const [lot, price, countdown, leader, amount, submit, problem, history] =
  ["lot", "price", "countdown", "leader", "amount", "submit", "problem", "history"].map(element);

const name = await showUser();
const channel = connect(`/ws${location.pathname}`);
let shown = null;

channel.onMessage("changed", ({ lot: now }) => show(now));
channel.onMessage("countdown", ({ seconds }) => (countdown.textContent = clock(seconds)));
channel.onMessage("joined", ({ user }) => (element("joined").textContent = `${user} is watching.`));
channel.addEventListener("statechange", ({ state }) => {
  lot.dataset.state = state;
  allow();
});

function show(now) {
  element("title").textContent = now.title;
  document.title = `${now.title} · auction`;
  price.textContent = euros(now.price);
  element("badge").textContent = now.is_over ? "Closed" : "Open";
  lot.classList.toggle("over", now.is_over);
  leader.textContent = told(now);
  if (now.is_over) countdown.textContent = "";
  else countdown.textContent = clock(Math.floor(now.ends_in_ms / 1000));
  if (now.leader !== null && now.bids !== shown?.bids) remember(now);
  shown = now;
  amount.min = amount.placeholder = String(now.price + STEP);
  allow();
}

function told({ leader: who, is_over: isOver }) {
  if (who === null) return isOver ? "Not sold." : "No bid yet.";
  const whom = who === name ? "you" : who;
  return isOver ? `Sold to ${whom}.` : `Highest bid by ${whom}.`;
}

function remember({ leader: who, price: bid }) {
  const item = document.createElement("li");
  for (const text of [who, euros(bid)]) item.append(Object.assign(document.createElement("span"), { textContent: text }));
  history.prepend(item);
  while (history.children.length > 8) history.lastElementChild.remove();
  price.classList.remove("raised");
  requestAnimationFrame(() => price.classList.add("raised"));
}

function allow() {
  submit.disabled = amount.disabled = name === null || channel.state !== "open" || shown === null || shown.is_over;
}

element("bid").addEventListener("submit", async (event) => {
  event.preventDefault();
  problem.textContent = "";
  try {
    await channel.request({ amount: Number(amount.value || amount.min) });
    amount.value = "";
  } catch (error) {
    problem.textContent = `${error.message[0].toUpperCase()}${error.message.slice(1)}.`;
  }
});
