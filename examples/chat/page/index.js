// Turns what a person types into a room name the server accepts, and goes there.

// A group name is shorter than 100 characters, and the server puts "chat_" before the room.
const LONGEST = 94;
const PLAIN = /^[A-Za-z0-9._-]+$/;

/**
 * The address form of a room's name.
 *
 * Plain names stand for themselves; everything else becomes `u-` and the hex of its UTF-8 bytes. What starts
 * with `u-` is encoded too, so that two different names never meet in one room; `.` and `..` because a
 * browser resolves them as path steps.
 */
function roomFor(text) {
  const plain = PLAIN.test(text) && !text.startsWith("u-") && !/^\.{1,2}$/.test(text);
  return plain ? text : "u-" + hex(text);
}

function hex(text) {
  const bytes = new TextEncoder().encode(text);
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function problemWith(text, room) {
  if (text === "") return "Type the name of a room.";
  if (room.length <= LONGEST) return "";
  if (room === text) return `Too long: a room name has at most ${LONGEST} characters, this one ${text.length}.`;
  const most = (LONGEST - 2) / 2;
  const taken = (room.length - 2) / 2;
  return `Too long: a name with other characters than A-Z a-z 0-9 . _ - has room for ${most} bytes `
    + `(about ${Math.floor(most / 3)} like 汉), this one takes ${taken}.`;
}

const form = document.querySelector("#room-form");
const input = document.querySelector("#room-input");
const hint = document.querySelector("#room-hint");
const error = document.querySelector("#room-error");
const usualHint = hint.textContent;

// The same name may be typed in composed or decomposed form; both must lead to one room.
function typed() {
  return input.value.trim().normalize("NFC");
}

function show(problem) {
  error.textContent = problem;
  input.setAttribute("aria-invalid", String(problem !== ""));
}

input.addEventListener("input", () => {
  const text = typed();
  const room = roomFor(text);
  // An empty field is no mistake while somebody is still typing.
  const problem = text === "" ? "" : problemWith(text, room);
  const encoded = text !== "" && room !== text && problem === "";
  hint.textContent = encoded ? `Address: /chat/${room}/` : usualHint;
  show(problem);
});

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = typed();
  const room = roomFor(text);
  const problem = problemWith(text, room);
  show(problem);
  if (problem !== "") {
    input.focus();
    return;
  }
  location.assign(`/chat/${room}/`);
});

// The pattern in the page is for browsers without JavaScript; from here on every script is welcome.
form.noValidate = true;
