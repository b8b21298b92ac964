// A user's messages, the same in all tabs.

const RETRY_MS = 1_000;
// The server's codes: the proof of who one is has ended; another tab has signed all out.
const UNAUTHENTICATED = 4401;
const SIGNED_OUT = 4403;
// A tab left open for days must not grow without bound.
const MOST_MESSAGES = 500;

const name = document.querySelector("#name").textContent;
const status = document.querySelector("#status");
const log = document.querySelector("#log");
const form = document.querySelector("#message-form");
const to = document.querySelector("#to");
const text = document.querySelector("#text");
const send = document.querySelector("#send");
const everywhere = document.querySelector("#everywhere");
const logout = document.querySelector("#logout");
const again = document.querySelector("#again");
const problem = document.querySelector("#problem");

let socket;

function connect() {
  socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws/inbox/`);
  socket.addEventListener("open", () => show("open", "Open"));
  socket.addEventListener("message", (event) => hear(JSON.parse(event.data)));
  socket.addEventListener("close", (event) => closed(event.code));
  show("connecting", "Connecting");
}

function closed(code) {
  if (code === UNAUTHENTICATED) return show("ended", "Your login has ended");
  if (code === SIGNED_OUT) return show("ended", "Signed out");
  // A refusal has no code here: if the login has ended, the server sends the page to the login.
  show("connecting", "Connecting");
  setTimeout(async () => {
    const answer = await fetch("/", { redirect: "manual" }).catch(() => null);
    if (answer?.type === "opaqueredirect") return show("ended", "Your login has ended");
    connect();
  }, RETRY_MS);
}

function hear(news) {
  if (news.error) {
    problem.textContent = news.error;
    return;
  }
  const message = document.createElement("p");
  message.className = news.from === name ? "message own" : "message";
  const who = document.createElement("span");
  who.className = "who";
  who.textContent = `${news.from} to ${news.to}`;
  const said = document.createElement("span");
  said.className = "text";
  said.textContent = news.text;
  message.append(who, said);
  log.append(message);
  if (log.childElementCount > MOST_MESSAGES) log.firstElementChild.remove();
  log.scrollTop = log.scrollHeight;
}

function show(state, words) {
  status.dataset.state = state;
  status.textContent = words;
  send.disabled = everywhere.disabled = state !== "open";
  again.hidden = state !== "ended";
  logout.hidden = everywhere.hidden = state === "ended";
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  problem.textContent = "";
  socket.send(JSON.stringify({ type: "send", to: to.value, text: text.value }));
  text.value = "";
});

everywhere.addEventListener("click", () => socket.send(JSON.stringify({ type: "sign_out_everywhere" })));

connect();
