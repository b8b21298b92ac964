// Asks for a report, and shows how far it is.

const RETRY_MS = 1_000;

const form = document.querySelector("#report-form");
const rows = document.querySelector("#rows");
const build = document.querySelector("#build");
const work = document.querySelector("#work");
const bar = document.querySelector("#bar");
const told = document.querySelector("#told");
const problem = document.querySelector("#problem");

let socket;
let busy = false;

function connect() {
  socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws/reports/`);
  socket.addEventListener("open", () => { problem.textContent = ""; show(); });
  socket.addEventListener("message", (event) => hear(JSON.parse(event.data)));
  socket.addEventListener("close", () => {
    // What a worker tells from now on goes to a connection that is no more.
    problem.textContent = busy ? "The connection was lost: ask again." : "No connection. Trying again …";
    busy = false;
    work.hidden = true;
    show();
    setTimeout(connect, RETRY_MS);
  });
}

function hear(news) {
  if (news.type === "report.progress") {
    bar.max = news.of;
    bar.value = news.done;
    told.textContent = `${news.done} of ${news.of} rows`;
  } else if (news.type === "report.ready") {
    told.textContent = `Ready: ${news.rows} rows, the sum is ${news.sum}.`;
    busy = false;
  } else if (news.error) {
    problem.textContent = news.error;
    work.hidden = true;
    busy = false;
  }
  show();
}

function show() {
  build.disabled = busy || socket.readyState !== WebSocket.OPEN;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  problem.textContent = "";
  socket.send(JSON.stringify({ rows: rows.valueAsNumber }));
  busy = true;
  bar.removeAttribute("value");
  told.textContent = "Waiting for a worker …";
  work.hidden = false;
  show();
});

connect();
