// All lots, live from an event stream.

import { clock, euros, showUser } from "./shared.js";

const list = document.querySelector("#lots");
const lots = new Map();

function card({ id, title }) {
  const item = document.createElement("li");
  item.innerHTML = `<a class="card"><div class="row"><h2></h2><span class="badge"></span></div>
    <p class="price"></p><p class="row soft"><span class="leader"></span><span class="time"></span></p></a>`;
  const link = item.firstElementChild;
  link.href = `/lots/${id}`;
  link.id = `lot-${id}`;
  link.querySelector("h2").textContent = title;
  list.append(item);
  return link;
}

function show(lot) {
  const known = lots.get(lot.id);
  const link = known?.link ?? card(lot);
  lots.set(lot.id, { link, end: performance.now() + lot.ends_in_ms, isOver: lot.is_over });
  const price = link.querySelector(".price");
  price.textContent = euros(lot.price);
  link.querySelector(".leader").textContent = lot.leader ?? "no bid yet";
  link.querySelector(".badge").textContent = lot.is_over ? "Closed" : "Open";
  link.classList.toggle("over", lot.is_over);
  if (known) {
    price.classList.remove("raised");
    requestAnimationFrame(() => price.classList.add("raised"));
  }
  tick();
}

function tick() {
  for (const { link, end, isOver } of lots.values()) {
    const left = Math.max(0, Math.ceil((end - performance.now()) / 1000));
    link.querySelector(".time").textContent = isOver ? "" : clock(left);
  }
}

new EventSource("/api/lots/stream").addEventListener("message", ({ data }) => show(JSON.parse(data)));
setInterval(tick, 1000);
await showUser();
